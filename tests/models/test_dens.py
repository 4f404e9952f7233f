"""The encoding of forces, and the network without the parts for denoising."""

from math import sqrt

import pytest
import torch
from e3nn import o3

from esen.graph.batch import make_graph
from esen.models.dens import Corruption, ForceEncoding, without_denoising
from esen.models.potential import EsenPotential, make_potential
from tests.models.rotations import block_rotation
from tests.models.variants import VARIANTS, chiral_molecule

LMAX, CHANNELS = 3, 5
FORCES = torch.randn(7, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.fixture
def encoding() -> ForceEncoding:
    """Return an encoding in float64 with a bias that is not zero."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = ForceEncoding(LMAX, CHANNELS).double()
        torch.nn.init.normal_(made.linear.bias)
    return made.requires_grad_(False)


def test_only_displaced_atoms_show_their_forces() -> None:
    corrupted = torch.tensor([True, False] * 3 + [True])
    shown = Corruption(FORCES, corrupted).shown()
    assert torch.equal(shown[corrupted], FORCES[corrupted])
    assert not shown[~corrupted].any()


def test_of_l_1_the_encoding_is_the_force_itself(encoding: ForceEncoding) -> None:
    """The factor of W_1 is Y_1 |F|/√3 = F, in the order (x, y, z) of e3nn."""
    found = encoding(FORCES)
    assert found.shape == (7, (LMAX + 1) ** 2, CHANNELS)
    expected = FORCES.unsqueeze(2) * encoding.linear.weight[1, :, 0]
    assert torch.allclose(found[:, 1:4], expected, atol=1e-14)


def test_the_coefficients_are_those_of_the_equation(encoding: ForceEncoding) -> None:
    """The encoding is W_l (|F|/√3) Y_lm(F/|F|) for every degree, plus b for l = 0."""
    found = encoding(FORCES)
    lengths = FORCES.norm(dim=1)
    for l in range(LMAX + 1):
        harmonics = o3.spherical_harmonics(
            l, FORCES / lengths[:, None], normalize=False, normalization="component"
        )
        expected = (lengths[:, None] / sqrt(3) * harmonics)[:, :, None] * encoding.linear.weight[l, :, 0]
        expected = expected + (encoding.linear.bias if l == 0 else 0)
        assert torch.allclose(found[:, l * l : (l + 1) ** 2], expected, atol=1e-12)


def test_no_force_leaves_the_bias_alone_and_no_nan(encoding: ForceEncoding) -> None:
    zero = torch.zeros(2, 3, dtype=torch.float64)
    found = encoding(zero)
    assert torch.allclose(found[:, 0], encoding.linear.bias.expand(2, -1))
    assert not found[:, 1:].any()
    tiny = encoding(zero + 1e-300)
    assert bool(tiny.isfinite().all())


def test_twice_the_force_is_twice_the_encoding(encoding: ForceEncoding) -> None:
    none = encoding(torch.zeros_like(FORCES))
    assert torch.allclose(encoding(2 * FORCES) - none, 2 * (encoding(FORCES) - none), atol=1e-12)


def test_the_encoding_turns_with_the_forces(encoding: ForceEncoding) -> None:
    rotation = block_rotation(LMAX)  # whose part of l = 1 turns vectors
    turned = encoding(FORCES @ rotation[1:4, 1:4].T)
    assert torch.allclose(turned, rotation @ encoding(FORCES), atol=1e-12)


def test_it_is_computed_in_the_precision_of_the_network() -> None:
    assert ForceEncoding(LMAX, CHANNELS)(FORCES).dtype == torch.float32


def test_without_denoising_the_predictions_are_the_same() -> None:
    spec = VARIANTS["default"].model_copy(update={"dens": True})
    potential = make_potential(spec, seed=0).double().eval().requires_grad_(False)
    encoding = potential.network.backbone.force_encoding
    assert encoding is not None
    torch.nn.init.normal_(encoding.linear.bias, generator=torch.Generator().manual_seed(3))
    weights = potential.state_dict()
    kept = without_denoising(weights)
    gone = weights.keys() - kept.keys()
    assert gone == {n for n in weights if "force_encoding" in n or n.startswith("noise.")}
    assert len(gone) == 4
    plain = EsenPotential(VARIANTS["default"]).double().eval()
    plain.load_state_dict(kept)
    graph = make_graph(chiral_molecule(), plain.cutoff)
    assert torch.allclose(plain(graph).forces, potential(graph).forces, atol=1e-13)
    assert float(plain(graph).energy) == pytest.approx(float(potential(graph).energy), rel=1e-13)
    untouched = without_denoising(kept)
    assert untouched.keys() == kept.keys()
    assert all(torch.equal(untouched[name], kept[name]) for name in kept)
