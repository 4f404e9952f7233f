"""Predictions against references."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from esen.data.targets import ENERGY, TARGETS, Target
from esen.evaluate.report import MaeReport, Parity
from esen.study.plots.style import COLOURS, FAINT, write_empty, write_figure

_SINGLE_POINTS = 3000
"""Up to this many numbers are drawn as points; more as a map of their density."""


def parity_plot(report: MaeReport, path: Path) -> None:
    """Draw predictions against references, one panel per target; energies per atom are relative to their mean.

    Raises:
        OSError: The file cannot be written.
    """
    figure = Figure(figsize=(10.5, 3.7), dpi=160, layout="constrained")
    for axes, target in zip(figure.subplots(1, len(TARGETS)), TARGETS, strict=True):
        _panel(axes, report, target)
    write_figure(figure, path)


def _panel(axes: Axes, report: MaeReport, target: Target) -> None:
    pairs, unit, title = report.parity[target.name], target.unit, target.name.capitalize()
    axes.set_box_aspect(1)
    axes.spines[["top", "right"]].set_visible(False)
    if not pairs.reference.size:
        axes.set_title(title, fontsize=11)
        write_empty(axes, "not predicted" if target.name in report.not_predicted else "no reference")
        return
    mae = report.overall.errors[target.name].mae
    axes.set_title(f"{title}: MAE {mae:.3g} {target.error_unit}", fontsize=11)
    if target is ENERGY:
        mean = pairs.reference.mean()
        pairs, unit = Parity(pairs.reference - mean, pairs.predicted - mean), "eV/atom, about the mean"
    low, high = _limits(pairs)
    axes.plot([low, high], [low, high], color=FAINT, linewidth=0.8, zorder=1)
    points = (pairs.reference, pairs.predicted)
    if pairs.reference.size <= _SINGLE_POINTS:
        axes.scatter(*points, s=9, alpha=0.5, color=COLOURS[0], linewidths=0, zorder=2, rasterized=True)
    else:
        axes.hexbin(
            *points,
            gridsize=90,
            extent=(low, high, low, high),
            bins="log",
            mincnt=1,
            cmap="viridis_r",
            linewidths=0.1,
            zorder=2,
        )
    outside = int(((pairs.predicted < low) | (pairs.predicted > high)).sum())
    if outside:
        axes.text(
            0.03, 0.95, f"{outside} outside", color=FAINT, fontsize=8, va="top", transform=axes.transAxes
        )
    axes.set(xlim=(low, high), ylim=(low, high), xlabel=f"reference ({unit})", ylabel="predicted")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(5))
    axes.tick_params(labelsize=8)


def _limits(pairs: Parity) -> tuple[float, float]:
    """Limits that include all references, and predictions up to the range of the references beyond them."""
    low, high = float(pairs.reference.min()), float(pairs.reference.max())
    span = high - low or max(float(np.abs(pairs.predicted - low).max()), 1e-6)
    low = max(low - span, min(low, float(pairs.predicted.min())))
    high = min(high + span, max(high, float(pairs.predicted.max())))
    return low - 0.04 * span, high + 0.04 * span
