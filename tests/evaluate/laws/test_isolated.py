from dataclasses import replace

import torch

from esen.evaluate.laws.isolated import isolated
from esen.graph.types import Graph, Prediction
from tests.evaluate.laws.known import Changed, case_of, only, smooth


def test_atoms_that_are_far_apart_are_isolated() -> None:
    finding = only(isolated(case_of(smooth())), "isolated atom")
    assert finding.verdict == "pass"
    assert "5.01 Å" in finding.says


def test_a_force_from_afar_fails() -> None:
    """An energy of 1 meV a pair of atoms, however far."""

    def change(graph: Graph, prediction: Prediction) -> Prediction:
        atoms = torch.bincount(graph.structure, minlength=graph.num_structures)
        return replace(prediction, energy=prediction.energy + 1e-3 * (atoms - 1))

    finding = only(isolated(case_of(Changed(smooth(), change))), "isolated atom")
    assert finding.verdict == "fail"
    assert abs(finding.value - 1e-3) < 1e-9
    pushed = Changed(smooth(), lambda g, p: replace(p, forces=p.forces + 0.01))
    assert only(isolated(case_of(pushed)), "isolated atom").verdict == "fail"
