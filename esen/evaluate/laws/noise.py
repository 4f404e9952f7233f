"""What rounding leaves: noise as atoms hardly move, and float32 against float64."""

from dataclasses import replace

import numpy as np

from esen.data.structure import Structure
from esen.evaluate.laws.law import Outcome, information
from esen.evaluate.laws.moves import moved
from esen.evaluate.laws.precision import POINTS, STEP, Noise, noise_of
from esen.evaluate.laws.subject import Case, Subject


def measure_noise(subject: Subject, structure: Structure, seed: int) -> Noise:
    """Noise of energy, forces and stress along a straight path of 1.5e-4 Å in a random direction of all atoms.

    Raises:
        NoPredictionError: a prediction is not finite.
    """
    direction = np.random.default_rng(seed).uniform(-1, 1, structure.positions.shape)
    path = [moved(structure, k * STEP * direction) for k in range(POINTS)]
    predictions = subject.predict(path)
    energies = np.array([[float(p.energy)] for p in predictions])
    forces = np.stack([p.forces.numpy().reshape(-1) for p in predictions])
    stress = np.stack([p.stress.numpy().reshape(-1) for p in predictions])
    return Noise(
        noise_of(energies),
        noise_of(forces),
        noise_of(stress) if structure.pbc.all() and bool(np.isfinite(stress).all()) else 0.0,
    )


def noise(case: Case) -> Outcome:
    """The measured noise, on which tolerances rest, and what float32 does where the potential has it."""
    atoms = len(case.structure)
    energy, forces = case.noise.energy / atoms, case.noise.forces
    says = f"as atoms move by {STEP:g} Å; energies {energy:.1e} eV/atom"
    says += f", stress {case.noise.stress:.1e} eV/Å³" if case.has_stress else ""
    found = [information("noise", case.name, forces, "eV/Å", says)]
    if case.subject.rounded is not None:
        in_float32 = replace(case.subject, potential=case.subject.rounded)
        structures = [case.structure, moved(case.structure, np.full((1, 3), 0.37))]
        exact, rounded = case.predict(*structures), in_float32.predict(structures)
        of_forces = np.stack([(a.forces - b.forces).numpy() for a, b in zip(exact, rounded, strict=True)])
        of_energy = max(abs(float(a.energy - b.energy)) for a, b in zip(exact, rounded, strict=True)) / atoms
        rms = float(np.sqrt(np.square(of_forces).mean()))
        says = f"largest difference of forces, RMS {rms:.1e}; energies {of_energy:.1e} eV/atom"
        value = float(np.abs(of_forces).max())
        found.append(information("float32", case.name, value, "eV/Å", says))
    return Outcome.of(*found)
