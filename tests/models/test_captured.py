"""Filled-up graphs give the predictions of the graphs themselves, whatever the number of edges."""

from collections import Counter
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
import torch
from ase.build import bulk, molecule
from torch.utils._python_dispatch import TorchDispatchMode

from esen.data.atoms import from_atoms
from esen.errors import InputError
from esen.graph.batch import make_graph
from esen.graph.types import Graph, Prediction
from esen.models.captured import CALLS_BEFORE, CapturedPotential, can_be_captured
from tests.models.variants import VARIANTS, each_variant, potential_of


def batch(cutoff: float, scale: float = 1.0) -> Graph:
    """Return the graph of a rattled crystal and of a molecule without a cell."""
    crystal, water = bulk("Si", cubic=True), molecule("H2O")
    crystal.rattle(0.05, seed=1)
    crystal.set_cell(crystal.cell * scale, scale_atoms=True)
    return make_graph([from_atoms(crystal, "Si"), from_atoms(water, "water")], cutoff)


def differs(ours: Prediction, expected: Prediction) -> float:
    """Return the largest difference in units of the largest force or energy of an atom."""
    size = max(float(expected.energies.abs().max()), float(expected.forces.abs().max()))
    largest = 0.0
    for name in ("energy", "forces", "stress", "energies", "virial"):
        a, b = getattr(ours, name), getattr(expected, name)
        assert a.shape == b.shape
        assert torch.equal(a.isnan(), b.isnan())
        largest = max(largest, float((a - b).nan_to_num().abs().max()) / size)
    return largest


@each_variant
def test_filled_up_graphs_predict_the_same(variant: str) -> None:
    potential = potential_of(variant)
    if not can_be_captured(potential):
        return
    filled = CapturedPotential(potential)
    for scale in (1.0, 0.99, 1.0, 0.99):
        graph = batch(potential.cutoff, scale)
        assert differs(filled(graph), potential(graph)) < 1e-12
    assert filled.captures == 1


def test_it_is_captured_again_only_where_the_edges_do_not_fit() -> None:
    potential = potential_of("default")
    filled, graph = CapturedPotential(potential), batch(potential.cutoff)
    for _ in range(CALLS_BEFORE):
        filled(graph)
    assert filled.captures == 0
    filled(graph)
    fewer = replace(graph, sender=graph.sender[:-2], receiver=graph.receiver[:-2], shift=graph.shift[:-2])
    filled(fewer)
    filled(graph)
    assert filled.captures == 1
    denser = batch(potential.cutoff, 0.7)
    assert denser.num_edges > 2 * graph.num_edges
    assert differs(filled(denser), potential(denser)) < 1e-12
    assert filled.captures == 2
    alone = make_graph(from_atoms(molecule("H2O"), "water"), potential.cutoff)
    for expected in (2, 2, 3):
        assert differs(filled(alone), potential(alone)) < 1e-12
        assert filled.captures == expected
    filled(graph)
    filled(alone)
    assert filled.captures == 4  # the two latest are kept, and the first one's room is too large


def test_a_copy_captures_for_itself() -> None:
    potential = potential_of("default")
    filled, graph = CapturedPotential(potential), batch(potential.cutoff)
    for _ in range(CALLS_BEFORE + 1):
        filled(graph)
    copy = deepcopy(filled)
    assert differs(copy(graph), potential(graph)) < 1e-12
    assert copy.captures == 2
    assert filled.captures == 1


@pytest.mark.parametrize("variant", ["default", "direct"])
def test_calls_within_inference_mode_and_without(variant: str) -> None:
    potential = potential_of(variant)
    filled = CapturedPotential(potential)
    expected = potential(batch(potential.cutoff))
    for inside in (True, True, True, True, False, True):
        with torch.inference_mode(inside):
            assert differs(filled(batch(potential.cutoff)), expected) < 1e-12
    assert filled.captures == 1


def test_which_potentials_can_be_captured() -> None:
    refused = {name for name in VARIANTS if not can_be_captured(potential_of(name))}
    assert refused == {name for name in VARIANTS if "nearest" in name or "random" in name}


def test_an_unknown_element_is_refused_also_after_a_change_in_place() -> None:
    potential = deepcopy(potential_of("default"))  # which other tests use
    potential.elements = (1, 8, 14)
    filled, graph = CapturedPotential(potential), batch(potential.cutoff)
    filled(graph)
    graph.numbers[0] = 26
    with pytest.raises(InputError, match="Fe"):
        filled(graph)


class Operations(TorchDispatchMode):
    """Counts operations by name."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.counts[func.overloadpacket.__name__] += 1
        return func(*args, **(kwargs or {}))


WAITS = {
    "lift_fresh",
    "_local_scalar_dense",
    "_unique2",
    "nonzero",
    "bincount",
    "masked_select",
    "_linalg_det",
}
"""Operations that copy data from the processor to a GPU, or wait for its results."""


@each_variant
def test_a_forward_pass_makes_no_tensor_from_data_and_reads_none(variant: str) -> None:
    potential = potential_of(variant)
    if not can_be_captured(potential):
        return
    graph = batch(potential.cutoff)
    potential.network.backbone.single_chunk = True  # the tables of species are those of a GPU
    try:
        potential(graph)
        with Operations() as operations:
            potential(graph)
    finally:
        potential.network.backbone.single_chunk = False
    assert not WAITS & set(operations.counts), operations.counts
    if variant == "default":
        assert sum(operations.counts.values()) < 2600
