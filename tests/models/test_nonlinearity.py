"""Gates multiply all orders of a degree by the same factor."""

import pytest
import torch

from esen.models.nonlinearity import GatedEdges, GatedFeedForward
from tests.models.rotations import block_rotation


@pytest.mark.parametrize(("lmax", "mmax"), [(1, 0), (2, 2), (3, 1), (4, 3)])
def test_gates_of_edges(lmax: int, mmax: int) -> None:
    torch.manual_seed(0)
    channels = 3
    gates = torch.randn(5, lmax * channels, dtype=torch.float64)
    orders = [
        torch.randn(5, 2 if m else 1, lmax - m + 1, channels, dtype=torch.float64) for m in range(mmax + 1)
    ]
    gated = GatedEdges(lmax, channels)(gates, orders)
    table = torch.sigmoid(gates).view(5, lmax, channels)
    for m, (x, y) in enumerate(zip(orders, gated, strict=True)):
        assert x.shape == y.shape
        for row, l in enumerate(range(m, lmax + 1)):
            for sign in range(x.shape[1]):
                before, after = x[:, sign, row], y[:, sign, row]
                expected = before * torch.sigmoid(before) if l == 0 else before * table[:, l - 1]
                assert torch.allclose(after, expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("lmax", [1, 3])
def test_feed_forward_commutes_with_rotations(lmax: int) -> None:
    torch.manual_seed(0)
    network = GatedFeedForward(lmax, channels=3, hidden=4).double()
    x = torch.randn(5, (lmax + 1) ** 2, 3, dtype=torch.float64)
    rotation = block_rotation(lmax)
    assert torch.allclose(network(rotation @ x), rotation @ network(x), rtol=0, atol=1e-13)


def test_feed_forward_by_hand() -> None:
    torch.manual_seed(0)
    network = GatedFeedForward(2, channels=3, hidden=4).double()
    x = torch.randn(1, 9, 3, dtype=torch.float64)
    hidden = network.up(x)[0]
    gates = network.gates(x[0, 0])
    gates = torch.sigmoid(gates * torch.sigmoid(gates)).view(2, 4)
    expected = hidden.clone()
    expected[0] = hidden[0] * torch.sigmoid(hidden[0])
    expected[1:4] = hidden[1:4] * gates[0]
    expected[4:9] = hidden[4:9] * gates[1]
    assert torch.allclose(network(x), network.down(expected.unsqueeze(0)), rtol=0, atol=1e-14)
