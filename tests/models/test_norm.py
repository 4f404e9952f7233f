"""The norms agree with their formulas and can be differentiated."""

import pytest
import torch
from torch import nn

from esen.models.norm import EquivariantRMSNorm, LayerNorm
from tests.models.rotations import block_rotation


def norm_and_features(lmax: int) -> tuple[EquivariantRMSNorm, torch.Tensor]:
    torch.manual_seed(0)
    norm = EquivariantRMSNorm(lmax, 4).double()
    torch.nn.init.normal_(norm.weight)
    torch.nn.init.normal_(norm.bias)
    return norm, torch.randn(3, (lmax + 1) ** 2, 4, dtype=torch.float64)


@pytest.mark.parametrize("lmax", [1, 2, 3])
def test_formula(lmax: int) -> None:
    norm, x = norm_and_features(lmax)
    for ours, atom in zip(norm(x), x, strict=True):
        centred = torch.cat([atom[:1] - atom[0].mean(), atom[1:]])
        blocks = [centred[l * l : (l + 1) ** 2] for l in range(lmax + 1)]
        mean_square = sum(float(b.square().sum()) / (b.shape[0] * 4) for b in blocks) / (lmax + 1)
        for l, block in enumerate(blocks):
            expected = norm.weight[l] * block / (mean_square + 1e-5) ** 0.5
            expected = expected + norm.bias if l == 0 else expected
            assert torch.allclose(ours[l * l : (l + 1) ** 2], expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("lmax", [1, 2, 3])
def test_commutes_with_rotations(lmax: int) -> None:
    norm, x = norm_and_features(lmax)
    rotation = block_rotation(lmax)
    assert torch.allclose(norm(rotation @ x), rotation @ norm(x), rtol=0, atol=1e-13)


def test_forgets_the_size_and_the_mean_of_its_input() -> None:
    norm, x = norm_and_features(2)
    shifted = x.clone()
    shifted[:, 0] += 7.0
    assert torch.allclose(norm(shifted), norm(x), rtol=0, atol=1e-13)
    assert torch.allclose(norm(1e4 * x), norm(1e5 * x), rtol=0, atol=1e-10)


def test_zeros_become_the_bias() -> None:
    """An atom whose features vanish divides by √ε, not by zero."""
    norm, x = norm_and_features(2)
    y = norm(torch.zeros_like(x))
    assert torch.equal(y[:, 0], norm.bias.expand(3, 4))
    assert not y[:, 1:].any()


def test_layer_norm_is_pytorchs() -> None:
    torch.manual_seed(0)
    ours, theirs = LayerNorm(5).double(), nn.LayerNorm(5).double()
    with torch.no_grad():
        ours.weight.uniform_(0.5, 2)
        ours.bias.uniform_(-1, 1)
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(3, 4, 5, dtype=torch.float64, requires_grad=True)
    direction = torch.randn(3, 4, 5, dtype=torch.float64)
    gradients = []
    for norm in (ours, theirs):
        y = norm(x)
        gradients.append(torch.autograd.grad((y * direction).sum(), (x, norm.weight, norm.bias)))
    assert torch.equal(ours(x), theirs(x))
    for a, b in zip(*gradients, strict=True):
        assert torch.allclose(a, b, rtol=1e-12, atol=1e-12)


def test_layer_norm_can_be_differentiated_three_times() -> None:
    torch.manual_seed(0)
    norm = LayerNorm(4).double()
    x = torch.randn(2, 4, dtype=torch.float64, requires_grad=True)
    direction = torch.randn(2, 4, dtype=torch.float64)

    def slope(x: torch.Tensor) -> torch.Tensor:
        (gradient,) = torch.autograd.grad(norm(x).sin().sum(), x, create_graph=True)
        return (gradient * direction).square().sum()

    assert torch.autograd.gradcheck(slope, (x,))
    assert torch.autograd.gradgradcheck(slope, (x,))  # the third derivative: PyTorch's own norm fails here
