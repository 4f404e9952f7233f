from dataclasses import replace

import numpy as np
import pytest

from esen.evaluate.laws.diatomics import POINTS, curve, diatomics, roughness
from tests.evaluate.laws.known import EPSILON, SIGMA, Changed, case_of, fading, only, phi, smooth


def test_the_curve_is_that_of_the_pair() -> None:
    import torch

    scan = curve(case_of(smooth()), 18, 18)
    assert len(scan.distance) == POINTS
    ratios = scan.distance[1:] / scan.distance[:-1]
    assert ratios == pytest.approx(ratios[0])
    r = torch.from_numpy(scan.distance).clamp(max=5.0)
    assert scan.energy == pytest.approx((phi(r) * fading(r)).numpy(), rel=1e-9, abs=1e-12)
    well = scan.distance[np.argmin(scan.energy)]
    assert well == pytest.approx(2 ** (1 / 6) * SIGMA, rel=0.05)
    assert -EPSILON < scan.energy.min() < 0
    assert scan.measures["tortuosity"] == pytest.approx(1.0, abs=1e-3)
    assert scan.measures["force flips"] == 1


def test_forces_that_are_not_the_slope_fail() -> None:
    outcome = diatomics(case_of(smooth()))
    finding = only(outcome, "diatomic forces")
    assert finding.verdict == "pass"
    assert [scan.about for scan in outcome.scans] == ["Ne–Ne", "Ar–Ar", "Ne–Ar"]
    assert len(outcome.findings) == 4
    off = Changed(smooth(), lambda g, p: replace(p, forces=1.001 * p.forces))
    assert only(diatomics(case_of(off)), "diatomic forces").verdict == "fail"


def test_a_pair_is_measured_once() -> None:
    """Ar–Ar has been, with hydrogen; what is left has neon in it."""
    case = replace(case_of(smooth()), earlier=(frozenset({1, 18}),))
    assert [scan.about for scan in diatomics(case).scans] == ["Ne–Ne", "Ne–Ar"]
    three = (frozenset({10, 1}), frozenset({18, 1}), frozenset({10, 18}))
    assert diatomics(replace(case, earlier=three)).findings == []


def test_roughness_of_known_curves() -> None:
    well = np.array([5.0, 1.0, -1.0, -0.5, 0.0])
    force = np.array([9.0, 3.0, 1e-3, -0.5, -0.1])
    measures = roughness(well, force)
    assert measures["tortuosity"] == pytest.approx(1.0)
    assert measures["energy flips"] == 1
    assert measures["energy jump"] == pytest.approx(2.0 + 0.5)
    assert measures["force flips"] == 1
    assert measures["force variation"] == pytest.approx(6 + 2.999 + 0.501 + 0.4)
    rough = roughness(np.array([5.0, 1.0, 2.0, -1.0, 0.0]), force)
    assert rough["tortuosity"] == pytest.approx((4 + 1 + 3 + 1) / (6 + 1))
    assert rough["energy flips"] == 3
    flat = roughness(np.zeros(5), np.zeros(5))
    assert (flat["tortuosity"], flat["energy flips"], flat["energy jump"]) == (1.0, 0, 0)
