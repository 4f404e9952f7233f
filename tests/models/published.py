"""The published network's weights under our names (fairchem-core 1.x, "v1")."""

import json
from pathlib import Path

import torch
from safetensors.torch import load_file

from esen.models.convert import published_spec, published_weights
from esen.models.potential import EsenPotential


def published_potential(folder: Path, dtype: torch.dtype) -> EsenPotential:
    potential = EsenPotential(published_spec(json.loads((folder / "config.json").read_text()))).double()
    weights = published_weights(load_file(folder / "state_dict_f64.safetensors"))
    missing, unexpected = potential.load_state_dict(weights, strict=False)
    assert not unexpected, unexpected
    constants = {"scale", "references", "offset", "direct.units", "direct.pressure"}
    assert set(missing) <= constants, missing
    return potential.to(dtype).eval()
