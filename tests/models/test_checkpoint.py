"""A checkpoint is read as it was written, and every bad file is refused with one line."""

import errno
import json
import os
import pickle
import random
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from esen.errors import InputError
from esen.files import write_atomically
from esen.graph.batch import make_graph
from esen.models.checkpoint import (
    FORMAT,
    Checkpoint,
    load_potential,
    read_checkpoint,
    save_checkpoint,
    with_prefix,
)
from esen.models.potential import EsenPotential
from esen.recipe import CutoffGraphSpec, NearestGraphSpec
from tests.models.variants import VARIANTS, chiral_molecule, potential_of

ELEMENTS = (1, 6, 8, 12, 26)


def checkpoint_of(potential: EsenPotential, **changes: Any) -> Checkpoint:
    checkpoint = Checkpoint(
        recipe={"model": potential.spec.model_dump(mode="json")},
        elements=ELEMENTS,
        metrics={"validation/forces_mae": 12.5},
        tensors=with_prefix("weights", potential.state_dict()),
        progress={"stage": 0, "step": 7, "best": None},
    )
    return replace(checkpoint, **changes)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "best.safetensors"
    save_checkpoint(path, checkpoint_of(potential_of("default")))
    return path


def refusal(path: Path) -> str:
    """Return the error line for a file without the name of the file, with which it starts."""
    with pytest.raises(InputError) as error:
        load_potential(path)
    message = str(error.value)
    assert "\n" not in message
    assert message.startswith(f"{path}: ")
    return message.removeprefix(f"{path}: ")


def test_where_its_backend_is_not_installed_vesin_predicts_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path, default = tmp_path / "best.safetensors", potential_of("default")
    graph = CutoffGraphSpec(backend="torch_cluster")
    potential = EsenPotential(default.spec.model_copy(update={"graph": graph})).double()
    potential.load_state_dict(default.state_dict())
    save_checkpoint(path, checkpoint_of(potential))
    monkeypatch.setitem(sys.modules, "torch_cluster", None)
    loaded = load_potential(path)
    assert (potential.backend, loaded.backend) == ("torch_cluster", "vesin")
    assert [record.getMessage().split(",")[0] for record in caplog.records] == [
        f"{path}: model.graph.backend is torch_cluster"
    ]
    found = loaded(make_graph(chiral_molecule(), loaded.cutoff, loaded.backend))
    expected = potential.eval()(make_graph(chiral_molecule(), loaded.cutoff))
    assert torch.equal(found.energy, expected.energy)


@pytest.mark.usefixtures("torch_cluster_searches")
def test_an_installed_backend_stays(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    spec = potential_of("default").spec.model_copy(
        update={"graph": NearestGraphSpec(backend="torch_cluster")}
    )
    save_checkpoint(tmp_path / "best.safetensors", checkpoint_of(EsenPotential(spec)))
    assert load_potential(tmp_path / "best.safetensors").backend == "torch_cluster"
    assert not caplog.records


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("variant", ["default", "bessel", "no envelope"])
def test_round_trip_to_the_bit(tmp_path: Path, variant: str, dtype: torch.dtype) -> None:
    potential, path = potential_of(variant, dtype), tmp_path / "last.safetensors"
    checkpoint = checkpoint_of(potential)
    save_checkpoint(path, checkpoint)
    read = read_checkpoint(path)
    for name in ("recipe", "elements", "metrics", "progress", "versions"):
        assert getattr(read, name) == getattr(checkpoint, name)
    assert read.tensors.keys() == checkpoint.tensors.keys()
    assert all(torch.equal(read.tensors[name], value) for name, value in checkpoint.tensors.items())
    loaded = load_potential(path)
    graph = make_graph(chiral_molecule(), potential.cutoff)
    assert not loaded.training
    assert loaded.elements == ELEMENTS
    assert next(loaded.network.parameters()).dtype == dtype
    loaded.requires_grad_()  # torch may sum otherwise where weights ask for no gradient
    assert torch.allclose(loaded(graph).energies, potential(graph).energies, rtol=1e-13)
    assert torch.equal(loaded(graph).forces, potential(graph).forces)


def test_precision_on_request(saved: Path) -> None:
    potential = load_potential(saved, dtype=torch.float32)
    assert {p.dtype for p in potential.parameters()} == {torch.float32}
    assert torch.equal(potential.references, potential_of("default").references)
    assert not any(p.requires_grad for p in potential.parameters())


def test_the_average_is_what_predicts(tmp_path: Path) -> None:
    potential = potential_of("default")
    average = {name: 2 * value for name, value in potential.state_dict().items()}
    checkpoint = checkpoint_of(potential)
    checkpoint.tensors.update(with_prefix("average", average))
    save_checkpoint(tmp_path / "c", checkpoint)
    loaded = load_potential(tmp_path / "c").state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in average.items())


