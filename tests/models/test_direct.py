"""Direct forces and stress are equivariant, but not derivatives of an energy."""

import numpy as np
import torch

from esen.graph.batch import make_graph
from esen.models.potential import make_potential
from esen.recipe.model import ModelSpec
from tests.models.variants import chiral_molecule

SPEC = ModelSpec.model_validate(
    {
        "cutoff": 4.0,
        "sphere_channels": 4,
        "hidden_channels": 5,
        "edge_channels": 6,
        "max_elements": 30,
        "forces": {"kind": "direct"},
    }
)


def jacobian_asymmetry(kind: str) -> float:
    """Return λ = ‖J − Jᵀ‖ / 2‖J‖ of J = ∂F/∂r by central differences."""
    spec = SPEC.model_copy(update={"forces": ModelSpec.model_validate({"forces": {"kind": kind}}).forces})
    potential = make_potential(spec, seed=0).double().eval()
    graph = make_graph(chiral_molecule(), spec.cutoff)
    columns = []
    for index in range(graph.positions.numel()):
        forces = []
        for step in (1e-4, -1e-4):
            positions = graph.positions.clone()
            positions.view(-1)[index] += step
            moved = type(graph)(**{**vars(graph), "positions": positions})
            forces.append(potential(moved).forces.detach().reshape(-1))
        columns.append((forces[0] - forces[1]) / 2e-4)
    jacobian = torch.stack(columns, dim=1)
    return float((jacobian - jacobian.T).norm() / (2 * jacobian.norm()))


def test_direct_forces_are_not_curl_free_and_conservative_ones_are() -> None:
    assert jacobian_asymmetry("direct") > 0.1
    assert jacobian_asymmetry("conservative") < 1e-6


def test_direct_forces_do_not_sum_to_zero_and_the_stress_is_symmetric() -> None:
    potential = make_potential(SPEC, seed=0).double().eval()
    structure = chiral_molecule()
    crystal = type(structure)(structure.numbers, structure.positions, np.eye(3) * 4.5, np.ones(3, dtype=bool))
    prediction = potential(make_graph([structure, crystal], SPEC.cutoff))
    assert prediction.forces[:5].sum(0).abs().max() > 1e-6
    assert torch.allclose(prediction.stress[1], prediction.stress[1].mT)
    assert prediction.stress[0].isnan().all()  # no volume
    assert prediction.stress[1].abs().max() > 1e-6
    assert torch.allclose(prediction.virial[1], prediction.stress[1] * 4.5**3, rtol=1e-12)
    slab = type(structure)(
        structure.numbers, structure.positions, crystal.cell, np.array([True, True, False])
    )
    assert potential(make_graph(slab, SPEC.cutoff)).stress.abs().max() > 1e-6


def test_the_loss_reaches_every_weight_but_the_unused_bias() -> None:
    potential = make_potential(SPEC, seed=0).double().train()
    structure = chiral_molecule()
    crystal = type(structure)(structure.numbers, structure.positions, np.eye(3) * 4.5, np.ones(3, dtype=bool))
    prediction = potential(make_graph(crystal, SPEC.cutoff))
    total = prediction.energy.sum() + prediction.forces.square().sum() + prediction.stress.square().sum()
    total.backward()
    untouched = {n for n, p in potential.named_parameters() if p.grad is None or not p.grad.any()}
    assert "direct.forces.linear.weight" not in untouched
    assert "direct.stress.anisotropic.2.weight" not in untouched
    assert untouched <= {"direct.forces.linear.bias"}
