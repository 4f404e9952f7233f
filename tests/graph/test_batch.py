from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from esen.data.structure import Structure
from esen.errors import InputError
from esen.graph.batch import collate, make_graph, make_labels, pack_batches, separate
from esen.graph.edges import edge_vectors
from esen.graph.types import Graph, Prediction
from tests.strategies import structures


def same(left: Graph, right: Graph) -> bool:
    pairs = [(getattr(left, f.name), getattr(right, f.name)) for f in fields(Graph)]
    return all(a.dtype == b.dtype and torch.equal(a, b) for a, b in pairs)


@given(st.lists(structures(), min_size=1, max_size=4))
def test_a_batch_is_its_singles_one_after_another(drawn):
    singles = [make_graph(structure, 4.0) for structure in drawn]
    batch = make_graph(drawn, 4.0)
    assert batch.num_structures == len(drawn)
    assert batch.num_atoms == sum(single.num_atoms for single in singles)
    assert batch.num_edges == sum(single.num_edges for single in singles)
    torch.testing.assert_close(
        edge_vectors(batch), torch.cat([edge_vectors(s) for s in singles]), rtol=0, atol=0
    )
    assert batch.structure.tolist() == [b for b, s in enumerate(drawn) for _ in range(len(s))]
    assert (batch.receiver.diff() >= 0).all()
    assert torch.equal(batch.structure[batch.sender], batch.structure[batch.receiver])
    assert batch.numbers.tolist() == [z for s in drawn for z in s.numbers.tolist()]


@given(st.lists(structures(max_atoms=2), min_size=3, max_size=3))
def test_batches_of_batches(drawn):
    a, b, c = (make_graph(structure, 3.0) for structure in drawn)
    assert same(collate([a, b, c]), collate([collate([a, b]), c]))
    assert same(collate([a, b, c]), collate([a, collate([b, c])]))
    assert same(collate([a]), a)


def test_dtypes_and_shapes_where_nothing_is_near():
    atom = Structure(np.array([2]), np.zeros((1, 3)), np.zeros((3, 3)), np.zeros(3, dtype=bool))
    graph = make_graph([atom, atom], 5.0)
    assert (graph.num_structures, graph.num_atoms, graph.num_edges) == (2, 2, 0)
    assert {graph.sender.dtype, graph.receiver.dtype, graph.numbers.dtype} == {torch.int64}
    assert {graph.positions.dtype, graph.cell.dtype, graph.shift.dtype} == {torch.float64}
    assert graph.shift.shape == (0, 3)
    assert graph.pbc.dtype == torch.bool


def test_a_graph_shares_no_memory_with_its_structure():
    positions = np.zeros((1, 3))
    atom = Structure(np.array([2]), positions, np.zeros((3, 3)), np.zeros(3, dtype=bool), forces=positions)
    graph, labels = make_graph(atom, 5.0), make_labels(atom)
    positions += 1.0
    assert not graph.positions.any()
    assert not labels.forces.any()


def test_a_bad_structure_is_named():
    bad = Structure(
        np.array([2]), np.zeros((1, 3)), np.zeros((3, 3)), np.ones(3, dtype=bool), source="a.xyz, frame 4"
    )
    with pytest.raises(InputError, match=r"a\.xyz, frame 4: .*periodic"):
        make_graph([bad], 5.0)


def test_an_empty_batch_is_a_mistake():
    with pytest.raises(ValueError, match="graph"):
        collate([])


def test_missing_labels_are_nan():
    atom = Structure(np.array([2]), np.zeros((1, 3)), np.eye(3), np.ones(3, dtype=bool))
    known = replace(atom, energy=1.5, forces=np.ones((1, 3)), stress=np.eye(3))
    labels = make_labels([atom, known])
    assert labels.energy.isnan().tolist() == [True, False]
    assert labels.forces.isnan().all(dim=1).tolist() == [True, False]
    assert labels.stress.isnan().all(dim=2).all(dim=1).tolist() == [True, False]
    assert labels.energy[1] == 1.5
    assert labels.stress[1].tolist() == np.eye(3).tolist()
    assert {labels.energy.dtype, labels.forces.dtype, labels.stress.dtype} == {torch.float64}


@given(st.lists(st.integers(1, 40), max_size=30), st.integers(1, 50), st.randoms(use_true_random=False))
def test_atom_budget(sizes, budget, random):
    order = random.sample(range(len(sizes)), len(sizes))
    batches = pack_batches(sizes, atoms=budget, structures=None, order=order)
    assert [index for batch in batches for index in batch] == order
    totals = [sum(sizes[index] for index in batch) for batch in batches]
    for batch, total in zip(batches, totals, strict=True):
        assert total <= budget or len(batch) == 1
    for total, following in zip(totals, batches[1:], strict=False):
        assert total + sizes[following[0]] > budget  # no room was left unused


def test_structure_count():
    assert pack_batches([9] * 5, atoms=None, structures=2, order=[4, 3, 2, 0]) == [[4, 3], [2, 0]]
    assert pack_batches([9] * 3, atoms=None, structures=2, order=range(3)) == [[0, 1], [2]]
    with pytest.raises(ValueError, match="either"):
        pack_batches([1], atoms=None, structures=None, order=[0])


@given(st.lists(structures(), min_size=1, max_size=3))
def test_separate_undoes_collate(drawn):
    graph = make_graph(drawn, 3.0)
    everything = Prediction(
        energy=torch.arange(len(drawn), dtype=torch.float64),
        forces=graph.positions,
        stress=graph.cell,
        energies=graph.numbers.double(),
        virial=2 * graph.cell,
    )
    parts = separate(everything, graph)
    assert [float(part.energy) for part in parts] == list(range(len(drawn)))
    for part, structure in zip(parts, drawn, strict=True):
        assert part.forces.tolist() == structure.positions.tolist()
        assert part.stress.tolist() == [structure.cell.tolist()]
        assert part.virial.tolist() == [(2 * structure.cell).tolist()]
        assert part.energies.tolist() == structure.numbers.tolist()