def test_with_prefix_copies() -> None:
    weight = torch.ones(3, requires_grad=True)
    (copy,) = with_prefix("weights", {"w": weight}).values()
    with torch.no_grad():
        weight.add_(1)
    assert copy.tolist() == [1, 1, 1]
    assert not copy.requires_grad


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none.safetensors") == "no such checkpoint"
    assert refusal(tmp_path) == "not a file"


@pytest.mark.parametrize("left", [0, 4, 500, -1])
def test_a_truncated_file(saved: Path, left: int) -> None:
    saved.write_bytes(saved.read_bytes()[:left])
    assert "safetensors" in refusal(saved)


@pytest.mark.parametrize("content", [b"model: {}\n" * 99, b"\x80\x04" + b"x" * 99, b"\xff" * 99])
def test_another_kind_of_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_bytes(content)
    assert "safetensors" in refusal(path)


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}])
def test_safetensors_of_others(tmp_path: Path, metadata: dict[str, str] | None) -> None:
    path = tmp_path / "model.safetensors"
    save_file({"w": torch.ones(3)}, path, metadata)
    assert "esen" in refusal(path)


@pytest.mark.parametrize("header", ["", "{", "[]", '{"format": "new"}', json.dumps({"format": FORMAT})])
def test_a_damaged_header(tmp_path: Path, header: str) -> None:
    path = tmp_path / "model.safetensors"
    save_file({"w": torch.ones(3)}, path, {"esen": header})
    assert "damaged" in refusal(path)


