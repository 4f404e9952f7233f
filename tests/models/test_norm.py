"""The equivariant norm against its formula."""

import pytest
import torch

from esen.models.norm import EquivariantRMSNorm
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
