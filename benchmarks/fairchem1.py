"""Measure the published eSEN (fairchem-core 1.10) for `inference.py` and `training.py`, in an environment that has it.

python fairchem1.py MODEL CALLS WEIGHTS.pt    predicts, and writes the random weights as a checkpoint of fairchem
python fairchem1.py MODEL CALLS train         measures steps of training
"""

import sys
from typing import Any

import numpy as np
import torch
from fairchem.core.common.registry import registry
from fairchem.core.models.esen import esen  # noqa: F401  # registers the models
from measure import report, silicon
from torch_geometric.data import Batch, Data

BACKBONE = {
    "model": "esen_backbone", "max_num_elements": 100, "sphere_channels": 128, "mmax": 2, "otf_graph": True,
    "max_neighbors": 300, "use_pbc": True, "use_pbc_single": False, "cutoff": 6.0, "edge_channels": 128,
    "distance_function": "gaussian", "num_distance_basis": 10, "direct_forces": False, "regress_forces": True,
    "regress_stress": True, "hidden_channels": 128, "norm_type": "rms_norm_sh", "act_type": "gate",
    "mlp_type": "spectral", "use_envelope": True,
}  # fmt: skip
SIZES = {"3": {"lmax": 2, "num_layers": 2}, "30": {"lmax": 3, "num_layers": 10}}


def batch_of(atoms: Any) -> Batch:
    data = Data(
        pos=torch.tensor(atoms.positions, dtype=torch.float32),
        atomic_numbers=torch.tensor(atoms.numbers),
        cell=torch.tensor(atoms.cell.array, dtype=torch.float32)[None],
        pbc=torch.tensor(atoms.pbc)[None],
        natoms=len(atoms),
        fixed=torch.zeros(len(atoms)),
        tags=torch.zeros(len(atoms), dtype=torch.long),
    )
    return Batch.from_data_list([data])


def predict(model: torch.nn.Module, calls: int) -> None:
    atoms = silicon()

    def once() -> tuple[float, np.ndarray]:
        out = model(batch_of(atoms))
        return float(out["energy"][0]), out["forces"].detach().numpy()

    report(once, calls)


def train(model: torch.nn.Module, calls: int) -> None:
    """Measure steps with the published loss: 20 × MAE of energy per atom + 20 × L2 norm of forces + 5 × MAE of stress.

    All labels are zero.
    """
    atoms = silicon()
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-9)

    def once() -> tuple[float, np.ndarray]:
        out = model(batch_of(atoms))
        energy, forces = out["energy"] / len(atoms), out["forces"]
        loss = 20 * energy.abs().mean() + 20 * forces.norm(dim=1).mean() + 5 * out["stress"].abs().mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 100)
        optimizer.step()
        optimizer.zero_grad()
        return float(loss), np.zeros((1, 3))

    report(once, calls)


def main(size: str, calls: int, weights: str) -> None:
    torch.manual_seed(0)
    config = {
        "pass_through_head_outputs": True,
        "otf_graph": True,
        "backbone": BACKBONE | SIZES[size],
        "heads": {"any": {"module": "esen_mlp_efs_head"}},
    }
    model = registry.get_model_class("hydra")(**config).eval()
    if weights == "train":
        train(model, calls)
    else:
        torch.save(
            {"state_dict": model.state_dict(), "config": {"model": {"name": "hydra"} | config}}, weights
        )
        predict(model, calls)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
