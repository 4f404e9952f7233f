"""The edges of every backend are bitwise identical to those of vesin."""

import logging
import sys
from collections.abc import Iterator, Sequence
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import esen.graph.backends.torch_cluster
from esen.data.neighbours import edges_of, neighbour_list, prepare_search
from esen.data.structure import Structure
from esen.errors import InputError
from esen.graph.backends import find_edges, require_backend, usable_backend
from esen.graph.backends.torch_cluster import images_around, make_finder
from esen.graph.batch import make_graph, make_graphs
from esen.graph.edges import nearest_edges
from esen.recipe.model import Backend
from tests.strategies import structures

PACKAGES: dict[Backend, str] = {"torch_cluster": "torch_cluster", "nvalchemi": "nvalchemiops"}
PERIODIC, OPEN = np.ones(3, dtype=bool), np.zeros(3, dtype=bool)


def every_distance(x: Tensor, y: Tensor, r: float, *, max_num_neighbors: int = 32) -> Tensor:
    """Do the same as `torch_cluster.radius`, which also keeps the first neighbours instead of the nearest."""
    near = (x[None] - y[:, None]).norm(dim=-1) < r
    near &= near.cumsum(dim=1) <= max_num_neighbors
    return near.nonzero().T


@pytest.fixture(scope="module", params=["torch_cluster by every distance", "torch_cluster", "nvalchemi"])
def backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
    """Return each installed backend, and torch_cluster without its library, so that its images are always tested."""
    if request.param == "torch_cluster by every distance":
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(sys.modules, "torch_cluster", SimpleNamespace(radius=every_distance))
            yield "torch_cluster"
    else:
        pytest.importorskip(PACKAGES[request.param])
        yield request.param


def of(positions: object, cell: object, pbc: object = PERIODIC) -> Structure:
    """Return a structure of hydrogen."""
    places = np.array(positions, dtype=np.float64).reshape(-1, 3)
    return Structure(
        np.ones(len(places), dtype=np.int64), places, np.array(cell, dtype=np.float64), np.array(pbc)
    )


def assert_same_edges(structures: Sequence[Structure], cutoff: float, backend: Backend) -> int:
    """Compare the edges with those of vesin and return their number."""
    found = find_edges(structures, cutoff, backend)
    assert len(found) == len(structures)
    for structure, edges in zip(structures, found, strict=True):
        expected = neighbour_list(structure.positions, structure.cell, structure.pbc, cutoff)
        for ours, theirs in zip(edges, expected, strict=True):
            assert ours.dtype == theirs.dtype
            assert np.array_equal(ours, theirs)
    return sum(len(sender) for sender, _, _ in found)


@settings(max_examples=30)
@given(batch=st.lists(structures(max_atoms=3), min_size=1, max_size=3), cutoff=st.floats(0.5, 6.0))
def test_the_edges_are_those_of_vesin(batch: list[Structure], cutoff: float, backend: Backend) -> None:
    assert_same_edges(batch, cutoff, backend)


RANDOM = np.random.default_rng(0)
SKEWED = np.array([[3.0, 0.0, 0.0], [14.0, 4.0, 0.0], [-7.0, 9.0, 5.0]])
FAR = [[0.0, 0.0, 0.0], [0.0, 0.0, 1e6], [0.0, 0.0, 1e6 + 3.0]]


