"""The potential: units, reference energies, elements, seeds."""

import pickle
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from esen.errors import InputError
from esen.graph.batch import make_graph
from esen.graph.edges import edge_vectors
from esen.models.potential import EsenPotential, make_potential
from esen.recipe import ModelSpec
from tests.models.variants import VARIANTS, chiral_molecule, isolated, potential_of

THIRD = 1 / 3  # no precision but float64 holds it to 1e-16
CASTS: dict[str, Callable[[EsenPotential], EsenPotential]] = {
    "float": lambda p: p.float(),
    "half": lambda p: p.half(),
    "bfloat16": lambda p: p.bfloat16(),
    "to": lambda p: p.to(torch.float32),
    "to and back": lambda p: p.to("cpu", torch.float16).double(),
    "other": lambda p: p.to(torch.zeros((), dtype=torch.float16)),
    "inside a module": lambda p: torch.nn.ModuleList([p]).half()[0],  # type: ignore[return-value]
}


@pytest.mark.parametrize("cast", CASTS)
def test_scale_and_references_are_never_rounded(cast: str) -> None:
    potential = make_potential(VARIANTS["default"], seed=0)
    references = np.arange(30) - 1e4 * THIRD
    potential.set_normalisation(THIRD, references)
    potential = CASTS[cast](potential)
    assert potential.scale.dtype == potential.references.dtype == torch.float64
    assert float(potential.scale) == THIRD
    assert np.array_equal(potential.references.numpy(), references)
    expected = torch.float64 if cast == "to and back" else None
    assert (potential.network.head[0].weight.dtype == expected) == (expected is not None)
    assert {"scale", "references"} <= set(potential.state_dict())


def test_energy_is_the_scaled_network_and_the_references() -> None:
    potential = make_potential(VARIANTS["default"], seed=0).double().eval()
    graph = make_graph(chiral_molecule(), potential.cutoff)
    bare = potential(graph)
    references = np.linspace(-3, 5, 30)
    potential.set_normalisation(2.5, references)
    prediction = potential(graph)
    expected = 2.5 * bare.energies + torch.from_numpy(references)[graph.numbers]
    assert torch.allclose(prediction.energies, expected, rtol=0, atol=1e-14)
    assert torch.allclose(prediction.energy, expected.sum().expand(1), rtol=0, atol=1e-13)
    assert torch.allclose(prediction.forces, 2.5 * bare.forces, rtol=0, atol=1e-14)


def weights(potential: EsenPotential) -> Tensor:
    return torch.nn.utils.parameters_to_vector(potential.parameters())


def test_a_seed_fixes_the_weights_and_touches_no_other_randomness() -> None:
    spec = VARIANTS["default"]
    state = torch.get_rng_state()
    first = weights(make_potential(spec, seed=1))
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(7)
    assert torch.equal(weights(make_potential(spec, seed=1)), first)
    assert not torch.equal(weights(make_potential(spec, seed=2)), first)


def test_elements_that_it_was_not_trained_on_are_refused_by_name() -> None:
    potential = make_potential(VARIANTS["default"], seed=0, elements=(1, 8)).eval()
    water = make_graph(isolated([8, 1], [[0, 0, 0], [0, 0, 1]]), 4.0)
    assert torch.isfinite(potential(water).energy)
    mixed = make_graph(isolated([8, 12, 6], [[0, 0, 0], [0, 0, 2], [0, 2, 0]]), 4.0)
    with pytest.raises(InputError, match=r" C, Mg; .* H, O$"):
        potential(mixed)


def test_elements_beyond_the_embedding_are_refused_by_name() -> None:
    potential = make_potential(VARIANTS["default"], seed=0).eval()
    uranium = make_graph(isolated([92], [[0, 0, 0]]), 4.0)
    with pytest.raises(InputError, match=r" U; .* H, He, .*, …$") as error:
        potential(uranium)
    assert "\n" not in str(error.value)


def test_precision_of_the_network() -> None:
    """The network computes in its own precision, and predictions are in float64."""
    potential = potential_of("default", torch.float32)
    graph = make_graph(chiral_molecule(), potential.cutoff)
    assert potential.features(graph, edge_vectors(graph)).dtype == torch.float32
    prediction = potential(graph)
    for name in ("energy", "forces", "stress", "energies"):
        assert getattr(prediction, name).dtype == torch.float64


@pytest.mark.parametrize("graph", [{"kind": "cutoff"}, {"kind": "knn", "k": 3}])
def test_pickles(graph: dict[str, object]) -> None:
    """A potential is sent to other processes by pickle."""
    spec = ModelSpec.model_validate(
        {"sphere_channels": 3, "hidden_channels": 3, "edge_channels": 3, "max_elements": 9, "graph": graph}
    )
    potential = make_potential(spec, seed=0)
    other = pickle.loads(pickle.dumps(potential))
    assert all(torch.equal(a, b) for a, b in zip(potential.parameters(), other.parameters(), strict=True))


def test_inference_mode_gives_the_same() -> None:
    potential = potential_of("default")
    graph = make_graph(chiral_molecule(), potential.cutoff)
    plain = potential(graph)
    with torch.inference_mode():
        inside = potential(graph)
        made_inside = potential(make_graph(chiral_molecule(), potential.cutoff))
    for prediction in (inside, made_inside):
        assert torch.equal(prediction.forces, plain.forces)
        assert torch.equal(prediction.energy, plain.energy)
