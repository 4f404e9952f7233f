import numpy as np
import pytest

from esen.evaluate.laws.curl import curl
from esen.evaluate.laws.jacobian import difference_jacobian
from tests.evaluate.laws.known import case_of, crystal, molecule, only, single_atom, smooth, swirling


@pytest.mark.parametrize("strength", [1e-4, 0.3])
def test_the_curl_of_a_swirl_is_known(strength: float) -> None:
    """J = H + ε A with A_xy = −1, A_yx = 1 for each atom: λ = ε √(2n) / √(‖H‖² + 2n ε²)."""
    hessian = np.linalg.norm(difference_jacobian(case_of(smooth(), molecule()), np.arange(3)).matrix)
    expected = strength * np.sqrt(6) / np.sqrt(hessian**2 + 6 * strength**2)
    finding = only(curl(case_of(swirling(strength), molecule())), "curl")
    assert finding.verdict == "fail"
    assert finding.value == pytest.approx(expected, rel=1e-5)
    assert "finite differences" in finding.says


def test_a_gradient_has_none() -> None:
    for structure in (crystal(), molecule()):
        finding = only(curl(case_of(smooth(), structure)), "curl")
        assert finding.verdict == "pass"
        assert finding.tolerance < 1e-6


def test_where_nothing_can_be_said() -> None:
    alone = only(curl(case_of(smooth(), single_atom(periodic=True))), "curl")
    assert alone.verdict == "not applicable"
    far = molecule()
    far.positions[:] *= 10
    apart = only(curl(case_of(smooth(), far)), "curl")
    assert apart.verdict == "not applicable"
    assert "do not change" in apart.says