@pytest.mark.parametrize(
    ("structure", "cutoff", "edges"),
    [
        pytest.param(
            of([0, 0, 0], 1.0 * np.eye(3)), 5.0, 514, id="lattice points of a sphere, its surface too"
        ),
        pytest.param(of([0, 0, 0], 2.0 * np.eye(3)), 4.0, 32, id="closed"),
        pytest.param(of([0, 0, 0], 2.0 * np.eye(3)), float(np.nextafter(4.0, 0.0)), 26, id="just below"),
        pytest.param(of(RANDOM.uniform(-9, 9, (5, 3)), SKEWED), 6.0, None, id="a very oblique cell"),
        pytest.param(of(RANDOM.uniform(-9, 9, (5, 3)), SKEWED[[1, 0, 2]]), 6.0, None, id="and left-handed"),
        pytest.param(of([[0, 0, 0], [0, 0, 500]], np.diag([1.0, 1, 1000])), 6.0, 224, id="a long thin cell"),
        pytest.param(of(np.zeros((40, 3)), 5.0 * np.eye(3)), 1.0, 40 * 39, id="all atoms in one place"),
        pytest.param(
            of(RANDOM.normal(0, 0.8, (150, 3)), np.zeros((3, 3)), OPEN), 6.0, None, id="a dense cluster"
        ),
        pytest.param(of(FAR, np.diag([3.0, 3, 0]), [True, True, False]), 3.0, 14, id="far above a slab"),
        pytest.param(of([[0, 0, 0], [3e6 + 1.5, 0, 0]], 3.0 * np.eye(3)), 1.6, 4, id="a million cells away"),
        pytest.param(of([0, 0, 0], np.diag([0.0, 2, 0]), [False, True, False]), 4.0, 4, id="a wire"),
        pytest.param(of([0, 0, 0], np.zeros((3, 3)), OPEN), 6.0, 0, id="an atom"),
        pytest.param(of([[0, 0, 0], [0, 0, 6.1]], np.zeros((3, 3)), OPEN), 6.0, 0, id="out of reach"),
        pytest.param(of([], 4.0 * np.eye(3)), 6.0, 0, id="no atoms"),
    ],
)
def test_hard_cases(structure: Structure, cutoff: float, edges: int | None, backend: Backend) -> None:
    count = assert_same_edges([structure], cutoff, backend)
    assert count == edges if edges is not None else count > 100


def test_very_different_structures_in_one_batch(backend: Backend) -> None:
    atom, cluster = (
        of([0, 0, 0], np.zeros((3, 3)), OPEN),
        of(RANDOM.normal(0, 1, (60, 3)), np.zeros((3, 3)), OPEN),
    )
    batch = [atom, of([], np.eye(3)), of([0, 0, 0], 1.5 * np.eye(3)), cluster, atom, of([0, 0, 0], SKEWED)]
    assert_same_edges(batch, 5.0, backend)
    assert_same_edges([], 5.0, backend)


def test_the_graph_is_the_same_and_so_are_the_nearest(backend: Backend) -> None:
    batch = [of(RANDOM.uniform(0, 5, (6, 3)), SKEWED), of(RANDOM.uniform(0, 5, (6, 3)), 5 * np.eye(3))]
    expected, graph = make_graph(batch, 5.0), make_graph(batch, 5.0, backend)
    for name, tensor in vars(expected).items():
        assert torch.equal(tensor, getattr(graph, name)), name
    single = make_graph(batch[1], 5.0, backend)
    assert torch.equal(single.shift, make_graphs(batch, 5.0, backend)[1].shift)
    pruned = nearest_edges(graph, 7)
    assert torch.equal(pruned.sender, nearest_edges(expected, 7).sender)
    assert pruned.num_edges < graph.num_edges


@given(structure=structures(max_atoms=3), cutoff=st.floats(0.5, 6.0), seed=st.integers(0, 99))
def test_other_pairs_and_other_orders_change_nothing(structure: Structure, cutoff: float, seed: int) -> None:
    """A backend may return more pairs than asked for, in any order."""
    search = prepare_search(structure.positions, structure.cell, structure.pbc, cutoff)
    further = prepare_search(structure.positions, structure.cell, structure.pbc, cutoff + 1.5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "torch_cluster", SimpleNamespace(radius=every_distance))
        (pairs,) = make_finder()([further])
    order = np.random.default_rng(seed).permutation(len(pairs[0]))
    # Along directions that are no period the boxes of the two searches differ, but atoms are never moved there.
    assert np.array_equal(search.home, further.home)
    found = edges_of(search, (pairs[0][order], pairs[1][order], pairs[2][order]))
    expected = neighbour_list(structure.positions, structure.cell, structure.pbc, cutoff)
    assert all(np.array_equal(ours, theirs) for ours, theirs in zip(found, expected, strict=True))


