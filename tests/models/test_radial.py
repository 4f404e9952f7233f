"""Radial bases agree with their formulas, and the radial network with a plain one."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from esen.models.norm import LayerNorm
from esen.models.radial import BesselBasis, EdgeScalars, GaussianBasis, RadialMLP, make_radial
from esen.recipe.model import BesselSpec, GaussianSpec


def test_gaussians() -> None:
    basis = make_radial(GaussianSpec(count=5, width=1.5), 4.0)
    distance = torch.tensor([0.5, 1.0, 3.7], dtype=torch.float64)
    centers, sigma = np.linspace(0, 4, 5), 1.5 * 1.0
    expected = np.exp(-((distance.numpy()[:, None] - centers) ** 2) / (2 * sigma**2))
    assert isinstance(basis, GaussianBasis)
    assert torch.allclose(basis.double()(distance), torch.from_numpy(expected), rtol=0, atol=1e-14)


def test_gaussian_centers_are_the_same_in_either_precision() -> None:
    """6/9 is not a float32; if it were rounded on conversion, the two precisions would differ by more than rounding."""
    single, double = GaussianBasis(6.0, 10, 2.0), GaussianBasis(6.0, 10, 2.0).double()
    assert torch.equal(single.centers.double(), double.centers)


def test_bessel_functions() -> None:
    basis = make_radial(BesselSpec(count=4), 4.0)
    assert isinstance(basis, BesselBasis)
    distance = torch.tensor([0.5, 1.0, 3.7], dtype=torch.float64)
    t, k = distance.numpy()[:, None] / 4.0, np.arange(1, 5)
    envelope = 1 - 21 * t**5 + 35 * t**6 - 15 * t**7
    expected = envelope * math.sqrt(2 / 4.0**3) * np.sin(k * np.pi * t) / t
    assert torch.allclose(
        basis.double()(distance), torch.from_numpy(expected), rtol=0, atol=1e-7
    )  # π in float32


def test_bessel_frequencies_are_learned() -> None:
    basis = BesselBasis(4.0, 3)
    basis(torch.tensor([1.0, 2.0])).sum().backward()
    assert basis.frequencies.grad is not None
    assert basis.frequencies.grad.all()


def test_bessel_functions_vanish_at_the_cutoff() -> None:
    basis = BesselBasis(4.0, 3).double()
    assert not basis(torch.tensor([4.0, 4.5], dtype=torch.float64)).any()


@pytest.mark.parametrize("present", [[0, 1, 2], [2]])
def test_radial_network_is_a_plain_one_on_the_concatenation(present: list[int]) -> None:
    torch.manual_seed(0)
    network = RadialMLP(basis=5, embedding=6, outputs=7).double()
    species = torch.tensor(present).repeat(4)[torch.randperm(4 * len(present))]
    index = torch.bucketize(species, torch.tensor(present))
    tables = torch.randn(2, 3, 6, dtype=torch.float64)
    radial = torch.randn(len(species), 5, dtype=torch.float64)
    backwards = index.flip(0)
    edges = EdgeScalars(radial, index, backwards, tables[0][present], tables[1][present])
    plain = nn.Sequential(network.first, *network.rest)
    inputs = torch.cat([radial, tables[0][species], tables[1][species.flip(0)]], dim=1)
    assert torch.allclose(network(edges), plain(inputs), rtol=0, atol=1e-13)
    kinds = [type(layer) for layer in plain]
    assert kinds == [nn.Linear, *[LayerNorm, nn.SiLU, nn.Linear] * 2]
