"""Energy against time, a line a potential; fluctuation against timestep."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float64
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter, SymmetricalLogLocator

from esen.study.drift.result import OrderTest, Trajectory
from esen.study.drift.rows import with_error
from esen.study.plots.style import write_figure

_COLOURS = ("#2166ac", "#b2182b", "#4d9221", "#e08214", "#762a83", "#1b7837", "#878787", "#c51b7d")
_POINTS = 400
_SPREAD = 30.0
"""From the calmest to the wildest potential, beyond which the energy axis is logarithmic on both sides of zero."""


def energy_plot(trajectories: Sequence[Trajectory], path: Path) -> None:
    """(E(t) − E(0))/N of every system, a panel each.

    Raises:
        OSError: the file cannot be written.
    """
    systems = list(dict.fromkeys(t.system for t in trajectories))
    potentials = list(dict.fromkeys(t.potential for t in trajectories))
    columns = min(len(systems), max(1, math.ceil(math.sqrt(len(systems)))))
    rows = math.ceil(len(systems) / columns)
    size = (8.0, 3.9) if len(systems) == 1 else (3.4 * columns, 2.5 * rows + 0.6)
    figure = Figure(figsize=size, dpi=140, layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat[len(systems) :]:
        axes.set_axis_off()
    for axes, system in zip(grid.flat, systems, strict=False):
        mine = [t for t in trajectories if t.system == system]
        _panel(axes, mine, potentials, with_legend=len(systems) == 1)
        axes.set_title(f"{system} ({mine[0].atoms} atoms)", fontsize=10)
    for axes in grid[:, 0]:
        axes.set_ylabel("E(t) − E(0) (meV/atom)", fontsize=9)
    for axes in grid.flat[max(0, len(systems) - columns) : len(systems)]:
        axes.set_xlabel("time (ps)", fontsize=9)
    if len(systems) > 1:
        handles = {line.get_label(): line for axes in grid.flat for line in axes.get_lines()}
        shown = [handles[name] for name in potentials if name in handles]
        figure.legend(shown, potentials, loc="outside upper center", ncols=4, fontsize=9, frameon=False)
    write_figure(figure, path)


def _panel(
    axes: Axes, trajectories: Sequence[Trajectory], potentials: Sequence[str], *, with_legend: bool
) -> None:
    extents = []
    for t in trajectories:
        assert t.series is not None
        time, change = t.series.time_ps, 1000 * (t.series.total - t.series.total[:1]) / t.atoms
        colour = _COLOURS[potentials.index(t.potential) % len(_COLOURS)]
        label = t.potential
        if with_legend and t.drift is not None:
            label += f"\n{with_error(t.drift.slope, t.drift.slope_error)} meV/atom/ps"
        x, mean, low, high = _thinned(time, change)
        axes.fill_between(x, low, high, color=colour, alpha=0.18, linewidth=0)
        axes.plot(x, mean, color=colour, linewidth=1.3, label=label)
        if t.failure is not None and len(x):
            axes.plot(x[-1:], mean[-1:], "x", color=colour, markersize=7, markeredgewidth=1.8)
        extents.append(float(np.abs(change).max()) if len(change) else 0.0)
    calm = [extent for extent in extents if extent > 0]
    if calm and max(calm) > _SPREAD * min(calm):
        straight = 10.0 ** math.floor(math.log10(max(min(calm), 1e-9)))
        axes.set_yscale("symlog", linthresh=straight, linscale=0.8)
        axes.yaxis.set_major_locator(SymmetricalLogLocator(base=10, linthresh=straight))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
    else:
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.ticklabel_format(axis="y", style="sci", scilimits=(-3, 4))
    axes.axhline(0, color="#9a9a9a", linewidth=0.6, zorder=0)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    _plain(axes)
    if with_legend:
        axes.legend(fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0), labelspacing=0.9)


def _thinned(
    time: Float64[np.ndarray, " rows"], change: Float64[np.ndarray, " rows"]
) -> tuple[Float64[np.ndarray, " points"], ...]:
    """Mean, least and largest of neighbouring rows, for some hundred points."""
    size = max(1, len(time) // _POINTS)
    edges = np.arange(0, len(time), size)
    counts = np.diff(np.append(edges, len(time)))
    mean, middle = (np.add.reduceat(v, edges) / counts for v in (change, time))
    return middle, mean, np.minimum.reduceat(change, edges), np.maximum.reduceat(change, edges)


def order_plot(orders: Sequence[OrderTest], path: Path) -> None:
    """Fluctuation against timestep, and what Δt² would be.

    Raises:
        OSError: the file cannot be written.
    """
    figure = Figure(figsize=(6.0, 4.2), dpi=140, layout="constrained")
    axes = figure.subplots()
    for test, colour in zip(orders, _COLOURS * (1 + len(orders) // len(_COLOURS)), strict=False):
        x, y = np.array(test.timesteps_fs), np.array(test.fluctuations)
        order = "" if math.isnan(test.order) else f": order {test.order:.2f}"
        axes.plot(
            x,
            y,
            "o-",
            color=colour,
            markersize=4,
            linewidth=1.3,
            label=f"{test.potential}, {test.system}{order}",
        )
        if np.isfinite(y[0]) and y[0] > 0:
            axes.plot(x, y[0] * (x / x[0]) ** 2, color=colour, linewidth=0.8, linestyle=":")
    fluctuates = any(value > 0 for test in orders for value in test.fluctuations)
    axes.set(xscale="log", yscale="log" if fluctuates else "linear")
    axes.set(xlabel="timestep (fs)", ylabel="σ(E)/√N (meV)")
    axes.set_title("Fluctuation of the total energy; dotted: Δt²", fontsize=10)
    steps = sorted({dt for test in orders for dt in test.timesteps_fs})
    axes.set_xticks(steps, [f"{step:g}" for step in steps])
    axes.xaxis.set_minor_formatter(NullFormatter())
    _plain(axes)
    axes.legend(fontsize=8, frameon=False)
    write_figure(figure, path)


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(which="both", labelsize=8)
