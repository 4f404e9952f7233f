"""The noise of a potential: of predictions as atoms hardly move, of equal calls, and of float32 against float64."""

from dataclasses import replace

import numpy as np
import torch

from esen.data.structure import Structure
from esen.evaluate.laws.differences import noise_of
from esen.evaluate.laws.law import Finding, Outcome, information
from esen.evaluate.laws.moves import moved
from esen.evaluate.laws.quantities import Noise
from esen.evaluate.laws.subject import Case, Subject

STEP = 1e-5
"""Å. The fourth difference of a smooth function over such steps is far below the rounding of float64."""
POINTS = 16
REPEATS = 16
"""Equal calls of a potential whose answers differ. Their standard deviation has an error of 18 %."""


def measure_noise(subject: Subject, structure: Structure, seed: int) -> Noise:
    """Measure the noise along a straight path of 1.5e-4 Å in a random direction of all atoms.

    Raises:
        NoPredictionError: A prediction is not finite.
    """
    direction = np.random.default_rng(seed).uniform(-1, 1, structure.positions.shape)
    predictions = subject.predict([moved(structure, k * STEP * direction) for k in range(POINTS)])
    forces = np.stack([p.forces.numpy().reshape(-1) for p in predictions])
    stress = np.stack([p.stress.numpy().reshape(-1) for p in predictions])
    return Noise(
        noise_of(np.array([[float(p.energy)] for p in predictions])),
        noise_of(forces),
        noise_of(stress) if structure.has_volume and bool(np.isfinite(stress).all()) else 0.0,
    )


def repeats(case: Case) -> Finding | None:
    """Report the standard deviations of the energy and of a component of a force between equal calls.

    That of the forces is the root mean square over all components. None if two calls give the same bits.
    """
    predictions = [case.predict(case.structure)[0] for _ in range(2)]
    first, second = predictions
    if torch.equal(first.energy, second.energy) and torch.equal(first.forces, second.forces):
        return None
    predictions += [case.predict(case.structure)[0] for _ in range(REPEATS - 2)]
    energy = float(torch.stack([p.energy for p in predictions]).std(dim=0))
    forces = float(torch.stack([p.forces for p in predictions]).var(dim=0).mean().sqrt())
    says = f"standard deviations of {REPEATS} calls: energy {1e3 * energy:.2g} meV, forces {1e3 * forces:.2g} meV/Å"
    return information("equal calls", case.name, forces, "eV/Å", says)


def noise(case: Case) -> Outcome:
    """Report the measured noise, on which tolerances rest, and the effect of float32 if the potential offers it."""
    atoms = len(case.structure)
    energy, forces = case.noise.energy / atoms, case.noise.forces
    says = f"as atoms move by {STEP:g} Å; energies {energy:.1e} eV/atom"
    says += f", stress {case.noise.stress:.1e} eV/Å³" if case.has_stress else ""
    again = repeats(case)
    found = [information("noise", case.name, forces, "eV/Å", says), *([again] if again else [])]
    if case.subject.rounded is not None:
        in_float32 = replace(case.subject, potential=case.subject.rounded)
        structures = [case.structure, moved(case.structure, np.full((1, 3), 0.37))]
        both = list(zip(case.predict(*structures), in_float32.predict(structures), strict=True))
        of_forces = np.stack([(exact.forces - rounded.forces).numpy() for exact, rounded in both])
        of_energy = max(abs(float(exact.energy - rounded.energy)) for exact, rounded in both) / atoms
        rms = float(np.sqrt(np.square(of_forces).mean()))
        says = f"largest difference of forces, RMS {rms:.1e}; energies {of_energy:.1e} eV/atom"
        says += "; equal calls differ as much" if again and rms < 3 * again.value else ""
        found.append(information("float32", case.name, float(np.abs(of_forces).max()), "eV/Å", says))
    return Outcome.of(*found)
