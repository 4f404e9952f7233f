"""What the user chooses of any run over many materials."""

from dataclasses import dataclass


@dataclass(frozen=True)
class MaterialOptions:
    """Beside potentials, materials and protocol.

    Attributes:
        allow_direct: whether potentials whose forces are no gradient are run.
        batch_atoms: displaced supercells go together up to so many atoms.
        plots: whether pictures are drawn.
        retry: whether materials that failed are computed anew.
        isolated: whether several materials are computed by a process of its own, so that one that kills it takes no
            other along.
    """

    allow_direct: bool = False
    batch_atoms: int = 512
    plots: bool = True
    retry: bool = False
    isolated: bool = True
