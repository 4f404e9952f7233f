"""Random rolls of the edge frames: what they are, what they change, and what they do not."""

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch
from e3nn import o3

from esen.errors import InputError
from esen.graph.batch import make_graph
from esen.graph.types import Prediction
from esen.models.edge_frame import RandomRoll, rolled
from esen.models.wigner import edge_wigner
from tests.models.test_wigner import random_directions
from tests.models.variants import chiral_molecule, potential_of, triclinic_crystal

NOISY = "grid along edges, random frame"


def predictions(variant: str, calls: int = 6, dtype: torch.dtype = torch.float64) -> list[Prediction]:
    """Return the results of equal calls."""
    potential = potential_of(variant, dtype)
    graph = make_graph([chiral_molecule(), triclinic_crystal()], potential.cutoff)
    return [potential(graph) for _ in range(calls)]


def scatter(found: list[Prediction]) -> tuple[float, float]:
    """Return the largest differences of the energies of atoms in eV and of the forces in eV/Å."""
    energies = torch.stack([p.energies for p in found])
    forces = torch.stack([p.forces for p in found])
    return float((energies - energies[0]).abs().max()), float((forces - forces[0]).abs().max())


@pytest.mark.parametrize(("lmax", "mmax"), [(2, 2), (3, 2), (4, 1)])
def test_the_roll_is_a_rotation_about_the_edge_that_the_random_vector_gives(lmax: int, mmax: int) -> None:
    directions, drawn = random_directions(40), RandomRoll().draw(40)
    smooth = edge_wigner(directions, lmax, mmax)
    found = rolled(smooth, directions, drawn)
    roll = found[1] @ smooth[1].mT
    pole = torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64)
    assert torch.allclose(roll @ pole, pole.expand(40, 3), atol=1e-14)
    assert torch.allclose(torch.linalg.det(roll), torch.ones(40, dtype=torch.float64))
    points = random_directions(20, seed=1)
    turned = torch.einsum("eij,pj->epi", found[1], points)
    for l in range(lmax + 1):
        kept = min(l, mmax)
        expected = o3.spherical_harmonics(l, turned, True)[..., l - kept : l + kept + 1]
        ours = torch.einsum("eij,pj->epi", found[l], o3.spherical_harmonics(l, points, True))
        assert torch.allclose(ours, expected, rtol=0, atol=1e-12)
    x, y, z = drawn.unbind(1)
    vectors = [torch.stack(v, dim=1) for v in ([x, y, z], [-y, x, z], [x, -z, y])]
    placed = torch.stack([(found[1] @ v.unsqueeze(2)).squeeze(2) for v in vectors], dim=1)
    in_half_plane = (placed[..., 0].abs() < 1e-14) & (placed[..., 2] > 0)
    assert bool(in_half_plane.any(dim=1).all())


def test_the_rolls_cover_the_circle() -> None:
    directions = random_directions(20_000)
    smooth = edge_wigner(directions, 1, 1)
    roll = rolled(smooth, directions, RandomRoll().draw(20_000))[1] @ smooth[1].mT
    counts = np.histogram(torch.atan2(roll[:, 0, 2], roll[:, 0, 0]).numpy(), bins=8, range=(-np.pi, np.pi))[0]
    assert counts.sum() == 20_000
    assert counts.min() > 0.85 * counts.max()


def test_no_roll_without_orders_above_zero() -> None:
    directions = random_directions(5)
    smooth = edge_wigner(directions, 2, 0)
    found = rolled(smooth, directions, RandomRoll().draw(5))
    assert all(torch.equal(a, b) for a, b in zip(found, smooth, strict=True))


def test_a_gate_does_not_notice_the_roll() -> None:
    found = predictions("random frame")
    energy, forces = scatter(found)
    assert 0 < energy < 1e-10
    assert 0 < forces < 1e-10
    energy, forces = scatter([found[0], *predictions("default", 1)])
    assert energy < 1e-10
    assert forces < 1e-10


def test_a_grid_on_atoms_does_not_notice_the_roll() -> None:
    found = predictions("grid 6, random frame") + predictions("grid 6", 1)
    energy, forces = scatter(found)
    assert energy < 1e-10
    assert forces < 1e-10


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_grid_on_edges_is_noisy_by_the_roll_alone(dtype: torch.dtype) -> None:
    energy, forces = scatter(predictions(NOISY, dtype=dtype))
    assert energy > 1e-6
    assert forces > 1e-6
    assert scatter(predictions("grid along edges", dtype=dtype)) == (0, 0)


def test_a_seed_gives_the_same_sequence_and_a_copy_continues_it() -> None:
    potential = deepcopy(potential_of(NOISY))
    graph = make_graph(chiral_molecule(), potential.cutoff)

    def energies(of: object, calls: int) -> list[float]:
        return [float(of(graph).energy) for _ in range(calls)]  # type: ignore[operator]

    potential.seed_frames(5, 2)
    first = energies(potential, 4)
    assert len(set(first)) == 4
    potential.seed_frames(5, 2)
    assert energies(potential, 2) == first[:2]
    assert energies(deepcopy(potential), 2) == energies(potential, 2) == first[2:]
    potential.seed_frames(5, 3)
    assert energies(potential, 1) != first[:1]


def test_forces_and_stress_are_derivatives_of_the_energy_with_the_same_random_vectors() -> None:
    """Their noise is that of the energy's derivative: the roll follows the edge as it turns."""
    potential, structure = deepcopy(potential_of(NOISY)), triclinic_crystal()
    direction = np.random.default_rng(0).normal(size=(3, 3))

    def predicted(step: float, strain: float = 0.0) -> Prediction:
        deformed = np.eye(3) + strain * (direction + direction.T)
        moved = replace(
            structure,
            positions=(structure.positions + step * direction) @ deformed,
            cell=structure.cell @ deformed,
        )
        potential.seed_frames(1)
        return potential(make_graph(moved, potential.cutoff))

    here, h = predicted(0), 1e-5
    slope = float(predicted(h).energy - predicted(-h).energy) / (2 * h)
    assert slope == pytest.approx(-float((here.forces * torch.from_numpy(direction)).sum()), rel=1e-6)
    slope = float(predicted(0, h).energy - predicted(0, -h).energy) / (2 * h)
    work = float((here.stress[0] * torch.from_numpy(direction + direction.T)).sum())
    assert slope == pytest.approx(work * structure.volume, rel=1e-6)


def test_a_batch_differs_from_its_singles_and_gives_every_copy_frames_of_its_own() -> None:
    potential, molecule = potential_of(NOISY), chiral_molecule()
    energies = potential(make_graph([molecule] * 3, potential.cutoff)).energy.tolist()
    assert len(set(energies)) == 3


def test_random_frames_are_not_compiled() -> None:
    with pytest.raises(InputError, match=r"edge_frame.*random.*train\.compile: false"):
        deepcopy(potential_of(NOISY)).use_compilation(True)
    deepcopy(potential_of("grid along edges")).use_compilation(True)
