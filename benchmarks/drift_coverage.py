"""Measure how often the interval of the slope holds the truth, and how often an energy is said to walk at random.

    python benchmarks/drift_coverage.py [--realisations 200] [--rows 500]

Each process is simulated many times; none of them drifts. The energies go through `measure_drift`, as those of a
trajectory of `esen md-drift` do.

- white and AR(1) noise, of correlation times from 0.3 to 10 % of the trajectory;
- the FPUT-β chain of 32 masses with fixed ends (k = m = 1, β = 1), by velocity Verlet at h = 0.1 for 500 and 2000 units
  of time, from random momenta of temperature 1, 0.1 and 0.01: at the lowest, modes exchange energy more slowly than the
  trajectory lasts; its total and its shadow energy;
- 32 aluminium atoms in a crystal, with Morse bonds between nearest neighbours, at 300 K, at 2 fs for 2 and 5 ps;
- a random walk, alone and with white noise: its drift is 0 as well, but it is to be called a walk.

The columns are: coverage of the 95 % interval of the slope; its median width relative to 1.96 standard deviations of
the slopes (a perfect one has 1); mean α; and how often the verdict is `drifts` and `walks`, at a threshold that allows
a change over the trajectory of one standard deviation of the energy, and of a tenth of it.
"""

import argparse
import math
from collections.abc import Callable, Iterator

import numpy as np
from ase import units
from ase.build import bulk
from ase.neighborlist import neighbor_list
from scipy.signal import lfilter

from esen.md.drift import Drift, Series, measure_drift, verdict_of
from esen.md.engine import shadow_correction

ATOMS = 32
STEP_PS = 0.01
"""Time between two rows. The estimators do not depend on it."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--realisations", type=int, default=200)
    parser.add_argument("--rows", type=int, default=500)
    options = parser.parse_args()
    print(f"{'process':32}coverage  width     α  drifts, walks at σ  at σ/10")
    for name, energies in processes(options.realisations, options.rows):
        report(name, energies)


def report(name: str, energies: np.ndarray) -> None:
    """Print one line about a process, of which each row is a realisation."""
    drifts = [measure_drift(series_of(energy)) for energy in energies]
    slopes, errors = np.array([(drift.slope, drift.slope_error) for drift in drifts]).T
    covered = np.mean(np.abs(slopes) <= errors)
    width = np.median(errors) / (1.96 * slopes.std())
    growth = np.mean([drift.growth for drift in drifts])
    verdicts = [
        [
            verdict_of(drift, part * deviation_rate(energy, drift))
            for drift, energy in zip(drifts, energies, strict=True)
        ]
        for part in (1, 0.1)
    ]
    found = [f"{v.count(word) / len(v):6.3f}" for v in verdicts for word in ("drifts", "walks")]
    print(f"{name:32}{covered:8.3f}{width:7.2f}{growth:6.2f}  {' '.join(found)}", flush=True)


def deviation_rate(energy: np.ndarray, drift: Drift) -> float:
    """The drift in meV/atom/ps that changes the energy by its standard deviation within the trajectory."""
    return 1000 * float(energy.std()) / ATOMS / drift.duration_ps


def series_of(energy: np.ndarray) -> Series:
    """A trajectory with this energy, whose kinetic energy fluctuates."""
    rows = np.arange(len(energy), dtype=np.float64)
    kinetic = 1.0 + 0.1 * (rows % 2)
    return Series(rows, STEP_PS * rows, energy - kinetic, kinetic, ATOMS)


def processes(count: int, rows: int) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the name and the energies, realisations × rows, of each process."""
    generator = np.random.default_rng(0)
    for percent in (0, 0.3, 1, 3, 5, 10):
        yield (
            f"AR(1), {percent} % of the duration",
            autoregressive(generator, count, rows, percent * rows / 100),
        )
    for temperature in (1.0, 0.1, 0.01):
        for duration in (500, 2000):
            total, shadow = fput(generator, count, rows, duration, temperature)
            yield f"FPUT, T {temperature:g}, {duration}, total", total
            yield f"FPUT, T {temperature:g}, {duration}, shadow", shadow
    for duration in (2, 5):
        total, shadow = morse_crystal(generator, count, rows, duration)
        yield f"Morse crystal, {duration} ps, total", total
        yield f"Morse crystal, {duration} ps, shadow", shadow
    walk = np.cumsum(generator.normal(size=(count, rows)), axis=1)
    for noise in (0, 1, 3, 10):
        yield f"walk with noise of {noise} steps", walk + noise * generator.normal(size=walk.shape)


