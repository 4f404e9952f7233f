"""Checks of structures. Each error names file, frame and atom."""

from collections.abc import Collection

import numpy as np
from ase.data import chemical_symbols, covalent_radii
from jaxtyping import Float64, Int64

from esen.data.neighbours import is_degenerate, neighbour_list
from esen.data.stress import is_symmetric
from esen.data.structure import Structure
from esen.data.targets import TARGETS
from esen.errors import InputError

CLOSEST = 0.05
"""Å. Two closer atoms are taken for one atom that was written twice."""

OVERLAP = 0.5
"""Atoms overlap if they are closer than this fraction of the sum of their covalent radii."""

FULL = 1e-3
"""Deviation from 1 of the occupancy of a full site, due to rounding."""

_LONGEST = 1e6
"""Å. Longer cells, or positions further from the origin, are mistakes."""

_MOST_PAIRED = 300
"""Number of atoms up to which it is faster to compare all pairs at once than to make a neighbour list."""

_NAMED = 10
"""Elements of a potential that a message names at most."""


def check_structure(structure: Structure, max_elements: int) -> None:
    """Refuse a structure that cannot be computed, or whose labels are impossible.

    Args:
        structure: a structure with or without labels.
        max_elements: all atomic numbers must be below this number (`model.max_elements`).

    Raises:
        InputError: no atoms, a wrong shape, NaN or infinity, an unknown element, periods that span no volume,
            disordered sites, two atoms in one place, or a stress that is not symmetric.
    """
    where = structure.source or "structure"
    _check_shapes(structure, where)
    _check_finite(structure, where)
    check_elements(structure, max_elements)
    _check_occupancies(structure, where)
    if is_degenerate(structure.cell, structure.pbc):
        raise InputError(
            f"{where}: the cell has no volume: its periodic rows {structure.cell[structure.pbc].tolist()} "
            "are zero or linearly dependent; give a cell, or pbc F along that row"
        )
    _check_distances(structure, where)
    if structure.stress is not None and not is_symmetric(structure.stress):
        raise InputError(f"{where}: the stress is not symmetric: {structure.stress.tolist()}")


def pairs_within(
    structure: Structure, cutoff: float
) -> tuple[Int64[np.ndarray, " E"], Int64[np.ndarray, " E"], Float64[np.ndarray, " E"]]:
    """Return the receivers, senders and distances in Å of all pairs of atoms up to `cutoff`, images included.

    Raises:
        InputError: as `neighbour_list`, with the file of the structure in the message.
    """
    try:
        sender, receiver, shift = neighbour_list(structure.positions, structure.cell, structure.pbc, cutoff)
    except InputError as error:
        raise InputError(f"{structure.source or 'structure'}: {error}") from error
    offsets = shift @ np.where(structure.pbc[:, None], structure.cell, 0.0)
    vectors = structure.positions[sender] - structure.positions[receiver] + offsets
    return receiver, sender, np.linalg.norm(vectors, axis=1)


def overlap(
    numbers: Int64[np.ndarray, " N"],
    receiver: Int64[np.ndarray, " E"],
    sender: Int64[np.ndarray, " E"],
    distances: Float64[np.ndarray, " E"],
) -> tuple[int, int, float] | None:
    """Return the pair that overlaps most, with its distance in Å; None: no pair overlaps."""
    if not len(distances):
        return None
    radii = covalent_radii[numbers]
    relative = distances / (radii[sender] + radii[receiver])
    k = int(relative.argmin())
    return (int(receiver[k]), int(sender[k]), float(distances[k])) if relative[k] < OVERLAP else None


def check_elements(structure: Structure, max_elements: int) -> None:
    """Refuse atomic numbers that are not of elements, or not below `max_elements`.

    Raises:
        InputError: naming the first atom.
    """
    where = structure.source or "structure"
    lowest, highest = int(structure.numbers.min()), int(structure.numbers.max())
    if lowest < 1 or highest >= len(chemical_symbols):
        number = lowest if lowest < 1 else highest
        atom = int(np.flatnonzero(structure.numbers == number)[0])
        raise InputError(f"{where}: atom {atom} has atomic number {number}, which is no element")
    if highest >= max_elements:
        raise InputError(
            f"{where}: {chemical_symbols[highest]} (Z = {highest}) is not below model.max_elements, "
            f"which is {max_elements}; write model.max_elements: {highest + 1} or more"
        )


def check_known(structure: Structure, elements: Collection[int] | None) -> None:
    """Refuse a structure with elements that a potential was not made for.

    Args:
        structure: a structure.
        elements: atomic numbers that the potential was made for; None or empty if they are not known.

    Raises:
        InputError: the structure has other elements, which are named.
    """
    unknown = set(structure.numbers.tolist()) - set(elements or structure.numbers.tolist())
    if unknown:
        names = ", ".join(chemical_symbols[number] for number in sorted(unknown))
        known = sorted(elements or ())
        symbols = ", ".join(chemical_symbols[number] for number in known)
        which = f"; it knows {symbols}" if len(known) <= _NAMED else ""
        raise InputError(f"{structure.source}: the potential does not know {names}{which}")


