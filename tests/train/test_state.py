"""The state of a training, to a file and back."""

from pathlib import Path

import numpy as np
import pytest
import torch

from esen.errors import InputError
from esen.graph.batch import make_graph
from esen.models.checkpoint import load_potential, read_checkpoint, restore_potential, save_checkpoint
from esen.models.potential import make_potential
from esen.recipe import Recipe, at_stage
from esen.train.resume import run_model
from esen.train.state import Progress, TrainState
from esen.train.transfer import carry_over
from tests.train.small import crystals, recipe_of


def begin(recipe: Recipe, seed: int) -> TrainState:
    potential = make_potential(recipe.model, seed=seed, elements=(8, 12))
    potential.set_normalisation(0.3 + seed, np.linspace(0, seed, recipe.model.max_elements))
    return TrainState.begin(potential, recipe)


def advance(state: TrainState, steps: int = 1) -> None:
    """Optimiser steps on the energy of one crystal."""
    for _ in range(steps):
        state.optimizer.zero_grad()
        state.potential.train()(make_graph([crystals(1)[0]], 3.5)).energy.sum().backward()
        state.optimizer.step()
        if state.average is not None:
            state.average.update_parameters(state.potential)
        state.progress.step += 1


def tensors(state: TrainState, recipe: Recipe) -> dict[str, torch.Tensor]:
    return state.full_checkpoint(recipe, {}).tensors


@pytest.fixture
def recipe() -> Recipe:
    return recipe_of(Path("none.xyz"))


@pytest.mark.parametrize(("ema", "kind"), [(0.0, "adamw"), (0.9, "adamw"), (0.9, "muon")])
def test_round_trip(ema: float, kind: str, tmp_path: Path) -> None:
    recipe = recipe_of(Path("none.xyz"), train__ema=ema, train__optimizer={"kind": kind})
    state = begin(recipe, seed=1)
    advance(state, 3)
    state.progress = Progress(stage=1, epoch=2, batch=3, step=3, best=0.1 + 0.2, seconds=1.5, data="x")
    save_checkpoint(tmp_path / "last.safetensors", state.full_checkpoint(recipe, {"validation/loss": 0.3}))
    read = read_checkpoint(tmp_path / "last.safetensors")
    assert read.metrics == {"validation/loss": 0.3}
    assert Recipe.model_validate(read.recipe) == recipe
    other = begin(recipe, seed=2)
    other.restore(read, "last")
    assert other.progress == state.progress
    first, second = tensors(state, recipe), tensors(other, recipe)
    assert first.keys() == second.keys()
    assert any(name.startswith("average/") for name in first) == (ema > 0)
    assert any(name.startswith("optimizer/") for name in first)
    advance(state)
    advance(other)
    first, second = tensors(state, recipe), tensors(other, recipe)
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())


def test_a_restored_state_does_not_share_its_tensors_with_the_checkpoint(recipe: Recipe) -> None:
    state = begin(recipe, seed=1)
    advance(state)
    checkpoint = state.full_checkpoint(recipe, {})
    before = {name: tensor.clone() for name, tensor in checkpoint.tensors.items()}
    other = begin(recipe, seed=2)
    other.restore(checkpoint, "last")
    advance(other, 2)
    advance(state)
    assert all(torch.equal(tensor, before[name]) for name, tensor in checkpoint.tensors.items())


def test_no_best_error_yet(recipe: Recipe, tmp_path: Path) -> None:
    state = begin(recipe, seed=1)
    save_checkpoint(tmp_path / "last.safetensors", state.full_checkpoint(recipe, {}))
    other = begin(recipe, seed=2)
    other.restore(read_checkpoint(tmp_path / "last.safetensors"), "last")
    assert other.progress.best is None


