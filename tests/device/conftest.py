"""The device under test: `ESEN_TEST_DEVICE=cuda pytest tests/device` proves esen on a GPU."""

import os

import pytest
import torch

DEVICE = os.environ.get("ESEN_TEST_DEVICE", "cpu")


def pytest_configure(config: pytest.Config) -> None:
    """Show warnings of a GPU's libraries, which depend on their versions and the order of calls, as no errors."""
    if DEVICE != "cpu":
        config.addinivalue_line("filterwarnings", "default")


@pytest.fixture(scope="session")
def device() -> str:
    """Return `cpu` or `cuda`. A GPU that was asked for and is not there is an error, not a reason to skip."""
    name = DEVICE
    if torch.device(name).type == "cuda":
        # read by cuBLAS when it is first used; without it no matrix product is deterministic
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        if not torch.cuda.is_available():
            pytest.fail(f"ESEN_TEST_DEVICE={name}, and this machine has no GPU that torch can use")
    return name
