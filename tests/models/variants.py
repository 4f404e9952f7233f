"""Small networks with weights in which every parameter matters, one a choice that a recipe offers."""

from functools import cache

import torch

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
        "one layer": {"layers": 1},
    }.items()
}


@cache
def potential_of(name: str, dtype: torch.dtype = torch.float64) -> EsenPotential:
    """The variant with all its parameters drawn at random, so that no term is zero by initialisation."""
    potential = make_potential(VARIANTS[name], seed=0).double()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in potential.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.add_(0.2 * noise)
    references = torch.randn(VARIANTS[name].max_elements, generator=generator, dtype=torch.float64)
    potential.set_normalisation(0.7, references.numpy())
    return potential.to(dtype).eval()
