from dataclasses import replace

import torch

from esen.evaluate.laws.symmetry import no_pole
from esen.graph.edges import edge_vectors
from esen.graph.types import Graph, Prediction
from tests.evaluate.laws.known import Changed, case_of, crystal, molecule, only, single_atom, smooth


def with_pole(graph: Graph, prediction: Prediction) -> Prediction:
    """As in the published code: what is across a bond is lost where the bond is within 1.4 mrad of ±y."""
    vectors = edge_vectors(graph)
    along = vectors[:, 1].abs() / vectors.norm(dim=1) > 1 - 1e-6
    lost = torch.zeros_like(prediction.forces)
    lost.index_add_(0, graph.receiver[along], 1e-3 * vectors[along] * torch.tensor([1.0, 1.0, 0.5]).double())
    return replace(prediction, forces=prediction.forces + lost)


def test_a_pole_is_found() -> None:
    for structure in (crystal(), molecule()):
        outcome = no_pole(case_of(Changed(smooth(), with_pole), structure))
        assert only(outcome, "no pole").verdict == "fail"
        assert only(outcome, "no pole").value > 1e-4
        outcome = no_pole(case_of(smooth(), structure))
        assert {finding.verdict for finding in outcome.findings} == {"pass"}
        assert only(outcome, "force constants").tolerance < 1e-5


def test_force_constants_that_depend_on_the_axis() -> None:
    """Stiffer along z, as seen from the frame of space, by 1 %."""

    def stiffer(graph: Graph, prediction: Prediction) -> Prediction:
        return replace(prediction, forces=prediction.forces * torch.tensor([1.0, 1.0, 1.01]).double())

    outcome = no_pole(case_of(Changed(smooth(), stiffer)))
    constants = only(outcome, "force constants")
    assert constants.verdict == "fail"
    largest = float(constants.says.split("up to ")[1].split()[0])
    assert 1e-3 < constants.value / largest < 2.1e-2


def test_one_atom_has_no_bond() -> None:
    (finding,) = no_pole(case_of(smooth(), single_atom(periodic=True))).findings
    assert finding.verdict == "not applicable"
