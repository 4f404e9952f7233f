"""The published settings of a network as a recipe of ours."""

import json
from pathlib import Path
from typing import Any

import pytest

from esen.errors import InputError
from esen.models.convert import published_spec, published_training
from esen.models.cost import parameter_count
from esen.recipe import ModelSpec
from esen.recipe.train import LossSpec, OptimizerSpec, ScheduleSpec

PARITY = Path(__file__).parents[1] / "parity"


def settings(**changes: Any) -> dict[str, Any]:
    model = json.loads((PARITY / "l2_direct_efs" / "config.json").read_text())
    model["backbone"] |= changes
    return dict(model)


def test_a_setting_that_is_not_written_has_the_published_default() -> None:
    bare = {"backbone": {"model": "esen_backbone"}, "heads": {"any": {"module": "esen_mlp_efs_head"}}}
    spec = published_spec(bare)
    assert (spec.cutoff, spec.lmax, spec.mmax, spec.layers, spec.radial.count) == (5.0, 2, 2, 2, 512)
    assert (spec.nonlinearity.kind, spec.envelope.kind, spec.forces.kind) == (
        "grid_edges",
        "none",
        "conservative",
    )


def test_the_published_model_of_30_million() -> None:
    large = {
        "model": "esen_backbone", "num_layers": 10, "lmax": 3, "cutoff": 6.0, "num_distance_basis": 10,
        "use_envelope": True, "act_type": "gate", "mlp_type": "spectral",
    }  # fmt: skip
    spec = published_spec({"backbone": large, "heads": {"mptrj": {"module": "esen_mlp_efs_head"}}})
    assert spec == ModelSpec(layers=10, lmax=3)
    assert parameter_count(spec) == 30_085_121


def test_the_options_of_direct_heads() -> None:
    model = settings()
    stress = published_spec(model).forces.stress  # type: ignore[union-attr]
    assert (stress.ends, stress.mlp, stress.sum_over) == ("both", "edge", None)
    head = model["heads"]["stress"]
    head |= {
        "use_source_target_embedding": False,
        "edge_level_mlp": False,
        "extensive": True,
        "avg_num_nodes": 9,
    }
    model["heads"]["energy"]["reduce"] = "mean"
    forces = published_spec(model).forces
    assert forces.energy == "mean"  # type: ignore[union-attr]
    assert forces.stress.model_dump() == {  # type: ignore[union-attr]
        "kind": "rank2",
        "ends": "receiver",
        "mlp": "atom",
        "layers": 2,
        "sum_over": 9.0,
    }
    del model["heads"]["stress"]
    assert published_spec(model).forces.stress.kind == "none"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"norm_type": "layer_norm_sh"}, "norm_type .*'layer_norm_sh'"),
        ({"distance_function": "sigmoid"}, "distance_function .*'sigmoid'"),
        ({"act_type": "relu"}, "act_type .*'relu'"),
        ({"model": "equiformer_v2"}, "'equiformer_v2'.*esen_backbone"),
        ({"num_experts": 8}, "num_experts"),
        ({"mmax": 5}, "mmax .*5"),
    ],
)
def test_what_has_no_counterpart_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        published_spec(settings(**changes))


def test_heads_that_do_not_go_together() -> None:
    model = settings()
    del model["heads"]["energy"]
    with pytest.raises(InputError, match="esen_mlp_efs_head"):
        published_spec(model)
    with pytest.raises(InputError, match="import"):
        published_spec({"name": "hydra", "heads": {}, "finetune_config": {"starting_checkpoint": "omat.pt"}})


def test_a_stress_that_is_not_decomposed() -> None:
    model = settings()
    model["heads"]["stress"] = {"module": "esen_rank2_head", "extensive": True, "avg_num_nodes": 9}
    stress = published_spec(model).forces.stress  # type: ignore[union-attr]
    assert (stress.kind, stress.ends, stress.mlp, stress.sum_over) == ("outer", "receiver", "atom", 1.0)


def test_a_limit_on_neighbours() -> None:
    assert published_spec(settings(max_neighbors=20)).graph.k == 20  # type: ignore[union-attr]
    assert published_spec(settings(max_neighbors=None)).graph.kind == "cutoff"


