"""Measures of energy drift in an NVE trajectory, computed from its energies."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from ase import units
from jaxtyping import Float64
from scipy.special import stdtrit

EQUILIBRATION = 0.1
"""Fraction of a trajectory that slopes leave out, as FAIR does, because potential and kinetic energy equilibrate."""
BLOCK_PS = 1.0
"""Length of the blocks whose means give the wander, and of the shortest trajectory that is judged."""
STILL_KELVIN = 0.1
"""Mean temperature below which a system does not move. Its kinetic energy, 0.013 meV/atom, could be lost unnoticed."""
NOTHING_MOVES = "nothing moves"
"""Why a trajectory below that temperature is not judged."""

Verdict = Literal["conserved", "drifts", "undecided", "exploded"]


@dataclass(frozen=True, eq=False)
class Series:
    """Energies of one system against time.

    Attributes:
        step: number of the time step.
        time_ps: time in ps.
        potential: potential energy in eV.
        kinetic: kinetic energy in eV.
        atoms: number of atoms, N.
        freedoms: degrees of freedom, f; None: 3N.
    """

    step: Float64[np.ndarray, " rows"]
    time_ps: Float64[np.ndarray, " rows"]
    potential: Float64[np.ndarray, " rows"]
    kinetic: Float64[np.ndarray, " rows"]
    atoms: int
    freedoms: int | None = None

    @property
    def total(self) -> Float64[np.ndarray, " rows"]:
        """Total energy in eV."""
        return np.asarray(self.potential + self.kinetic)

    @property
    def temperature(self) -> Float64[np.ndarray, " rows"]:
        """Temperature 2 E_kin / f k_B in K; 0 without degrees of freedom."""
        freedoms = 3 * self.atoms if self.freedoms is None else self.freedoms
        if not freedoms:
            return np.zeros_like(self.kinetic)
        return np.asarray(self.kinetic / (1.5 * units.kB * (freedoms / 3)))

    def __len__(self) -> int:
        return len(self.time_ps)


@dataclass(frozen=True)
class Drift:
    """Measures of one trajectory. A measure is NaN if the trajectory is too short for it.

    Measures of the drift are also NaN where nothing moves, or where no force acts: no potential could drift there.

    Attributes:
        slope: slope of the total energy, in meV/atom/ps.
        slope_error: half of the 95 % confidence interval of the slope, in meV/atom/ps.
        wander: largest difference between means over blocks of 1 ps, in meV/atom. An energy can wander without a slope.
        fair: FAIR's end-to-end drift (`fair_drift`), in meV/atom/ps.
        lambench: LAMBench's slope (`lambench_slope`), in LAMBench's unit.
        largest: max |E(t) − E(0)|, in meV/atom. It comes from the integrator, not from the potential, and grows as Δt².
        fluctuation: σ(E)/√N about the fitted line, in meV. It does not depend on the size of the system.
        relative: |slope| · N/σ(E_kin), in 1/ps: the part of the natural fluctuation that is lost or gained in 1 ps.
        temperature: mean temperature, in K.
        temperature_end: mean temperature of the last tenth, in K.
        duration_ps: duration of the trajectory.
        rows: number of rows of energies.
    """

    slope: float
    slope_error: float
    wander: float
    fair: float
    lambench: float
    largest: float
    fluctuation: float
    relative: float
    temperature: float
    temperature_end: float
    duration_ps: float
    rows: int


def measure_drift(series: Series) -> Drift:
    """Compute all measures. Slope, error, wander and fluctuation leave out the first tenth of the trajectory."""
    rows = len(series)
    temperature = float(series.temperature.mean()) if rows else np.nan
    constant = rows > 2 and float(series.kinetic.std()) <= 1e-9 * float(series.kinetic.mean())
    tested = not constant and not temperature < STILL_KELVIN
    skipped = int(EQUILIBRATION * rows)
    time, energy = series.time_ps[skipped:], 1000 * series.total[skipped:] / series.atoms
    slope, error = slope_of_blocks(time, energy) if tested else (np.nan, np.nan)
    sigma_kinetic = 1000 * float(series.kinetic[skipped:].std()) / series.atoms if rows > 2 else np.nan
    return Drift(
        slope=slope,
        slope_error=error,
        wander=wander(time, energy) if tested else np.nan,
        fair=fair_drift(series) if tested else np.nan,
        lambench=lambench_slope(series) if tested else np.nan,
        largest=1000 * float(np.abs(series.total - series.total[0]).max()) / series.atoms if rows else np.nan,
        fluctuation=float(_about_line(time, energy).std() * np.sqrt(series.atoms))
        if len(time) > 2
        else np.nan,
        relative=abs(slope) / sigma_kinetic if sigma_kinetic > 0 else np.nan,
        temperature=temperature,
        temperature_end=float(series.temperature[-max(1, rows // 10) :].mean()) if rows else np.nan,
        duration_ps=float(series.time_ps[-1] - series.time_ps[0]) if rows else 0.0,
        rows=rows,
    )


def slope_of_blocks(
    time: Float64[np.ndarray, " rows"], energy: Float64[np.ndarray, " rows"]
) -> tuple[float, float]:
    """Return the least-squares slope and half of its 95 % confidence interval.

    Successive energies are correlated, so that the usual error of a fitted line is far too small. The rows are divided
    into n blocks of equal length, whose means are less correlated. The line through the means has the error

        t(0.975; n − 2) √( Σ residual² / (n − 2) Σ (t − t̄)² ).

    The largest error for n = 5, 10 and 20 is returned, where a block needs at least four rows: as long as blocks are
    correlated, the error grows with their length (Flyvbjerg and Petersen, J. Chem. Phys. 91, 461, 1989).

    Returns:
        Slope and error; the error is NaN for fewer than 20 rows, both are NaN for fewer than 3.
    """
    if len(time) < 3 or np.ptp(time) == 0:
        return np.nan, np.nan
    slope = float(np.polyfit(time - time.mean(), energy - energy.mean(), 1)[0])
    errors = [_error_of_blocks(time, energy, blocks) for blocks in (5, 10, 20) if len(time) >= 4 * blocks]
    return slope, max(errors, default=np.nan)


def _error_of_blocks(
    time: Float64[np.ndarray, " rows"], energy: Float64[np.ndarray, " rows"], blocks: int
) -> float:
    times, means = (
        np.array([block.mean() for block in np.array_split(values, blocks)]) for values in (time, energy)
    )
    residuals = _about_line(times, means)
    spread = np.square(times - times.mean()).sum()
    variance = np.square(residuals).sum() / (blocks - 2)
    return float(stdtrit(blocks - 2, 0.975) * np.sqrt(variance / spread))


def wander(time: Float64[np.ndarray, " rows"], energy: Float64[np.ndarray, " rows"]) -> float:
    """Return the largest minus the smallest mean over blocks of 1 ps; NaN for fewer than two blocks."""
    if not len(time):
        return np.nan
    block = ((time - time[0]) / BLOCK_PS + 1e-9).astype(np.int64)
    counts = np.bincount(block)
    whole = counts > counts.max() // 2  # without an incomplete block at the end
    if whole.sum() < 2:
        return np.nan
    means = np.bincount(block, energy)[whole] / counts[whole]
    return float(np.ptp(means))


def fair_drift(series: Series, window: int = 20) -> float:
    """Return FAIR's drift |Ē(end) − Ē(i₀)| / (t(end) − t(i₀)) in meV/atom/ps.

    Ē is a running mean over 20 rows, and i₀ = n/10. As in the published script, i₀ is applied to the energies twice:
    the difference begins at 20 % of the trajectory, but is divided by the time from 10 % on, so that a steady drift
    comes out an eighth too small. The published script reads energies rounded to 0.1 meV/atom; these are not rounded.

    Source: fairchem, nve_md_runner.py and nvemd_reducer.py (FAIR chemistry team).

    Returns:
        The drift; NaN for fewer than 26 rows.
    """
    start = int(0.1 * len(series))
    energy = series.total[start:] / series.atoms
    if len(energy) - window <= start + 1:  # only the first mean is left
        return np.nan
    total = np.concatenate([[0.0], np.cumsum(energy - energy[0])])
    means = (total[window:-1] - total[: -window - 1]) / window
    return float(1000 * abs(means[-1] - means[start]) / (series.time_ps[-1] - series.time_ps[start]))


def lambench_slope(series: Series) -> float:
    """Return LAMBench's |slope of E| · 1000/N without the first 20 %, in the unit in which its script prints it.

    The script's time axis is steps · Δt in ASE's unit of 10.18 fs: the number is 10.18 × the drift in eV/atom/ps.

    Source: LAMBench, nve_md.py.
    """
    start = int(0.2 * len(series))
    time, energy = series.time_ps[start:], series.total[start:]
    if len(time) < 3:
        return np.nan
    slope = np.polyfit(time - time.mean(), energy - energy.mean(), 1)[0]  # eV/ps
    return float(abs(slope) / series.atoms / units.fs)


def verdict_of(drift: Drift, threshold: float) -> Verdict:
    """Decide whether the energy is conserved to `threshold` meV/atom/ps.

    `conserved`: |slope| + error is at most the threshold. `drifts`: |slope| − error is above it. `undecided`: neither
    holds, so that a longer trajectory would decide, or the trajectory tests nothing (`untested`).
    """
    if untested(drift) is not None:
        return "undecided"
    size = abs(drift.slope)
    if size + drift.slope_error <= threshold:
        return "conserved"
    return "drifts" if size - drift.slope_error > threshold else "undecided"


def untested(drift: Drift) -> str | None:
    """Return why a trajectory says nothing about the conservation of energy, or None if it does."""
    if not drift.rows:
        return "no energies were recorded"
    if drift.temperature < STILL_KELVIN:
        return NOTHING_MOVES
    if drift.duration_ps < BLOCK_PS * (1 - 1e-9):
        return (
            f"the energies span {drift.duration_ps:.3g} ps, fewer than {BLOCK_PS:g} ps; give a longer --duration or a"
            " smaller --record-every"
        )
    if drift.rows > 2 and np.isnan(drift.relative):
        return "no force acts: the kinetic energy is constant"
    if not np.isfinite(drift.slope_error):
        return f"{drift.rows} energies are too few for an error; give a smaller --record-every"
    return None


def fluctuation_order(
    timesteps: Sequence[float], fluctuations: Sequence[float]
) -> tuple[float, Float64[np.ndarray, " pairs"]]:
    """Return the exponent p of fluctuation ∝ Δtᵖ, and the exponents between neighbouring timesteps.

    With velocity Verlet on a smooth energy surface, the total energy fluctuates as Δt² (Hairer et al., 2003, theorem
    5.1). Roughness of the surface and rounding add a contribution that does not depend on Δt, so that the exponent
    falls below 2 at small timesteps.

    Args:
        timesteps: in decreasing order.
        fluctuations: σ of the total energy at each timestep, of trajectories from the same start with rows at the same
            times.

    Returns:
        The slope of a line through log σ against log Δt for the largest timesteps between which the exponent stays
        within 0.3 of 2, or for all timesteps if it never does; and the exponents between neighbours.
    """
    x, y = np.log(np.asarray(timesteps)), np.log(np.asarray(fluctuations))
    local = np.diff(y) / np.diff(x)
    regular = np.flatnonzero(np.abs(local - 2) <= 0.3)
    if not len(regular):
        return float(np.polyfit(x, y, 1)[0]), local
    first = last = int(regular[0])
    while last + 1 in regular:
        last += 1
    return float(np.polyfit(x[first : last + 2], y[first : last + 2], 1)[0]), local


def _about_line(
    time: Float64[np.ndarray, " rows"], energy: Float64[np.ndarray, " rows"]
) -> Float64[np.ndarray, " rows"]:
    centred = time - time.mean()
    line = np.polynomial.polynomial.polyfit(centred, energy, 1)
    return np.asarray(energy - np.polynomial.polynomial.polyval(centred, line))
