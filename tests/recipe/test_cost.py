import math

import pytest

from esen.models.potential import make_potential
from esen.recipe import BatchSpec, BesselSpec, GaussianSpec, ModelSpec, parameter_count, step_cost


@pytest.mark.parametrize(
    ("model", "count"),
    [
        (ModelSpec(), 3_199_745),
        (ModelSpec(radial=BesselSpec()), 3_199_755),
        (ModelSpec(radial=GaussianSpec(count=512)), 3_392_513),
        (ModelSpec(layers=10, lmax=3, mmax=2), 30_085_121),
        (ModelSpec(layers=10, lmax=3, mmax=2, radial=GaussianSpec(count=64)), 30_161_153),
        (ModelSpec(lmax=3, mmax=3), 6_431_233),
        (ModelSpec(layers=4), 6_226_689),
        (ModelSpec(lmax=3, mmax=3, radial=GaussianSpec(count=64)), 6_451_969),
    ],
)
def test_the_counts_of_published_models(model: ModelSpec, count: int) -> None:
    assert parameter_count(model) == count


@pytest.mark.parametrize(("lmax", "mmax"), [(1, 0), (2, 0), (2, 1), (3, 2), (4, 4)])
@pytest.mark.parametrize("radial", [GaussianSpec(count=7), BesselSpec(count=3)])
def test_the_network_has_as_many(lmax: int, mmax: int, radial: GaussianSpec | BesselSpec) -> None:
    model = ModelSpec(
        lmax=lmax,
        mmax=mmax,
        layers=2,
        sphere_channels=3,
        hidden_channels=5,
        edge_channels=4,
        max_elements=6,
        radial=radial,
    )
    network = make_potential(model, seed=0)
    assert sum(p.numel() for p in network.parameters()) == parameter_count(model)


def test_the_cost_of_published_models() -> None:
    small = step_cost(ModelSpec(), BatchSpec(atoms=100))
    # MFLOP per edge and layer, as counted on the published networks
    assert small.convolution1 / 1e6 == pytest.approx(2.29, abs=0.005)
    assert small.convolution2 / 1e6 == pytest.approx(0.95, abs=0.005)
    assert small.rotation / 1e6 == pytest.approx(0.027, abs=0.0005)
    large = step_cost(ModelSpec(layers=10, lmax=3), BatchSpec(atoms=100))
    assert large.convolution1 / 1e6 == pytest.approx(5.24, abs=0.005)
    assert large.convolution2 / 1e6 == pytest.approx(2.23, abs=0.005)
    assert large.rotation / 1e6 == pytest.approx(0.054, abs=0.0005)
    # there the species are multiplied too, 2 × 256 × 128 FLOP, which a table saves
    assert (small.radial + 2 * 256 * 128) / 1e6 == pytest.approx(0.49, abs=0.005)
    assert (large.radial + 2 * 256 * 128) / 1e6 == pytest.approx(0.69, abs=0.005)


def test_a_step_adds_up() -> None:
    model = ModelSpec(cutoff=5.0, layers=3)
    cost = step_cost(model, BatchSpec(structures=4), density=0.1)
    assert cost.atoms == 128
    assert cost.neighbours == pytest.approx(0.1 * 4 / 3 * math.pi * 125)
    assert cost.edge_layer == cost.convolution1 + cost.convolution2 + cost.radial + cost.rotation
    per_atom = cost.neighbours * (3 * cost.edge_layer + cost.edge_embedding) + 3 * cost.atom_layer + cost.head
    assert cost.atom == pytest.approx(per_atom)
    assert cost.inference == 2 * cost.atom
    assert cost.training == pytest.approx(6 * 128 * cost.atom)


SMALL = {"sphere_channels": 6, "hidden_channels": 5, "edge_channels": 4, "max_elements": 9}


@pytest.mark.parametrize(
    ("changes", "published"),
    [
        ({"nonlinearity": {"kind": "grid", "resolution": 10}}, 3_034_881),
        ({"nonlinearity": {"kind": "grid_edges"}}, 2_838_017),
        ({"graph": {"kind": "knn", "k": 20}}, 3_199_745),
        ({"envelope": {"kind": "smooth"}}, 3_199_745),
        ({"radial": {"kind": "gaussian", "count": 512}}, 3_392_513),
        ({"forces": {"kind": "direct"}}, None),
        ({"forces": {"kind": "direct", "stress": {"kind": "none"}}}, None),
        ({"forces": {"kind": "direct", "stress": {"kind": "rank2", "ends": "receiver"}}}, None),
        ({"nonlinearity": {"kind": "grid_edges", "feed_forward": "gate"}}, None),
        ({"forces": {"kind": "direct", "stress": {"kind": "outer", "layers": 3}}}, None),
        ({"dens": True}, None),
        ({"dens": True, "forces": {"kind": "direct"}}, None),
    ],
)
def test_ablations_have_the_published_numbers_of_parameters(
    changes: dict[str, object], published: int | None
) -> None:
    from esen.models.potential import make_potential

    if published is not None:
        assert parameter_count(ModelSpec.model_validate(changes)) == published
    small = ModelSpec.model_validate(SMALL | changes)
    network = make_potential(small, seed=0)
    assert sum(p.numel() for p in network.parameters()) == parameter_count(small)


def test_direct_forces_cost_half_and_few_neighbours_cost_less() -> None:
    batch = BatchSpec(atoms=100)
    full = step_cost(ModelSpec(), batch)
    direct = step_cost(ModelSpec.model_validate({"forces": {"kind": "direct"}}), batch)
    assert (direct.inference, direct.training) == (full.inference / 2, full.training / 2)
    nearest = step_cost(ModelSpec.model_validate({"graph": {"kind": "knn", "k": 20}}), batch)
    assert nearest.neighbours == 20 < full.neighbours
