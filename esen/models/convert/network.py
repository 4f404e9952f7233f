"""The published settings of a network, and our recipe of it."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from esen.errors import InputError
from esen.recipe.model import ModelSpec

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
"""What a setting that is not written means there (fairchem-core 1.10)."""

_IRRELEVANT = {
    "activation_checkpointing", "direct_forces", "model", "otf_graph", "regress_forces", "regress_stress",
    "use_pbc", "use_pbc_single",
}  # fmt: skip
"""How it is run, not what it computes. Whether forces are direct is told by the heads."""

_SIZES = {
    "max_num_elements": "max_elements", "sphere_channels": "sphere_channels", "lmax": "lmax", "mmax": "mmax",
    "cutoff": "cutoff", "edge_channels": "edge_channels", "num_layers": "layers", "hidden_channels": "hidden_channels",
}  # fmt: skip

_BACKBONES = {"esen_backbone": False, "esen_backbone_dens": True}
_ALL_NEIGHBOURS = 100
"""A limit of at least so many neighbours is not meant to be reached; the published default is 300."""


def published_spec(model: Mapping[str, Any]) -> ModelSpec:
    """The recipe of a network from the `model` part of a published configuration.

    Raises:
        InputError: it is not an eSEN, or a choice has no counterpart; says which.
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
    """From the heads, by their kind; their names do not matter."""
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
