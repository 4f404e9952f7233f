"""The device under test: `ESEN_TEST_DEVICE=cuda pytest tests/device` proves esen on a GPU."""

import os

import pytest
import torch


@pytest.fixture(scope="session")
def device() -> str:
    """Return `cpu` or `cuda`. A GPU that was asked for and is not there is an error, not a reason to skip."""
    name = os.environ.get("ESEN_TEST_DEVICE", "cpu")
    if torch.device(name).type == "cuda":
        # read by cuBLAS when it is first used; without it no matrix product is deterministic
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        if not torch.cuda.is_available():
            pytest.fail(f"ESEN_TEST_DEVICE={name}, and this machine has no GPU that torch can use")
    return name
