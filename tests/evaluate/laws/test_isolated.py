from dataclasses import replace

import torch

from esen.evaluate.laws.isolated import isolated
from esen.evaluate.laws.precision import Noise
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


def test_the_finding_is_what_exceeds_its_own_tolerance_most() -> None:
    """Two energies that are 1e-5 eV apart matter less where energies are noisy than forces of 1e-6 eV/Å."""

    def change(graph: Graph, prediction: Prediction) -> Prediction:
        atoms = torch.bincount(graph.structure, minlength=graph.num_structures)
        return replace(
            prediction, energy=prediction.energy + 1e-5 * (atoms - 1), forces=prediction.forces + 1e-6
        )

    case = case_of(Changed(smooth(), change))
    noisy = replace(case, noise=Noise(energy=4e-6, forces=0.0))
    assert only(isolated(noisy), "isolated atom").unit == "eV/Å"
    assert only(isolated(case), "isolated atom").unit == "eV"
