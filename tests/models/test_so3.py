"""Maps of coefficients that act on every degree separately."""

import pytest
import torch

from esen.models.so3 import SO3Linear, by_degree, expand_degrees, split_scalars
from tests.models.rotations import block_rotation


def test_by_degree_and_split_scalars() -> None:
    x = torch.arange(2 * 9 * 3, dtype=torch.float64).view(2, 9, 3)
    parts = by_degree(x)
    assert [part.shape[1] for part in parts] == [1, 3, 5]
    assert torch.equal(torch.cat(parts, dim=1), x)
    scalars, rest = split_scalars(x)
    assert torch.equal(scalars, x[:, :1])
    assert torch.equal(rest, x[:, 1:])


def test_expand_degrees_repeats_each_row_for_its_orders() -> None:
    values = torch.tensor([[1.0], [2.0], [3.0]])
    assert expand_degrees(values).flatten().tolist() == [1, *[2] * 3, *[3] * 5]
    assert expand_degrees(values, first=1).flatten().tolist() == [*[1] * 3, *[2] * 5, *[3] * 7]
    assert expand_degrees(values.expand(4, 3, 1)).shape == (4, 9, 1)


@pytest.mark.parametrize("lmax", [1, 2, 4])
def test_linear_commutes_with_rotations(lmax: int) -> None:
    torch.manual_seed(0)
    linear = SO3Linear(lmax, 3, 4).double()
    torch.nn.init.normal_(linear.bias)
    x = torch.randn(5, (lmax + 1) ** 2, 3, dtype=torch.float64)
    rotation = block_rotation(lmax)
    assert torch.allclose(linear(rotation @ x), rotation @ linear(x), rtol=0, atol=1e-13)


def test_linear_is_one_matrix_a_degree_and_a_bias_on_scalars() -> None:
    torch.manual_seed(0)
    linear = SO3Linear(2, 3, 4).double()
    torch.nn.init.normal_(linear.bias)
    x = torch.randn(5, 9, 3, dtype=torch.float64)
    y = linear(x)
    for row in range(9):
        l = int(row**0.5)
        expected = x[:, row] @ linear.weight[l].T + (linear.bias if l == 0 else 0)
        assert torch.allclose(y[:, row], expected, rtol=0, atol=1e-14)
