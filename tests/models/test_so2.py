"""The SO(2) convolution is one complex product per order and commutes with a roll."""

import pytest
import torch
from torch import Tensor

from esen.models.so2 import SO2Linear, radial_weights
from tests.models.rotations import rolled

EDGES, INPUTS, OUTPUTS = 5, 3, 4
shapes = pytest.mark.parametrize(("lmax", "mmax"), [(1, 0), (1, 1), (3, 2), (4, 4)])


def features(lmax: int, mmax: int, seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.randn(EDGES, 2 if m else 1, lmax - m + 1, INPUTS, generator=generator, dtype=torch.float64)
        for m in range(mmax + 1)
    ]


@shapes
def test_commutes_with_a_roll_about_the_edge(lmax: int, mmax: int) -> None:
    torch.manual_seed(0)
    linear = SO2Linear(lmax, mmax, INPUTS, OUTPUTS, extra=2).double()
    orders, angle = features(lmax, mmax), torch.linspace(0.3, 2, EDGES, dtype=torch.float64)
    radial = torch.randn(EDGES, radial_weights(lmax, mmax, INPUTS), dtype=torch.float64)
    extra, mixed = linear(orders, radial)
    extra_rolled, mixed_rolled = linear(rolled(orders, angle), radial)
    assert torch.equal(extra, extra_rolled)
    for ours, expected in zip(mixed_rolled, rolled(mixed, angle), strict=True):
        assert torch.allclose(ours, expected, rtol=0, atol=1e-13)


@shapes
def test_is_a_complex_product_at_each_order(lmax: int, mmax: int) -> None:
    linear = SO2Linear(lmax, mmax, INPUTS, OUTPUTS).double()
    orders = features(lmax, mmax)
    _, mixed = linear(orders)
    axial = orders[0].flatten(1) @ linear.axial.weight.T + linear.axial.bias
    assert torch.allclose(mixed[0].flatten(1), axial, rtol=0, atol=1e-14)
    for m in range(1, mmax + 1):
        z = torch.complex(*orders[m].unbind(1)).flatten(1)
        weight = torch.complex(*linear.weights[m - 1].chunk(2))
        expected = (z @ weight.T).view(EDGES, lmax - m + 1, OUTPUTS)
        assert mixed[m].shape == (EDGES, 2, lmax - m + 1, OUTPUTS)
        assert torch.allclose(torch.complex(*mixed[m].unbind(1)), expected, rtol=0, atol=1e-14)


def test_extra_scalars_come_first_from_the_axial_product() -> None:
    linear = SO2Linear(2, 1, INPUTS, OUTPUTS, extra=6).double()
    orders = features(2, 1)
    extra, mixed = linear(orders)
    axial = linear.axial(orders[0].flatten(1))
    assert axial.shape == (EDGES, 6 + 3 * OUTPUTS)
    assert torch.equal(extra, axial[:, :6])
    assert torch.equal(mixed[0].flatten(1), axial[:, 6:])


@shapes
def test_radial_weights_multiply_each_order_degree_and_channel(lmax: int, mmax: int) -> None:
    """They are ordered by |m|, degree and channel, and +m and −m share them."""
    linear = SO2Linear(lmax, mmax, INPUTS, OUTPUTS).double()
    orders = features(lmax, mmax)
    count = radial_weights(lmax, mmax, INPUTS)
    assert count == INPUTS * sum(x.shape[2] for x in orders)
    radial = torch.randn(EDGES, count, dtype=torch.float64)
    start, weighted = 0, []
    for x in orders:
        stop = start + x.shape[2] * INPUTS
        weighted.append(x * radial[:, start:stop].view(EDGES, 1, x.shape[2], INPUTS))
        start = stop
    for ours, expected in zip(linear(orders, radial)[1], linear(weighted)[1], strict=True):
        assert torch.equal(ours, expected)


def test_no_edges() -> None:
    linear = SO2Linear(2, 2, INPUTS, OUTPUTS, extra=1).double()
    radial = torch.zeros(0, radial_weights(2, 2, INPUTS), dtype=torch.float64)
    extra, mixed = linear([x[:0] for x in features(2, 2)], radial)
    assert extra.shape == (0, 1)
    assert [x.shape for x in mixed] == [(0, 1, 3, OUTPUTS), (0, 2, 2, OUTPUTS), (0, 2, 1, OUTPUTS)]
