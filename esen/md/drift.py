"""Measures of energy drift in an NVE trajectory, computed from its energies."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from ase import units
from jaxtyping import Float64
from scipy.special import stdtr, stdtrit

from esen.md.walk import Walk, measure_walk, redness_likelihoods, slow_waves

EQUILIBRATION = 0.1
"""Fraction of a trajectory that slopes leave out, as FAIR does, because potential and kinetic energy equilibrate."""
BLOCK_PS = 1.0
"""Length of the blocks whose means give the wander, and of the shortest trajectory that is judged."""
STILL_KELVIN = 0.1
"""Mean temperature below which a system does not move. Its kinetic energy, 0.013 meV/atom, could be lost unnoticed."""
NOTHING_MOVES = "nothing moves"
"""Why a trajectory below that temperature is not judged."""
_WAVES = np.arange(2.0, 10.0)
"""Cosines from which the error of the slope is predicted."""
WALKING = 1.5
"""Exponent of the spectrum above which a growing energy counts as a random walk, which has 2."""

Verdict = Literal["conserved", "drifts", "walks", "undecided", "exploded"]


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
        shadow: shadow energy in eV, NaN in rows of the first two steps; None if it was not recorded.
        angular_change: |L(t) − L(0)| in ħ, NaN where L is not conserved; None if it was not recorded.
    """

    step: Float64[np.ndarray, " rows"]
    time_ps: Float64[np.ndarray, " rows"]
    potential: Float64[np.ndarray, " rows"]
    kinetic: Float64[np.ndarray, " rows"]
    atoms: int
    freedoms: int | None = None
    shadow: Float64[np.ndarray, " rows"] | None = None
    angular_change: Float64[np.ndarray, " rows"] | None = None

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

    Slope, wander, growth and diffusion are those of the shadow energy H̃ (`shadow_correction`), or of the total energy
    where H̃ was not recorded. The two drift and walk alike, because their difference is bounded, but H̃ fluctuates far
    less.

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
        shadow_fluctuation: σ(H̃)/√N about the fitted line, in meV: what is left of the fluctuation in the shadow
            energy.
        growth: exponent α of ⟨ΔE²⟩ ∝ τ^α (`growth_exponent`): 0 if the energy is conserved, 1 for a random walk, 2 for
            a steady drift.
        growth_error: half of its 95 % confidence interval.
        diffusion: D/N of ⟨ΔE²⟩ = 2 D τ, in meV²/atom/ps (`diffusion_constant`). Independent contributions of the atoms
            add up in ⟨ΔE²⟩, so that D/N does not depend on the size of the system.
        diffusion_low: lower end of its 95 % confidence interval.
        diffusion_high: upper end.
        redness: β of the spectrum f^−β at the 24 longest periods (`redness_likelihoods`): 0 if the energy is conserved,
            2 for a random walk. Fast noise on top of a walk lowers α, but not β.
        walk: √(2 D T)/N, in meV/atom: how far such a walk goes over the duration T, root mean square.
        angular_change: largest |L(t) − L(0)|, in ħ; NaN where the angular momentum is not conserved.
        angular_change_end: |L(t) − L(0)| at the end, in ħ.
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
    shadow_fluctuation: float = np.nan
    growth: float = np.nan
    growth_error: float = np.nan
    diffusion: float = np.nan
    diffusion_low: float = np.nan
    diffusion_high: float = np.nan
    redness: float = np.nan
    walk: float = np.nan
    angular_change: float = np.nan
    angular_change_end: float = np.nan


