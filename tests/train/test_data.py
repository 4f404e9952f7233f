"""Frames for training, and their batches."""

import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import esen.train.batches
import esen.train.data
from esen.data.convert import Settings, convert
from esen.data.frames import as_frames
from esen.data.readers import Files, Reading
from esen.data.references import fit_references
from esen.data.structure import Structure
from esen.errors import InputError
from esen.graph.batch import make_graph
from esen.recipe import BatchSpec
from esen.train.batches import Batches
from esen.train.data import TrainingData, known_frames, load_training_data
from tests.train.small import crystals, molecule, recipe_of, write_frames


def load(path: Path, frames: list[Structure], **changes: Any) -> tuple[TrainingData, list[str]]:
    """The data, and what was said."""
    said: list[str] = []
    write_frames(path / "train.xyz", frames)
    return load_training_data(recipe_of(path / "train.xyz", **changes), said.append), said


def sources(frames: list[Structure]) -> list[str]:
    return [s.source for s in frames]


def test_frames_are_divided_once_and_for_all(tmp_path: Path) -> None:
    frames = list(crystals(10))
    data, _ = load(tmp_path, frames)
    again, _ = load(tmp_path, frames)
    other, _ = load(tmp_path, frames, train__seed=1)
    assert (len(data.train), len(data.validation)) == (8, 2)
    numbers = [int(s.source.rsplit(" ", 1)[1]) for s in (*data.train, *data.validation)]
    assert sorted(numbers) == list(range(10))
    assert sources(data.validation) == sources(again.validation) != sources(other.validation)
    assert data.fingerprint == again.fingerprint != other.fingerprint


def test_given_validation_frames_are_used_as_they_are(tmp_path: Path) -> None:
    write_frames(tmp_path / "validation.xyz", crystals(3, seed=1))
    data, _ = load(tmp_path, list(crystals(4)), data__validation=[{"path": str(tmp_path / "validation.xyz")}])
    assert (len(data.train), len(data.validation)) == (4, 3)


def test_scale_is_the_root_mean_square_of_the_forces(tmp_path: Path) -> None:
    data, _ = load(tmp_path, list(crystals(6)))
    forces = np.concatenate([s.forces.ravel() for s in data.train if s.forces is not None])
    assert data.scale == pytest.approx(np.sqrt(np.mean(forces**2)))


def test_scale_is_one_where_all_forces_are_zero(tmp_path: Path) -> None:
    data, _ = load(tmp_path, [replace(s, forces=np.zeros((2, 3))) for s in crystals(4)])
    assert data.scale == 1.0


@pytest.mark.parametrize(
    "change",
    [
        {"energy": -7.0},
        {"forces": np.zeros((2, 3))},
        {"stress": None},
        {"positions": np.eye(3)[:2]},
        {"numbers": np.array([8, 12])},
        {"cell": 3 * np.eye(3)},
        {"pbc": np.zeros(3, dtype=bool)},
    ],
)
def test_the_fingerprint_sees_every_change(change: dict[str, Any]) -> None:
    frames = list(crystals(4))
    changed = [*frames[:3], replace(frames[3], **change)]
    data = TrainingData(frames, [], fit_references(frames, 20), 1.0)
    assert replace(data, scale=2.0).fingerprint == data.fingerprint
    assert replace(data, train=changed).fingerprint != data.fingerprint
    assert replace(data, train=frames[:3], validation=frames[3:]).fingerprint != data.fingerprint


def test_references(tmp_path: Path) -> None:
    frames = [molecule(8), molecule(12), molecule(8, 12), molecule(8, 8), molecule(8, 8, 12)]
    data, said = load(tmp_path, frames, train__loss={"stress": 0})
    assert data.references.energies[[8, 12]] == pytest.approx([-1.0, -1.0])
    assert said == [
        "warning: elements in 3 or fewer of 4 frames to train on, which are hardly learned: O (3), Mg (2)"
    ]
    none, _ = load(tmp_path, frames, train__loss={"stress": 0}, data__references="none")
    assert not none.references.energies.any()
    assert none.references.elements == (8, 12)


