from dataclasses import replace

import numpy as np
import pytest
import torch

from esen.data.structure import Structure
from esen.evaluate.laws.law import Finding
from esen.evaluate.laws.smoothness import pair_line, smoothness, structure_line
from tests.evaluate.laws.known import (
    CUTOFF,
    case_of,
    crystal,
    cut_at,
    derivative_at,
    molecule,
    only,
    single_atom,
    smooth,
)

PLACE = 3.137
LAWS = ("E is continuous", "F is continuous", "dF/dr is continuous")


def found(order: int) -> list[Finding]:
    pair = Structure(
        np.array([18, 18]), np.array([[0, 0, 0], [3.0, 0, 0]]), np.zeros((3, 3)), np.zeros(3, bool)
    )
    outcome = smoothness(case_of(cut_at(PLACE, order), pair))
    return [only(outcome, law) for law in LAWS]


def test_what_is_smooth_passes() -> None:
    outcome = smoothness(case_of(smooth()))
    assert [only(outcome, law).verdict for law in LAWS] == ["pass"] * 3
    assert {scan.kind for scan in outcome.scans} == {"pair", "in the structure"}
    assert all(scan.mark == CUTOFF for scan in outcome.scans)


def test_a_truncated_energy_jumps_by_its_value() -> None:
    energy, force, slope = found(0)
    here = torch.tensor(PLACE, dtype=torch.float64)
    assert energy.verdict == force.verdict == "fail"
    assert energy.value == pytest.approx(abs(float(derivative_at(here, 0))), rel=1e-4)
    assert force.value == pytest.approx(abs(float(derivative_at(here, 1))), rel=1e-3)
    assert slope.verdict == "not applicable"
    assert str(PLACE) in energy.says


def test_a_shifted_energy_has_a_force_that_jumps() -> None:
    energy, force, slope = found(1)
    assert (energy.verdict, force.verdict, slope.verdict) == ("pass", "fail", "not applicable")
    expected = abs(float(derivative_at(torch.tensor(PLACE, dtype=torch.float64), 1)))
    assert force.value == pytest.approx(expected, rel=1e-3)


def test_a_shifted_force_has_a_slope_that_jumps() -> None:
    energy, force, slope = found(2)
    assert (energy.verdict, force.verdict, slope.verdict) == ("pass", "pass", "fail")
    expected = abs(float(derivative_at(torch.tensor(PLACE, dtype=torch.float64), 2)))
    assert slope.value == pytest.approx(expected, rel=1e-2)


def test_a_third_derivative_may_jump() -> None:
    assert [finding.verdict for finding in found(3)] == ["pass"] * 3


def test_lines_go_through_the_cutoff() -> None:
    case = case_of(smooth())
    pair = pair_line(case, 10, 18)
    assert pair.distances[0] < CUTOFF < pair.distances[-1]
    two = pair.at(4.2)
    assert np.linalg.norm(two.positions[1] - two.positions[0]) == pytest.approx(4.2)
    inside = structure_line(case)
    assert inside is not None
    assert inside.crossing == CUTOFF
    start, end = inside.at(inside.distances[0]), inside.at(inside.distances[-1])
    moved = np.flatnonzero(np.abs(end.positions - start.positions).max(axis=1) > 1e-6)
    assert moved.tolist() == [inside.atom]
    assert structure_line(case_of(smooth(), single_atom(periodic=True))) is None


def test_elements_that_were_tested_before_are_not_again() -> None:
    outcome = smoothness(replace(case_of(smooth(), crystal()), earlier=(frozenset({10, 18}),)))
    assert [scan.kind for scan in outcome.scans] == ["in the structure"]
    alone = replace(case_of(smooth(), single_atom(periodic=True)), earlier=(frozenset({10, 18}),))
    assert smoothness(alone).findings[0].verdict == "not applicable"


def test_a_pair_that_was_pulled_apart_before_is_not_again() -> None:
    case = replace(case_of(smooth(), molecule()), earlier=(frozenset({1, 18}),))
    assert [scan.about for scan in smoothness(case).scans if scan.kind == "pair"] == ["the pair Ne–Ar"]
