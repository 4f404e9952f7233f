"""Figures of phonons: bands, values against references, and convergence with the displacement."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from esen.evaluate.phonons.bands import Bands
from esen.evaluate.phonons.properties import QUANTITIES
from esen.study.plots.style import REFERENCE, shades, write_figure

if TYPE_CHECKING:
    from esen.study.phonons import DisplacementStudy, MeanErrors

_BENEATH = "DFT"


def bands_plot(
    panels: Mapping[str, Mapping[str, Bands]], reference: Bands | None, title: str, path: Path
) -> None:
    """Draw bands with densities of states beside them, over the reference in grey, which sets the lengths of the path.

    Args:
        panels: by name, the bands that share a panel, by the name of the curve.
        reference: drawn in each panel.
        title: of the figure, before the names of several panels.
        path: of the figure.

    Raises:
        OSError: the file cannot be written.
    """
    panels = panels or {"": {}}
    figure = Figure(figsize=(1.0 + 7.6 * len(panels), 4.8), dpi=140, layout="constrained")
    axes = figure.subplots(1, 2 * len(panels), sharey=True, width_ratios=(3.6, 1) * len(panels))
    for number, (name, drawn) in enumerate(panels.items()):
        left, right = axes[2 * number : 2 * number + 2]
        _panel(left, right, drawn, reference)
        left.set_title(f"{title}, {name}" if len(panels) > 1 else title, fontsize=11)
        if number == 0:
            left.set_ylabel("frequency (THz)")
    every = [one for drawn in panels.values() for one in drawn.values()] + (
        [] if reference is None else [reference]
    )
    low = min(float(one.frequencies.min()) for one in every)
    high = max(float(one.frequencies.max()) for one in every)
    axes[0].set_ylim(low - 0.03 * (high - low), high + 0.05 * (high - low))
    write_figure(figure, path)


def _panel(left: Any, right: Any, drawn: Mapping[str, Bands], reference: Bands | None) -> None:
    first = next(iter(drawn.values())) if reference is None else reference
    distances = [x for x, _ in first.lines()]
    curves = [(_BENEATH, reference, REFERENCE, 2.4)] if reference is not None else []
    curves += [
        (name, one, colour, 1.1)
        for (name, one), colour in zip(drawn.items(), shades(len(drawn)), strict=True)
    ]
    for name, one, colour, width in curves:
        for number, (x, (_, y)) in enumerate(zip(distances, one.lines(), strict=True)):
            lines = left.plot(x, y, color=colour, linewidth=width)
            if number == 0:
                lines[0].set_label(name)
        right.plot(one.states, one.levels, color=colour, linewidth=width)
    _ticks(left, distances, first.labels.tolist(), first.connected.tolist())
    left.axhline(0, color="#9a9a9a", linewidth=0.6)
    left.set(xlim=(distances[0][0], distances[-1][-1]))
    right.set(xlabel="states / THz", xlim=(0, None))
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=8)
    left.legend(fontsize=8, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.07), ncols=4)


def parity_plots(errors: "Sequence[MeanErrors]", path: Path) -> None:
    """Draw ω_max, S, F and C_V of all crystals against their references, one panel each.

    Args:
        errors: records of each potential.
        path: of the figure.

    Raises:
        OSError: the file cannot be written.
    """
    figure = Figure(figsize=(10.6, 3.1), dpi=140, layout="constrained")
    colours = shades(len(errors))
    for axes, quantity in zip(figure.subplots(1, len(QUANTITIES)), QUANTITIES, strict=True):
        ends = []
        for one, colour in zip(errors, colours, strict=True):
            compared = [record for record in one.records if np.isfinite(record.error(quantity.name))]
            known = [record.known[quantity.name] or 0.0 for record in compared]
            values = [record.values[quantity.name] for record in compared]
            ends += known + values
            axes.plot(known, values, "o", color=colour, markersize=3.5, alpha=0.7, label=one.potential)
        if ends:
            low, high = min(ends), max(ends)
            margin = 0.05 * (high - low) or 1.0
            line = (low - margin, high + margin)
            axes.plot(line, line, color=REFERENCE, linewidth=0.8, zorder=0)
            axes.set(xlim=line, ylim=line)
        axes.set_aspect("equal")
        axes.set_xlabel(f"reference ({quantity.unit})", fontsize=8)
        axes.set_title(f"{quantity.symbol} ({quantity.unit})", fontsize=9)
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=7)
    figure.axes[0].legend(fontsize=7, frameon=False)
    write_figure(figure, path)


def convergence_plot(studies: "Sequence[DisplacementStudy]", title: str, path: Path) -> None:
    """Draw ω_max and S of one crystal over the displacement, one curve per potential.

    Args:
        studies: of the crystal, one per potential.
        title: of the figure.
        path: of the figure.

    Raises:
        OSError: the file cannot be written.
    """
    figure = Figure(figsize=(8.6, 3.4), dpi=140, layout="constrained")
    left, right = figure.subplots(1, 2)
    for study, colour in zip(studies, shades(len(studies)), strict=True):
        found = {size: record for size, record in study.records.items() if not record.failure}
        sizes = list(found)
        style = {"color": colour, "linewidth": 1.2, "marker": "o", "markersize": 4, "label": study.potential}
        left.plot(sizes, [study.max_frequencies[size] for size in sizes], **style)
        right.plot(sizes, [record.values["entropy"] for record in found.values()], **style)
    left.set(ylabel="ω_max (THz)")
    right.set(ylabel="S (J/K/mol)")
    for axes in (left, right):
        axes.set(xscale="log", xlabel="displacement (Å)")
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=8)
        axes.ticklabel_format(axis="y", useOffset=False)
    left.set_title(title, fontsize=10)
    left.legend(fontsize=8, frameon=False)
    write_figure(figure, path)


def _ticks(axes: Any, distances: list[np.ndarray], labels: list[str], connections: list[bool]) -> None:
    """Mark the special points by their names, by two names where the path jumps."""
    places, names, number = [float(distances[0][0])], [labels[0]], 1
    for x, connected in zip(distances, connections, strict=True):
        name = labels[number]
        number += 1
        if not connected and number < len(labels):
            name = f"{name}|{labels[number]}"
            number += 1
        places.append(float(x[-1]))
        names.append(name)
    axes.set_xticks(places, names)
    for place in places:
        axes.axvline(place, color="#dddddd", linewidth=0.6, zorder=0)
