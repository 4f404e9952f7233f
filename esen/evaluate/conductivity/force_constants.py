"""Second and third derivatives of the energy, from the forces of displaced supercells or from force sets."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from phono3py import Phono3py
from phonopy.structure.atoms import PhonopyAtoms

from esen.errors import InputError, first_line
from esen.evaluate.conductivity.material import ForceSets
from esen.evaluate.conductivity.protocol import ConductivityProtocol
from esen.evaluate.model import Model, Progress, no_progress
from esen.evaluate.phonons.crystal import from_phonopy, quietly

_AT_ONCE = 64
"""Supercells that are converted at once, because thousands would fill the memory."""


def displace(phono3py: Phono3py, protocol: ConductivityProtocol) -> tuple[int, int]:
    """Make the symmetry-distinct displacements.

    Returns:
        The number of supercells for second and for third derivatives.
    """
    quietly(phono3py.generate_displacements, distance=protocol.displacement)
    return (
        len(phono3py.phonon_supercells_with_displacements),
        len(phono3py.supercells_with_displacements),
    )


def second_by_displacements(
    phono3py: Phono3py, protocol: ConductivityProtocol, model: Model, progress: Progress = no_progress
) -> None:
    """Give phono3py the second derivatives, by central differences where symmetry does not make them so.

    Args:
        phono3py: has displacements.
        protocol: how force constants are computed.
        model: the potential.
        progress: is called with the number of supercells done and of all.

    Raises:
        InputError: a force is not finite.
    """
    cells = phono3py.phonon_supercells_with_displacements
    phono3py.phonon_forces = _forces(cells, "second", model, progress)
    produce_second(phono3py, protocol)


def third_by_displacements(
    phono3py: Phono3py, protocol: ConductivityProtocol, model: Model, progress: Progress = no_progress
) -> None:
    """Give phono3py the third derivatives, from supercells with one and two displaced atoms.

    Args:
        phono3py: has displacements.
        protocol: how force constants are computed.
        model: the potential.
        progress: is called with the number of supercells done and of all.

    Raises:
        InputError: a force is not finite.
    """
    cells = [cell for cell in phono3py.supercells_with_displacements if cell is not None]
    phono3py.forces = _forces(cells, "third", model, progress)
    produce_third(phono3py, protocol)


def use_force_sets(phono3py: Phono3py, sets: ForceSets, name: str) -> None:
    """Give phono3py displacements and forces from a file.

    Raises:
        InputError: they do not fit the cell.
    """
    try:
        phono3py.dataset = _copied(sets.third)
        if sets.second is not None:
            phono3py.phonon_dataset = _copied(sets.second)
    except Exception as error:  # of phono3py, by whatever name
        raise InputError(f"{name}: phono3py cannot use its force sets ({first_line(error)})") from error


def produce_second(phono3py: Phono3py, protocol: ConductivityProtocol) -> None:
    """Compute the second derivatives from displacements and forces.

    Random displacements need a fit (symfc). Where one dataset gives both orders, they are fitted together, because the
    fit of second derivatives alone would take forces of third order for its own.
    """
    if phono3py.phonon_dataset is None and _random(phono3py.dataset):
        quietly(phono3py.produce_fc3, fc_calculator="symfc")
    else:
        random = _random(phono3py.phonon_dataset or phono3py.dataset)
        quietly(phono3py.produce_fc2, fc_calculator="symfc" if random else None)
    if protocol.symmetrize:
        quietly(phono3py.symmetrize_fc2)


def produce_third(phono3py: Phono3py, protocol: ConductivityProtocol) -> None:
    """Compute the third derivatives from displacements and forces, and keep the second ones."""
    second = phono3py.fc2
    if phono3py.fc3 is None:
        quietly(phono3py.produce_fc3, fc_calculator="symfc" if _random(phono3py.dataset) else None)
    phono3py.fc2 = second
    if protocol.symmetrize:
        quietly(phono3py.symmetrize_fc3)


def _random(dataset: Any) -> bool:
    """Whether all atoms are displaced at once, in random directions, and not one or two atoms."""
    return dataset is not None and "displacements" in dataset


def _forces(cells: Sequence[PhonopyAtoms], order: str, model: Model, progress: Progress) -> np.ndarray:
    found: list[np.ndarray] = []

    def proceeded(before: int, done: int, of: int) -> None:
        progress(before + done, len(cells))

    for start in range(0, len(cells), _AT_ONCE):
        some = [
            from_phonopy(cell, f"displacement {start + number} for {order} derivatives")
            for number, cell in enumerate(cells[start : start + _AT_ONCE], start=1)
        ]
        for structure, forces in zip(some, model.forces(some, partial(proceeded, start)), strict=True):
            if not np.isfinite(forces).all():
                raise InputError(f"{structure.source}: its forces are not finite")
            found.append(forces)
    return np.array(found, dtype=np.float64)


def _copied(dataset: Any) -> Any:
    """Return a deep copy, because phono3py keeps and extends what it is given."""
    if isinstance(dataset, dict):
        return {key: _copied(value) for key, value in dataset.items()}
    if isinstance(dataset, list):
        return [_copied(value) for value in dataset]
    return dataset.copy() if isinstance(dataset, np.ndarray) else dataset