def test_a_later_format(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    header = {"format": FORMAT + 1, "versions": {"esen": "99.0"}}
    save_file({"w": torch.ones(3)}, path, {"esen": json.dumps(header)})
    message = refusal(path)
    assert f"format {FORMAT + 1}" in message
    assert "99.0" in message


def test_weights_that_do_not_fit_the_recipe(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    for spec in ("lmax 3, mmax 2", "bessel", "one layer"):
        recipe = {"model": VARIANTS[spec].model_dump(mode="json")}
        save_checkpoint(path, checkpoint_of(potential_of("default"), recipe=recipe))
        assert "weights" in refusal(path)
    save_checkpoint(path, checkpoint_of(potential_of("default"), tensors={}))
    assert "weights" in refusal(path)


@pytest.mark.parametrize("recipe", [{}, {"model": {"lmax": "two"}}, {"model": {"spin": 1}}, {"model": None}])
def test_a_recipe_that_does_not_fit(tmp_path: Path, recipe: dict[str, Any]) -> None:
    path = tmp_path / "model.safetensors"
    save_checkpoint(path, checkpoint_of(potential_of("default"), recipe=recipe))
    assert "recipe" in refusal(path)


def content_of(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return everything that a checkpoint holds, in a form that can be compared to the bit."""
    tensors = {
        name: (t.dtype, t.shape, t.reshape(-1).view(torch.uint8).numpy().tobytes())
        for name, t in checkpoint.tensors.items()
    }
    return vars(checkpoint) | {"tensors": tensors}


@pytest.mark.parametrize("count", [25, pytest.param(400, marks=pytest.mark.slow)])
def test_a_bit_that_flipped_is_noticed_or_changes_nothing(saved: Path, count: int) -> None:
    sound, expected = saved.read_bytes(), content_of(read_checkpoint(saved))
    header = int.from_bytes(sound[:8], "little")
    generator = random.Random(0)
    harmless = 0
    for number in range(count):
        # a third of the flips in the header, which is a small part of the file
        place = generator.randrange(8 + header if number % 3 else len(sound))
        damaged = bytearray(sound)
        damaged[place] ^= 1 << generator.randrange(8)
        saved.write_bytes(damaged)
        try:
            found = content_of(read_checkpoint(saved))
        except InputError as error:
            assert len(str(error).splitlines()) == 1
            assert str(error).startswith(f"{saved}: ")
        else:
            assert found == expected
            harmless += 1
    assert harmless < 0.05 * count


@pytest.mark.parametrize("key", ["esen", "sha256"])
def test_a_flip_in_the_names_of_the_header(saved: Path, key: str, caplog: pytest.LogCaptureFixture) -> None:
    sound, expected = saved.read_bytes(), content_of(read_checkpoint(saved))
    saved.write_bytes(sound.replace(f'"{key}":'.encode(), f'"{key[:-1]}_":'.encode(), 1))
    if key == "esen":
        assert "no 'esen'" in refusal(saved)
    else:  # as a file of an earlier esen: nothing of its content is another
        for _ in range(2):
            assert content_of(read_checkpoint(saved)) == expected
        assert len(caplog.records) == 1


def full_disk(_: int) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_leaves_the_last_checkpoint(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = saved.read_bytes()
    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space left") as error:
        save_checkpoint(saved, checkpoint_of(potential_of("bessel")))
    assert error.value.filename == str(saved)
    assert saved.read_bytes() == before
    assert list(saved.parent.iterdir()) == [saved]


def test_a_killed_writer_leaves_the_last_checkpoint(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = saved.read_bytes()

    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(saved, b"half")
    assert saved.read_bytes() == before
    assert list(saved.parent.iterdir()) == [saved]


def test_saving_replaces_as_a_whole(saved: Path) -> None:
    save_checkpoint(saved, checkpoint_of(potential_of("bessel")))
    assert load_potential(saved).spec == VARIANTS["bessel"]
    assert list(saved.parent.iterdir()) == [saved]


def test_saving_into_a_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "none").write_text("a file")
    with pytest.raises(OSError, match=r"last\.safetensors"):
        save_checkpoint(tmp_path / "none" / "last.safetensors", checkpoint_of(potential_of("default")))
    assert list(tmp_path.iterdir()) == [tmp_path / "none"]


class Bomb:
    """A pickle, which can run any code when it is loaded."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.marker),)


@pytest.mark.parametrize("by_torch", [True, False])
def test_nothing_is_unpickled(tmp_path: Path, by_torch: bool) -> None:
    marker, path = tmp_path / "exploded", tmp_path / "model.safetensors"
    if by_torch:
        torch.save({"weights": Bomb(marker)}, path)
    else:
        path.write_bytes(pickle.dumps(Bomb(marker)))
    assert "safetensors" in refusal(path)
    assert not marker.exists()
    pickle.loads(pickle.dumps(Bomb(marker)))
    assert marker.exists()  # it was live


@pytest.mark.parametrize("stored", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_weights_in_half_precision_are_computed_with_in_float32(stored: torch.dtype, tmp_path: Path) -> None:
    path, potential = tmp_path / "half.safetensors", potential_of("one layer")
    exact = ("scale", "references", "offset")
    tensors = {
        name: tensor if name.rpartition("/")[2] in exact else tensor.to(stored)
        for name, tensor in checkpoint_of(potential).tensors.items()
    }
    save_checkpoint(path, checkpoint_of(potential, tensors=tensors))
    expected = torch.float64 if stored == torch.float64 else torch.float32
    loaded = load_potential(path)
    assert {p.dtype for p in loaded.parameters()} == {expected}
    assert torch.equal(
        loaded.network.head[0].weight, potential.network.head[0].weight.to(stored).to(expected)
    )
    graph = make_graph(chiral_molecule(), loaded.cutoff)
    error = (loaded(graph).forces - potential(graph).forces).abs().max() / potential(graph).forces.abs().max()
    assert float(error) < {torch.float16: 2e-2, torch.bfloat16: 0.1}.get(stored, 1e-5)
    assert {p.dtype for p in load_potential(path, dtype=torch.float64).parameters()} == {torch.float64}


def test_a_checkpoint_without_a_kind_of_frame_has_the_smooth_one(tmp_path: Path) -> None:
    path, potential = tmp_path / "best.safetensors", potential_of("default")
    checkpoint = checkpoint_of(potential)
    assert checkpoint.recipe["model"].pop("edge_frame") == {"kind": "smooth"}
    save_checkpoint(path, checkpoint)
    graph = make_graph(chiral_molecule(), potential.cutoff)
    loaded = load_potential(path)
    assert not loaded.is_random
    assert torch.allclose(loaded(graph).energies, potential(graph).energies, rtol=1e-13)


def test_random_frames_are_the_same_each_time_a_checkpoint_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "best.safetensors"
    save_checkpoint(path, checkpoint_of(potential_of("grid along edges, random frame")))
    graph = make_graph(chiral_molecule(), 4.0)
    one, other = ([float(p(graph).energy) for _ in range(3)] for p in map(load_potential, (path, path)))
    assert one == other
    assert len(set(one)) == 3
