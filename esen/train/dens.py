"""Denoising batches (DeNS): which batches are denoised, and how their atoms are displaced.

All draws follow from the seed, the epoch and the batch alone, so that a resumed run draws the same numbers.

Source: Liao et al., "Generalizing denoising to non-equilibrium structures" (2024).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float64
from torch import Tensor

from esen.data.structure import Structure
from esen.graph.types import OnDevice
from esen.recipe.train import DensSpec

_PURPOSE = 0xDE25
"""Part of the seed that separates these draws from those of the shuffle, which have the same seed and epoch."""


@dataclass(frozen=True, eq=False)
class Displacement(OnDevice):
    """How the atoms of a batch were displaced.

    Attributes:
        noise: Displacements in units of the standard deviation; zero for atoms that were not displaced.
        corrupted: Which atoms were displaced.
    """

    noise: Float64[Tensor, "N 3"]
    corrupted: Bool[Tensor, " N"]


def denoising_draws(
    spec: DensSpec | None, *, seed: int, epoch: int, batch: int
) -> np.random.Generator | None:
    """Return the random generator of the displacements of a batch; None if it is not a denoising batch.

    Args:
        spec: Denoising of the stage; None if it has none.
        seed: Seed of the run.
        epoch: Number of whole epochs of the run before this one.
        batch: Index of the batch within the epoch.
    """
    if spec is None:
        return None
    random = np.random.default_rng((seed, epoch, batch, _PURPOSE))
    return random if random.random() < spec.probability else None


def can_be_denoised(structure: Structure) -> bool:
    """Tell whether all forces are known: without them the origin of a displaced atom is not determined."""
    return structure.forces is not None and bool(np.isfinite(structure.forces).all())


def displace(
    structure: Structure, spec: DensSpec, random: np.random.Generator
) -> tuple[Structure, Displacement]:
    """Return the structure with displaced atoms: x + σ ξ, ξ ~ N(0, 1) for each component. The cell is kept.

    Args:
        structure: Structure to displace; it is not changed.
        spec: Standard deviation σ, and the share of displaced atoms.
        random: Generator. All structures of a batch are displaced in order, however the batch is divided later.
    """
    noise = random.standard_normal((len(structure), 3))
    chosen = random.random(
        len(structure)
    )  # drawn even if all are displaced, so that the ratio changes nothing else
    corrupted = chosen < (1.0 if spec.corrupt_ratio is None else spec.corrupt_ratio)
    noise = np.where(corrupted[:, None], noise, 0.0)
    moved = replace(structure, positions=structure.positions + spec.std * noise)
    return moved, Displacement(torch.from_numpy(noise), torch.from_numpy(corrupted))


def joined(displacements: Sequence[Displacement]) -> Displacement:
    """Concatenate the displacements of the structures of a batch."""
    return Displacement(
        torch.cat([d.noise for d in displacements]), torch.cat([d.corrupted for d in displacements])
    )
