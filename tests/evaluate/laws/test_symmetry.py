from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from esen.data.structure import Structure
from esen.evaluate.laws.law import Outcome
from esen.evaluate.laws.subject import Case
from esen.evaluate.laws.symmetry import (
    batch,
    cell,
    copies,
    permutation,
    reflection,
    rotation,
    translation,
)
from esen.graph.types import Graph, Prediction
from tests.evaluate.laws.known import Changed, case_of, crystal, molecule, single_atom, smooth

LAWS = [rotation, translation, permutation, cell, copies, batch]


def sum_of(graph: Graph, per_atom: torch.Tensor) -> torch.Tensor:
    return torch.zeros(graph.num_structures, dtype=torch.float64).index_add(0, graph.structure, per_atom)


def shifted(graph: Graph, prediction: Prediction, energy: torch.Tensor) -> Prediction:
    return replace(prediction, energy=prediction.energy + energy)


CHANGES: dict[str, Callable[[Graph, Prediction], Prediction]] = {
    "rotation": lambda g, p: shifted(g, p, 1e-3 * sum_of(g, p.forces[:, 0].abs())),
    "translation": lambda g, p: shifted(g, p, 1e-3 * sum_of(g, g.positions[:, 0])),
    "permutation": lambda g, p: shifted(g, p, 1e-3 * sum_of(g, p.forces[:, 0] * torch.arange(g.num_atoms))),
    "choice of cell": lambda g, p: shifted(g, p, 1e-3 * g.cell[:, 0, 1]),
    "supercell": lambda g, p: shifted(g, p, 1e-3 * torch.ones(g.num_structures, dtype=torch.float64)),
    "batch": lambda g, p: replace(p, forces=p.forces + 1e-3 * (g.num_structures - 1)),
}
"""What breaks each law. Only the forces of a batch are changed: all structures would be in the others' way."""


@pytest.mark.parametrize(
    "structure", [crystal(), molecule(), single_atom(periodic=True)], ids=lambda s: s.source
)
def test_what_obeys_the_laws_passes(structure: Structure) -> None:
    case = case_of(smooth(), structure)
    for law in LAWS:
        (finding,) = law(case).findings
        applicable = not (
            (law in (cell, copies) and not structure.pbc.any())
            or (law is permutation and len(structure) == 1)
        )
        assert finding.verdict == ("pass" if applicable else "not applicable"), finding
        if applicable:
            assert finding.tolerance < 1e-7
    assert reflection(case).findings[0].verdict == "information"


@pytest.mark.parametrize(("name", "law"), list(zip(CHANGES, LAWS, strict=True)), ids=list(CHANGES))
def test_what_breaks_a_law_fails(name: str, law: Callable[[Case], Outcome]) -> None:
    case = case_of(Changed(smooth(), CHANGES[name]))
    (finding,) = law(case).findings
    assert (finding.law, finding.verdict) == (name, "fail")
    assert finding.value > 100 * finding.tolerance


def test_the_error_of_a_rotation_is_known() -> None:
    """Forces that do not turn at all differ by R F − F."""
    fixed = torch.tensor([[0.3, 0.0, 0.0]], dtype=torch.float64)
    case = case_of(Changed(smooth(), lambda g, p: replace(p, forces=p.forces + fixed)))
    (finding,) = rotation(case).findings
    assert 0.2 < finding.value <= 0.3 * 2
    assert finding.unit == "eV/Å"


def test_a_wrong_stress_is_found_and_a_missing_one_is_not_compared() -> None:
    def wrong(graph: Graph, prediction: Prediction) -> Prediction:
        stress = prediction.stress.clone()
        stress[:, 0, 0] += 1.0
        return replace(prediction, stress=stress)

    (finding,) = rotation(case_of(Changed(smooth(), wrong))).findings
    assert (finding.verdict, finding.unit) == ("fail", "eV/Å³")
    missing = Changed(smooth(), lambda g, p: replace(p, stress=p.stress * float("nan")))
    assert rotation(case_of(missing)).findings[0].verdict == "pass"


def test_hands_are_told_apart() -> None:
    """±10 meV by the sign of the volume that the four atoms span: the mirror image differs by 20 meV."""

    def handed(graph: Graph, prediction: Prediction) -> Prediction:
        corners = graph.positions.view(graph.num_structures, 4, 3)
        sign = torch.sign(torch.linalg.det(corners[:, 1:] - corners[:, :1]))
        return replace(prediction, energy=prediction.energy + 0.01 * sign)

    case = case_of(Changed(smooth(), handed))
    (finding,) = reflection(case).findings
    assert finding.verdict == "information"
    assert finding.value == pytest.approx(0.02 / 4)
    assert "hands" in finding.says
    assert rotation(case).findings[0].verdict == "pass"


def test_a_large_cell_is_not_repeated() -> None:
    case = case_of(smooth())
    numbers = np.full(1001, 18)
    huge = replace(
        case, structure=Structure(numbers, np.zeros((1001, 3)), np.eye(3), np.ones(3, bool), source="huge")
    )
    (finding,) = copies(huge).findings
    assert finding.verdict == "not applicable"
    assert "1001 atoms" in finding.says


def test_a_stress_whose_sign_is_that_of_the_cell() -> None:
    """As where the volume is a triple product: found by reversed lattice vectors, and not taken for handedness."""

    def signed(graph: Graph, prediction: Prediction) -> Prediction:
        return replace(
            prediction, stress=prediction.stress * torch.sign(torch.linalg.det(graph.cell))[:, None, None]
        )

    case = case_of(Changed(smooth(), signed))
    (finding,) = cell(case).findings
    assert (finding.verdict, finding.says) == ("fail", "worst: lattice vectors reversed")
    assert finding.value == pytest.approx(2 * float(case.prediction.stress.abs().max()))
    assert reflection(case).findings[0].value < 1e-9
