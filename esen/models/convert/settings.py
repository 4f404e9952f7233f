"""The published settings of a network and of its training, as parts of our recipe."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from esen.errors import InputError
from esen.recipe.model import ModelSpec
from esen.recipe.train import TrainSpec

_DEFAULTS: dict[str, Any] = {
    "max_num_elements": 100,
    "sphere_channels": 128,
    "lmax": 2,
    "mmax": 2,
    "grid_resolution": None,
    "max_neighbors": 300,
    "cutoff": 5.0,
    "edge_channels": 128,
    "distance_function": "gaussian",
    "num_distance_basis": 512,
    "num_layers": 2,
    "hidden_channels": 128,
    "norm_type": "rms_norm_sh",
    "act_type": "s2",
    "mlp_type": "grid",
    "use_envelope": False,
}
"""The published default of each setting (fairchem-core 1.10)."""

_IRRELEVANT = {
    "activation_checkpointing", "direct_forces", "model", "otf_graph", "regress_forces", "regress_stress",
    "use_pbc", "use_pbc_single",
}  # fmt: skip
"""Settings that do not change what the network computes. Whether forces are direct follows from the heads."""

_SIZES = {
    "max_num_elements": "max_elements", "sphere_channels": "sphere_channels", "lmax": "lmax", "mmax": "mmax",
    "cutoff": "cutoff", "edge_channels": "edge_channels", "num_layers": "layers", "hidden_channels": "hidden_channels",
}  # fmt: skip

_BACKBONES = {"esen_backbone": False, "esen_backbone_dens": True}
_ALL_NEIGHBOURS = 100
"""A limit of at least so many neighbours is not meant to be reached. The published default is 300."""


def published_spec(model: Mapping[str, Any]) -> ModelSpec:
    """Return the `model` of a recipe from the `model` of a published configuration.

    Raises:
        InputError: The network is not an eSEN, or a setting has no counterpart.
    """
    backbone = model.get("backbone")
    heads = model.get("heads")
    if not isinstance(backbone, Mapping) or not isinstance(heads, Mapping):
        start = (model.get("finetune_config") or {}).get("starting_checkpoint")
        where = f"; its network is that of {start}, import that" if start else ""
        raise InputError(f"config.model has no backbone and heads (name is {model.get('name')!r}){where}")
    kind = backbone.get("model")
    if kind not in _BACKBONES:
        raise InputError(f"config.model.backbone.model is {kind!r}, expected one of {', '.join(_BACKBONES)}")
    unknown = sorted(set(backbone) - set(_DEFAULTS) - _IRRELEVANT)
    if unknown:
        raise InputError(
            f"config.model.backbone.{unknown[0]} is not known; it may change what the network computes"
        )
    settings = _DEFAULTS | {key: value for key, value in backbone.items() if key in _DEFAULTS}
    if settings["norm_type"] != "rms_norm_sh":
        raise InputError(
            f"config.model.backbone.norm_type is {settings['norm_type']!r}; only rms_norm_sh is supported,"
            " which all published eSEN models use"
        )
    spec = {ours: settings[theirs] for theirs, ours in _SIZES.items()} | {
        "radial": _radial(settings),
        "envelope": {"kind": "polynomial" if settings["use_envelope"] else "none"},
        "nonlinearity": _nonlinearity(settings),
        "graph": _graph(settings),
        "forces": _forces(heads),
        "dens": _BACKBONES[kind],
    }
    try:
        return ModelSpec.model_validate(spec)
    except ValidationError as error:
        problem = error.errors()[0]
        place = ".".join(map(str, ("config.model.backbone", *problem["loc"])))
        raise InputError(f"{place}: {problem['msg'].removeprefix('Value error, ')}") from error


def _radial(settings: Mapping[str, Any]) -> dict[str, Any]:
    kind = settings["distance_function"]
    if kind not in ("gaussian", "bessel"):
        raise InputError(f"config.model.backbone.distance_function is {kind!r}, expected gaussian or bessel")
    return {"kind": kind, "count": settings["num_distance_basis"]}


def _nonlinearity(settings: Mapping[str, Any]) -> dict[str, Any]:
    resolution = settings["grid_resolution"]
    match settings["act_type"], settings["mlp_type"]:
        case "gate", "spectral":
            return {"kind": "gate"}
        case "gate", "grid":
            return {"kind": "grid", "resolution": resolution}
        case "s2", "grid":
            return {"kind": "grid_edges", "resolution": resolution}
        case "s2", "spectral":
            return {"kind": "grid_edges", "resolution": resolution, "feed_forward": "gate"}
        case edges, atoms:
            raise InputError(
                f"config.model.backbone: act_type {edges!r} with mlp_type {atoms!r} is not known;"
                " expected gate or s2 with spectral or grid"
            )


def _graph(settings: Mapping[str, Any]) -> dict[str, Any]:
    limit = settings["max_neighbors"]
    if limit is None or limit >= _ALL_NEIGHBOURS:
        return {"kind": "cutoff"}
    return {"kind": "knn", "k": int(limit)}


def _forces(heads: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the forces of a recipe from the kinds of the heads. The names of the heads do not matter."""
    kinds = sorted(str(head.get("module")) for head in heads.values())
    options = {str(head.get("module")).removesuffix("_dens"): head for head in heads.values()}
    match [kind.removesuffix("_dens") for kind in kinds]:
        case ["esen_mlp_efs_head"]:
            return {"kind": "conservative"}
        case ["esen_linear_force_head", "esen_mlp_energy_head"]:
            stress: dict[str, Any] = {"kind": "none"}
        case ["esen_linear_force_head", "esen_mlp_energy_head", "esen_rank2_head"]:
            stress = _stress(options["esen_rank2_head"])
        case _:
            raise InputError(
                f"config.model.heads are {', '.join(kinds) or 'none'}; expected one esen_mlp_efs_head, or"
                " esen_mlp_energy_head with esen_linear_force_head and, if there is one, esen_rank2_head"
            )
    return {
        "kind": "direct",
        "stress": stress,
        "energy": options["esen_mlp_energy_head"].get("reduce", "sum"),
    }