def test_the_best_checkpoint_predicts_with_the_average(recipe: Recipe, tmp_path: Path) -> None:
    state = begin(recipe, seed=1)
    advance(state, 3)
    save_checkpoint(tmp_path / "best.safetensors", state.best_checkpoint(recipe, {}))
    loaded = load_potential(tmp_path / "best.safetensors")
    graph = make_graph([crystals(1)[0]], 3.5)
    expected = state.evaluated().eval()(graph)
    loaded.requires_grad_()  # torch rounds otherwise where the weights need no gradient
    assert torch.equal(loaded(graph).energy, expected.energy)
    assert not torch.equal(loaded(graph).energy, state.potential.eval()(graph).energy)
    assert loaded.elements == (8, 12)


def test_without_an_average_the_weights_themselves_are_evaluated() -> None:
    state = begin(recipe_of(Path("none.xyz"), train__ema=0), seed=1)
    assert state.evaluated() is state.potential


def test_another_shape_is_refused(recipe: Recipe) -> None:
    other = recipe_of(Path("none.xyz"), model__hidden_channels=5)
    with pytest.raises(InputError, match=r"^last: .*shape"):
        begin(recipe, seed=1).restore(begin(other, seed=1).full_checkpoint(other, {}), "last")


def test_an_average_that_the_run_did_not_have_begins_at_its_weights(recipe: Recipe) -> None:
    without = recipe_of(Path("none.xyz"), train__ema=0)
    state = begin(without, seed=1)
    advance(state, 2)
    other = begin(recipe, seed=2)
    other.restore(state.full_checkpoint(without, {}), "last")
    averaged = dict(other.evaluated().named_parameters())
    assert all(torch.equal(averaged[name], p) for name, p in state.potential.named_parameters())


def test_the_next_stage_keeps_the_weights_it_is_given_and_forgets_all_else(recipe: Recipe) -> None:
    state = begin(recipe, seed=1)
    advance(state, 2)
    state.progress = Progress(stage=0, epoch=4, batch=1, step=2, best=0.5, seconds=3.0, data="x")
    state.origin = {"file": "a.pt"}
    given = carry_over(state.evaluated(), recipe.model, seed=0)
    before = {name: tensor.clone() for name, tensor in given.state_dict().items()}
    begun = state.next_stage(given, recipe)
    assert begun.progress == Progress(stage=1, step=2, seconds=3.0, data="x")
    assert begun.origin == {"file": "a.pt"}
    after = begun.full_checkpoint(recipe, {})
    assert not any(name.startswith("optimizer/") for name in after.tensors)
    assert after.progress["averaged"] == 0
    for part in ("weights", "average"):
        assert all(torch.equal(tensor, before[name]) for name, tensor in after.part(part).items())


def test_what_is_frozen_has_no_moments_and_does_not_change() -> None:
    recipe = recipe_of(Path("none.xyz"), train__freeze=["species", "blocks"])
    state = begin(recipe, seed=1)
    before = {name: tensor.clone() for name, tensor in state.potential.named_parameters()}
    advance(state, 2)
    checkpoint = state.full_checkpoint(recipe, {})
    for name, tensor in state.potential.named_parameters():
        frozen = ".species." in name or ".blocks." in name
        assert bool(checkpoint.part(f"optimizer/{name}")) != frozen
        assert (
            torch.equal(tensor, before[name]) == frozen
            or not checkpoint.part(f"optimizer/{name}")["exp_avg"].any()
        )
    averaged = dict(state.evaluated().named_parameters())
    assert torch.equal(averaged["network.backbone.species.weight"], before["network.backbone.species.weight"])


def test_the_model_of_a_checkpoint_is_that_of_its_stage() -> None:
    recipe = recipe_of(
        Path("none.xyz"),
        model__lmax=2,
        train__stages=[{"epochs": 1, "forces": {"kind": "direct"}, "dens": {}}],
    )
    state = begin(at_stage(recipe, 0), seed=1)
    best, full = state.best_checkpoint(recipe, {}), state.full_checkpoint(recipe, {})
    for checkpoint in (best, full):
        assert checkpoint.recipe["model"]["forces"]["kind"] == "direct"
        assert checkpoint.recipe["model"]["dens"] is True
        assert restore_potential(checkpoint, "it").direct is not None
    assert Recipe.model_validate(full.recipe | {"model": run_model(full)}) == recipe
