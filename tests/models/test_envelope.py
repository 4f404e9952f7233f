"""The envelope fades with two continuous derivatives, and no more."""

import pytest
import torch
from numpy.polynomial import Polynomial

from esen.models.envelope import make_envelope, polynomial_envelope
from esen.recipe.model import NoEnvelopeSpec, PolynomialEnvelopeSpec


def derivatives(t: float, p: int) -> list[float]:
    """u, u′, u″ and u‴ at t."""
    point = torch.tensor([t], dtype=torch.float64, requires_grad=True)
    values = [polynomial_envelope(point, p)]
    for _ in range(3):
        values.append(torch.autograd.grad(values[-1].sum(), point, create_graph=True)[0])
    return [value.item() for value in values]


@pytest.mark.parametrize("p", [2, 5, 6])
def test_two_derivatives_vanish_at_the_cutoff_and_the_third_does_not(p: int) -> None:
    value, first, second, third = derivatives(1 - 1e-9, p)
    assert abs(value) < 1e-12
    assert abs(first) < 1e-12
    assert abs(second) < 1e-6
    assert third == pytest.approx(-p * (p + 1) * (p + 2), rel=1e-6)
    assert derivatives(1.0, p) == [0, 0, 0, 0]
    assert derivatives(1.3, p) == [0, 0, 0, 0]


def test_coefficients_of_the_published_order() -> None:
    t = torch.linspace(0, 0.999, 50, dtype=torch.float64)
    expected = Polynomial([1, 0, 0, 0, 0, -21, 35, -15])(t.numpy())
    ours = make_envelope(PolynomialEnvelopeSpec())(t)
    assert torch.allclose(ours, torch.from_numpy(expected), rtol=0, atol=1e-14)
    assert float(ours[0]) == 1.0


def test_the_recipe_sets_the_order() -> None:
    t = torch.linspace(0, 1.2, 20, dtype=torch.float64)
    assert torch.equal(make_envelope(PolynomialEnvelopeSpec(p=7))(t), polynomial_envelope(t, 7))
    assert not torch.allclose(polynomial_envelope(t, 7), polynomial_envelope(t, 5))


def test_no_envelope_is_one_everywhere() -> None:
    t = torch.linspace(0, 1.2, 20, dtype=torch.float64)
    assert torch.equal(make_envelope(NoEnvelopeSpec())(t), torch.ones_like(t))
