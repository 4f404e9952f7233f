"""Plots of `esen check`: energy, force and slope as an atom is pulled away, and the curves of two atoms."""

import math
import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from esen.evaluate.laws.law import Scan
from esen.evaluate.laws.smoothness import WINDOW
from esen.study.plots.style import write_figure

_BLUE, _GREY = "#2166ac", "#9a9a9a"
_COLOURS = ("#2166ac", "#b2182b", "#4d9221", "#e08214", "#762a83", "#1b7837")
_DASHES = ("-", "--", ":")
"""Line style of the first curves, as many as there are colours, then of the next ones."""
_ROWS = (("energy", "E (eV)"), ("force", "F (eV/Å)"), ("slope", "dF/dr (eV/Å²)"))


def smoothness_plot(scans: Sequence[Scan], name: str, path: Path) -> None:
    """Plot E, F and dF/dr, one row each, for each line near the cutoff or a jump, which is marked.

    Raises:
        OSError: The file cannot be written.
    """
    figure = Figure(figsize=(1.2 + 3.4 * len(scans), 6.0), dpi=110, layout="constrained")
    figure.suptitle(f"{name}: an atom pulled away", fontsize=11)
    grid = figure.subplots(3, len(scans), sharex="col", squeeze=False)
    for column, scan in zip(grid.T, scans, strict=True):
        shown = _near_mark(scan)
        for axes, (quantity, label) in zip(column, _ROWS, strict=True):
            axes.plot(scan.distance[shown], getattr(scan, quantity)[shown], color=_BLUE, linewidth=1.3)
            if not math.isnan(scan.mark):
                axes.axvline(scan.mark, color=_GREY, linewidth=0.8, linestyle="--")
            _plain(axes)
            if axes in grid[:, 0]:
                axes.set_ylabel(label)
        column[0].set_title(textwrap.fill(scan.about, 36), fontsize=9)
        column[2].set_xlabel("distance (Å)")
    write_figure(figure, path)


def diatomics_plot(scans: Sequence[Scan], name: str, path: Path) -> None:
    """Plot the energy, relative to that at the largest distance, and the force against the distance.

    Raises:
        OSError: The file cannot be written.
    """
    figure = Figure(figsize=(9.0, 3.7), dpi=110, layout="constrained")
    figure.suptitle(f"{name}: two atoms", fontsize=11)
    energies, forces = figure.subplots(1, 2)
    depth = max(float(scan.energy[-1] - scan.energy.min()) for scan in scans)
    pull = max(float(-scan.force.min()) for scan in scans)
    for number, scan in enumerate(scans):
        dashes, colour = divmod(number, len(_COLOURS))
        style = {"color": _COLOURS[colour], "linestyle": _DASHES[dashes % len(_DASHES)], "linewidth": 1.3}
        energies.plot(scan.distance, scan.energy - scan.energy[-1], label=scan.about, **style)
        forces.plot(scan.distance, scan.force, **style)
    inside = [scan.distance[scan.energy - scan.energy[-1] < 2.5 * max(depth, 0.05)].min() for scan in scans]
    for axes, size, label in ((energies, depth, "E − E(far) (eV)"), (forces, pull, "F (eV/Å)")):
        unit = max(size, 0.05)
        axes.set(
            ylim=(-1.3 * unit, 2.5 * unit),
            xlim=(0.9 * min(inside), None),
            xlabel="distance (Å)",
            ylabel=label,
        )
        axes.axhline(0, color=_GREY, linewidth=0.6)
        _plain(axes)
    energies.legend(fontsize=8, frameon=False)
    write_figure(figure, path)


def _near_mark(scan: Scan) -> np.ndarray:
    """Select the surroundings of the mark, or without one all but the steepest part of a repulsive wall."""
    if not math.isnan(scan.mark):
        return np.asarray(np.abs(scan.distance - scan.mark) <= 1.001 * WINDOW)
    rise = scan.energy - np.median(scan.energy)
    return np.asarray(rise <= 2 * max(float(-rise.min()), 1e-3))


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.tick_params(labelsize=8)
