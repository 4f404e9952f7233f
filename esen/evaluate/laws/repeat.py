"""The same input gives the same output."""

from esen.evaluate.laws.law import Outcome, judged
from esen.evaluate.laws.moves import moved, named
from esen.evaluate.laws.quantities import worst
from esen.evaluate.laws.subject import Case
from esen.evaluate.laws.symmetry import difference

LAST_DIGITS = 1e-12


def determinism(case: Case) -> Outcome:
    """Again, and again after another structure: to the last bit.

    On a GPU sums over neighbours are added in any order, and a calculator that keeps its neighbour list may add them in
    another one after another structure: there the last digits may differ.
    """
    rng = case.rng("determinism")
    other = named(moved(case.structure, 0.1 * rng.normal(size=case.structure.positions.shape)), "displaced")
    again = []
    for _ in range(2):
        again += case.predict(case.structure)
        case.predict(other)
        again += case.predict(case.structure)
    differences = [difference(case, p) for p in again]
    if case.subject.device != "cpu":
        excess, part = worst(differences, case.tolerances), 1.0
    else:
        excess, part = worst(differences, case.sizes), LAST_DIGITS if case.subject.stateful else 0.0
    says = f"{len(again)} repeats, another structure in between" + (
        ", all bits are the same" if excess.value == 0 else ""
    )
    return Outcome.of(
        judged("determinism", case.name, excess.value, part * excess.allowed, excess.unit, says)
    )
