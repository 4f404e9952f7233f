"""Which structures are relaxed, and what they are called."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from esen.data.structure import Structure
from esen.data.structures import read_named_structures
from esen.study.materials.manifest import geometry_digest
from esen.study.potentials import distinct

ALL = ":"
"""The frames of a file that are taken if none are named."""


@dataclass(frozen=True, eq=False)
class Input:
    """A structure to relax.

    Attributes:
        name: unique among those of a run.
        structure: as the file has it, without labels.
    """

    name: str
    structure: Structure

    @property
    def described(self) -> str:
        """Where it came from, and the beginning of the hash (SHA-256) of its geometry."""
        return f"{self.structure.source} ({geometry_digest(self.structure)})"


def choose_inputs(files: Sequence[str], frames: str = ALL) -> list[Input]:
    """The structures of files, in their order: `MgO` of `MgO.cif`, `MgO#3` where several frames of it are taken.

    Args:
        files: in any format that esen or ASE reads.
        frames: of each file, a Python slice.

    Raises:
        InputError: a file is missing or cannot be read, nothing is selected, or a structure cannot be true.
    """
    names, structures = [], []
    for text in files:
        for name, structure in read_named_structures(Path(text).expanduser(), frames):
            names.append(name)
            structures.append(structure)
    return [Input(name, structure) for name, structure in zip(distinct(names), structures, strict=True)]
