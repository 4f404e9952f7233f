"""Measure eSCN-MD of fairchem-core 2, the successor of eSEN, for `inference.py`, in an environment that has it.

python fairchem2.py MODEL CALLS MODE    MODE is `general` or `umas_fast_pytorch`, the fastest on a CPU

The network has eSEN's blocks and 1 % more parameters. Its weights are random.
"""

import sys

import numpy as np
import torch
from fairchem.core.datasets.atomic_data import AtomicData
from fairchem.core.models.uma.escn_md import MLP_EFS_Head, eSCNMDBackbone
from measure import report, silicon

SIZES = {"3": {"lmax": 2, "num_layers": 2}, "30": {"lmax": 3, "num_layers": 10}}


def main(size: str, calls: int, mode: str) -> None:
    torch.manual_seed(0)
    backbone = eSCNMDBackbone(
        sphere_channels=128, mmax=2, otf_graph=True, max_neighbors=300, cutoff=6.0, edge_channels=128,
        num_distance_basis=10, direct_forces=False, regress_forces=True, regress_stress=True, hidden_channels=128,
        norm_type="rms_norm_sh", act_type="gate", ff_type="spectral", use_dataset_embedding=False,
        execution_mode=mode, **SIZES[size],
    ).eval()  # fmt: skip
    head = MLP_EFS_Head(backbone, wrap_property=False).eval()
    backbone.requires_grad_(False), head.requires_grad_(False)
    backbone.backend.prepare_model_for_inference(backbone)
    backbone.requires_grad_(False)
    atoms = silicon()

    def predict() -> tuple[float, np.ndarray]:
        data = AtomicData.from_ase(atoms.copy(), r_edges=False, task_name="omat")
        data.batch = torch.zeros(len(atoms), dtype=torch.long)
        out = head(data, backbone(data))
        return float(out["energy"][0]), out["forces"].detach().numpy()

    report(predict, calls)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