def _check_shapes(structure: Structure, where: str) -> None:
    atoms = len(structure.numbers)
    if atoms == 0:
        raise InputError(f"{where}: there are no atoms")
    expected = {
        "numbers": (structure.numbers, (atoms,)),
        "positions": (structure.positions, (atoms, 3)),
        "cell": (structure.cell, (3, 3)),
        "pbc": (structure.pbc, (3,)),
    }
    expected |= {target.name: (target.of(structure), target.shape(atoms)) for target in TARGETS}
    for name, (array, shape) in expected.items():
        if array is not None and np.shape(array) != shape:
            raise InputError(f"{where}: {name} has shape {np.shape(array)}, expected {shape}")


def _check_finite(structure: Structure, where: str) -> None:
    values = {"positions": structure.positions, "cell": structure.cell}
    values |= {target.name: target.of(structure) for target in TARGETS}
    of_atoms = {"positions"} | {target.name for target in TARGETS if target.of_atoms}
    for name, value in values.items():
        if value is None or np.isfinite(value).all():
            continue
        if name in of_atoms:
            atom = int(np.flatnonzero(~np.isfinite(value).all(axis=1))[0])
            raise InputError(f"{where}: {name} of atom {atom} are not finite: {value[atom].tolist()}")
        raise InputError(f"{where}: {name} is not finite: {np.asarray(value).tolist()}")
    for name, value in (("positions", structure.positions), ("cell", structure.cell)):
        if (largest := float(np.abs(value).max())) > _LONGEST:
            raise InputError(f"{where}: {name}: a component is {largest:g} Å; is it in Å?")


def _check_occupancies(structure: Structure, where: str) -> None:
    """Refuse sites that are partly vacant or filled with one of several elements, as ASE and others keep them."""
    sites = structure.info.get("occupancy")
    kinds = sites.values() if isinstance(sites, dict) else ()
    for species in (kind for kind in kinds if isinstance(kind, dict)):
        # In a CIF, ? and . say nothing.
        values = [value if isinstance(value, int | float) else 1.0 for value in species.values()]
        if len(values) != 1 or abs(values[0] - 1) > FULL:
            named = ", ".join(f"{symbol} {value}" for symbol, value in species.items())
            raise InputError(
                f"{where}: a site is disordered (occupancy {named}); expected one element per site"
            )
    for name in {"occupancy", "occupancies"} & structure.arrays.keys():
        given = structure.arrays[name]
        # Programs that do not know the occupancies write zero for all.
        if given.shape == structure.numbers.shape and given.dtype.kind in "iuf" and given.any():
            for atom in np.flatnonzero(~(np.abs(given - 1) <= FULL))[:1].tolist():
                symbol = chemical_symbols[structure.numbers[atom]]
                raise InputError(
                    f"{where}: atom {atom} ({symbol}) has the occupancy {given[atom]:g}; expected one element per site"
                )


def _check_distances(structure: Structure, where: str) -> None:
    lengths = np.linalg.norm(structure.cell[structure.pbc], axis=1)
    if len(lengths) and lengths.min() < CLOSEST:
        raise InputError(
            f"{where}: atom 0 and its own image are {lengths.min():.3f} Å apart, a row of the cell; is it in Å?"
        )
    if _are_clearly_apart(structure):
        return
    receiver, sender, distances = pairs_within(structure, CLOSEST)
    if not len(sender):
        return
    i, j = int(receiver[0]), int(sender[0])
    pair = f"atom {i} and its own image" if i == j else f"atoms {i} and {j}"
    raise InputError(f"{where}: {pair} are {distances[0]:.3f} Å apart; is an atom written twice?")


def _are_clearly_apart(structure: Structure) -> bool:
    """Return True if a quick test shows that no two atoms, including images, are as close as `CLOSEST`.

    With three periodic vectors, an image within CLOSEST of an atom differs from it by less than CLOSEST / h in the
    fractional coordinate along each vector, where h is the height of the cell. If all heights are several times
    CLOSEST, rounding of the fractional coordinates finds that image.
    """
    if len(structure) > _MOST_PAIRED or (structure.pbc.any() and not structure.pbc.all()):
        return False
    if not structure.pbc.all():
        apart = structure.positions[:, None] - structure.positions
    else:
        inverse = np.linalg.inv(structure.cell)
        if 1 / np.sqrt(np.square(inverse).sum(axis=0)).max() < 10 * CLOSEST:
            return False
        within = structure.positions @ inverse
        apart = within[:, None] - within
        apart -= np.rint(apart)
        apart = apart @ structure.cell
    squares = np.einsum("ijk,ijk->ij", apart, apart)
    np.fill_diagonal(squares, np.inf)
    return bool(squares.min() > (2 * CLOSEST) ** 2)
