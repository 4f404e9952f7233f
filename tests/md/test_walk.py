"""The growth of ⟨ΔE²⟩ and the diffusion constant of known processes, and of dynamics with noise in the forces."""

import math

import numpy as np
import pytest
import torch
from ase import units
from ase.build import bulk

from esen.graph.types import Graph, Prediction
from esen.md.drift import Series, measure_drift, verdict_of
from esen.md.nve import BatchNve
from esen.md.walk import Walk, diffusion_constant, growth_exponent, measure_walk
from esen.recipe.model import Backend
from tests.md.small import start_of
from tests.md.test_drift import correlated, series_of


def walks_of(count: int, rows: int, seed: int = 0) -> np.ndarray:
    """Random walks with steps of variance 1."""
    return np.cumsum(np.random.default_rng(seed).normal(size=(count, rows)), axis=1)


def test_intervals_of_a_walk_hold_the_truth() -> None:
    found = [measure_walk(walk, 0.01) for walk in walks_of(120, 900)]
    truth = 1 / (2 * 0.01)
    assert np.mean([w.diffusion for w in found]) == pytest.approx(truth, rel=0.15)
    assert np.mean([w.diffusion_low <= truth <= w.diffusion_high for w in found]) >= 0.9
    assert np.mean([w.exponent for w in found]) == pytest.approx(1.0, abs=0.05)
    assert np.mean([abs(w.exponent - 1) <= w.exponent_error for w in found]) >= 0.9


def test_intervals_of_what_stays_hold_zero() -> None:
    generator = np.random.default_rng(0)
    for memory in (0.0, 2.0):
        found = [growth_exponent(correlated(generator, 900, memory)) for _ in range(60)]
        assert np.mean([abs(exponent) <= error for exponent, error in found]) >= 0.9


def test_exponents_of_a_line_and_of_a_wave() -> None:
    time = np.arange(900.0)
    noise = np.random.default_rng(0).normal(size=900)
    line, error = growth_exponent(time)
    assert line == pytest.approx(1.9, abs=0.15)
    assert growth_exponent(np.sin(time) + 0.01 * noise)[0] == pytest.approx(0.0, abs=0.35)
    assert error < 0.2


def test_a_drift_is_no_diffusion() -> None:
    (walk,) = walks_of(1, 900)
    before = diffusion_constant(walk, 0.01)
    assert diffusion_constant(walk + 5.0 * np.arange(900), 0.01) == pytest.approx(before, rel=1e-9)
    assert diffusion_constant(np.arange(900.0), 0.01) == pytest.approx(0.0, abs=1e-9)
    assert diffusion_constant(3 * walk, 0.02) == pytest.approx(9 / 2 * before)


@pytest.mark.parametrize("values", [np.zeros(0), np.zeros(100), np.arange(19.0)])
def test_what_is_too_short_or_constant_has_no_walk(values: np.ndarray) -> None:
    assert repr(measure_walk(values, 0.01)) == repr(Walk())


@pytest.mark.parametrize("rows", [20, 21, 63, 64, 127, 128, 129])
def test_any_length(rows: int) -> None:
    found = measure_walk(walks_of(1, rows)[0], 0.01)
    assert math.isfinite(found.exponent)
    assert 0 < found.exponent_error < 3
    assert found.diffusion_low < found.diffusion < found.diffusion_high


def verdicts(energies: np.ndarray, threshold: float) -> list[str]:
    return [verdict_of(measure_drift(series_of(energy)), threshold) for energy in energies]


def test_a_walk_is_called_one_and_noise_is_not() -> None:
    """The threshold is the change of energy per atom of one step of the walk, over 10 ps."""
    threshold = 1000 / 8 / 10
    called = verdicts(walks_of(60, 1000), threshold)
    assert called.count("walks") >= 50
    assert called.count("drifts") + called.count("conserved") <= 6
    generator = np.random.default_rng(0)
    noise = np.array([correlated(generator, 1000, 5) for _ in range(60)])
    assert "walks" not in verdicts(noise, 0.01 * threshold)


def test_a_walk_that_the_threshold_allows_is_no_failure() -> None:
    assert set(verdicts(walks_of(10, 1000), 1000 * 1000 / 8 / 10)) == {"conserved"}


class Springs:
    """Atoms bound to where they are, with random errors of the forces, drawn anew at each call.

    Args:
        error: standard deviation of each component, in eV/Å.
        seed: of the errors.
    """

    cutoff = 0.0
    backend: Backend = "vesin"

    def __init__(self, error: float, seed: int) -> None:
        self.error, self.generator = error, torch.Generator().manual_seed(seed)
        self.places: torch.Tensor | None = None

    def __call__(self, graph: Graph) -> Prediction:
        self.places = graph.positions if self.places is None else self.places
        away = graph.positions - self.places
        stiffness = torch.linspace(3.0, 8.0, away.numel(), dtype=torch.float64).reshape(away.shape)
        energies = 0.5 * (stiffness * away.square()).sum(dim=1)
        noise = torch.randn(away.shape, generator=self.generator, dtype=torch.float64)
        stress = torch.full((1, 3, 3), torch.nan, dtype=torch.float64)
        return Prediction(
            energies.sum()[None], self.error * noise - stiffness * away, stress, energies, stress
        )


def trajectory(error: float, seed: int, steps: int = 520) -> Series:
    """Eight atoms near 300 K, with energies of every step of 2 fs."""
    atoms = bulk("Al", a=4.05) * (2, 2, 2)
    engine = BatchNve(Springs(error, seed), [start_of(atoms, 600.0)], 2.0)
    found = []
    for _ in range(steps):
        engine.advance()
        found.append([float(part[0]) for part in (*engine.observe(), *engine.invariants())])
    potential, kinetic, shadow, turned = np.array(found).T
    step = np.arange(1.0, steps + 1)
    return Series(step, 0.002 * step, potential, kinetic, 8, None, shadow, turned)


def test_noise_in_the_forces_is_a_walk_that_a_slope_does_not_see() -> None:
    """⟨ΔE²⟩ of a step is Σ v² σ² Δt², and Σ v² follows from the temperature."""
    error = 0.003
    noisy, calm = (measure_drift(trajectory(e, seed=0)) for e in (error, 0.0))
    expected = 3 * units.kB * noisy.temperature / 26.98 * (error * 2 * units.fs) ** 2 * 1e6 / (2 * 0.002)
    assert noisy.diffusion_low < expected < noisy.diffusion_high
    assert calm.diffusion_high < 0.1 * expected
    threshold = 0.3 * noisy.walk / noisy.duration_ps
    assert (verdict_of(noisy, threshold), verdict_of(calm, threshold)) == ("walks", "conserved")
    assert calm.shadow_fluctuation < 0.1 * calm.fluctuation
