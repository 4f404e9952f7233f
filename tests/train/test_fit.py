"""Whole trainings: interrupted, resumed, in stages, out of bounds."""

import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from esen.errors import InputError
from esen.files import Interrupted
from esen.models.checkpoint import read_checkpoint, save_checkpoint
from esen.models.potential import make_potential
from esen.recipe import Recipe, at_stage
from esen.train.batches import Batches
from esen.train.progress import TrainDisplay
from esen.train.resume import read_resumable
from esen.train.run_files import read_metrics
from esen.train.stage import Stage
from tests.train.small import Recorder, crystals, press_ctrl_c, recipe_of, train, write_frames

STEPS = 8  # 12 of 15 frames in batches of 3, twice


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_frames(tmp_path_factory.mktemp("frames") / "train.xyz", crystals(15))


@pytest.fixture(scope="module")
def two_stages(frames: Path) -> Recipe:
    return recipe_of(frames, train__stages=[{"epochs": 1}, {"epochs": 1}])


@pytest.fixture(scope="module")
def uninterrupted(
    frames: Path, two_stages: Recipe, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """Folders of the same trainings, with one stage and with two, from beginning to end."""
    folders = {name: tmp_path_factory.mktemp(name) for name in ("one", "two")}
    train(recipe_of(frames), folders["one"])
    train(two_stages, folders["two"])
    return folders


def contents(folder: Path, file: str) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Tensors, and where the training stood but for the time it took."""
    checkpoint = read_checkpoint(folder / file)
    return checkpoint.tensors, {k: v for k, v in checkpoint.progress.items() if k != "seconds"}


def assert_same_run(folder: Path, expected: Path) -> None:
    """Bit by bit."""
    for file in ("last.safetensors", "best.safetensors"):
        tensors, progress = contents(folder, file)
        other_tensors, other_progress = contents(expected, file)
        assert progress == other_progress
        assert tensors.keys() == other_tensors.keys()
        assert all(torch.equal(tensor, other_tensors[name]) for name, tensor in tensors.items())
    for file in ("metrics.jsonl", "metrics.csv", "recipe.yaml"):
        assert (folder / file).read_bytes() == (expected / file).read_bytes()


@pytest.mark.parametrize(
    ("stages", "step"), [("one", 1), ("one", 4), ("one", 7), ("one", 8), ("two", 4), ("two", 6)]
)  # 4 and 8: the last batch of an epoch
def test_a_resumed_run_equals_an_uninterrupted_one(
    stages: str, step: int, frames: Path, two_stages: Recipe, uninterrupted: dict[str, Path], tmp_path: Path
) -> None:
    recipe = two_stages if stages == "two" else recipe_of(frames)
    with pytest.raises(Interrupted, match=f"step {step}, all is saved"):
        train(recipe, tmp_path, Recorder(step, press_ctrl_c))
    resumed = read_resumable(tmp_path, recipe)
    assert resumed is not None
    assert resumed.progress["step"] == step
    train(recipe, tmp_path, resumed=resumed)
    assert_same_run(tmp_path, uninterrupted[stages])


@pytest.mark.parametrize("step", [1, 6])
def test_random_edge_frames_are_resumed(step: int, frames: Path, tmp_path: Path) -> None:
    """The loss depends on the random rolls, which are those of an uninterrupted run."""
    model = {"model__nonlinearity": {"kind": "grid_edges"}, "model__edge_frame": {"kind": "random"}}
    recipe = recipe_of(frames, train__micro_batch_atoms=4, train__stages=[{"epochs": 1}] * 2, **model)
    train(recipe, tmp_path / "whole")
    with pytest.raises(Interrupted):
        train(recipe, tmp_path / "parts", Recorder(step, press_ctrl_c))
    train(recipe, tmp_path / "parts", resumed=read_resumable(tmp_path / "parts", recipe))
    assert_same_run(tmp_path / "parts", tmp_path / "whole")
    other = recipe_of(
        frames,
        train__micro_batch_atoms=4,
        train__stages=[{"epochs": 1}] * 2,
        **model | {"model__edge_frame": {"kind": "smooth"}},
    )
    train(other, tmp_path / "smooth")
    losses = [(tmp_path / name / "metrics.csv").read_text() for name in ("whole", "smooth")]
    assert losses[0] != losses[1]


def test_a_run_from_before_there_were_kinds_of_frames_is_resumed(
    frames: Path, uninterrupted: dict[str, Path], tmp_path: Path
) -> None:
    with pytest.raises(Interrupted):
        train(recipe_of(frames), tmp_path, Recorder(4, press_ctrl_c))
    last = read_checkpoint(tmp_path / "last.safetensors")
    for model in (last.recipe["model"], last.progress["model"]):
        assert model.pop("edge_frame") == {"kind": "smooth"}
    save_checkpoint(tmp_path / "last.safetensors", last)
    train(recipe_of(frames), tmp_path, resumed=read_resumable(tmp_path, recipe_of(frames)))
    assert_same_run(tmp_path, uninterrupted["one"])


def test_damaged_best_weights_are_written_anew(frames: Path, tmp_path: Path) -> None:
    recipe = recipe_of(frames)
    with pytest.raises(Interrupted):
        train(recipe, tmp_path, Recorder(6, press_ctrl_c))
    best = tmp_path / "best.safetensors"
    content = bytearray(best.read_bytes())
    content[-3] ^= 4
    best.write_bytes(content)
    resumed = read_resumable(tmp_path, recipe)
    assert resumed is not None
    resumed.progress["best"] = 0.0  # better than all that follow
    train(recipe, tmp_path, resumed=resumed)
    assert read_checkpoint(best).metrics


def test_the_backend_of_the_recipe_makes_all_graphs_and_changes_nothing(
    frames: Path, uninterrupted: dict[str, Path], tmp_path: Path, torch_cluster_searches: list[int]
) -> None:
    train(recipe_of(frames, model__graph={"kind": "cutoff", "backend": "torch_cluster"}), tmp_path)
    assert sum(torch_cluster_searches) == 15  # each frame once, those for validation too
    ours, theirs = (contents(folder, "best.safetensors")[0] for folder in (tmp_path, uninterrupted["one"]))
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())
    assert (tmp_path / "metrics.jsonl").read_bytes() == (uninterrupted["one"] / "metrics.jsonl").read_bytes()


def test_a_killed_run_goes_on_from_its_last_checkpoint(
    frames: Path, uninterrupted: dict[str, Path], tmp_path: Path
) -> None:
    """What was done since, rows of metrics too, is done again."""

    class Killed(BaseException):
        pass

    def die() -> None:
        raise Killed

    with pytest.raises(Killed):
        train(recipe_of(frames), tmp_path, Recorder(7, die))
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 8, "train/lo')  # cut off by the kill
    resumed = read_resumable(tmp_path, recipe_of(frames))
    assert resumed is not None
    assert resumed.progress["step"] == STEPS // 2
    train(recipe_of(frames), tmp_path, resumed=resumed)
    assert_same_run(tmp_path, uninterrupted["one"])


def test_an_interrupt_during_validation_is_obeyed_there(
    frames: Path, uninterrupted: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TrainDisplay, "validating", lambda _: press_ctrl_c())
    with pytest.raises(Interrupted, match="step 4"):
        train(recipe_of(frames), tmp_path)
    assert not (tmp_path / "best.safetensors").exists()
    monkeypatch.undo()
    train(recipe_of(frames), tmp_path, resumed=read_resumable(tmp_path, recipe_of(frames)))
    assert_same_run(tmp_path, uninterrupted["one"])


def test_stages_carry_the_weights_over_and_begin_the_schedule_anew(
    two_stages: Recipe, uninterrupted: dict[str, Path]
) -> None:
    rows = [row for row in read_metrics(uninterrupted["two"] / "metrics.jsonl") if "train/loss" in row]
    rates = [row["train/learning_rate"] for row in rows]
    assert rates[:4] == rates[4:]
    assert rates[0] == pytest.approx(0.2 * two_stages.train.optimizer.learning_rate)
    assert [row["epoch"] for row in rows] == [0.25, 0.5, 0.75, 1.0] * 2
    tensors, progress = contents(uninterrupted["two"], "last.safetensors")
    assert (progress["stage"], progress["epoch"], progress["step"]) == (1, 1, STEPS)
    assert progress["averaged"] == STEPS / 2  # the average began anew
    steps = [float(t) for name, t in tensors.items() if name.endswith("/step")]
    assert steps
    assert set(steps) == {STEPS / 2}  # the optimiser was made anew


def test_a_stage_that_is_added_later_is_as_one_that_was_there(
    frames: Path, two_stages: Recipe, uninterrupted: dict[str, Path], tmp_path: Path
) -> None:
    train(recipe_of(frames, train__stages=[{"epochs": 1}]), tmp_path)
    train(two_stages, tmp_path, resumed=read_resumable(tmp_path, two_stages))
    assert_same_run(tmp_path, uninterrupted["two"])


def test_the_best_weights_are_those_of_the_lowest_validation_loss(frames: Path, tmp_path: Path) -> None:
    # a rate at which the loss goes up and down
    train(recipe_of(frames, train__optimizer={"learning_rate": 0.3}, train__stages=[{"epochs": 6}]), tmp_path)
    losses = [
        r["validation/loss"] for r in read_metrics(tmp_path / "metrics.jsonl") if "validation/loss" in r
    ]
    assert len(losses) == 6
    assert read_checkpoint(tmp_path / "best.safetensors").metrics["validation/loss"] == min(losses)
    assert read_checkpoint(tmp_path / "last.safetensors").progress["best"] == min(losses)
    assert min(losses) != losses[-1]


def test_more_epochs_go_on_where_the_run_ended(frames: Path, tmp_path: Path) -> None:
    train(recipe_of(frames, train__stages=[{"epochs": 1}]), tmp_path)
    longer = recipe_of(frames)
    result = train(longer, tmp_path, resumed=read_resumable(tmp_path, longer))
    assert result.step == STEPS
    rows = read_metrics(tmp_path / "metrics.jsonl")
    assert [r["step"] for r in rows if "train/loss" in r] == list(range(1, STEPS + 1))
    assert [r["epoch"] for r in rows if "validation/loss" in r] == [1.0, 2.0]


def test_a_finished_run_is_left_as_it_is(frames: Path, uninterrupted: dict[str, Path]) -> None:
    folder = uninterrupted["one"]
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    other = recipe_of(frames, train__optimizer={"learning_rate": 7.0})
    assert train(other, folder, resumed=read_resumable(folder, other)).step == STEPS
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_other_batches_begin_the_epoch_again(frames: Path, tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        train(recipe_of(frames), tmp_path, Recorder(6, press_ctrl_c))
    other = recipe_of(frames, train__batch={"structures": 6})
    assert train(other, tmp_path, resumed=read_resumable(tmp_path, other)).step == 6 + 2


def test_an_average_can_begin_late_or_end(frames: Path, tmp_path: Path) -> None:
    none, some = recipe_of(frames, train__ema=0), recipe_of(frames)
    with pytest.raises(Interrupted):
        train(none, tmp_path, Recorder(4, press_ctrl_c))
    assert not read_checkpoint(tmp_path / "last.safetensors").part("average")
    with pytest.raises(Interrupted):
        train(some, tmp_path, Recorder(6, press_ctrl_c), resumed=read_resumable(tmp_path, some))
    assert read_checkpoint(tmp_path / "last.safetensors").progress["averaged"] == 2
    train(none, tmp_path, resumed=read_resumable(tmp_path, none))
    last, best = (read_checkpoint(tmp_path / f"{name}.safetensors") for name in ("last", "best"))
    assert last.progress["step"] == STEPS
    assert best.part("weights").keys() == last.part("weights").keys()


def test_batches_made_beforehand_change_no_bit(frames: Path, tmp_path: Path) -> None:
    stages = [
        {
            "epochs": 2,
            "forces": {"kind": "direct", "stress": {"kind": "none"}},
            "dens": {},
            "loss": {"stress": 0},
        },
        {"epochs": 1},
    ]
    for ahead in (0, 1, 5):
        recipe = recipe_of(frames, train__prefetch=ahead, train__stages=stages, train__micro_batch_atoms=4)
        train(recipe, tmp_path / str(ahead))
    found = [read_checkpoint(tmp_path / name / "last.safetensors").tensors for name in ("0", "1", "5")]
    for tensors in found[1:]:
        assert tensors.keys() == found[0].keys()
        assert all(torch.equal(tensor, found[0][name]) for name, tensor in tensors.items())


def test_compiled_steps_are_those_without(
    frames: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By torch.compile without its last step, the kernels in C++: these take minutes even for a tiny network."""
    compiled: list[Any] = []
    compile_ = torch.compile

    def without_kernels(graph: Any, **options: Any) -> Any:
        compiled.append(graph)
        return compile_(graph, backend="aot_eager", **options)

    monkeypatch.setattr(torch, "compile", without_kernels)
    found = []
    for asked in (False, True):
        recipe = recipe_of(
            frames,
            model__forces={"kind": "direct", "stress": {"kind": "none"}},
            train__loss={"stress": 0},
            train__compile=asked,
            train__precision="float64",
            train__stages=[{"epochs": 1}],
        )
        train(recipe, tmp_path / str(asked))
        found.append(read_checkpoint(tmp_path / str(asked) / "last.safetensors").part("weights"))
    assert len(compiled) == 1
    assert found[0].keys() == found[1].keys()
    assert all(torch.allclose(found[0][name], found[1][name], rtol=0, atol=1e-9) for name in found[0])


@pytest.mark.parametrize("step", [1, 2, 3])
def test_an_interrupted_epoch_leaves_no_thread(step: int, frames: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(recipe_of(frames), tmp_path, Recorder(step, press_ctrl_c))
    assert not [t for t in threading.enumerate() if t.name.startswith("prefetch")]


def test_an_error_while_a_batch_is_made_ends_the_training(
    frames: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load, loaded = Batches.load, []

    def failing(self: Batches, indices: list[int]) -> Any:
        loaded.append(indices)
        if len(loaded) == 3:
            raise InputError("frame 7 is bad")
        return load(self, indices)

    monkeypatch.setattr(Batches, "load", failing)
    steps = Recorder()
    with pytest.raises(InputError, match="frame 7 is bad"):
        train(recipe_of(frames, train__prefetch=3), tmp_path, steps)
    assert [step for step, values in steps.rows if "train/loss" in values] == [1, 2]
    assert not [t for t in threading.enumerate() if t.name.startswith("prefetch")]


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_precision(precision: str, frames: Path, tmp_path: Path) -> None:
    train(recipe_of(frames, train__precision=precision), tmp_path)
    weights = read_checkpoint(tmp_path / "best.safetensors").part("weights")
    of_network = {t.dtype for name, t in weights.items() if name.startswith("network.")}
    assert of_network == {getattr(torch, precision)}
    assert weights["references"].dtype == torch.float64


def test_a_diverging_run_stops_and_keeps_its_last_checkpoint(frames: Path, tmp_path: Path) -> None:
    train(recipe_of(frames, train__stages=[{"epochs": 1}]), tmp_path)
    good = (tmp_path / "last.safetensors").read_bytes(), (tmp_path / "best.safetensors").read_bytes()
    wild = recipe_of(frames, train__optimizer={"learning_rate": 1e30})
    with pytest.raises(InputError, match=r"(nan|inf).*train\.optimizer\.learning_rate .*1e\+30") as error:
        train(wild, tmp_path, resumed=read_resumable(tmp_path, wild))
    assert "the last checkpoint was saved before and is kept" in str(error.value)
    assert "\n" not in str(error.value)
    assert good == (
        (tmp_path / "last.safetensors").read_bytes(),
        (tmp_path / "best.safetensors").read_bytes(),
    )
    (tmp_path / "new").mkdir()
    with pytest.raises(InputError, match=r"train\.xyz, frame \d+") as error:
        train(wild, tmp_path / "new")
    assert [p.name for p in (tmp_path / "new").glob("*.safetensors")] == ["last.safetensors"]
    assert read_checkpoint(tmp_path / "new" / "last.safetensors").progress["step"] == 0


def test_a_validation_that_is_no_number_is_no_best(
    frames: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("esen.train.stage.validate", lambda *_, **__: {"loss": float("nan")})
    with pytest.raises(InputError, match=r"validation loss became nan at step 4.*train\.optimizer"):
        train(recipe_of(frames), tmp_path)
    assert [p.name for p in tmp_path.glob("*.safetensors")] == ["last.safetensors"]
    assert read_checkpoint(tmp_path / "last.safetensors").progress["step"] == 0


def test_a_full_disk_leaves_the_last_checkpoint(
    frames: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(recipe_of(frames, train__stages=[{"epochs": 1}]), tmp_path)
    good = (tmp_path / "last.safetensors").read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    longer = recipe_of(frames)
    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left") as error:
        train(longer, tmp_path, resumed=read_resumable(tmp_path, longer))
    assert Path(error.value.filename).parent == tmp_path
    assert (tmp_path / "last.safetensors").read_bytes() == good
    assert not list(tmp_path.glob(".*"))


def test_a_long_epoch_is_saved_in_between(frames: Path, tmp_path: Path) -> None:
    saved: list[int] = []

    class Watch(Recorder):
        def metrics(self, values: Any, step: int) -> None:
            if (tmp_path / "last.safetensors").exists():
                saved.append(read_checkpoint(tmp_path / "last.safetensors").progress["step"])

    train(recipe_of(frames, train__checkpoint_minutes=1e-9), tmp_path, Watch())
    assert saved == sorted(saved)
    assert set(saved) >= {1, 2, 3, 4, 5, 6, 7}


def test_the_recipe_of_the_run_lies_in_its_folder_from_the_start(frames: Path, tmp_path: Path) -> None:
    from esen.recipe import load_recipe

    recipe = recipe_of(frames)
    with pytest.raises(Interrupted):
        train(recipe, tmp_path, Recorder(1, press_ctrl_c))
    assert load_recipe(tmp_path / "recipe.yaml") == recipe


def test_every_row_of_the_metrics_is_json(frames: Path, tmp_path: Path) -> None:
    """A direct model without a stress predicts NaN for it, although the frames have one."""
    recipe = recipe_of(
        frames,
        model__forces={"kind": "direct", "stress": {"kind": "none"}},
        train__loss={"stress": 0},
        train__stages=[{"epochs": 1}],
    )
    train(recipe, tmp_path)
    for line in (tmp_path / "metrics.jsonl").read_text().splitlines():
        row = json.loads(line, parse_constant=pytest.fail)
        assert None not in row.values()
        assert not any("stress" in key for key in row)
    assert "stress" not in (tmp_path / "metrics.csv").read_text()


def test_every_step_is_in_the_metrics(uninterrupted: dict[str, Path]) -> None:
    lines = (uninterrupted["one"] / "metrics.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    steps = [row for row in rows if "train/loss" in row]
    assert [row["step"] for row in steps] == list(range(1, STEPS + 1))
    for row in steps:
        total = 20 * row["train/energy_loss"] + 20 * row["train/forces_loss"] + 5 * row["train/stress_loss"]
        assert row["train/loss"] == pytest.approx(total)
    assert [row["step"] for row in rows if "validation/loss" in row] == [4, 8]


# As in the paper, with all that can be asked for at once: direct forces with denoising, then a gradient.
PAPER_STEPS = 16


@pytest.fixture(scope="module")
def as_in_the_paper(frames: Path) -> Recipe:
    return recipe_of(
        frames,
        model__lmax=2,
        train__micro_batch_atoms=4,
        train__freeze=["sender_species"],
        train__stages=[
            {"epochs": 2, "forces": {"kind": "direct"}, "dens": {"corrupt_ratio": 0.7}},
            {"epochs": 2, "optimizer": {"learning_rate": 2e-3}},
        ],
    )


@pytest.fixture(scope="module")
def paper_run(as_in_the_paper: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("paper")
    train(as_in_the_paper, folder)
    return folder


def test_the_best_weights_are_those_of_the_last_stage(paper_run: Path) -> None:
    kinds = {
        name: read_checkpoint(paper_run / f"{name}.safetensors").recipe["model"]["forces"]["kind"]
        for name in ("best-stage1", "best", "last")
    }
    assert kinds == {"best-stage1": "direct", "best": "conservative", "last": "conservative"}
    rows = [r for r in read_metrics(paper_run / "metrics.jsonl") if "validation/loss" in r]
    best = {
        name: read_checkpoint(paper_run / f"{name}.safetensors").metrics for name in ("best-stage1", "best")
    }
    assert best["best-stage1"]["validation/loss"] == min(r["validation/loss"] for r in rows[:2])
    assert best["best"]["validation/loss"] == min(r["validation/loss"] for r in rows[2:])


def test_denoising_is_in_its_stage_alone(paper_run: Path) -> None:
    steps = [r for r in read_metrics(paper_run / "metrics.jsonl") if "train/loss" in r]
    denoised = [row["step"] for row in steps if "train/denoising_loss" in row]
    assert denoised
    assert max(denoised) <= 8
    assert len(denoised) < 8
    assert all("train/stress_loss" not in row for row in steps if row["step"] in denoised)
    assert all("train/forces_loss" in row for row in steps if row["step"] not in denoised)


def test_a_stage_begins_with_the_best_weights_of_the_one_before(
    as_in_the_paper: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[dict[str, torch.Tensor]] = []
    real = Stage.run

    def run(self: Stage) -> None:
        begun.append({name: t.clone() for name, t in self.state.potential.state_dict().items()})
        real(self)

    monkeypatch.setattr(Stage, "run", run)
    train(as_in_the_paper, tmp_path)
    found, best = begun[1], read_checkpoint(tmp_path / "best-stage1.safetensors").part("weights")
    folded = "network.backbone.species.weight"
    assert found.keys() < best.keys()
    assert all(torch.equal(tensor, best[name]) for name, tensor in found.items() if name != folded)
    bias = best["network.backbone.force_encoding.linear.bias"]
    assert bias.any()
    assert torch.equal(found[folded], best[folded] + bias)


def test_what_is_frozen_never_changes(as_in_the_paper: Recipe, paper_run: Path) -> None:
    name = "network.backbone.sender_species.weight"
    first = make_potential(at_stage(as_in_the_paper, 0).model, seed=0).state_dict()
    for file in ("best-stage1", "best", "last"):
        weights = read_checkpoint(paper_run / f"{file}.safetensors").part("weights")
        assert torch.equal(weights[name], first[name])
        assert not torch.equal(weights["network.head.0.weight"], first["network.head.0.weight"])


@pytest.mark.parametrize("seed", [0, 1])
def test_three_kills_anywhere_change_no_bit(
    seed: int, as_in_the_paper: Recipe, paper_run: Path, tmp_path: Path
) -> None:
    """Across stages, in denoising batches and in divided ones: some are killed, some stopped by Ctrl-C."""

    class Killed(BaseException):
        pass

    def die() -> None:
        raise Killed

    random = np.random.default_rng(seed)
    steps = sorted(random.choice(np.arange(1, PAPER_STEPS + 1), 3, replace=False).tolist())
    resumed = None
    for number, step in enumerate(steps):
        call = die if (number + seed) % 2 else press_ctrl_c
        with pytest.raises((Killed, Interrupted)):
            train(as_in_the_paper, tmp_path, Recorder(step, call), resumed=resumed)
        resumed = read_resumable(tmp_path, as_in_the_paper)
        assert resumed is not None
    train(as_in_the_paper, tmp_path, resumed=resumed)
    assert_same_run(tmp_path, paper_run)
    first, expected = (
        contents(tmp_path, "best-stage1.safetensors"),
        contents(paper_run, "best-stage1.safetensors"),
    )
    assert all(torch.equal(tensor, expected[0][name]) for name, tensor in first[0].items())


def test_a_conservative_stage_can_denoise_too(frames: Path, tmp_path: Path) -> None:
    recipe = recipe_of(frames, train__stages=[{"epochs": 1, "dens": {"probability": 1.0}}])
    train(recipe, tmp_path)
    rows = [r for r in read_metrics(tmp_path / "metrics.jsonl") if "train/loss" in r]
    for row in rows:
        assert row["train/loss"] == pytest.approx(10 * row["train/denoising_loss"], rel=1e-6)
        assert "train/energy_loss" not in row
    assert read_checkpoint(tmp_path / "best.safetensors").recipe["model"]["dens"] is True


def test_parts_of_a_batch_change_rounding_alone(frames: Path, tmp_path: Path) -> None:
    losses = []
    for atoms in (None, 2, 4):
        folder = tmp_path / str(atoms)
        train(recipe_of(frames, train__precision="float64", train__micro_batch_atoms=atoms), folder)
        losses.append([r["train/loss"] for r in read_metrics(folder / "metrics.jsonl") if "train/loss" in r])
    assert losses[1] == pytest.approx(losses[0], rel=1e-9)
    assert losses[2] == pytest.approx(losses[0], rel=1e-9)


def test_weights_of_frames_reach_the_loss(frames: Path, tmp_path: Path) -> None:
    """One source, so a factor for all: energies, forces and stresses count half."""
    losses = []
    for weight in (1.0, 0.5):
        recipe = recipe_of(frames, data__train=[{"path": str(frames), "weight": weight}])
        train(recipe, tmp_path / str(weight))
        rows = read_metrics(tmp_path / str(weight) / "metrics.jsonl")
        losses.append(next(r["train/loss"] for r in rows if "train/loss" in r))
    assert losses[1] == pytest.approx(losses[0] / 2, rel=1e-6)
