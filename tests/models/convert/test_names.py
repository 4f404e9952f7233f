"""Published names of weights, and ours."""

from typing import Any

import pytest
import torch
from torch import Tensor

from esen.errors import InputError
from esen.models.convert.names import moving_average, published_weights

NAMES = {
    "backbone.sphere_embedding.weight": "network.backbone.species.weight",
    "backbone.source_embedding.weight": "network.backbone.sender_species.weight",
    "backbone.target_embedding.weight": "network.backbone.receiver_species.weight",
    "backbone.force_embedding.bias": "network.backbone.force_encoding.linear.bias",
    "backbone.distance_expansion.offset": "network.backbone.radial_basis.centers",
    "backbone.distance_expansion.rbf.frequencies": "network.backbone.radial_basis.frequencies",
    "backbone.edge_degree_embedding.rad_func.net.0.weight": "network.backbone.edge_degree.first.weight",
    "backbone.edge_degree_embedding.rad_func.net.1.bias": "network.backbone.edge_degree.rest.0.bias",
    "backbone.edge_degree_embedding.rad_func.net.6.bias": "network.backbone.edge_degree.rest.5.bias",
    "backbone.blocks.1.norm_2.affine_weight": "network.backbone.blocks.1.norm2.weight",
    "backbone.norm.affine_bias": "network.backbone.norm.bias",
    "backbone.blocks.0.edge_wise.so2_conv_1.fc_m0.bias": "network.backbone.blocks.0.edgewise.conv1.axial.bias",
    "backbone.blocks.0.edge_wise.so2_conv_2.so2_m_conv.1.fc.weight": (
        "network.backbone.blocks.0.edgewise.conv2.weights.1"
    ),
    "backbone.blocks.0.edge_wise.so2_conv_1.rad_func.net.0.bias": (
        "network.backbone.blocks.0.edgewise.radial.first.bias"
    ),
    "backbone.blocks.0.edge_wise.so2_conv_1.rad_func.net.3.bias": (
        "network.backbone.blocks.0.edgewise.radial.rest.2.bias"
    ),
    "backbone.blocks.0.atom_wise.scalar_mlp.0.weight": "network.backbone.blocks.0.feed_forward.gates.weight",
    "backbone.blocks.0.atom_wise.grid_mlp.2.weight": "network.backbone.blocks.0.feed_forward.mix.2.weight",
    "backbone.blocks.0.atom_wise.so3_linear_1.bias": "network.backbone.blocks.0.feed_forward.up.bias",
    "backbone.blocks.0.atom_wise.so3_linear_2.weight": "network.backbone.blocks.0.feed_forward.down.weight",
    "output_heads.mptrj.energy_block.4.bias": "network.head.4.bias",
    "output_heads.forces.linear.weight": "direct.forces.linear.weight",
    "output_heads.x.denoising_linear.weight": "noise.linear.weight",
    "output_heads.stress.sphharm_norm.affine_weight": "direct.stress.harmonics_norm.weight",
    "output_heads.stress.xedge_layer_norm.bias": "direct.stress.edge_norm.bias",
    "output_heads.stress.block.scalar_MLP.0.weight": "direct.stress.isotropic.0.weight",
    "output_heads.stress.block.irrep2_MLP.2.weight": "direct.stress.anisotropic.2.weight",
    "output_heads.stress.block.r2tensor_MLP.2.weight": "direct.stress.tensor.2.weight",
}


@pytest.mark.parametrize("wrapper", ["", "module.", "_orig_mod.", "module._orig_mod.module."])
def test_each_weight_has_its_name(wrapper: str) -> None:
    tensors = {wrapper + name: torch.tensor(float(i)) for i, name in enumerate(NAMES)}
    renamed = published_weights(tensors)
    assert list(renamed) == list(NAMES.values())
    assert [float(tensor) for tensor in renamed.values()] == list(range(len(NAMES)))


def test_what_we_compute_is_left_out() -> None:
    constants = [
        "backbone.blocks.0.norm_1.expand_index",
        "backbone.norm.balance_degree_weight",
        "module.backbone.Jd_2",
        "backbone.SO3_grid.to_grid_mat",
        "backbone.SO3_grid.from_grid_mat",
    ]
    assert published_weights({name: torch.zeros(1) for name in constants}) == {}
    assert len(published_weights({"backbone.Jd_2.weight": torch.zeros(1)})) == 1


def test_two_heads_of_a_kind_are_refused() -> None:
    heads = {f"output_heads.{name}.energy_block.0.weight": torch.zeros(1) for name in ("pbe", "r2scan")}
    with pytest.raises(InputError, match=r"network\.head\.0\.weight"):
        published_weights(heads)


STATE: dict[str, Tensor] = {
    "module.backbone.sphere_embedding.weight": torch.zeros(3, 2),
    "module.backbone.distance_expansion.offset": torch.ones(4),
    "module.backbone.norm.expand_index": torch.arange(4),
    "module.backbone.norm.affine_bias": torch.zeros(2),
}


def average(*shadow: Tensor) -> dict[str, Any]:
    return {"decay": 0.9, "shadow_params": list(shadow)}


def test_the_list_of_averages_has_the_order_of_the_parameters() -> None:
    first, second = torch.full((3, 2), 5.0), torch.full((2,), 7.0)
    averaged = moving_average(STATE, average(first, second))
    assert list(averaged) == list(STATE)
    assert averaged["module.backbone.sphere_embedding.weight"] is first
    assert averaged["module.backbone.norm.affine_bias"] is second
    for name in ("module.backbone.distance_expansion.offset", "module.backbone.norm.expand_index"):
        assert averaged[name] is STATE[name]
    assert not STATE["module.backbone.norm.affine_bias"].any()  # the state is as it was


@pytest.mark.parametrize(
    "shadow",
    [[], [torch.zeros(3, 2)], [torch.zeros(2), torch.zeros(3, 2)], [torch.zeros(3, 2)] * 3],
    ids=["none", "one", "another order", "more"],
)
def test_a_list_that_does_not_fit_is_refused(shadow: list[Tensor]) -> None:
    words = f"{len(shadow)} .* 2 .*--raw"
    with pytest.raises(InputError, match=words):
        moving_average(STATE, average(*shadow))
