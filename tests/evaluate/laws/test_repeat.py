from dataclasses import replace

import torch

from esen.evaluate.laws.repeat import determinism
from esen.graph.types import Graph, Prediction
from tests.evaluate.laws.known import Changed, case_of, only, smooth


def noisy(deviation: float) -> Changed:
    generator = torch.Generator().manual_seed(0)

    def change(graph: Graph, prediction: Prediction) -> Prediction:
        noise = deviation * torch.randn(graph.num_atoms, 3, generator=generator, dtype=torch.float64)
        return replace(prediction, forces=prediction.forces + noise)

    return Changed(smooth(), change)


def test_the_same_bits() -> None:
    finding = only(determinism(case_of(smooth())), "determinism")
    assert (finding.verdict, finding.value, finding.tolerance) == ("pass", 0.0, 0.0)
    assert "all bits" in finding.says


def test_noise_is_found_however_small() -> None:
    for deviation in (1e-13, 1e-3):
        finding = only(determinism(case_of(noisy(deviation))), "determinism")
        assert finding.verdict == "fail"
        assert deviation < finding.value < 10 * deviation


def test_what_keeps_a_state_may_differ_in_the_last_digits() -> None:
    assert only(determinism(case_of(noisy(1e-15), stateful=True)), "determinism").verdict == "pass"
    assert only(determinism(case_of(noisy(1e-9), stateful=True)), "determinism").verdict == "fail"


def test_what_remembers_the_call_before_is_found() -> None:
    last = [0.0]

    def change(graph: Graph, prediction: Prediction) -> Prediction:
        before, last[0] = last[0], float(prediction.energy[0])
        return replace(prediction, energy=prediction.energy + 1e-3 * before)

    assert only(determinism(case_of(Changed(smooth(), change))), "determinism").verdict == "fail"


def test_a_stress_is_judged_by_its_own_size() -> None:
    """1e-13 eV/Å³ is more than the last digits of a stress of 0.006, and less than those of a force."""
    generator = torch.Generator().manual_seed(0)

    def change(graph: Graph, prediction: Prediction) -> Prediction:
        noise = torch.randn(graph.num_structures, 3, 3, generator=generator, dtype=torch.float64)
        return replace(prediction, stress=prediction.stress + 3e-14 * noise)

    finding = only(determinism(case_of(Changed(smooth(), change), stateful=True)), "determinism")
    assert (finding.verdict, finding.unit) == ("fail", "eV/Å³")
    assert finding.value < 1e-12 * 0.09
