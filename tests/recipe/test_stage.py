"""What a stage overrides, and what a recipe of stages may not say."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from esen.errors import InputError
from esen.models.cost import parameter_count
from esen.recipe import (
    DensSpec,
    DirectSpec,
    Recipe,
    at_stage,
    describe_stage,
    dump_recipe,
    load_recipe,
    resolve_paths,
)

TRAIN = "data: {train: [{path: a.xyz}]}\ntrain:\n"


def recipe_of(*stages: dict[str, Any], model: dict[str, Any] | None = None, **train: Any) -> Recipe:
    data = {"train": [{"path": "a.xyz"}]}
    return Recipe.model_validate({"model": model or {}, "data": data, "train": {"stages": stages} | train})


def load(path: Path, train: str) -> Recipe:
    path.write_text(TRAIN + train)
    return load_recipe(path)


def test_a_stage_without_changes_is_the_recipe() -> None:
    recipe = recipe_of({"epochs": 3}, seed=4)
    assert at_stage(recipe, 0) == recipe


def test_forces_and_dens_make_the_network_of_the_stage() -> None:
    recipe = recipe_of({"epochs": 2, "forces": {"kind": "direct"}, "dens": {}}, {"epochs": 1})
    first, second = at_stage(recipe, 0).model, at_stage(recipe, 1).model
    assert (first.forces, first.dens) == (DirectSpec(), True)
    assert second == recipe.model
    assert [describe_stage(recipe, i) for i in (0, 1)] == ["stage 1: direct, DeNS", "stage 2: conservative"]


def test_a_section_of_a_stage_states_only_what_differs(tmp_path: Path) -> None:
    text = "  optimizer: {learning_rate: 1e-3, clip_norm: 7}\n  loss: {stress: 0}\n  batch: {atoms: 50}\n  stages:\n"
    text += "    - {epochs: 1, optimizer: {learning_rate: 1e-4}, loss: {forces: 3}, batch: {structures: 2}}\n"
    recipe = load(tmp_path / "a.yaml", text + "    - {epochs: 1}\n")
    here = at_stage(recipe, 0).train
    assert (here.optimizer.learning_rate, here.optimizer.clip_norm) == (1e-4, 7.0)
    assert (here.loss.forces, here.loss.stress, here.loss.energy) == (3.0, 0.0, 20.0)
    assert (here.batch.structures, here.batch.atoms) == (2, None)
    assert at_stage(recipe, 1).train == recipe.train
    (tmp_path / "b.yaml").write_text(dump_recipe(recipe))
    assert load_recipe(tmp_path / "b.yaml") == recipe


def test_a_recipe_that_extends_one_with_stages_still_states_only_what_differs(tmp_path: Path) -> None:
    load(
        tmp_path / "a.yaml", "  optimizer: {clip_norm: 7}\n  stages: [{epochs: 1, optimizer: {beta1: 0.5}}]\n"
    )
    (tmp_path / "b.yaml").write_text("extends: a.yaml\ntrain: {optimizer: {clip_norm: 3}}\n")
    optimizer = at_stage(load_recipe(tmp_path / "b.yaml"), 0).train.optimizer
    assert (optimizer.beta1, optimizer.clip_norm) == (0.5, 3.0)


@pytest.mark.parametrize(
    ("train", "message"),
    [
        ({"stages": [{"epochs": 0}]}, "epochs: 0 .*init_from"),
        ({"stages": [{"epochs": 1}], "renew": ["references"]}, "renew .*init_from"),
        ({"stages": [{"epochs": 1}], "compile": True, "memory": "lean"}, "compile: true .*memory"),
        ({"stages": [{"epochs": 1}], "precision": "float16"}, "'float32', 'float64', 'tf32' or 'bf16'"),
        ({"stages": [{"epochs": 1}], "prefetch": -1}, "greater than or equal to 0"),
        ({"stages": [{"epochs": 1, "dens": {"std": 0}}]}, "greater than 0"),
        ({"stages": [{"epochs": 1, "dens": {"probability": 1.1}}]}, "less than or equal to 1"),
        ({"stages": [{"epochs": 1, "dens": {"corrupt_ratio": 0}}]}, "greater than 0"),
        (
            {
                "stages": [
                    {"epochs": 1},
                    {"epochs": 1, "forces": {"kind": "direct", "stress": {"kind": "none"}}},
                ]
            },
            r"train\.stages\[1\]\.forces\.stress\.kind .*none.*train\.stages\[1\]\.loss\.stress .*0.*5",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(train: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        recipe_of(*train["stages"], **{key: value for key, value in train.items() if key != "stages"})


def test_a_direct_stage_needs_lmax_2() -> None:
    with pytest.raises(ValidationError, match=r"train\.stages\[0\]: forces\.kind .*direct.* lmax 2"):
        recipe_of({"epochs": 1, "forces": {"kind": "direct"}}, model={"lmax": 1, "mmax": 1})
    direct = {"kind": "direct", "stress": {"kind": "none"}}
    recipe_of({"epochs": 1, "forces": direct, "loss": {"stress": 0}}, model={"lmax": 1, "mmax": 1})


def test_no_epochs_are_legal_where_weights_are_given() -> None:
    assert recipe_of({"epochs": 0}, init_from="runs/a").train.stages[0].epochs == 0


def test_a_mistake_in_a_stage_names_its_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a\.yaml:4: train\.stages\[0\]\.dens\.probabilty: .*did you mean"):
        load(tmp_path / "a.yaml", "  stages:\n    - {epochs: 1, dens: {probabilty: 0.5}}\n")
    with pytest.raises(InputError, match=r"a\.yaml:3: train\.renew\[0\]: .*'references', 'scale', 'heads'"):
        load(tmp_path / "a.yaml", "  renew: [refs]\n  init_from: x\n  stages: [{epochs: 1}]\n")


def test_a_mistake_of_the_whole_recipe_names_the_override(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(TRAIN + "  stages: [{epochs: 1, forces: {kind: direct}}]\n")
    with pytest.raises(InputError) as error:
        load_recipe(path, ["train.stages.0.forces.stress.kind=none"])
    assert str(error.value).startswith(
        "--set train.stages.0.forces.stress.kind=none: train.stages[0].forces.stress.kind is none"
    )


def test_the_source_is_found_from_the_folder_of_the_recipe(tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    recipe = load(tmp_path / "base" / "a.yaml", "  init_from: ../runs/a\n  stages: [{epochs: 1}]\n")
    resolved = resolve_paths(recipe, tmp_path / "base").train.init_from
    assert resolved == str(tmp_path / "base" / ".." / "runs" / "a")
    (tmp_path / "b.yaml").write_text("extends: base/a.yaml\n")
    extended = resolve_paths(load_recipe(tmp_path / "b.yaml"), tmp_path).train.init_from
    assert extended is not None
    assert Path(extended).resolve() == tmp_path / "runs" / "a"
    absolute = load(tmp_path / "c.yaml", "  init_from: /models/a\n  stages: [{epochs: 1}]\n")
    assert resolve_paths(absolute, tmp_path).train.init_from == "/models/a"


RECIPES = Path(__file__).parents[2] / "recipes"


def test_the_training_of_the_paper_to_the_number() -> None:
    recipe = load_recipe(RECIPES / "mptrj30m.yaml")
    first, second = recipe.train.stages
    assert (first.epochs, second.epochs) == (60, 40)
    assert at_stage(recipe, 0).model.forces.kind == "direct"
    assert first.dens == DensSpec(probability=0.5, std=0.1, coefficient=10.0, corrupt_ratio=None)
    assert (at_stage(recipe, 1).model.forces.kind, second.dens) == ("conservative", None)
    for stage in (0, 1):
        train = at_stage(recipe, stage).train
        assert train.batch.structures == 512
        assert (train.optimizer.learning_rate, train.optimizer.weight_decay) == (4e-4, 1e-3)
        assert train.optimizer.clip_norm == 100
        assert (train.schedule.warmup_epochs, train.schedule.warmup_factor) == (0.1, 0.2)
        assert (train.loss.energy, train.loss.forces, train.loss.stress) == (20, 20, 5)
    assert parameter_count(at_stage(recipe, 1).model) == 30_085_121


def test_the_fine_tuning_of_the_paper() -> None:
    recipe = load_recipe(RECIPES / "oam30m.yaml")
    assert [stage.epochs for stage in recipe.train.stages] == [1]
    assert recipe.train.init_from is not None
    assert [source.repeat for source in recipe.data.train] == [1, 8]
    assert at_stage(recipe, 0).model == recipe.model
    assert (recipe.model.forces.kind, recipe.model.dens) == ("conservative", False)
