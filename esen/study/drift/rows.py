"""The tables of `esen md-drift`, and its verdicts."""

import math
from collections.abc import Sequence

from esen.study.drift.result import OrderTest, Trajectory, mean_drift

Row = dict[str, str | None]
_HEADLINES = {"fair": "FAIR drift", "lambench": "LAMBench slope"}


def drift_rows(trajectories: Sequence[Trajectory]) -> list[Row]:
    """A row a potential and system; energies in meV/atom, drifts in meV/atom/ps."""
    headlines = [h for h in _HEADLINES if any(t.protocol.headline == h for t in trajectories)]
    with_asymmetry = any(t.asymmetry for t in trajectories)
    rows = []
    for t in trajectories:
        drift = t.drift
        row: Row = {
            "potential": t.potential,
            "system": t.system,
            "atoms": str(t.atoms),
            "T (K)": None if drift is None else f"{drift.temperature:.0f}",
            "drift ± 95 %": None if drift is None else with_error(drift.slope, drift.slope_error),
        }
        for headline in headlines:
            row[_HEADLINES[headline]] = None if drift is None else short(getattr(drift, headline))
        row |= {
            "wander": None if drift is None else short(drift.wander),
            "max |ΔE|": None if drift is None else short(drift.largest),
            "σ/√N": None if drift is None else short(drift.fluctuation),
            "drift/σ(K)": None if drift is None else short(drift.relative),
        }
        if with_asymmetry:
            row["λ"] = short(max(t.asymmetry)) if t.asymmetry else None
        row["verdict"] = verdict_words(t)
        rows.append(row)
    return rows


def verdict_words(trajectory: Trajectory) -> str:
    """The verdict, and when it ended if it did too early."""
    if trajectory.failure is None:
        return trajectory.verdict
    return f"stopped at {trajectory.failure_time_ps:.3g} ps"


def order_rows(orders: Sequence[OrderTest]) -> list[Row]:
    """A row a potential and system: the fluctuation at every timestep, and its order."""
    rows = []
    for test in orders:
        row: Row = {"potential": test.potential, "system": test.system}
        for timestep, value in zip(test.timesteps_fs, test.fluctuations, strict=True):
            row[f"σ/√N, {timestep:g} fs"] = short(value)
        row |= {"order": None if math.isnan(test.order) else f"{test.order:.3f}", "floor": test.floor}
        rows.append(row)
    return rows


def verdict_lines(trajectories: Sequence[Trajectory], threshold: float) -> list[str]:
    """A line a potential, and what is to be known of the protocols."""
    lines = []
    for potential in dict.fromkeys(t.potential for t in trajectories):
        mine = [t for t in trajectories if t.potential == potential]
        counts = {
            v: sum(t.verdict == v for t in mine) for v in ("conserved", "drifts", "undecided", "exploded")
        }
        said = ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count)
        lines.append(
            f"{potential}: {said} (threshold {threshold:g} meV/atom/ps); mean |drift|"
            f" {short(mean_drift(mine))} meV/atom/ps"
        )
        for headline in dict.fromkeys(t.protocol.headline for t in mine if t.protocol.headline != "slope"):
            unit = "meV/atom/ps" if headline == "fair" else "in LAMBench's unit"
            chosen = [t for t in mine if t.protocol.headline == headline]
            lines.append(
                f"{potential}: mean {_HEADLINES[headline]} {short(mean_drift(chosen, headline))} {unit}"
            )
    if any(t.verdict == "undecided" for t in trajectories):
        lines.append(
            "undecided: the threshold lies within the 95 % interval of the drift; a longer --duration would tell"
        )
    for protocol in dict.fromkeys(t.protocol for t in trajectories):
        if protocol.name != "structures":
            lines.append(f"{protocol.name}: {protocol.note}")
    return lines


def with_error(value: float, error: float) -> str:
    """A value to the second digit of its error.

    >>> with_error(0.012345, 0.00067), with_error(-41.23, 3.1)
    ('+0.01235 ± 0.00067', '-41.2 ± 3.1')
    """
    if math.isnan(value):
        return "–"
    if not math.isfinite(error) or error <= 0:
        return f"{value:+.2g} ± ?"
    exponent = math.floor(math.log10(error))
    if exponent < -6 or abs(value) >= 1e6:
        return f"{value:+.1e} ± {error:.1e}"
    digits = max(0, 1 - exponent)
    return f"{value:+.{digits}f} ± {error:.{digits}f}"


def short(value: float) -> str:
    """Two digits.

    >>> short(0.01234), short(123.4), short(4.5e-7), short(float("nan"))
    ('0.012', '123', '4.5e-07', '–')
    """
    if not math.isfinite(value):
        return "–" if math.isnan(value) else "∞"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.2g}"