def _stress(head: Mapping[str, Any]) -> dict[str, Any]:
    decompose = head.get("decompose", False)
    extensive = head.get("extensive", False)
    return {
        "kind": "rank2" if decompose else "outer",
        "ends": "both" if head.get("use_source_target_embedding", False) else "receiver",
        "mlp": "edge" if head.get("edge_level_mlp", False) else "atom",
        "layers": head.get("num_mlp_layers", 2),
        # without decomposition the published code does not divide
        "sum_over": None if not extensive else head.get("avg_num_nodes", 1.0) if decompose else 1.0,
    }


def published_training(config: Mapping[str, Any]) -> tuple[TrainSpec, str | None]:
    """Return the `train` of a recipe from a published configuration, with our defaults for settings that it lacks.

    The second value is a note if a recipe cannot hold the settings, so that all have our defaults. `batch_size` is the
    published number of structures per process; the number of processes is not in the file.
    """
    try:
        return TrainSpec.model_validate(_training(config)), None
    except (ValidationError, AttributeError, TypeError, ValueError) as error:
        reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        note = f"its training settings are not taken over, recipe.yaml has esen's defaults ({reason})"
        return TrainSpec.model_validate({"stages": [{"epochs": 1}]}), note


def _training(config: Mapping[str, Any]) -> dict[str, Any]:
    optim = config.get("optim") or {}
    schedule = dict(optim.get("scheduler_params") or {})
    steps = schedule.get("epochs", 0) / (optim.get("max_epochs") or 1)
    if steps and "warmup_epochs" in schedule:  # published epochs were multiplied by the steps of one epoch
        schedule["warmup_epochs"] /= steps
    return {
        "batch": {"structures": optim.get("batch_size", 512)},
        "optimizer": _known(
            learning_rate=optim.get("lr_initial"),
            weight_decay=(optim.get("optimizer_params") or {}).get("weight_decay"),
            clip_norm=optim.get("clip_grad_norm"),
        ),
        "schedule": _known(
            warmup_epochs=schedule.get("warmup_epochs"),
            warmup_factor=schedule.get("warmup_factor"),
            final_factor=schedule.get("lr_min_factor"),
        ),
        "loss": _loss(config.get("loss_functions") or ()),
        "stages": [{"epochs": optim.get("max_epochs", 1)}],
    } | _known(ema=optim.get("ema_decay"))


def _loss(functions: Any) -> dict[str, float]:
    """Return the weight of each term. A stress in two parts has the larger of their weights."""
    weights: dict[str, float] = {}
    for terms in functions:
        for target, settings in terms.items():
            name = "stress" if target.startswith("stress") else target
            if name in ("energy", "forces", "stress"):
                weights[name] = max(weights.get(name, 0.0), float(settings.get("coefficient", 1.0)))
    return weights


def _known(**values: Any) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}