def test_the_training() -> None:
    config = {
        "optim": {
            "batch_size": 8,
            "lr_initial": 2e-4,
            "optimizer_params": {"weight_decay": 0.01},
            "clip_grad_norm": 10,
            "ema_decay": 0.99,
            "max_epochs": 7,
            "scheduler_params": {
                "epochs": 70,
                "warmup_epochs": 5,
                "warmup_factor": 0.1,
                "lr_min_factor": 0.02,
            },
        },
        "loss_functions": [
            {"energy": {"coefficient": 3}},
            {"stress_isotropic": {"coefficient": 1}},
            {"stress_anisotropic": {"coefficient": 4}},
        ],
    }
    train, note = published_training(config)
    assert note is None
    assert (train.batch.structures, train.optimizer.learning_rate, train.ema) == (8, 2e-4, 0.99)
    assert (train.schedule.warmup_epochs, train.schedule.final_factor, train.stages[0].epochs) == (
        0.5,
        0.02,
        7,
    )
    assert (train.loss.energy, train.loss.forces, train.loss.stress) == (3.0, 20.0, 4.0)
    assert published_training({})[0].stages[0].epochs == 1
    for bad in ({"lr_initial": -1}, 5, {"scheduler_params": "abc"}):
        defaults, note = published_training({"optim": bad})
        assert defaults.optimizer.learning_rate == 4e-4
        assert note is not None
        assert "not taken over" in note


def test_what_is_wrong_between_settings_is_told_without_a_key_of_its_own() -> None:
    with pytest.raises(InputError, match=r"^config\.model\.backbone: mmax .*2"):
        published_spec(settings(lmax=1, mmax=2))
    with pytest.raises(InputError, match=r"^config\.model\.backbone\.lmax"):
        published_spec(settings(lmax=20))


def config(**optim: Any) -> dict[str, Any]:
    """With the steps of an epoch, 50, already in what is called epochs, as the published trainer leaves it."""
    scheduler = {"warmup_epochs": 5.0, "warmup_factor": 0.3, "lr_min_factor": 0.05, "epochs": 4000.0}
    return {
        "optim": {
            "batch_size": 8,
            "lr_initial": 2e-4,
            "optimizer_params": {"weight_decay": 0.01},
            "clip_grad_norm": 50,
            "max_epochs": 80,
            "ema_decay": 0.99,
            "scheduler_params": scheduler,
        }
        | optim,
        "loss_functions": [
            {"energy": {"fn": "per_atom_mae", "coefficient": 10}},
            {"forces": {"fn": "l2norm", "coefficient": 30}},
            {"stress_isotropic": {"coefficient": 2}},
            {"stress_anisotropic": {"coefficient": 3}},
            {"denoising": {"coefficient": 9}},
        ],
    }


def test_each_setting_is_taken_over() -> None:
    train, note = published_training(config())
    assert note is None
    assert train.batch.structures == 8
    assert train.optimizer == OptimizerSpec(learning_rate=2e-4, weight_decay=0.01, clip_norm=50)
    assert train.schedule == ScheduleSpec(warmup_epochs=0.1, warmup_factor=0.3, final_factor=0.05)
    assert train.loss == LossSpec(energy=10, forces=30, stress=3)
    assert (train.ema, [stage.epochs for stage in train.stages]) == (0.99, [80])


def test_epochs_that_were_not_multiplied_stay() -> None:
    """A configuration as it was written by hand has no `epochs` in its schedule."""
    train, _ = published_training(config(scheduler_params={"warmup_epochs": 0.2}))
    assert train.schedule.warmup_epochs == 0.2


def test_what_is_not_said_has_our_defaults() -> None:
    train, note = published_training({})
    assert note is None
    assert (train.batch.structures, train.stages[0].epochs) == (512, 1)
    assert (train.optimizer, train.schedule) == (OptimizerSpec(), ScheduleSpec())
    assert train.loss == LossSpec()
    no_coefficient, _ = published_training({"loss_functions": [{"energy": {"fn": "mae"}}]})
    assert no_coefficient.loss == LossSpec(energy=1)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (config(lr_initial=-1.0), "greater than 0"),
        (config(batch_size="many"), "valid integer"),
        ({"optim": [1, 2]}, "has no attribute"),
        ({"loss_functions": [{"energy": {"coefficient": "large"}}]}, "could not convert"),
    ],
)
def test_settings_that_no_recipe_can_hold_are_told_of(settings: dict[str, Any], reason: str) -> None:
    train, note = published_training(settings)
    assert note is not None
    assert note.startswith("its training settings are not taken over, recipe.yaml has esen's defaults (")
    assert reason in note
    assert train.optimizer == OptimizerSpec()
    assert train.batch.structures == 512
