"""A structure: atoms in a cell, with labels where they are known."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from ase.data import chemical_symbols
from ase.formula import Formula
from jaxtyping import Bool, Float64, Int64

FLAT = 1e-12
"""Volume of a cell, relative to the product of its lengths, below which it spans no volume."""


@dataclass(frozen=True, eq=False)
class Structure:
    """Atoms in a cell, in Å and eV.

    Attributes:
        numbers: atomic numbers.
        positions: Cartesian, in Å; atoms may lie outside the cell.
        cell: **rows** are the lattice vectors, in Å; zero rows along directions that are not periodic.
        pbc: which of the three lattice vectors are periodic.
        energy: total energy, in eV.
        forces: in eV/Å.
        stress: σ = (1/V) ∂E/∂ε in eV/Å³, symmetric, tension positive (ASE's sign).
        info: other values of the frame in its file (`config_type`, an identifier, …).
        arrays: other values per atom in its file; only `read_structures` keeps them.
        source: file and frame, for messages: `train.xyz, frame 12`.
        masses: in amu, as the file gives them; None: those of the elements. See `esen.data.masses.masses_of`.
        constraints: what may not move, as ASE's constraints. Only `read_structures` keeps masses and constraints.
    """

    numbers: Int64[np.ndarray, " N"]
    positions: Float64[np.ndarray, "N 3"]
    cell: Float64[np.ndarray, "3 3"]
    pbc: Bool[np.ndarray, "3"]
    energy: float | None = None
    forces: Float64[np.ndarray, "N 3"] | None = None
    stress: Float64[np.ndarray, "3 3"] | None = None
    info: dict[str, Any] = field(default_factory=dict)
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    source: str = ""
    masses: Float64[np.ndarray, " N"] | None = None
    constraints: tuple[Any, ...] = ()

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def formula(self) -> str:
        """Formula of all atoms, in Hill's order."""
        symbols = [chemical_symbols[number] for number in self.numbers]
        return str(Formula.from_list(symbols).format("hill"))

    @property
    def volume(self) -> float:
        """|det cell| in Å³."""
        return float(abs(np.linalg.det(self.cell)))

    @property
    def has_volume(self) -> bool:
        """Whether the lattice vectors span a volume, periodic or not. Without one there is no stress."""
        return self.volume > FLAT * float(np.linalg.norm(self.cell, axis=1).prod())