def measure_drift(series: Series) -> Drift:
    """Compute all measures. All but `largest`, temperatures and angular momentum leave out the first tenth."""
    rows = len(series)
    temperature = float(series.temperature.mean()) if rows else np.nan
    constant = rows > 2 and float(series.kinetic.std()) <= 1e-9 * float(series.kinetic.mean())
    tested = not constant and not temperature < STILL_KELVIN
    skipped = int(EQUILIBRATION * rows)
    time, total = series.time_ps[skipped:], 1000 * series.total[skipped:] / series.atoms
    shadow = None if series.shadow is None else 1000 * series.shadow[skipped:] / series.atoms
    energy = total if shadow is None or not np.isfinite(shadow).all() else shadow
    slope, error = slope_with_error(time, energy) if tested else (np.nan, np.nan)
    walk = measure_walk(energy, float(time[1] - time[0])) if tested and len(time) > 1 else Walk()
    duration = float(series.time_ps[-1] - series.time_ps[0]) if rows else 0.0
    turned = series.angular_change if series.angular_change is not None and rows else np.array([np.nan])
    sigma_kinetic = 1000 * float(series.kinetic[skipped:].std()) / series.atoms if rows > 2 else np.nan
    return Drift(
        slope=slope,
        slope_error=error,
        wander=wander(time, energy) if tested else np.nan,
        fair=fair_drift(series) if tested else np.nan,
        lambench=lambench_slope(series) if tested else np.nan,
        largest=1000 * float(np.abs(series.total - series.total[0]).max()) / series.atoms if rows else np.nan,
        fluctuation=_fluctuation(time, total, series.atoms),
        relative=abs(slope) / sigma_kinetic if sigma_kinetic > 0 else np.nan,
        temperature=temperature,
        temperature_end=float(series.temperature[-max(1, rows // 10) :].mean()) if rows else np.nan,
        duration_ps=duration,
        rows=rows,
        shadow_fluctuation=np.nan if energy is total else _fluctuation(time, energy, series.atoms),
        growth=walk.exponent,
        growth_error=walk.exponent_error,
        diffusion=walk.diffusion * series.atoms,
        diffusion_low=walk.diffusion_low * series.atoms,
        diffusion_high=walk.diffusion_high * series.atoms,
        redness=walk.redness,
        walk=math.sqrt(2 * walk.diffusion * duration),
        angular_change=float(turned.max()),
        angular_change_end=float(turned[-1]),
    )


def slope_with_error(
    time: Float64[np.ndarray, " rows"], energy: Float64[np.ndarray, " rows"]
) -> tuple[float, float]:
    """Return the least-squares slope of evenly spaced energies, and half of its 95 % confidence interval.

    Successive energies are correlated, so that the usual error of a fitted line is far too small. What decides is the
    noise at periods of about the length of the trajectory: a line is nearly the cosine of half a period. That noise is
    predicted from the residuals of the line at the next periods, c_k = √(2/n) Σ residual_i cos(π k (i + ½)/n) for
    k = 2 to 9. Their variances are taken as v k^−β. White noise, and all noise with a correlation time far shorter than
    the trajectory, has β = 0; a random walk has β = 2. For each β from 0 to 2.5, slope · √Σ(t − t̄)² / √(Σ k^β c_k² /
    8) has Student's distribution with 8 degrees of freedom, and these distributions are averaged with the likelihoods
    of β. The error is the 97.5 % quantile of the average.

    Source: U. K. Müller and M. W. Watson, "Low-frequency econometrics", Advances in Economics and Econometrics (2017),
    for inference from the slowest cosines; A. Zellner, An Introduction to Bayesian Inference in Econometrics (1971),
    for the distribution without the scale v. Coverage: docs/results/conservation.md.

    Returns:
        Slope and error; the error is NaN for fewer than 20 rows, both are NaN for fewer than 3.
    """
    rows = len(time)
    if rows < 3 or np.ptp(time) == 0:
        return np.nan, np.nan
    slope = float(np.polyfit(time - time.mean(), energy - energy.mean(), 1)[0])
    if rows < 20:
        return slope, np.nan
    spread = float(np.square(time - time.mean()).sum())
    return slope, _predicted_quantile(slow_waves(energy, _WAVES)) / math.sqrt(spread)


def _predicted_quantile(squares: Float64[np.ndarray, " waves"]) -> float:
    """Return the 97.5 % quantile of c_1, given c_2² to c_9²."""
    if not squares.any():
        return 0.0
    likelihoods, scales = redness_likelihoods(squares, _WAVES)
    low, high = 0.0, float(stdtrit(len(_WAVES), 0.975) * scales.max())
    for _ in range(60):
        middle = 0.5 * (low + high)
        below = likelihoods @ stdtr(len(_WAVES), middle / scales) < 0.975
        low, high = (middle, high) if below else (low, middle)
    return high


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

    `drifts`: |slope| − error is above the threshold. `walks`: it is not, but the energy walks at random, farther than
    the threshold allows (`walks`). `conserved`: neither, and |slope| + error is at most the threshold. `undecided`:
    nothing of this holds, so that a longer trajectory would decide, or the trajectory tests nothing (`untested`).
    """
    if untested(drift) is not None:
        return "undecided"
    size = abs(drift.slope)
    if size - drift.slope_error > threshold:
        return "drifts"
    if walks(drift, threshold):
        return "walks"
    return "conserved" if size + drift.slope_error <= threshold else "undecided"


def walks(drift: Drift, threshold: float) -> bool:
    """Return whether the energy is shown to walk at random, farther than a drift of `threshold` meV/atom/ps would go.

    The 95 % interval of the exponent of ⟨ΔE²⟩ lies above 0, the spectrum of the slowest fluctuations falls with an
    exponent above 1.5, and √(2 D T)/N exceeds threshold · T for the lower end of the interval of D, where T is the
    duration.
    """
    if not (drift.growth - drift.growth_error > 0 and drift.redness > WALKING):
        return False
    shown = drift.walk * math.sqrt(drift.diffusion_low / drift.diffusion)
    return shown > threshold * drift.duration_ps


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


def _fluctuation(
    time: Float64[np.ndarray, " rows"], energy: Float64[np.ndarray, " rows"], atoms: int
) -> float:
    """Return σ · √N of energies per atom about their line; NaN for fewer than three."""
    return float(_about_line(time, energy).std() * np.sqrt(atoms)) if len(time) > 2 else np.nan


def _about_line(
    time: Float64[np.ndarray, " rows"], energy: Float64[np.ndarray, " rows"]
) -> Float64[np.ndarray, " rows"]:
    centred = time - time.mean()
    line = np.polynomial.polynomial.polyfit(centred, energy, 1)
    return np.asarray(energy - np.polynomial.polynomial.polyval(centred, line))
