"""Whether a trajectory at constant energy conserved it: numbers from the energies alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from ase import units
from jaxtyping import Float64
from scipy.special import stdtrit

EQUILIBRATION = 0.1
"""Share of a trajectory that is left out of slopes, as FAIR does: potential and kinetic energy find their balance."""
BLOCK_PS = 1.0

Verdict = Literal["conserved", "drifts", "undecided", "exploded"]


@dataclass(frozen=True, eq=False)
class Series:
    """Energies of one system, row by row.

    Attributes:
        step: of the integrator.
        time_ps: the same in ps.
        potential: in eV.
        kinetic: in eV.
        atoms: N.
    """

    step: Float64[np.ndarray, " rows"]
    time_ps: Float64[np.ndarray, " rows"]
    potential: Float64[np.ndarray, " rows"]
    kinetic: Float64[np.ndarray, " rows"]
    atoms: int

    @property
    def total(self) -> Float64[np.ndarray, " rows"]:
        """In eV."""
        return np.asarray(self.potential + self.kinetic)

    @property
    def temperature(self) -> Float64[np.ndarray, " rows"]:
        """2 E_kin / 3 N k_B, as ASE has it, in K."""
        return np.asarray(self.kinetic / (1.5 * units.kB * self.atoms))

    def __len__(self) -> int:
        return len(self.time_ps)


@dataclass(frozen=True)
class Drift:
    """What became of the energy. NaN where the trajectory is too short to say.

    Attributes:
        slope: of the total energy, in meV/atom/ps.
        slope_error: half of its 95 % confidence interval.
        wander: largest difference between means of blocks of 1 ps, in meV/atom: it may come and go without a slope.
        fair: FAIR's end-to-end drift (`fair_drift`), in meV/atom/ps.
        lambench: LAMBench's slope (`lambench_slope`), in its own unit.
        largest: max |E(t) − E(0)| in meV/atom; grows as Δt² and is the integrator's, not the potential's.
        fluctuation: σ(E)/√N about the line, in meV; does not depend on the size of the system.
        relative: |slope| · N/σ(E_kin), in 1/ps: the part of the natural fluctuation that is lost or gained in 1 ps.
        temperature: mean, in K.
        temperature_end: mean of the last tenth, in K.
        duration_ps: of the trajectory.
        rows: of the trajectory.
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
    """All of `Drift`. The slope, its error and the wander leave out the first tenth."""
    rows = len(series)
    skipped = int(EQUILIBRATION * rows)
    time, energy = series.time_ps[skipped:], 1000 * series.total[skipped:] / series.atoms
    slope, error = slope_of_blocks(time, energy)
    sigma_kinetic = 1000 * float(series.kinetic[skipped:].std()) / series.atoms if rows > 2 else np.nan
    return Drift(
        slope=slope,
        slope_error=error,
        wander=wander(time, energy),
        fair=fair_drift(series),
        lambench=lambench_slope(series),
        largest=1000 * float(np.abs(series.total - series.total[0]).max()) / series.atoms if rows else np.nan,
        fluctuation=float(_about_line(time, energy).std() * np.sqrt(series.atoms))
        if len(time) > 2
        else np.nan,
        relative=abs(slope) / sigma_kinetic if sigma_kinetic > 0 else np.nan,
        temperature=float(series.temperature.mean()) if rows else np.nan,
        temperature_end=float(series.temperature[-max(1, rows // 10) :].mean()) if rows else np.nan,
        duration_ps=float(series.time_ps[-1] - series.time_ps[0]) if rows else 0.0,
        rows=rows,
    )


def slope_of_blocks(
    time: Float64[np.ndarray, " rows"], energy: Float64[np.ndarray, " rows"]
) -> tuple[float, float]:
    """The least-squares slope, and half of its 95 % confidence interval.

    Energies one after another are correlated, so that the usual error of a line is far too small. The rows are divided
    into n blocks of equal length, whose means are closer to independent; the line through the means has the error

        t(0.975; n − 2) √( Σ residual² / (n − 2) Σ (t − t̄)² ).

    It is taken for 5, 10 and 20 blocks, as far as a block has four rows, and the largest counts: the error grows with
    the length of the blocks as long as they are correlated (Flyvbjerg and Petersen, J. Chem. Phys. 91, 461, 1989).

    Returns:
        NaN for what fewer than 20 rows cannot say.
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
    """Largest less smallest mean of blocks of 1 ps, in the energy's unit; NaN for less than two blocks."""
    if not len(time):
        return np.nan
    block = ((time - time[0]) / BLOCK_PS + 1e-9).astype(np.int64)
    counts = np.bincount(block)
    whole = counts > counts.max() // 2  # not what is left at the end
    if whole.sum() < 2:
        return np.nan
    means = np.bincount(block, energy)[whole] / counts[whole]
    return float(np.ptp(means))


def fair_drift(series: Series, window: int = 20) -> float:
    """FAIR's drift, |Ē(end) − Ē(i₀)| / (t(end) − t(i₀)) in meV/atom/ps, Ē the running mean of 20 rows, i₀ = n/10.

    To the letter: i₀ is applied to the energies twice, so that the difference begins at 20 % of the trajectory and is
    divided by the time from 10 % on; a steady drift comes out an eighth too small. The published script reads energies
    rounded to 0.1 meV/atom, these are not.

    Source: fairchem, nve_md_runner.py and nvemd_reducer.py (FAIR chemistry team).

    Returns:
        NaN for fewer than 26 rows.
    """
    start = int(0.1 * len(series))
    energy = series.total[start:] / series.atoms
    if len(energy) - window <= start + 1:  # no mean but the first is left
        return np.nan
    total = np.concatenate([[0.0], np.cumsum(energy - energy[0])])
    means = (total[window:-1] - total[: -window - 1]) / window
    return float(1000 * abs(means[-1] - means[start]) / (series.time_ps[-1] - series.time_ps[start]))


def lambench_slope(series: Series) -> float:
    """LAMBench's number, |slope of E| · 1000/N without the first 20 %, as its script prints it.

    Its time axis is steps · Δt in ASE's unit, 10.18 fs, so that the number is 10.18 × the drift in eV/atom/ps.

    Source: LAMBench, nve_md.py.
    """
    start = int(0.2 * len(series))
    time, energy = series.time_ps[start:], series.total[start:]
    if len(time) < 3:
        return np.nan
    slope = np.polyfit(time - time.mean(), energy - energy.mean(), 1)[0]  # eV/ps
    return float(abs(slope) / series.atoms / units.fs)


def verdict_of(drift: Drift, threshold: float, *, exploded: bool) -> Verdict:
    """Whether the energy is conserved to `threshold` meV/atom/ps.

    `conserved`: |slope| + error is within it. `drifts`: |slope| − error is beyond it. `undecided`: neither, or too
    short to have an error; a longer trajectory would tell.
    """
    if exploded:
        return "exploded"
    size = abs(drift.slope)
    if size + drift.slope_error <= threshold:
        return "conserved"
    return "drifts" if size - drift.slope_error > threshold else "undecided"


def fluctuation_order(
    timesteps: Sequence[float], fluctuations: Sequence[float]
) -> tuple[float, Float64[np.ndarray, " pairs"]]:
    """The exponent p of fluctuation ∝ Δtᵖ where the integrator makes it, and those between neighbouring timesteps.

    Velocity Verlet on a smooth surface fluctuates as Δt² (Hairer et al., 2003, theorem 5.1). Below some timestep a
    rough surface, or rounding, adds what does not fall any more: the exponent between two timesteps falls below 2.

    Args:
        timesteps: in falling order.
        fluctuations: σ of the total energy of the same trajectory, the same rows.

    Returns:
        The slope of a line through log σ against log Δt of the leading timesteps, as long as the exponent between
        neighbours stays within 0.3 of 2, and of all of them where it never does; and the exponents between neighbours.
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
