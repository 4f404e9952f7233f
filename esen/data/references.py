"""Reference energies: what each element contributes on average, so that the network learns only the rest."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from esen.data.structure import Structure
from esen.errors import InputError


@dataclass(frozen=True, eq=False)
class References:
    """E0 of each element, fitted to total energies.

    Attributes:
        energies: E0[Z] in eV; zero for elements that were not seen.
        elements: atomic numbers that were seen, ascending.
        rank: of the fit. Below the number of elements, some compositions were never seen apart, as Mg and O
            in MgO, and their E0 are the smallest that fit.
        confounded: the elements whose own E0 the data do not fix.
    """

    energies: Float64[np.ndarray, " max_elements"]
    elements: tuple[int, ...]
    rank: int
    confounded: tuple[int, ...]

    @property
    def rank_deficient(self) -> bool:
        """Whether the data leave some E0 open."""
        return self.rank < len(self.elements)


def fit_references(structures: Sequence[Structure], max_elements: int) -> References:
    """The E0 that minimise Σ (E − Σ_Z n_Z E0_Z)², in float64; of all such, those of least norm.

    Args:
        structures: checked ones; those without an energy are left out.
        max_elements: length of the table.

    Raises:
        InputError: none has an energy.
    """
    labelled = [s for s in structures if s.energy is not None]
    if not labelled:
        raise InputError("reference energies: no structure has an energy; write data.references: none")
    counts = np.stack([np.bincount(s.numbers, minlength=max_elements) for s in labelled]).astype(np.float64)
    elements = np.flatnonzero(counts.any(axis=0))
    counts = counts[:, elements]
    energies = np.array([s.energy for s in labelled], dtype=np.float64)
    solution, _, rank, _ = np.linalg.lstsq(counts, energies, rcond=None)
    # E0_Z is fixed where the unit vector of Z lies in the row space of the counts.
    row_space = np.linalg.svd(counts, full_matrices=False)[2][:rank]
    fixed = np.square(row_space).sum(axis=0) > 1 - 1e-9
    table = np.zeros(max_elements)
    table[elements] = solution
    return References(
        energies=table,
        elements=tuple(elements.tolist()),
        rank=int(rank),
        confounded=tuple(elements[~fixed].tolist()),
    )