@given(structure=structures(), cutoff=st.floats(0.5, 6.0))
def test_a_search_begins_inside_the_box(structure: Structure, cutoff: float) -> None:
    search = prepare_search(structure.positions, structure.cell, structure.pbc, cutoff)
    fractional = search.positions @ np.linalg.inv(search.box)
    assert (fractional > -1e-9).all()
    assert (fractional < 1 + 1e-9).all()
    assert search.radius > cutoff
    assert np.array_equal(search.box[search.pbc], structure.cell[search.pbc])


def test_a_large_cell_gets_a_thin_shell_of_images() -> None:
    """A shell of 1 Å around a cube of 40 Å makes (42/40)³ times the atoms, not 27 times."""
    positions = np.random.default_rng(1).uniform(0, 40, (8000, 3))
    atom, shift = images_around(prepare_search(positions, 40.0 * np.eye(3), PERIODIC, 1.0))
    assert len(atom) == pytest.approx(8000 * (42 / 40) ** 3, rel=0.02)
    assert len(np.unique(np.column_stack([atom, shift]), axis=0)) == len(atom)


def test_a_small_cell_gets_the_images_that_the_cutoff_needs() -> None:
    atom, shift = images_around(prepare_search(np.zeros((1, 3)), np.diag([2.0, 3.0, 50.0]), PERIODIC, 6.5))
    assert len(atom) == 7 * 5 * 1
    assert np.abs(shift).max(axis=0).tolist() == [3, 2, 0]


@pytest.mark.parametrize("name", ["torch_cluster", "nvalchemi"])
class TestNotInstalled:
    @pytest.fixture(autouse=True)
    def _hide(self, name: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
        for module in [m for m in sys.modules if m.split(".")[0] == PACKAGES[name]]:
            monkeypatch.delitem(sys.modules, module)
        monkeypatch.setitem(sys.modules, PACKAGES[name], None)

    def test_it_is_refused_in_one_line_with_the_remedies(self, name: Backend) -> None:
        for use in (
            lambda: require_backend(name),
            lambda: make_graph(of([0, 0, 0], np.eye(3)), 2.0, name),
        ):
            with pytest.raises(InputError) as error:
                use()
            message = str(error.value)
            assert message.startswith(f"model.graph.backend is {name}")
            remedy = {"torch_cluster": "make cluster", "nvalchemi": "pip install nvalchemi-toolkit-ops"}[name]
            assert remedy in message
            assert "\n" not in message

    def test_vesin_stands_in_with_one_warning(self, name: Backend, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.WARNING):
            assert usable_backend(name, "best.safetensors") == "vesin"
        (record,) = caplog.records
        assert record.getMessage().startswith(f"best.safetensors: model.graph.backend is {name}")
        assert "vesin" in record.getMessage()


def test_an_installation_that_does_not_fit_its_torch_is_one_line_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise OSError("_radius_cpu.so: undefined symbol: _ZN3c10\nand more")

    monkeypatch.setattr(esen.graph.backends.torch_cluster, "make_finder", broken)
    with pytest.raises(InputError, match=r"_radius_cpu\.so: undefined symbol: _ZN3c10"):
        require_backend("torch_cluster")


def test_what_is_installed_is_used_without_a_word(backend: Backend, caplog: pytest.LogCaptureFixture) -> None:
    require_backend(backend)
    assert usable_backend(backend, "best.safetensors") == backend
    assert usable_backend("vesin", "best.safetensors") == "vesin"
    assert not caplog.records


def test_a_bad_structure_is_named(backend: Backend) -> None:
    bad = Structure(
        np.ones(1, dtype=np.int64), np.full((1, 3), np.nan), np.eye(3), PERIODIC, source="x.xyz, frame 7"
    )
    with pytest.raises(InputError, match=r"^x\.xyz, frame 7: .*not finite"):
        make_graph([of([0, 0, 0], np.eye(3)), bad], 5.0, backend)
