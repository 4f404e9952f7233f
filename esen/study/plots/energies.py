"""Figures of NVE tests: energy against time with one line per potential, and fluctuation against timestep."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter, SymmetricalLogLocator

from esen.study.drift.report import OrderTest, Trajectory
from esen.study.plots.style import write_figure

_COLOURS = ("#2166ac", "#b2182b", "#4d9221", "#e08214", "#762a83", "#1b7837", "#878787", "#c51b7d")
_LEGEND: dict[str, Any] = {"fontsize": 8, "frameon": False}
_POINTS = 400
_SPREAD = 30.0
"""Ratio between the energy changes of two potentials beyond which the energy axis is logarithmic on both sides of 0."""


def energy_plot(trajectories: Sequence[Trajectory], path: Path) -> None:
    """Plot (E(t) − E(0))/N, with one panel per system; dashed: the shadow energy, where it was recorded.

    Raises:
        OSError: the file cannot be written.
    """
    systems = list(dict.fromkeys((t.system, t.atoms) for t in trajectories))
    potentials = list(dict.fromkeys(t.potential for t in trajectories))
    colours = {potential: _COLOURS[i % len(_COLOURS)] for i, potential in enumerate(potentials)}
    columns = math.ceil(math.sqrt(len(systems)))
    rows = math.ceil(len(systems) / columns)
    single = len(systems) == 1
    size = (8.0, 3.9) if single else (3.4 * columns, 2.5 * rows + 0.6)
    figure = Figure(figsize=size, dpi=140, layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat[len(systems) :]:
        axes.set_axis_off()
    for axes, (system, atoms) in zip(grid.flat, systems, strict=False):
        mine = [t for t in trajectories if (t.system, t.atoms) == (system, atoms)]
        _panel(axes, mine, colours, with_drifts=single)
        axes.set_title(f"{system} ({atoms} atoms)", fontsize=10)
    for axes in grid[:, 0]:
        dashed = any(t.series.shadow is not None for t in trajectories)
        what = "E(t) − E(0)" + (", dashed: shadow energy" if dashed else "")
        axes.set_ylabel(f"{what} (meV/atom)", fontsize=9 if single else 7)
    for axes in grid.flat[max(0, len(systems) - columns) : len(systems)]:
        axes.set_xlabel("time (ps)", fontsize=9)
    if single:
        grid[0, 0].legend(**_LEGEND, loc="upper left", bbox_to_anchor=(1.0, 1.0), labelspacing=0.9)
    else:
        handles = {line.get_label(): line for axes in grid.flat for line in axes.get_lines()}
        shown = {potential: handles[potential] for potential in potentials if potential in handles}
        lines, names = list(shown.values()), list(shown)
        figure.legend(lines, names, **_LEGEND, loc="outside upper center", ncols=4)
    write_figure(figure, path)


def _panel(
    axes: Axes, trajectories: Sequence[Trajectory], colours: dict[str, str], *, with_drifts: bool
) -> None:
    extents = []
    for t in trajectories:
        change = 1000 * (t.series.total - t.series.total[:1]) / t.atoms
        colour, label = colours[t.potential], t.potential
        if with_drifts and t.shown_drift:
            label += f"\n{t.shown_drift} meV/atom/ps"
        time, mean, low, high = _thinned(t.series.time_ps, change)
        axes.fill_between(time, low, high, color=colour, alpha=0.18, linewidth=0)
        axes.plot(time, mean, color=colour, linewidth=1.3, label=label)
        if t.series.shadow is not None and np.isfinite(t.series.shadow).any():
            known = np.isfinite(t.series.shadow)
            shadow = 1000 * t.series.shadow[known] / t.atoms
            middle, level, _, _ = _thinned(t.series.time_ps[known], shadow - shadow[0])
            axes.plot(middle, level, "--", color=colour, linewidth=0.8)
        if t.failure is not None and len(time):
            axes.plot(time[-1:], mean[-1:], "x", color=colour, markersize=7, markeredgewidth=1.8)
        extents.append(float(np.abs(change).max(initial=0.0)))
    calmest = min((extent for extent in extents if extent > 0), default=math.inf)
    if max(extents) > _SPREAD * calmest:
        straight = 10.0 ** math.floor(math.log10(max(calmest, 1e-9)))
        axes.set_yscale("symlog", linthresh=straight, linscale=0.8)
        axes.yaxis.set_major_locator(SymmetricalLogLocator(base=10, linthresh=straight))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
    else:
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.ticklabel_format(axis="y", style="sci", scilimits=(-3, 4))
    axes.axhline(0, color="#9a9a9a", linewidth=0.6, zorder=0)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    _clean(axes)


def _thinned(
    time: Float64[np.ndarray, " rows"], change: Float64[np.ndarray, " rows"]
) -> tuple[Float64[np.ndarray, " points"], ...]:
    """Return time, mean, smallest and largest change of neighbouring rows, for some hundred points."""
    size = max(1, len(time) // _POINTS)
    edges = np.arange(0, len(time), size)
    counts = np.diff(np.append(edges, len(time)))
    mean, middle = (np.add.reduceat(values, edges) / counts for values in (change, time))
    return middle, mean, np.minimum.reduceat(change, edges), np.maximum.reduceat(change, edges)


def order_plot(orders: Sequence[OrderTest], path: Path) -> None:
    """Plot the fluctuation against the timestep, and dotted lines ∝ Δt².

    Raises:
        OSError: the file cannot be written.
    """
    figure = Figure(figsize=(6.0, 4.2), dpi=140, layout="constrained")
    axes = figure.subplots()
    for number, test in enumerate(orders):
        colour = _COLOURS[number % len(_COLOURS)]
        x, y = np.array(test.timesteps), np.array(test.fluctuations)
        label = f"{test.potential}, {test.system}"
        label += "" if math.isnan(test.order) else f": order {test.order:.2f}"
        axes.plot(x, y, "o-", color=colour, markersize=4, linewidth=1.3, label=label)
        if np.isfinite(y[0]) and y[0] > 0:
            axes.plot(x, y[0] * (x / x[0]) ** 2, color=colour, linewidth=0.8, linestyle=":")
    fluctuates = any(value > 0 for test in orders for value in test.fluctuations)
    axes.set(xscale="log", yscale="log" if fluctuates else "linear")
    axes.set(xlabel="timestep (fs)", ylabel="σ(E)/√N (meV)")
    axes.set_title("Fluctuation of the total energy; dotted: Δt²", fontsize=10)
    timesteps = sorted({timestep for test in orders for timestep in test.timesteps})
    axes.set_xticks(timesteps, [f"{timestep:g}" for timestep in timesteps])
    axes.xaxis.set_minor_formatter(NullFormatter())
    _clean(axes)
    axes.legend(**_LEGEND)
    write_figure(figure, path)


def _clean(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(which="both", labelsize=8)