def autoregressive(generator: np.random.Generator, count: int, rows: int, memory: float) -> np.ndarray:
    """AR(1) noise whose correlation falls to 1/e within `memory` rows."""
    keep = math.exp(-1 / memory) if memory else 0.0
    noise = generator.normal(size=(count, rows + 10 * int(memory)))
    return np.asarray(lfilter([1.0], [1.0, -keep], noise, axis=1)[:, -rows:])


def fput(
    generator: np.random.Generator, count: int, rows: int, duration: float, temperature: float
) -> tuple[np.ndarray, np.ndarray]:
    """Total and shadow energies of the chain of 32 masses."""
    q = np.zeros((count, 32))
    p = generator.normal(size=q.shape) * math.sqrt(temperature)
    return verlet(chain, q, p, 1.0, 0.1, rows, duration)


def chain(q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Forces and potential energies of the FPUT-β chain."""
    stretch = np.diff(np.pad(q, ((0, 0), (1, 1))), axis=1)
    return np.diff(stretch + stretch**3, axis=1), (stretch**2 / 2 + stretch**4 / 4).sum(axis=1)


def morse_crystal(
    generator: np.random.Generator, count: int, rows: int, duration_ps: float
) -> tuple[np.ndarray, np.ndarray]:
    """Total and shadow energies of aluminium atoms bound to their nearest neighbours, in eV."""
    atoms = bulk("Al", a=3.96, cubic=True) * (2, 2, 2)
    first, second, lines = neighbor_list("ijD", atoms, 3.3)
    half = first < second
    first, second, lines = first[half], second[half], lines[half]
    to_atoms = np.zeros((len(atoms), len(first)))
    to_atoms[first, np.arange(len(first))] = 1
    to_atoms[second, np.arange(len(first))] = -1

    def bonds(moved: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        between = lines + moved[:, second] - moved[:, first]
        r = np.linalg.norm(between, axis=2, keepdims=True)
        decay = np.exp(-1.4 * (r - 2.8))
        pull = 0.4 * 2 * 1.4 * (1 - decay) * decay * between / r
        return to_atoms @ pull, 0.4 * np.square(1 - decay).sum(axis=(1, 2))

    mass = float(atoms.get_masses()[0])
    p = generator.normal(size=(count, len(atoms), 3)) * math.sqrt(mass * units.kB * 600)
    p -= p.mean(axis=1, keepdims=True)
    return verlet(bonds, np.zeros_like(p), p, mass, 2 * units.fs, rows, 1000 * duration_ps * units.fs)


def verlet(  # a simulation has these parameters
    compute: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]],
    q: np.ndarray,
    p: np.ndarray,
    mass: float,
    step: float,
    rows: int,
    duration: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Total and shadow energies, realisations × rows, of systems that are simulated together."""
    every = round(duration / step / rows)
    axes = tuple(range(1, q.ndim))
    force, held = compute(q)
    before = before_that = np.full_like(force, np.nan)
    found = []
    for number in range(every * (rows + 1)):
        if number >= every and number % every == 0:
            total = held + 0.5 * np.square(p).sum(axis=axes) / mass
            correction = shadow_correction(p, np.array(mass), force, (before, before_that), step)
            found.append((total, total + correction.sum(axis=axes)))
        p = p + 0.5 * step * force
        q = q + step * p / mass
        before, before_that = force, before
        force, held = compute(q)
        p = p + 0.5 * step * force
    total, shadow = np.array(found).transpose(1, 2, 0)
    return total, shadow


if __name__ == "__main__":
    main()
