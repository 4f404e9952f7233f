"""The polynomial envelope has two continuous derivatives at the cutoff, the smooth one has all."""

from math import e, exp

import pytest
import torch
from numpy.polynomial import Polynomial

from esen.models.envelope import Envelope, make_envelope, polynomial_envelope, smooth_envelope
from esen.recipe.model import NoEnvelopeSpec, PolynomialEnvelopeSpec, SmoothEnvelopeSpec


def derivatives(envelope: Envelope, t: float, order: int = 3) -> list[float]:
    """Return u, u′, u″, … at t, up to the given order."""
    point = torch.tensor([t], dtype=torch.float64, requires_grad=True)
    values = [envelope(point)]
    for _ in range(order):
        values.append(torch.autograd.grad(values[-1].sum(), point, create_graph=True)[0])
    return [value.item() for value in values]


@pytest.mark.parametrize("p", [2, 5, 6])
def test_two_derivatives_vanish_at_the_cutoff_and_the_third_does_not(p: int) -> None:
    envelope = make_envelope(PolynomialEnvelopeSpec(p=p))
    value, first, second, third = derivatives(envelope, 1 - 1e-9)
    assert abs(value) < 1e-12
    assert abs(first) < 1e-12
    assert abs(second) < 1e-6
    assert third == pytest.approx(-p * (p + 1) * (p + 2), rel=1e-6)
    assert derivatives(envelope, 1.0) == [0, 0, 0, 0]
    assert derivatives(envelope, 1.3) == [0, 0, 0, 0]


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


@pytest.mark.parametrize("p", [2, 3, 6])
def test_the_smooth_envelope_is_its_closed_form(p: int) -> None:
    """−t^p / (1 − t^p) = 1 − 1 / (1 − t^p), and u′ = −p t^(p−1) u / (1 − t^p)²."""
    for t in (0.1, 0.5, 0.8, 0.97):
        value, first = derivatives(make_envelope(SmoothEnvelopeSpec(p=p)), t, order=1)
        expected = e * exp(-1 / (1 - t**p))
        assert value == pytest.approx(expected, rel=1e-12)
        assert first == pytest.approx(-p * t ** (p - 1) * expected / (1 - t**p) ** 2, rel=1e-12)
    assert smooth_envelope(torch.zeros(1), p) == 1


@pytest.mark.parametrize("p", [2, 3, 6])
def test_all_derivatives_of_the_smooth_envelope_vanish_at_the_cutoff(p: int) -> None:
    """At t^p = 0.996, u is e⁻²⁴⁹, and each derivative is at most some 10⁶ times as large as the one before."""
    envelope = make_envelope(SmoothEnvelopeSpec(p=p))
    for value in derivatives(envelope, 0.996 ** (1 / p), order=6):
        assert 0 < abs(value) < 1e-60
    for t in (1.0, 1.3):
        assert derivatives(envelope, t, order=6) == [0] * 7
