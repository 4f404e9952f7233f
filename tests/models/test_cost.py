"""Parameters and FLOP agree with the published networks and with torch's counter on a whole training step."""

from dataclasses import replace
from typing import Any

import pytest
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from esen.graph.batch import make_graph
from esen.models.cost import parameter_count, step_cost
from esen.models.potential import make_potential
from esen.recipe import BatchSpec, BesselSpec, GaussianSpec, ModelSpec
from tests.models.variants import triclinic_crystal


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
        (ModelSpec.model_validate({"nonlinearity": {"kind": "grid", "resolution": 10}}), 3_034_881),
        (ModelSpec.model_validate({"nonlinearity": {"kind": "grid_edges"}}), 2_838_017),
        (ModelSpec.model_validate({"graph": {"kind": "knn", "k": 20}}), 3_199_745),
        (ModelSpec.model_validate({"envelope": {"kind": "smooth"}}), 3_199_745),
    ],
)
def test_the_counts_of_published_models(model: ModelSpec, count: int) -> None:
    assert parameter_count(model) == count


def test_the_cost_of_published_models() -> None:
    small = step_cost(ModelSpec(), BatchSpec(atoms=100))
    # MFLOP per edge and layer, as counted on the published networks
    assert small.convolution1 / 1e6 == pytest.approx(2.29, abs=0.005)
    assert small.convolution2 / 1e6 == pytest.approx(0.95, abs=0.005)
    # there l = 0 is rotated too, a product by 1
    scalars = 2 * 3 * 128
    assert (small.rotation + scalars) / 1e6 == pytest.approx(0.027, abs=0.0005)
    large = step_cost(ModelSpec(layers=10, lmax=3), BatchSpec(atoms=100))
    assert large.convolution1 / 1e6 == pytest.approx(5.24, abs=0.005)
    assert large.convolution2 / 1e6 == pytest.approx(2.23, abs=0.005)
    assert (large.rotation + scalars) / 1e6 == pytest.approx(0.054, abs=0.0005)
    # there the species are multiplied too, 2 × 256 × 128 FLOP, which a table saves
    assert (small.radial + 2 * 256 * 128) / 1e6 == pytest.approx(0.49, abs=0.005)
    assert (large.radial + 2 * 256 * 128) / 1e6 == pytest.approx(0.69, abs=0.005)


class _Counter(TorchDispatchMode):
    """Count FLOP as torch does. `FlopCounterMode` also tracks modules, which `torch.autograd.grad` does not allow."""

    total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if (count := flop_registry.get(func.overloadpacket)) is not None:
            self.total += count(*args, **(kwargs or {}), out_val=result)
        return result


@pytest.mark.parametrize("forces", ["conservative", "direct"])
def test_a_training_step_costs_what_torch_counts(forces: str) -> None:
    model = ModelSpec.model_validate({"forces": {"kind": forces}, "layers": 2, "cutoff": 5.0})
    graph = make_graph(triclinic_crystal(), cutoff=model.cutoff)
    potential = make_potential(model, seed=0).train()
    cost = step_cost(model, BatchSpec(atoms=graph.num_atoms))
    cost = replace(cost, neighbours=graph.num_edges / graph.num_atoms)
    with _Counter() as training:
        prediction = potential(graph)
        assert prediction.forces is not None
        assert prediction.stress is not None
        sum(x.square().sum() for x in (prediction.energy, prediction.forces, prediction.stress)).backward()
    with _Counter() as inference:
        potential.eval()(graph)
    assert cost.training == pytest.approx(training.total, rel=0.05)
    assert cost.inference * graph.num_atoms == pytest.approx(inference.total, rel=0.05)


def test_few_neighbours_cost_less() -> None:
    batch = BatchSpec(atoms=100)
    nearest = step_cost(ModelSpec.model_validate({"graph": {"kind": "knn", "k": 20}}), batch)
    assert nearest.neighbours == 20 < step_cost(ModelSpec(), batch).neighbours
