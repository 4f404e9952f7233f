"""Protocols of phonons: all numbers that the result depends on, apart from potential and crystal."""

from dataclasses import dataclass, replace
from typing import Literal

THZ_TO_KELVIN = 47.9924307
"""h / k_B; the MDR benchmark states frequencies in K."""


@dataclass(frozen=True)
class PhononProtocol:
    """How phonons are computed.

    Attributes:
        name: as the user writes it.
        relax: which cell is relaxed, positions and lattice; None: no relaxation.
        fmax: largest force that the relaxation may leave, in eV/Å.
        relax_steps: largest number of steps of the relaxation.
        keep_symmetry: whether the relaxation keeps the space group.
        displacement: in Å.
        diagonal: whether atoms are also displaced along diagonals of the lattice, where one such displacement replaces
            several.
        method: displaced supercells, or exact second derivatives.
        subtract_mean: whether the mean force of each displaced supercell is subtracted.
        symmetrize: whether force constants are made to obey translation and permutation.
        symprec: distance in Å within which atoms are equivalent.
        mesh: divisions of the Brillouin zone, or the length in Å from which phonopy computes them.
        temperatures: in K; 300 is among them.
        source: who published the protocol.
    """

    name: str
    relax: Literal["primitive", "unit"] | None
    fmax: float
    relax_steps: int
    keep_symmetry: bool
    displacement: float
    diagonal: bool
    method: Literal["displacements", "hessian"]
    subtract_mean: bool
    symmetrize: bool
    symprec: float
    mesh: tuple[int, int, int] | float
    temperatures: tuple[float, ...]
    source: str


_TIGHT = PhononProtocol(
    name="tight",
    relax="unit",
    fmax=1e-5,
    relax_steps=2000,
    keep_symmetry=True,
    displacement=0.01,
    diagonal=True,
    method="displacements",
    subtract_mean=False,
    symmetrize=True,
    symprec=1e-5,
    mesh=(20, 20, 20),
    temperatures=tuple(float(t) for t in range(0, 1001, 50)),
    source="esen",
)

PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        _TIGHT,
        replace(
            _TIGHT,
            name="mdr-fair",
            relax="primitive",
            fmax=0.005,
            relax_steps=500,
            keep_symmetry=False,
            symmetrize=False,
            symprec=1e-4,
            temperatures=tuple(float(t) for t in range(0, 601, 75)),
            source="FAIR chemistry, fairchem: phonon_runner and recipes/phonons, as for eSEN",
        ),
        replace(
            _TIGHT,
            name="mdr-loew",
            fmax=0.005,
            relax_steps=500,
            diagonal=False,
            subtract_mean=True,
            mesh=100.0,
            temperatures=(0.0, 75.0, 150.0, 300.0, 600.0),
            source="Loew et al., npj Comput. Mater. 11, 178 (2025), arXiv:2412.16551",
        ),
    )
}
"""By name."""
