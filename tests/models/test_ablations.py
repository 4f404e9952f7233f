"""Each ablation of the paper breaks one law by a clear margin and obeys the others."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from e3nn import o3

from esen.data.structure import Structure
from tests.models.variants import ABLATIONS, chiral_molecule, isolated, potential_of, predict


def rotation_error(variant: str) -> float:
    """Return the largest change of an atom's energy in eV under several rotations of the molecule."""
    generator = torch.Generator().manual_seed(0)
    structure = chiral_molecule()
    matrices = [
        o3.quaternion_to_matrix(torch.randn(4, generator=generator).double()).numpy() for _ in range(6)
    ]
    orthogonal = [np.linalg.qr(matrix)[0] for matrix in matrices]
    turned = [
        replace(structure, positions=structure.positions @ (m * np.linalg.det(m)).T) for m in orthogonal
    ]
    before, *after = predict(variant, structure, *turned)
    return max(float((p.energies - before.energies).abs().max()) for p in after)


@pytest.mark.parametrize("variant", ["nearest", "direct", "random frame"])
def test_what_is_not_on_a_grid_is_invariant(variant: str) -> None:
    assert rotation_error(variant) < 1e-9


def test_grids_break_rotation_and_finer_ones_less() -> None:
    coarse, fine, along_edges = (rotation_error(v) for v in ("grid 6", "grid 14", "grid along edges"))
    assert coarse > 1e-6  # a thousand times what a gate is allowed
    assert along_edges > 1e-6
    assert fine < 0.1 * coarse


def forces_error(variant: str, structure: Structure) -> float:
    """Return |dE + F·dr| along a random direction in eV/Å, by central differences."""
    direction = np.random.default_rng(0).normal(size=structure.positions.shape)
    moved = [replace(structure, positions=structure.positions + h * direction) for h in (1e-4, -1e-4)]
    here, forward, backward = predict(variant, structure, *moved)
    slope = float(forward.energy - backward.energy) / 2e-4
    return abs(slope + float((here.forces * torch.from_numpy(direction)).sum()))


@pytest.mark.parametrize("variant", sorted(ABLATIONS))
def test_forces_are_the_gradient_unless_they_are_direct_or_the_energy_is_noisy(variant: str) -> None:
    error = forces_error(variant, chiral_molecule())
    assert error > 1e-3 if variant in {"direct", "grid along edges, random frame"} else error < 1e-6


def test_the_energy_jumps_as_neighbours_change_rank() -> None:
    """Two of three neighbours are kept, and the third becomes closer than the second."""

    def energy(third: float) -> float:
        numbers, positions = [8, 1, 6, 12], [[0, 0, 0], [1.5, 0, 0], [0, 2.0, 0], [0, 0, third]]
        return float(predict("nearest", isolated(numbers, positions))[0].energy)

    jump = abs(energy(2.0 + 1e-5) - energy(2.0 - 1e-5))
    smooth = abs(energy(2.3 + 1e-5) - energy(2.3 - 1e-5))
    assert jump > 1e-3
    assert smooth < 1e-4


def test_third_derivative_at_the_cutoff() -> None:
    """The third derivative of the polynomial is discontinuous there; that of the smooth envelope is not."""

    def third_derivative(variant: str) -> float:
        cutoff, h = potential_of(variant).cutoff, 2e-3
        distances = [cutoff - k * h for k in (4, 3, 2, 1)]
        pairs = [isolated([8, 12], [[0, 0, 0], [0.6 * d, 0, 0.8 * d]]) for d in distances]
        a, b, c, d = (float(p.energy) for p in predict(variant, *pairs))
        return (d - 3 * c + 3 * b - a) / h**3

    assert abs(third_derivative("default")) > 1e-3
    assert abs(third_derivative("smooth envelope")) < 1e-6
