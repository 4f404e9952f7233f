"""The published names of the weights, and ours."""

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from esen.errors import InputError

_WRAPPERS = re.compile(r"^(?:module\.|_orig_mod\.)+")
_CONSTANTS = re.compile(r"(?:expand_index|balance_degree_weight|Jd_\d+|to_grid_mat|from_grid_mat)$")
_BUFFERS = re.compile(r"distance_expansion\.offset$")

_BACKBONE = [
    (r"^backbone\.", "network.backbone."),
    (r"distance_expansion\.rbf\.", "radial_basis."),
    (r"distance_expansion\.offset", "radial_basis.centers"),
    (r"force_embedding", "force_encoding.linear"),
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
    (r"(edge_degree|radial)\.0\.", r"\1.first."),
]
_HEADS = [
    (r"^output_heads\.[^.]+\.energy_block\.", "network.head."),
    (r"^output_heads\.[^.]+\.denoising_linear\.", "noise.linear."),
    (r"^output_heads\.[^.]+\.linear\.", "direct.forces.linear."),
    (r"^output_heads\.[^.]+\.sphharm_norm\.", "direct.stress.harmonics_norm."),
    (r"^output_heads\.[^.]+\.xedge_layer_norm\.", "direct.stress.edge_norm."),
    (r"^output_heads\.[^.]+\.block\.scalar_MLP\.", "direct.stress.isotropic."),
    (r"^output_heads\.[^.]+\.block\.r2tensor_MLP\.", "direct.stress.tensor."),
    (r"^output_heads\.[^.]+\.block\.irrep2_MLP\.", "direct.stress.anisotropic."),
]


def published_weights(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights of a published network under our names, in the same order, without constants.

    Prefixes of wrappers such as `module.` are removed. A head may have any name.

    Raises:
        InputError: Two weights would have the same name, because there are several heads of a kind.
    """
    weights: dict[str, Tensor] = {}
    for name, tensor in state_dict.items():
        bare = _WRAPPERS.sub("", name)
        if _CONSTANTS.search(bare):
            continue
        ours = _rename(bare)
        if ours in weights:
            raise InputError(
                f"two weights of the network are {ours}: several heads for one quantity are not supported"
            )
        weights[ours] = tensor
    return weights


def moving_average(state_dict: Mapping[str, Tensor], ema: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the state with every parameter replaced by its moving average.

    The file holds the averages as a list without names, in the order of the parameters in the state. Constants and
    buffers are not in the list.

    Raises:
        InputError: The list does not fit the parameters.
    """
    shadow = list(ema.get("shadow_params") or ())
    names = [name for name in state_dict if not (_CONSTANTS.search(name) or _BUFFERS.search(name))]
    sizes = [state_dict[name].shape for name in names]
    if [tensor.shape for tensor in shadow] != sizes:
        raise InputError(
            f"the moving average has {len(shadow)} tensors that do not fit the {len(names)} parameters of the network;"
            " take the weights as they were trained with --raw"
        )
    return dict(state_dict) | dict(zip(names, shadow, strict=True))


def _rename(name: str) -> str:
    for pattern, replacement in (*_HEADS, *_BACKBONE):
        name = re.sub(pattern, replacement, name)
    name = name.replace("affine_", "")
    # the layers of a radial network after the first form a sequence, numbered from its norm
    return re.sub(r"(edge_degree|radial)\.(\d)\.", lambda m: f"{m[1]}.rest.{int(m[2]) - 1}.", name)
