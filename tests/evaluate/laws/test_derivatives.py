from dataclasses import replace

import pytest
import torch

from esen.evaluate.laws.derivatives import forces, stress
from esen.graph.types import Graph, Prediction
from tests.evaluate.laws.known import Changed, case_of, crystal, molecule, only, smooth


def test_true_derivatives_pass_closely() -> None:
    for structure in (crystal(), molecule()):
        finding = only(forces(case_of(smooth(), structure)), "forces")
        assert finding.verdict == "pass"
        assert finding.tolerance < 1e-6
    finding = only(stress(case_of(smooth())), "stress")
    assert finding.verdict == "pass"
    assert finding.tolerance < 1e-7
    assert only(stress(case_of(smooth(), molecule())), "stress").verdict == "not applicable"


def test_a_factor_in_the_forces_is_measured() -> None:
    """F too large by 1 % is off by 1 % of F · d, at most of |F|."""
    off = Changed(smooth(), lambda g, p: replace(p, forces=1.01 * p.forces))
    case = case_of(off)
    finding = only(forces(case), "forces")
    assert finding.verdict == "fail"
    assert 1e-5 < finding.value < 0.01 * float(case.prediction.forces.norm())


def test_a_wrong_sign_of_the_stress_is_measured() -> None:
    off = Changed(smooth(), lambda g, p: replace(p, stress=-p.stress))
    case = case_of(off)
    finding = only(stress(case), "stress")
    assert finding.verdict == "fail"
    assert finding.value <= 2 * float(case.prediction.stress.norm()) * (1 + 1e-9)
    assert finding.value == pytest.approx(
        2 * float(case.prediction.stress[0].trace().abs()) / 3**0.5, rel=0.9
    )


def test_a_stress_that_is_not_symmetric_fails() -> None:
    """Symmetric strains do no work against what is antisymmetric, however large."""
    twist = torch.tensor([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 0.0]], dtype=torch.float64)
    off = Changed(smooth(), lambda g, p: replace(p, stress=p.stress + 1e-3 * twist))
    finding = only(stress(case_of(off)), "stress")
    assert finding.verdict == "fail"
    assert finding.value == pytest.approx(1e-3)
    assert "symmetric" in finding.says


def test_no_stress_is_not_compared() -> None:
    missing = Changed(smooth(), lambda g, p: replace(p, stress=p.stress * float("nan")))
    finding = only(stress(case_of(missing)), "stress")
    assert finding.verdict == "not applicable"
    assert "gives no stress" in finding.says


def test_the_tolerance_grows_with_the_noise() -> None:
    generator = torch.Generator().manual_seed(0)

    def noisy(deviation: float) -> Changed:
        def change(graph: Graph, prediction: Prediction) -> Prediction:
            noise = deviation * torch.randn(graph.num_structures, generator=generator, dtype=torch.float64)
            return replace(prediction, energy=prediction.energy + noise)

        return Changed(smooth(), change)

    finding = only(forces(case_of(noisy(1e-7))), "forces")
    assert finding.verdict == "pass"
    assert 1e-6 < finding.tolerance < 1e-3
    finding = only(forces(case_of(noisy(1e-2))), "forces")
    assert finding.verdict == "not applicable"
    assert "too noisy" in finding.says