def test_references_that_the_data_leave_open_are_said(tmp_path: Path) -> None:
    _, said = load(tmp_path, list(crystals(6)))
    assert len(said) == 1
    assert "do not fix the reference energies of O, Mg" in said[0]


def test_an_element_of_one_frame_stays_in_training(tmp_path: Path) -> None:
    frames = [*crystals(9), molecule(8, 26)]
    for seed in range(6):
        data, _ = load(tmp_path, frames, train__seed=seed, data__validation_fraction=0.3)
        assert 26 in data.references.elements
        assert {z for s in data.validation for z in s.numbers.tolist()} <= {8, 12}
        assert len(data.train) + len(data.validation) == 10


def test_frames_that_share_no_element_cannot_be_divided(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"data\.validation"):
        load(tmp_path, [molecule(8), molecule(12)], train__loss={"stress": 0})


def test_frames_with_an_element_that_is_not_trained_on_are_left_out() -> None:
    said: list[str] = []
    known = known_frames([molecule(8), molecule(8, 26), molecule(12)], {8, 12}, "test", said.append)
    assert [s.numbers.tolist() for s in known] == [[8], [12]]
    assert said == ["note: 1 of 3 test frames are left out: they hold Fe, which no training frame does"]
    with pytest.raises(InputError, match=r"data\.validation.*Fe"):
        known_frames([molecule(26)], {8}, "validation", said.append)


def test_missing_stress(tmp_path: Path) -> None:
    bare = [replace(s, stress=None) for s in crystals(5)]
    with pytest.raises(InputError, match=r"stress .*train\.loss\.stress: 0"):
        load(tmp_path, bare)
    with pytest.raises(InputError, match=r"periodic .*train\.loss\.stress: 0"):
        load(tmp_path, [molecule(8, 12) for _ in range(5)])
    _, said = load(tmp_path, [*crystals(5), *bare])
    assert any("of 8 frames have no stress; they count in energy and forces" in line for line in said)


def test_a_wrong_frame_is_named(tmp_path: Path) -> None:
    frames = list(crystals(4))
    wrong = replace(frames[2], forces=np.full((2, 3), np.nan))
    with pytest.raises(InputError, match=r"train\.xyz, frame 2: forces of atom 0 "):
        load(tmp_path, [*frames[:2], wrong, frames[3]])


def some_batches(atoms: list[int], spec: BatchSpec) -> Batches:
    return Batches([molecule(*[8] * count) for count in atoms], 2.5, spec)


@given(
    sizes=st.lists(st.integers(1, 6), min_size=1, max_size=20),
    spec=st.one_of(
        st.builds(BatchSpec, atoms=st.integers(1, 15)), st.builds(BatchSpec, structures=st.integers(1, 5))
    ),
    seed=st.integers(0, 3),
    epoch=st.integers(0, 3),
)
def test_every_frame_once_an_epoch(sizes: list[int], spec: BatchSpec, seed: int, epoch: int) -> None:
    batches = some_batches(sizes, spec)
    for made in (batches.in_order(), batches.shuffled(seed, epoch)):
        assert sorted(i for batch in made for i in batch) == list(range(len(sizes)))
        for batch in made:
            if spec.atoms is not None:
                assert len(batch) == 1 or sum(sizes[i] for i in batch) <= spec.atoms
            if spec.structures is not None:
                assert len(batch) <= spec.structures
    assert batches.in_order() == some_batches(sizes, spec).in_order()
    assert batches.shuffled(seed, epoch) == some_batches(sizes, spec).shuffled(seed, epoch)


def test_every_epoch_and_seed_has_its_own_order() -> None:
    batches = some_batches([1] * 30, BatchSpec(structures=4))
    orders = {str(batches.shuffled(seed, epoch)) for seed in range(3) for epoch in range(3)}
    assert len(orders) == 9


