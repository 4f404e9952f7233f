"""Weights that pass from one network to another: from stage to stage, and from a checkpoint to its fine-tuning."""

from collections.abc import Collection

import torch

from esen.errors import InputError
from esen.models.dens import without_denoising
from esen.models.potential import EsenPotential, make_potential
from esen.recipe.model import ModelSpec

_HEADS = ("network.head.", "direct.", "noise.")


def carry_over(
    source: EsenPotential, spec: ModelSpec, *, seed: int, renew: Collection[str] = ()
) -> EsenPotential:
    """A potential of the given kind with the weights that the source has too, bit for bit.

    Heads that the source lacks are drawn from the seed; those that only the source has are dropped. Where the parts
    for denoising go, the constant that the encoding of forces added to every atom becomes part of the species, so
    that the energies stay what they were.

    Args:
        source: is not changed.
        spec: differs from the source's in forces, denoising, graph or envelope alone.
        seed: of what is new.
        renew: `heads`: these are drawn anew, too.

    Raises:
        InputError: the energy of one is the sum over atoms, that of the other their mean.
    """
    made = make_potential(spec, seed=seed, elements=source.elements).to(dtype_of(source))
    if made.mean_energy != source.mean_energy:
        raise InputError(
            "the weights to start from give the mean of the atoms' energies (forces: energy: mean), not their sum:"
            " keep forces: {kind: direct, energy: mean}"
        )
    weights = source.state_dict()
    if source.spec.dens and not spec.dens:
        weights = without_denoising(weights)
    ours = made.state_dict()
    if "heads" in renew:
        weights = {name: tensor for name, tensor in weights.items() if not name.startswith(_HEADS)}
    common = {name: t for name, t in weights.items() if name in ours and t.shape == ours[name].shape}
    made.load_state_dict(ours | common)
    made.network.backbone.memory = source.network.backbone.memory
    return made.to(source.scale.device)


def dtype_of(potential: EsenPotential) -> torch.dtype:
    """The precision of the network."""
    return next(potential.network.parameters()).dtype
