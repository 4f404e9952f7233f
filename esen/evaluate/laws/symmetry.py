"""The same material seen otherwise has the same energy, forces and stress."""

from collections.abc import Sequence
from dataclasses import replace
from math import prod

import numpy as np
from jaxtyping import Float64

from esen.data.structure import Structure
from esen.evaluate.laws.law import Finding, Outcome, information, judged, not_applicable
from esen.evaluate.laws.moves import moved, named, permuted, random_rotation, supercell, turned
from esen.evaluate.laws.quantities import Quantities, worst
from esen.evaluate.laws.subject import Case
from esen.graph.types import Prediction

LARGEST = 1000
"""Atoms of a supercell; more would take too long."""


def difference(
    case: Case,
    after: Prediction,
    matrix: Float64[np.ndarray, "3 3"] | None = None,
    order: np.ndarray | None = None,
) -> Quantities:
    """The largest |Δ| between a prediction of the case moved, and its own prediction moved likewise.

    That of a stress is 0 where there is none.

    Args:
        case: before.
        after: of as many atoms, or of whole copies of them.
        matrix: the rotation; None: none.
        order: of the atoms; None: as they were.
    """
    before = case.prediction
    matrix = np.eye(3) if matrix is None else matrix
    copies = len(after.forces) // len(before.forces)
    forces = np.tile(before.forces.numpy() @ matrix.T, (copies, 1))
    forces = forces if order is None else forces[order]
    stress = matrix @ before.stress[0].numpy() @ matrix.T
    energy = abs(float(after.energy) / copies - float(before.energy)) / len(case.structure)
    change = np.abs(after.stress[0].numpy() - stress).max() if case.has_stress else 0.0
    return Quantities(energy, float(np.abs(after.forces.numpy() - forces).max(initial=0.0)), float(change))


def worst_of(case: Case, law: str, differences: Sequence[Quantities], says: str) -> Finding:
    """The law judged by the quantity whose difference is the largest part, or multiple, of its tolerance."""
    excess = worst(differences, case.tolerances)
    return judged(law, case.name, excess.value, excess.allowed, excess.unit, says)


def rotation(case: Case) -> Outcome:
    """E(Rr) = E(r), F(Rr) = R F(r), σ(Rr) = R σ(r) Rᵀ, for random rotations and those that take axes to axes."""
    rng = case.rng("rotation")
    matrices = [random_rotation(rng) for _ in range(5)]
    matrices += [np.roll(np.eye(3), 1, axis=0), np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])]
    after = case.predict(*(named(turned(case.structure, m), "rotated") for m in matrices))
    differences = [difference(case, p, m) for p, m in zip(after, matrices, strict=True)]
    return Outcome.of(worst_of(case, "rotation", differences, f"{len(matrices)} rotations"))


def reflection(case: Case) -> Outcome:
    """The mirror image. Information: eSEN with mmax > 0, like other chiral networks, tells hands apart."""
    mirror = random_rotation(case.rng("reflection")) @ np.diag([1.0, 1.0, -1.0])
    image = turned(case.structure, mirror)
    image = replace(image, cell=-image.cell)  # the same lattice, and as right-handed as before
    (after,) = case.predict(named(image, "mirrored"))
    excess = worst([difference(case, after, mirror)], case.tolerances)
    says = "the mirror image agrees" if excess.ratio <= 1 else "hands are told apart; no law forbids it"
    return Outcome.of(information("reflection", case.name, excess.value, excess.unit, says))


def translation(case: Case) -> Outcome:
    """E(r + t) = E(r), also where atoms leave the cell."""
    rng = case.rng("translation")
    shifts = [rng.uniform(-10, 10, size=(1, 3)) for _ in range(3)]
    after = case.predict(*(named(moved(case.structure, s), "translated") for s in shifts))
    return Outcome.of(
        worst_of(case, "translation", [difference(case, p) for p in after], "3 shifts up to 10 Å")
    )