def test_the_graphs_of_a_batch_are_searched_together_and_once(torch_cluster_searches: list[int]) -> None:
    batches = Batches([*crystals(4)], 3.5, BatchSpec(structures=3), "torch_cluster")
    batches.load([0, 2])
    batches.load([2, 1, 3])
    batches.load([3, 0])
    assert torch_cluster_searches == [2, 2, 0]
    assert torch.equal(batches.load([3])[0].sender, make_graph(crystals(4)[3], 3.5).sender)


def test_a_backend_that_is_not_installed_is_refused_before_anything_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch_cluster", None)
    recipe = recipe_of(tmp_path / "not there.xyz", model__graph={"kind": "knn", "backend": "torch_cluster"})
    with pytest.raises(InputError, match=r"^model\.graph\.backend is torch_cluster"):
        load_training_data(recipe, lambda _: None)


@pytest.mark.parametrize("kept_edges", [0, 40, 10**6])
def test_a_batch_is_the_same_whether_its_graphs_were_kept_or_not(
    kept_edges: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(esen.train.batches, "_KEPT_EDGES", kept_edges)
    frames = [*crystals(3), molecule(8, 12, 8)]
    batches = Batches(frames, 3.5, BatchSpec(structures=2))
    for _ in range(2):
        graph, labels = batches.load([3, 1])
        expected = make_graph([frames[3], frames[1]], 3.5)
        assert torch.equal(graph.positions, expected.positions)
        assert torch.equal(graph.sender, expected.sender)
        assert torch.equal(graph.shift, expected.shift)
        assert labels.energy.tolist() == [frames[3].energy, frames[1].energy]
        assert labels.stress[0].isnan().all()
        assert labels.forces.shape == (5, 3)


def converted(path: Path, frames: list[Structure], name: str = "train") -> Path:
    """A training set of some frames."""
    source = write_frames(path / f"{name}.xyz", frames)
    settings = Settings(Reading(required=()), frames_per_shard=4)
    return convert([Files(str(source))], path / f"{name}.esendata", settings).path


def test_a_mapped_set_trains_as_its_files(tmp_path: Path) -> None:
    frames = [*crystals(9), molecule(8, 26)]
    listed, said = load(tmp_path, frames)
    told: list[str] = []
    mapped = load_training_data(recipe_of(converted(tmp_path, frames)), told.append)
    assert mapped.fingerprint == listed.fingerprint
    assert mapped.scale == listed.scale
    assert np.array_equal(mapped.references.energies, listed.references.energies)
    assert mapped.references.confounded == listed.references.confounded
    assert said == told
    ours, theirs = (Batches(d.train, 3.5, BatchSpec(atoms=5)) for d in (mapped, listed))
    for order in (ours.in_order(), ours.shuffled(0, 1)):
        for indices in order:
            (graph, labels), (other, others) = ours.load(indices), theirs.load(indices)
            assert torch.equal(graph.positions, other.positions)
            assert torch.equal(graph.shift, other.shift)
            assert torch.equal(labels.forces, others.forces)
            assert torch.equal(labels.stress.isnan(), others.stress.isnan())


def test_repeats_and_weights(tmp_path: Path) -> None:
    listed = {"path": str(write_frames(tmp_path / "a.xyz", crystals(6))), "repeat": 3, "weight": 0.5}
    mapped = {"path": str(converted(tmp_path, list(crystals(5, seed=1)), "b")), "repeat": 2, "frames": "1:"}
    last = {"path": str(write_frames(tmp_path / "c.xyz", crystals(3, seed=2)))}
    recipe = recipe_of(tmp_path, data__train=[listed, mapped, last], data__validation=[last])
    data = load_training_data(recipe, lambda _: None)
    seen = Counter(
        (Path(s.source).name[0], weight)
        for s, weight in zip(data.train, as_frames(data.train).facts.weights, strict=True)
    )
    assert seen == {("a", 0.5): 18, ("b", 1.0): 8, ("c", 1.0): 3}
    assert set(Counter(sources(list(data.train))).values()) == {3, 2, 1}
    once = recipe_of(
        tmp_path, data__train=[{**listed, "repeat": 1}, mapped | {"repeat": 1}, last], data__validation=[last]
    )
    other = load_training_data(once, lambda _: None)
    assert (other.scale, len(other.train)) == (
        data.scale,
        13,
    )  # fitted on frames, however often they are seen
    assert np.array_equal(other.references.energies, data.references.energies)
    assert other.fingerprint != data.fingerprint


def test_frames_held_out_are_never_trained_on(tmp_path: Path) -> None:
    path = write_frames(tmp_path / "a.xyz", crystals(10))
    data = load_training_data(recipe_of(path, data__train=[{"path": str(path), "repeat": 4}]), lambda _: None)
    assert (len(data.train), len(data.validation)) == (4 * 8, 2)
    assert not set(sources(list(data.train))) & set(sources(list(data.validation)))


def test_other_keys_for_other_sources(tmp_path: Path) -> None:
    names = {"energy": "E", "forces": "F", "stress": "S"}
    one = {"path": str(write_frames(tmp_path / "a.xyz", crystals(4)))}
    other = {"path": str(write_frames(tmp_path / "b.xyz", crystals(4, seed=1), names))}
    keys = {"energy_key": "E", "forces_key": "F", "stress_key": "S"}
    data = load_training_data(recipe_of(tmp_path, data__train=[one, other | keys]), lambda _: None)
    assert len(data.train) + len(data.validation) == 8
    assert data.train[-1].stress is not None
    with pytest.raises(InputError, match=r"b\.xyz, frame 0.*data\.energy_key: E"):
        load_training_data(recipe_of(tmp_path, data__train=[one, other]), lambda _: None)


def test_references_of_a_file_and_of_isolated_atoms(tmp_path: Path) -> None:
    file = tmp_path / "r.json"
    file.write_text('{"O": -2.0, "Mg": -1.5}')
    data, said = load(tmp_path, list(crystals(5)), data__references={"file": str(file)})
    assert (data.references.energies[8], data.references.energies[12], said) == (-2.0, -1.5, [])
    atoms = [molecule(8), molecule(12)]
    for seed in range(4):  # wherever the atoms are, the references are theirs
        data, _ = load(tmp_path, [*crystals(5), *atoms], data__references="isolated_atoms", train__seed=seed)
        assert (data.references.energies[8], data.references.energies[12]) == (-1.0, -1.0)
    with pytest.raises(InputError, match=r"isolated.*O, Mg"):
        load(tmp_path, list(crystals(5)), data__references="isolated_atoms")


def test_a_mapped_set_without_the_labels_of_the_loss(tmp_path: Path) -> None:
    frames = list(crystals(6))
    bare = converted(tmp_path, [replace(s, forces=None) if n == 2 else s for n, s in enumerate(frames)])
    with pytest.raises(InputError, match=r"frame 2: .*train\.loss\.forces .*20"):
        load_training_data(
            recipe_of(bare, data__validation=[{"path": str(bare), "frames": ":1"}]), lambda _: None
        )
    with pytest.raises(InputError, match=r"Mg \(Z = 12\) .* model\.max_elements"):
        load_training_data(recipe_of(bare, model__max_elements=12), lambda _: None)


WITHOUT = {name: {name: None} for name in ("energy", "forces", "stress")}


@pytest.mark.parametrize("name", WITHOUT)
@pytest.mark.parametrize("mapped", [False, True], ids=["files", "mapped"])
def test_a_label_that_the_loss_asks_for_and_no_frame_has(name: str, mapped: bool, tmp_path: Path) -> None:
    frames = [replace(s, **WITHOUT[name]) for s in crystals(6)]
    path = converted(tmp_path, frames) if mapped else write_frames(tmp_path / "train.xyz", frames)
    loss = {"energy": 20, "forces": 20, "stress": 5}
    with pytest.raises(InputError) as error:
        load_training_data(recipe_of(path, train__loss=loss), lambda _: None)
    assert str(path) in str(error.value)
    assert f"no frame has {name} under '{name}'" in str(error.value)
    assert f"train.loss.{name}: 0" in str(error.value)
    assert f"data.{name}_key" in str(error.value)
    data = load_training_data(recipe_of(path, train__loss=loss | {name: 0}), lambda _: None)
    assert len(data.train) == 5


def test_a_label_under_another_name_is_named(tmp_path: Path) -> None:
    path = write_frames(
        tmp_path / "train.xyz", crystals(6), {"energy": "energy", "forces": "dft_forces", "stress": "stress"}
    )
    with pytest.raises(InputError, match=r"data\.forces_key: dft_forces"):
        load_training_data(recipe_of(path), lambda _: None)


def test_without_energies_there_are_no_reference_energies(tmp_path: Path) -> None:
    frames = [replace(s, energy=None) for s in crystals(6)]
    data, said = load(tmp_path, frames, train__loss={"energy": 0})
    assert not data.references.energies.any()
    assert data.references.elements == (8, 12)
    assert any("reference energies are 0" in line for line in said)


def test_without_forces_the_scale_is_that_of_the_energies_beyond_the_references(tmp_path: Path) -> None:
    frames = [replace(s, forces=None, stress=None) for s in crystals(10)]
    data, _ = load(tmp_path, frames, train__loss={"forces": 0, "stress": 0})
    energies = np.array([s.energy for s in data.train])
    # all have one Mg and one O, so that the references leave the deviations from the mean
    assert data.scale == pytest.approx(np.std(energies / 2), rel=1e-9)


def test_validation_frames_need_a_label_of_the_loss(tmp_path: Path) -> None:
    bare = [replace(s, energy=None, forces=None) for s in crystals(2)]
    given = [{"path": str(write_frames(tmp_path / "validation.xyz", bare))}]
    with pytest.raises(InputError, match=r"data\.validation: .* energy or forces"):
        load(tmp_path, list(crystals(6)), data__validation=given, train__loss={"stress": 0})
    data, _ = load(tmp_path, list(crystals(6)), data__validation=given)  # by the stress alone
    assert len(data.validation) == 2


def test_many_frames_in_memory_are_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(esen.train.data, "_MANY", 7)
    _, said = load(tmp_path, list(crystals(8)))
    assert any("8 frames are held in memory; `esen data convert`" in line for line in said)
    told: list[str] = []
    load_training_data(recipe_of(converted(tmp_path, list(crystals(8)))), told.append)
    assert not any("in memory" in line for line in told)


def warnings(path: Path, frames: list[Structure], cutoff: float) -> list[str]:
    """Warnings about frames to train on; those of crystals(2) are validated on."""
    given = [{"path": str(write_frames(path / "validation.xyz", crystals(2)))}]
    _, said = load(path, frames, model__cutoff=cutoff, data__validation=given)
    return [line for line in said if line.startswith("warning")]


def test_a_cutoff_below_the_shortest_distance_is_told_of(tmp_path: Path) -> None:
    assert warnings(tmp_path, list(crystals(5)), 3.5) == []
    (line,) = warnings(tmp_path, list(crystals(5)), 0.35)
    assert "model.cutoff, 0.35 Å" in line


def test_one_frame_with_edges_is_enough(tmp_path: Path) -> None:
    frames = crystals(5)
    apart = [replace(f, positions=f.positions * 100, cell=f.cell * 100) for f in frames]
    assert len(warnings(tmp_path, apart, 3.5)) == 1
    assert warnings(tmp_path, [*apart, frames[0]], 3.5) == []
