"""What passes from one network to another."""

import numpy as np
import pytest
import torch

from esen.errors import InputError
from esen.graph.batch import make_graph
from esen.models.potential import EsenPotential, make_potential
from esen.recipe import DirectSpec, ModelSpec
from esen.train.carry import carry_over, dtype_of
from tests.train.small import crystals

PLAIN = ModelSpec(
    cutoff=3.5, layers=1, sphere_channels=4, hidden_channels=4, edge_channels=4, max_elements=20
)
DENS = PLAIN.model_copy(update={"dens": True})
DIRECT = PLAIN.model_copy(update={"forces": DirectSpec()})
BOTH = DENS.model_copy(update={"forces": DirectSpec()})
GRAPH = make_graph(list(crystals(3)), 3.5)


def trained(spec: ModelSpec) -> EsenPotential:
    """With a force encoding whose bias is not zero, as after training."""
    made = make_potential(spec, seed=5, elements=(8, 12)).double()
    made.set_normalisation(0.3, np.linspace(0, 1, 20))
    made.offset.fill_(0.25)
    if spec.dens:
        with torch.no_grad():
            made.network.backbone.force_encoding.linear.bias.normal_(
                generator=torch.Generator().manual_seed(0)
            )
    return made.eval().requires_grad_(False)


@pytest.mark.parametrize("source", [PLAIN, DENS, DIRECT, BOTH], ids=["plain", "dens", "direct", "both"])
@pytest.mark.parametrize("target", [PLAIN, DENS, DIRECT, BOTH], ids=["plain", "dens", "direct", "both"])
def test_common_weights_are_the_same_bits_and_the_energy_does_not_change(
    source: ModelSpec, target: ModelSpec
) -> None:
    before = trained(source)
    after = carry_over(before, target, seed=1).eval()
    assert after.spec == target
    assert after.elements == (8, 12)
    ours, theirs = after.state_dict(), before.state_dict()
    folded = {"network.backbone.species.weight"} if source.dens and not target.dens else set()
    for name in (ours.keys() & theirs.keys()) - folded:
        assert torch.equal(ours[name], theirs[name]), name
    new = ours.keys() - theirs.keys()
    assert all(name.startswith(("direct.", "noise.", "network.backbone.force_encoding.")) for name in new)
    assert torch.allclose(after(GRAPH).energy, before(GRAPH).energy, rtol=1e-12)
    if source.forces == target.forces:
        assert torch.allclose(after(GRAPH).forces, before(GRAPH).forces, rtol=1e-9, atol=1e-12)


def test_the_source_is_not_changed_nor_shared() -> None:
    source = trained(DENS)
    before = {name: tensor.clone() for name, tensor in source.state_dict().items()}
    after = carry_over(source, PLAIN, seed=1)
    with torch.no_grad():
        for parameter in after.parameters():
            parameter.add_(1.0)
    assert all(torch.equal(tensor, before[name]) for name, tensor in source.state_dict().items())


def test_new_heads_follow_from_the_seed() -> None:
    source = trained(PLAIN)
    first, again, other = (carry_over(source, BOTH, seed=seed).state_dict() for seed in (1, 1, 2))
    head = "direct.forces.linear.weight"
    assert torch.equal(first[head], again[head])
    assert not torch.equal(first[head], other[head])


def test_heads_can_be_drawn_anew() -> None:
    source = trained(DIRECT)
    after = carry_over(source, DIRECT, seed=1, renew=("heads",))
    for name, tensor in after.state_dict().items():
        is_head = name.startswith(("network.head.", "direct.")) and tensor.any() and "norm" not in name
        if is_head and "bias" not in name and name not in ("direct.units", "direct.pressure"):
            assert not torch.equal(tensor, source.state_dict()[name]), name
        elif not name.startswith(("network.head.", "direct.")):
            assert torch.equal(tensor, source.state_dict()[name]), name


def test_precision_is_kept() -> None:
    assert dtype_of(carry_over(trained(DENS), PLAIN, seed=1)) == torch.float64
    assert dtype_of(carry_over(trained(DENS).float(), PLAIN, seed=1)) == torch.float32


def test_a_mean_of_energies_cannot_become_a_sum() -> None:
    mean = PLAIN.model_copy(update={"forces": DirectSpec(energy="mean")})
    with pytest.raises(InputError, match="the mean of the atoms' energies"):
        carry_over(trained(mean), PLAIN, seed=1)
