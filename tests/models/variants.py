"""Small networks, one per option of the recipe, in which every parameter matters, and their predictions."""

from functools import cache

import numpy as np
import pytest
import torch

from esen.data.structure import Structure
from esen.graph.batch import make_graph, separate
from esen.graph.types import Prediction
from esen.models.potential import EsenPotential, make_potential
from esen.recipe.model import ModelSpec

_SMALL = {
    "cutoff": 4.0,
    "layers": 2,
    "sphere_channels": 4,
    "hidden_channels": 5,
    "edge_channels": 6,
    "max_elements": 30,
}

VARIANTS: dict[str, ModelSpec] = {
    name: ModelSpec.model_validate(_SMALL | changes)
    for name, changes in {
        "default": {},
        "lmax 3, mmax 2": {"lmax": 3},
        "lmax 1": {"lmax": 1, "mmax": 1},
        "mmax 0": {"mmax": 0},
        "bessel": {"radial": {"kind": "bessel", "count": 5}},
        "p 6": {"envelope": {"kind": "polynomial", "p": 6}},
        "no envelope": {"envelope": {"kind": "none"}},
        "smooth envelope": {"envelope": {"kind": "smooth"}},
        "one layer": {"layers": 1},
    }.items()
}

"""Variants that obey the laws; "no envelope" obeys all but smoothness."""

ABLATIONS: dict[str, ModelSpec] = {
    name: ModelSpec.model_validate(_SMALL | changes)
    for name, changes in {
        "nearest": {"graph": {"kind": "knn", "k": 2}},
        "grid 6": {"nonlinearity": {"kind": "grid", "resolution": 6}},
        "grid 14": {"nonlinearity": {"kind": "grid", "resolution": 14}},
        "grid along edges": {"nonlinearity": {"kind": "grid_edges"}},
        "direct": {"forces": {"kind": "direct"}},
        "random frame": {"edge_frame": {"kind": "random"}},
        "grid 6, random frame": {
            "nonlinearity": {"kind": "grid", "resolution": 6},
            "edge_frame": {"kind": "random"},
        },
        "grid along edges, random frame": {
            "nonlinearity": {"kind": "grid_edges"},
            "edge_frame": {"kind": "random"},
        },
    }.items()
}
"""The ablations of the paper, each of which breaks a law, and random edge frames, which a gate does not notice."""


@cache
def potential_of(name: str, dtype: torch.dtype = torch.float64) -> EsenPotential:
    """Return the variant with random values for all parameters, so that no term is zero by initialisation."""
    spec = (VARIANTS | ABLATIONS)[name]
    potential = make_potential(spec, seed=0).double()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in potential.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.add_(0.2 * noise)
    references = torch.randn(spec.max_elements, generator=generator, dtype=torch.float64)
    potential.set_normalisation(0.7, references.numpy())
    return potential.to(dtype).eval()


each_variant = pytest.mark.parametrize("variant", VARIANTS)


def predict(variant: str, *structures: Structure) -> list[Prediction]:
    """Predict all structures in one batch, which is faster than many small calls."""
    potential = potential_of(variant)
    graph = make_graph(structures, potential.cutoff)
    return separate(potential(graph), graph)


def isolated(numbers: list[int], positions: list[list[float]] | np.ndarray) -> Structure:
    """Return a structure of atoms without a cell."""
    return Structure(
        np.array(numbers), np.array(positions, dtype=np.float64), np.zeros((3, 3)), np.zeros(3, dtype=bool)
    )


def chiral_molecule() -> Structure:
    """Return five different atoms, none of them in the plane of three others."""
    positions = [[0, 0, 0], [1.1, 0.2, 0], [-0.4, 1.5, 0.1], [-0.5, -0.4, 1.7], [0.3, -0.9, -1.2]]
    return isolated([6, 1, 8, 12, 26], positions)


def triclinic_crystal() -> Structure:
    """Return three atoms in a left-handed cell whose rows are shorter than the cutoff of the variants."""
    cell = np.array([[3.1, 0.9, -0.8], [0.4, -3.3, 1.1], [-0.7, 0.6, 3.6]])
    fractional = np.array([[0.02, 0.05, 0.01], [0.62, 0.42, 0.15], [0.14, 0.58, 0.50]])
    return Structure(np.array([8, 12, 26]), fractional @ cell, cell, np.ones(3, dtype=bool))
