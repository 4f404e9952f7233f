import json
import math

import numpy as np
import pytest

from esen.evaluate.laws.law import Scan, broken, information, judged, not_applicable


def test_a_law_holds_up_to_its_tolerance() -> None:
    assert judged("curl", "x", 1.0, 1.0, "", "").verdict == "pass"
    assert judged("curl", "x", 1.0 + 1e-12, 1.0, "", "").verdict == "fail"
    assert judged("curl", "x", 0.0, 0.0, "", "").verdict == "pass"
    assert judged("curl", "x", math.nan, 1.0, "", "").verdict == "fail"


def test_findings_are_json_without_nan() -> None:
    for finding in (
        judged("curl", "x", math.inf, 1.0, "eV", "how"),
        information("noise", "x", 1.0, "eV", "how"),
        not_applicable("stress", "x", "why"),
        broken("finite", "x", "why"),
    ):
        values = json.loads(json.dumps(finding.to_json(), allow_nan=False))
        assert (values["law"], values["verdict"]) == (finding.law, finding.verdict)
    assert judged("curl", "x", math.inf, 1.0, "", "").to_json()["value"] is None


def test_the_slope_of_a_scan_is_that_of_its_force() -> None:
    r = np.array([1.0, 1.1, 1.3, 1.6, 1.7])
    scan = Scan("pair", "x", r, r**3, -3 * r**2, measures={"tortuosity": math.nan})
    assert scan.slope == pytest.approx(-6 * r)
    values = scan.to_json()
    assert values["mark"] is None
    assert values["measures"] == {"tortuosity": None}
    assert values["force"] == pytest.approx(-3 * r**2)
