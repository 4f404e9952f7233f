"""The published network's weights under our names (fairchem-core 1.x, "v1")."""

import json
import re
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from esen.models.potential import EsenPotential
from esen.recipe.model import ModelSpec

RENAMES = [
    (r"^backbone\.", "network.backbone."),
    (r"^output_heads\.[^.]+\.energy_block\.", "network.head."),
    (r"^output_heads\.energy\.energy_block\.", "network.head."),
    (r"^output_heads\.forces\.linear", "direct.forces.linear"),
    (r"^output_heads\.stress\.sphharm_norm", "direct.stress.harmonics_norm"),
    (r"^output_heads\.stress\.xedge_layer_norm", "direct.stress.edge_norm"),
    (r"^output_heads\.stress\.block\.scalar_MLP", "direct.stress.isotropic"),
    (r"^output_heads\.stress\.block\.irrep2_MLP", "direct.stress.anisotropic"),
    (r"distance_expansion\.rbf\.", "radial_basis."),
    (r"distance_expansion\.offset", "radial_basis.centers"),
    (r"sphere_embedding", "species"),
    (r"source_embedding", "sender_species"),
    (r"target_embedding", "receiver_species"),
    (r"edge_degree_embedding\.rad_func\.net\.", "edge_degree."),
    (r"edge_wise\.so2_conv_1\.rad_func\.net\.", "edgewise.radial."),
    (r"edge_wise\.so2_conv_", "edgewise.conv"),
    (r"fc_m0", "axial"),
    (r"so2_m_conv\.(\d+)\.fc\.weight", r"weights.\1"),
    (r"atom_wise\.scalar_mlp\.0\.", "feed_forward.gates."),
    (r"atom_wise\.grid_mlp", "feed_forward.mix"),
    (r"atom_wise\.so3_linear_1", "feed_forward.up"),
    (r"atom_wise\.so3_linear_2", "feed_forward.down"),
    (r"norm_(\d)", r"norm\1"),
    (r"affine_", ""),
    (r"(edge_degree|radial)\.0\.", r"\1.first."),
]
CONSTANTS = re.compile(r"(expand_index|balance_degree_weight|Jd_\d+)$")


def rename(name: str) -> str:
    for pattern, replacement in RENAMES:
        name = re.sub(pattern, replacement, name)
    # the layers after the first of a radial network stand in one sequence, counted from its norm
    return re.sub(r"(edge_degree|radial)\.(\d)\.", lambda m: f"{m[1]}.rest.{int(m[2]) - 1}.", name)


def nonlinearity(config: dict[str, Any]) -> dict[str, Any]:
    match config["act_type"], config["mlp_type"]:
        case "gate", "spectral":
            return {"kind": "gate"}
        case "gate", "grid":
            return {"kind": "grid", "resolution": config["grid_resolution"]}
        case "s2", "grid":
            return {"kind": "grid_edges", "resolution": config["grid_resolution"]}
        case other:
            raise AssertionError(other)


def published_spec(folder: Path) -> ModelSpec:
    config = json.loads((folder / "config.json").read_text())["backbone"]
    count = config["num_distance_basis"]
    bessel = config["distance_function"] != "gaussian"
    return ModelSpec.model_validate(
        {
            "cutoff": config["cutoff"],
            "lmax": config["lmax"],
            "mmax": config["mmax"],
            "layers": config["num_layers"],
            "sphere_channels": config["sphere_channels"],
            "hidden_channels": config["hidden_channels"],
            "edge_channels": config["edge_channels"],
            "max_elements": config["max_num_elements"],
            "radial": {"kind": "bessel" if bessel else "gaussian", "count": count},
            "envelope": {"kind": "polynomial" if config["use_envelope"] else "none"},
            "nonlinearity": nonlinearity(config),
            "forces": {"kind": "direct" if config["direct_forces"] else "conservative"},
        }
    )


def published_potential(folder: Path, dtype: torch.dtype) -> EsenPotential:
    potential = EsenPotential(published_spec(folder)).double()
    weights = {
        rename(name): value
        for name, value in load_file(folder / "state_dict_f64.safetensors").items()
        if not CONSTANTS.search(name)
    }
    missing, unexpected = potential.load_state_dict(weights, strict=False)
    assert not unexpected, unexpected
    assert set(missing) <= {"scale", "references", "network.backbone.radial_basis.centers"}, missing
    return potential.to(dtype).eval()