def permutation(case: Case) -> Outcome:
    """The order of the atoms means nothing."""
    if len(case.structure) < 2:
        return Outcome.of(not_applicable("permutation", case.name, "there is one atom"))
    rng = case.rng("permutation")
    orders = [np.arange(len(case.structure))[::-1].copy(), rng.permutation(len(case.structure))]
    after = case.predict(*(named(permuted(case.structure, o), "atoms in another order") for o in orders))
    differences = [difference(case, p, order=o) for p, o in zip(after, orders, strict=True)]
    return Outcome.of(worst_of(case, "permutation", differences, "reversed, and at random"))


def cell(case: Case) -> Outcome:
    """Other lattice vectors of the same lattice, another sign of one, and atoms moved by lattice vectors."""
    structure = case.structure
    if not structure.pbc.any():
        return Outcome.of(not_applicable("choice of cell", case.name, "it has no period"))
    rng = case.rng("cell")
    shift = rng.integers(-2, 3, (len(structure), 3)) * structure.pbc
    elsewhere = moved(structure, shift @ np.where(structure.pbc[:, None], structure.cell, 0.0))
    flipped = _with_cell(structure, np.diag(np.where(structure.pbc, -1.0, 1.0)))
    sheared = np.eye(3)
    axes = np.flatnonzero(structure.pbc)
    for a, b in zip(axes[1:], axes[:-1], strict=True):
        sheared[a, b] = 1.0
    others = [
        named(elsewhere, "atoms moved by lattice vectors"),
        named(flipped, "lattice vectors reversed"),
        named(_with_cell(structure, sheared), "with other lattice vectors"),
    ]
    differences = [difference(case, p) for p in case.predict(*others)]
    says = "other vectors, reversed ones, atoms in other cells"
    finding = worst_of(case, "choice of cell", differences, says)
    if finding.verdict == "fail":
        place = max(range(len(others)), key=lambda i: worst([differences[i]], case.tolerances).ratio)
        finding = replace(finding, says=f"worst: {others[place].source.removeprefix(case.name + ', ')}")
    return Outcome.of(finding)


def _with_cell(structure: Structure, change: Float64[np.ndarray, "3 3"]) -> Structure:
    return Structure(
        structure.numbers,
        structure.positions,
        change @ structure.cell,
        structure.pbc,
        source=structure.source,
    )


def copies(case: Case) -> Outcome:
    """E of a supercell is that of its cell, times the number of cells; forces and stress are the same."""
    structure = case.structure
    if not structure.pbc.any():
        return Outcome.of(not_applicable("supercell", case.name, "it has no period"))
    repeats = [2 if periodic else 1 for periodic in structure.pbc]
    while len(structure) * prod(repeats) > LARGEST and sum(repeats) > 4:
        repeats[repeats.index(2)] = 1
    if len(structure) * prod(repeats) > LARGEST:
        why = f"{len(structure)} atoms: a supercell would have more than {LARGEST}"
        return Outcome.of(not_applicable("supercell", case.name, why))
    words = "×".join(map(str, repeats))
    (after,) = case.predict(named(supercell(structure, repeats), f"{words} supercell"))
    return Outcome.of(worst_of(case, "supercell", [difference(case, after)], words))


def batch(case: Case) -> Outcome:
    """What stands beside a structure in a batch changes nothing."""
    rng = case.rng("batch")
    other = turned(
        moved(case.structure, 0.05 * rng.normal(size=case.structure.positions.shape)), np.diag([-1.0, -1, 1])
    )
    beside = named(other, "in a batch")
    same = named(case.structure, "in a batch")
    (alone,) = case.predict(beside)
    first, second = case.subject.predict([beside, same], together=True)
    of_other = Case(case.subject, beside, alone, case.noise, case.seed)
    differences = [difference(of_other, first), difference(case, second)]
    return Outcome.of(worst_of(case, "batch", differences, "two structures, each alone and beside the other"))
