"""The published eSEN (fairchem-core 1.10), for `inference.py`: run by the interpreter that has it.

python fairchem1.py MODEL CALLS WEIGHTS.pt    writes its random weights, as its own checkpoints have them
"""

import sys

import numpy as np
import torch
from fairchem.core.common.registry import registry
from fairchem.core.models.esen import esen  # noqa: F401  # registers the names
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


def main(size: str, calls: int, weights: str) -> None:
    torch.manual_seed(0)
    config = {
        "pass_through_head_outputs": True,
        "otf_graph": True,
        "backbone": BACKBONE | SIZES[size],
        "heads": {"any": {"module": "esen_mlp_efs_head"}},
    }
    model = registry.get_model_class("hydra")(**config).eval()
    torch.save({"state_dict": model.state_dict(), "config": {"model": {"name": "hydra"} | config}}, weights)
    atoms = silicon()

    def predict() -> tuple[float, np.ndarray]:
        data = Data(
            pos=torch.tensor(atoms.positions, dtype=torch.float32),
            atomic_numbers=torch.tensor(atoms.numbers),
            cell=torch.tensor(atoms.cell.array, dtype=torch.float32)[None],
            pbc=torch.tensor(atoms.pbc)[None],
            natoms=len(atoms),
            fixed=torch.zeros(len(atoms)),
            tags=torch.zeros(len(atoms), dtype=torch.long),
        )
        out = model(Batch.from_data_list([data]))
        return float(out["energy"][0]), out["forces"].detach().numpy()

    report(predict, calls)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
