"""Symmetries: predictions for the same material, however it is placed, written or repeated, agree."""

from collections.abc import Sequence
from dataclasses import replace
from math import prod

import numpy as np
from jaxtyping import Float64

from esen.data.supercells import matrix_of, repeated
from esen.evaluate.laws.law import Finding, Outcome, information, judged, not_applicable
from esen.evaluate.laws.moves import (
    moved,
    named,
    permuted,
    random_rotation,
    rotation_onto,
    shortest_bond,
    turned,
)
from esen.evaluate.laws.quantities import Deviation, Quantities, worst
from esen.evaluate.laws.subject import Case
from esen.graph.types import Prediction

LARGEST = 1000
"""Largest number of atoms in a supercell; more would take too long."""
LAST_DIGITS = 1e-12
"""Relative tolerance of repeated calls of a calculator that keeps its neighbour list."""
OFFSETS = (0.0, 1e-7, 1e-3)
"""Angles between the bond and the axis, in rad. The published eSEN code has a special case below 1.4e-3."""
DISPLACEMENT = 2e-3
"""Å. The bonds of a displaced atom stay within that angle."""
_AXES = [sign * axis for axis in np.eye(3) for sign in (1.0, -1.0)]


def difference(
    case: Case,
    after: Prediction,
    matrix: Float64[np.ndarray, "3 3"] | None = None,
    order: np.ndarray | None = None,
) -> Quantities:
    """Return the largest |Δ| between a prediction for the moved case and the case's own prediction, moved likewise.

    The difference of the stress is 0 if there is no stress.

    Args:
        case: The structure before the move.
        after: The prediction after the move, for as many atoms or for whole copies of them.
        matrix: The rotation; None for none.
        order: The new order of the atoms; None for the old one.
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


def worst_of(case: Case, law: str, differences: Sequence[Quantities], says: str) -> Outcome:
    """Judge a law by the quantity whose difference is largest in units of its tolerance."""
    return Outcome.of(judged(law, case.name, worst(differences, case.tolerances), says))


def rotation(case: Case) -> Outcome:
    """E(Rr) = E(r), F(Rr) = R F(r), σ(Rr) = R σ(r) Rᵀ, for random rotations and two that exchange the axes."""
    rng = case.rng("rotation")
    matrices = [random_rotation(rng) for _ in range(5)]
    matrices += [np.roll(np.eye(3), 1, axis=0), np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])]
    after = case.predict(*(named(turned(case.structure, m), "rotated") for m in matrices))
    differences = [difference(case, p, m) for p, m in zip(after, matrices, strict=True)]
    return worst_of(case, "rotation", differences, f"{len(matrices)} rotations")


def no_pole(case: Case) -> Outcome:
    """Forces with a bond along ±x, ±y, ±z, or nearly so, are those of any other orientation, rotated.

    The same holds for the force constants of an atom of that bond: the change of its force as it is displaced.
    """
    bond = shortest_bond(case.structure)
    if bond is None:
        return Outcome.of(not_applicable("no pole", case.name, "no two atoms are near each other"))
    atom, _, vector = bond
    matrices = [
        rotation_onto(vector, axis + offset * np.roll(axis, 1)) for axis in _AXES for offset in OFFSETS
    ]
    after = case.predict(*(named(turned(case.structure, m), "a bond along an axis") for m in matrices))
    differences = [difference(case, p, m) for p, m in zip(after, matrices, strict=True)]
    says = "a bond along ±x, ±y, ±z, or 1e-7 and 1e-3 rad beside it"
    (forces,) = worst_of(case, "no pole", differences, says).findings
    return Outcome.of(forces, _force_constants(case, atom, vector))


def _force_constants(case: Case, atom: int, bond: Float64[np.ndarray, "3"]) -> Finding:
    """Compare K = −(F(+d) − F(−d)) / 2d with the bond along each axis to K with no bond along an axis."""
    matrices = [random_rotation(case.rng("force constants")), *(rotation_onto(bond, axis) for axis in _AXES)]
    structures = []
    for matrix in matrices:
        for step in DISPLACEMENT * np.concatenate([np.eye(3), -np.eye(3)]):
            displaced = moved(case.structure, np.outer(np.eye(len(case.structure))[atom], step))
            structures.append(named(turned(displaced, matrix), "an atom displaced, a bond along an axis"))
    predictions = case.predict(*structures)
    found = np.stack([p.forces.numpy()[atom] for p in predictions]).reshape(len(matrices), 2, 3, 3)
    turned_back = np.einsum("rsda,rab->rsdb", found, np.stack(matrices))
    constants = (turned_back[:, 1] - turned_back[:, 0]) / (2 * DISPLACEMENT)
    size = float(np.abs(constants).max())
    anisotropy = float(np.abs(constants[1:] - constants[0]).max())
    tolerance = max(1e-8 * size, case.tolerances.forces / DISPLACEMENT)
    says = f"of an atom displaced by {DISPLACEMENT} Å, up to {size:.3g} eV/Å²"
    return judged("force constants", case.name, Deviation(anisotropy, tolerance, "eV/Å²"), says)


def reflection(case: Case) -> Outcome:
    """Compare with the mirror image. No law demands equality: a chiral network, as eSEN with mmax > 0, differs."""
    mirror = random_rotation(case.rng("reflection")) @ np.diag([1.0, 1.0, -1.0])
    image = turned(case.structure, mirror)
    image = replace(image, cell=-image.cell)  # the same lattice with the handedness of the original
    (after,) = case.predict(named(image, "mirrored"))
    found = worst([difference(case, after, mirror)], case.tolerances)
    says = "the mirror image agrees" if found.ratio <= 1 else "hands are told apart; no law forbids it"
    return Outcome.of(information("reflection", case.name, found.value, found.unit, says))


def translation(case: Case) -> Outcome:
    """E(r + t) = E(r), also if atoms leave the cell."""
    rng = case.rng("translation")
    shifts = [rng.uniform(-10, 10, size=(1, 3)) for _ in range(3)]
    after = case.predict(*(named(moved(case.structure, s), "translated") for s in shifts))
    return worst_of(case, "translation", [difference(case, p) for p in after], "3 shifts up to 10 Å")


def permutation(case: Case) -> Outcome:
    """Predictions do not depend on the order of the atoms."""
    if len(case.structure) < 2:
        return Outcome.of(not_applicable("permutation", case.name, "there is one atom"))
    rng = case.rng("permutation")
    orders = [np.arange(len(case.structure))[::-1].copy(), rng.permutation(len(case.structure))]
    after = case.predict(*(named(permuted(case.structure, o), "atoms in another order") for o in orders))
    differences = [difference(case, p, order=o) for p, o in zip(after, orders, strict=True)]
    return worst_of(case, "permutation", differences, "reversed, and at random")


def cell(case: Case) -> Outcome:
    """Compare with other lattice vectors of the same lattice, reversed ones, and atoms moved by lattice vectors."""
    structure = case.structure
    if not structure.pbc.any():
        return Outcome.of(not_applicable("choice of cell", case.name, "it has no period"))
    shift = case.rng("cell").integers(-2, 3, (len(structure), 3)) * structure.pbc
    elsewhere = moved(structure, shift @ np.where(structure.pbc[:, None], structure.cell, 0.0))
    flip = np.diag(np.where(structure.pbc, -1.0, 1.0))
    shear = np.eye(3)
    axes = np.flatnonzero(structure.pbc)
    for a, b in zip(axes[1:], axes[:-1], strict=True):
        shear[a, b] = 1.0
    others = {
        "atoms moved by lattice vectors": elsewhere,
        "lattice vectors reversed": replace(structure, cell=flip @ structure.cell),
        "with other lattice vectors": replace(structure, cell=shear @ structure.cell),
    }
    after = case.predict(*(named(other, word) for word, other in others.items()))
    differences = {word: difference(case, p) for word, p in zip(others, after, strict=True)}
    says = "other vectors, reversed ones, atoms in other cells"
    outcome = worst_of(case, "choice of cell", list(differences.values()), says)
    (finding,) = outcome.findings
    if finding.verdict == "pass":
        return outcome
    word = max(differences, key=lambda word: worst([differences[word]], case.tolerances).ratio)
    return Outcome.of(replace(finding, says=f"worst: {word}"))


def copies(case: Case) -> Outcome:
    """E(supercell) = n E(cell) for n cells, with the same forces and stress."""
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
    (after,) = case.predict(named(repeated(structure, matrix_of(repeats)), f"{words} supercell"))
    return worst_of(case, "supercell", [difference(case, after)], words)


def batch(case: Case) -> Outcome:
    """Predictions for a batch equal those for its structures one by one."""
    displacement = 0.05 * case.rng("batch").normal(size=case.structure.positions.shape)
    other = turned(moved(case.structure, displacement), np.diag([-1.0, -1, 1]))
    beside = named(other, "in a batch")
    (alone,) = case.predict(beside)
    first, second = case.subject.predict([beside, named(case.structure, "in a batch")], together=True)
    of_other = Case(case.subject, beside, alone, case.noise, case.seed)
    differences = [difference(of_other, first), difference(case, second)]
    return worst_of(case, "batch", differences, "two structures, each alone and beside the other")


def determinism(case: Case) -> Outcome:
    """Predictions are the same to the last bit when repeated, also after another structure.

    The last digits may differ on a GPU, where sums over neighbours are added in any order, and with a calculator that
    keeps its neighbour list, which may have another order after another structure.
    """
    displacement = 0.1 * case.rng("determinism").normal(size=case.structure.positions.shape)
    other = named(moved(case.structure, displacement), "displaced")
    again = []
    for _ in range(2):
        again += case.predict(case.structure)
        case.predict(other)
        again += case.predict(case.structure)
    differences = [difference(case, p) for p in again]
    if case.subject.device != "cpu":
        found, part = worst(differences, case.tolerances), 1.0
    else:
        found, part = worst(differences, case.sizes), LAST_DIGITS if case.subject.stateful else 0.0
    says = f"{len(again)} repeats, another structure in between"
    energy, forces = (1e3 * max(getattr(d, name) for d in differences) for name in ("energy", "forces"))
    apart = f"; up to {energy:.1e} meV/atom and {forces:.1e} meV/Å apart"
    says += ", all bits are the same" if found.value == 0 else apart
    deviation = Deviation(found.value, part * found.tolerance, found.unit)
    return Outcome.of(judged("determinism", case.name, deviation, says))
