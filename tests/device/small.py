"""Small potentials on a device, their batch, and how far results are apart."""

from collections.abc import Iterable
from copy import deepcopy

import torch
from torch import Tensor

from esen.data.structure import Structure
from esen.graph.batch import make_graph
from esen.graph.types import Graph, Prediction
from esen.models.potential import EsenPotential
from tests.models.variants import (
    ABLATIONS,
    VARIANTS,
    chiral_molecule,
    isolated,
    potential_of,
    triclinic_crystal,
)

ALL = sorted(VARIANTS | ABLATIONS)
PREDICTED = ("energy", "energies", "forces", "stress", "virial")


def structures() -> list[Structure]:
    """Return a molecule, an atom that has no edges, and a crystal."""
    return [chiral_molecule(), isolated([8], [[0, 0, 0]]), triclinic_crystal()]


def batch(device: str) -> Graph:
    return make_graph(structures(), 4.0).to(device)


def potential_on(device: str, variant: str, dtype: torch.dtype = torch.float64) -> EsenPotential:
    """Return a copy of a variant on the device, with random edge frames that begin anew."""
    potential = deepcopy(potential_of(variant, dtype)).to(device)
    potential.seed_frames(0)
    return potential


def on_cpu(prediction: Prediction) -> Prediction:
    """Return the values of a prediction, once it is certain that they are all on one device."""
    (_,) = {getattr(prediction, name).device.type for name in PREDICTED}
    return prediction.map(torch.Tensor.detach).to("cpu")


def apart(ours: Tensor, expected: Tensor) -> float:
    """Return the largest difference in units of the largest expected value; NaN must stand in the same places."""
    ours, expected = ours.detach().cpu(), expected.detach().cpu()
    assert ours.shape == expected.shape
    if not torch.equal(ours.isnan(), expected.isnan()):
        return float("inf")
    largest = float(expected.nan_to_num().abs().max())
    return float((ours - expected).nan_to_num().abs().max()) / max(largest, 1e-12)


def predictions_apart(ours: Prediction, expected: Prediction, names: Iterable[str] = PREDICTED) -> float:
    """Return the largest `apart` of the parts of two predictions."""
    return max(apart(getattr(ours, name), getattr(expected, name)) for name in names)
