import math

import numpy as np
import pytest

from esen.evaluate.laws.law import Scan, broken, information, judged, not_applicable
from esen.evaluate.laws.quantities import Deviation


def test_a_law_holds_up_to_its_tolerance() -> None:
    for value, tolerance, verdict in (
        (1.0, 1.0, "pass"),
        (1.0 + 1e-12, 1.0, "fail"),
        (0.0, 0.0, "pass"),
        (math.nan, 1.0, "fail"),
    ):
        assert judged("curl", "x", Deviation(value, tolerance, ""), "").verdict == verdict


def test_the_ratio_tells_which_finding_is_worst() -> None:
    assert judged("curl", "x", Deviation(3.0, 2.0, "eV"), "how").ratio == 1.5
    assert broken("finite", "x", "why").ratio == math.inf
    assert information("noise", "x", 1.0, "eV", "how").ratio > 1e100
    assert not_applicable("stress", "x", "why").ratio == math.inf


def test_the_slope_of_a_scan_is_that_of_its_force() -> None:
    r = np.array([1.0, 1.1, 1.3, 1.6, 1.7])
    scan = Scan("pair", "x", r, r**3, -3 * r**2)
    assert scan.slope == pytest.approx(-6 * r)
