"""Dynamics and relaxations on the device follow those on the CPU."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.optimize import FIRE

from esen.evaluate.batched import run_batched
from esen.evaluate.relax import Relaxed, RelaxSpec, relax
from esen.graph.types import Potential
from esen.md.calculator import EsenCalculator
from esen.md.nve import BatchNve
from esen.models.checkpoint import save_checkpoint
from tests.device.small import potential_on
from tests.md.small import rattled, shapes, start_of, structure_of
from tests.models.test_checkpoint import checkpoint_of
from tests.models.variants import potential_of

STEPS = 100


def test_two_systems_at_constant_energy(device: str) -> None:
    """They move on the device as on the CPU in a batch of another order, and keep their energies."""
    starts = [start_of(shapes()[name], 300.0) for name in ("crystal", "molecule")]
    ours = BatchNve(potential_on(device, "one layer"), starts, 0.5, device=device)
    reference = BatchNve(potential_on("cpu", "one layer"), starts[::-1], 0.5)
    energies = [total_energies(ours)]
    for _ in range(STEPS // 10):
        ours.advance(10)
        energies.append(total_energies(ours))
    reference.advance(STEPS)
    assert not ours.failures
    for index, start in enumerate(starts):
        found, expected = ours.snapshot(index), reference.snapshot(1 - index)
        assert np.abs(found.positions - expected.positions).max() < 1e-9
        assert np.abs(found.momenta - expected.momenta).max() < 1e-8
        assert np.abs(expected.positions - start.structure.positions).max() > 1e-2
    kinetic = ours.observe()[1].cpu().numpy()
    assert np.ptp(energies, axis=0).max() < 0.01 * kinetic.max()


def total_energies(engine: BatchNve) -> np.ndarray:
    potential, kinetic = engine.observe()
    return (potential + kinetic).cpu().numpy()


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    path = tmp_path / "small.safetensors"
    save_checkpoint(path, checkpoint_of(potential_of("default")))
    return path


def test_a_calculator_in_a_relaxation_of_ase(device: str, checkpoint: Path) -> None:
    atoms = rattled(bulk("MgO", "rocksalt", a=4.25))
    atoms.calc = EsenCalculator(checkpoint, device=device)
    on_cpu = EsenCalculator(checkpoint, device="cpu")
    optimizer, compared = FIRE(atoms, logfile=None), []
    for _ in optimizer.irun(fmax=1e-3, steps=5):
        same: Atoms = atoms.copy()
        same.calc = on_cpu
        for property in ("energy", "forces", "stress", "energies"):
            ours, expected = (np.asarray(a.calc.get_property(property, a)) for a in (atoms, same))
            compared.append(np.abs(ours - expected).max() / np.abs(expected).max())
    assert optimizer.nsteps >= 3
    assert max(compared) < 1e-10


def relaxed(structure: object, shared: Potential, device: str) -> Relaxed:
    return relax(structure, EsenCalculator(shared, device=device), RelaxSpec(fmax=0.02, steps=9))


def test_relaxed_together_as_one_by_one_on_the_cpu(device: str) -> None:
    crystals = [
        rattled(bulk("MgO", "rocksalt", a=4.25), 0.1, seed=1),
        rattled(bulk("Mg", "hcp"), 0.1, seed=2),
    ]
    structures = [structure_of(atoms) for atoms in crystals]
    found = run_batched(
        [partial(relaxed, structure, device="auto") for structure in structures],
        potential_on(device, "default"),
        sizes=[2, 2],
        budget=4,
        device=device,
    )
    for structure, one in zip(structures, found, strict=True):
        assert isinstance(one, Relaxed), one
        other = relaxed(structure, potential_on("cpu", "default"), "cpu")
        assert (one.steps, one.converged) == (other.steps, other.converged)
        assert one.structure.energy == pytest.approx(other.structure.energy, abs=1e-8)
        np.testing.assert_allclose(one.structure.positions, other.structure.positions, atol=1e-8)
        np.testing.assert_allclose(one.structure.cell, other.structure.cell, atol=1e-8)
        assert one.steps == 9
