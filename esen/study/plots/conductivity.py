"""Figures of conductivities: the modes that carry the heat of a material, and many materials against references."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float64
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from esen.evaluate.conductivity.metrics import WORST, mean_of_trace
from esen.evaluate.conductivity.modes import Modes
from esen.evaluate.conductivity.reference import ReferenceConductivity
from esen.study.plots.style import REFERENCE, shades, write_figure

if TYPE_CHECKING:
    from esen.study.conductivity import ConductivityRecord

_POINTS = 400
_SMEARING = 0.012
"""Width of the Gaussians that broaden a spectrum, as a fraction of the highest frequency."""
_LARGEST_AREA = 90.0
_BINS = np.linspace(0, WORST, 21)


@dataclass(frozen=True, eq=False)
class Carriers:
    """Modes that carry heat at one temperature.

    Attributes:
        frequencies: in THz.
        kappa: contributions in W/m/K; their sum is the conductivity.
        lifetimes: in ps; None: not known.
    """

    frequencies: Float64[np.ndarray, " m"]
    kappa: Float64[np.ndarray, " m"]
    lifetimes: Float64[np.ndarray, " m"] | None = None


def carriers_of(modes: Modes) -> Carriers | None:
    """Return the carriers at the first temperature; None if there is no conductivity."""
    if not len(modes.temperatures):
        return None
    kappa = mean_of_trace(modes.modes[0]) / modes.weights.sum()
    return Carriers(modes.frequencies.ravel(), kappa.ravel(), modes.lifetimes[0].ravel())


def carriers_of_reference(reference: ReferenceConductivity) -> Carriers | None:
    """Return the carriers at the first temperature; None if the reference has no frequencies."""
    if reference.frequencies is None or reference.frequencies.shape != reference.modes.shape[1:]:
        return None
    return Carriers(reference.frequencies.ravel(), (reference.modes[0] / reference.weights.sum()).ravel())


def modes_plot(
    potentials: Mapping[str, Carriers], reference: Carriers | None, title: str, path: Path
) -> None:
    """Draw lifetimes, the spectrum of the conductivity, and its sum up to each frequency; the reference in grey.

    Args:
        potentials: carriers of each potential, by its label.
        reference: carriers that are drawn beneath them.
        title: of the figure.
        path: of the figure.

    Raises:
        OSError: the file cannot be written.
    """
    figure = Figure(figsize=(12.6, 4.2), dpi=140, layout="constrained")
    lifetimes, spectrum, cumulative = figure.subplots(1, 3, width_ratios=(1.25, 1, 1))
    curves = [("reference", reference, REFERENCE, 2.6)] if reference is not None else []
    curves += [
        (name, one, colour, 1.4)
        for (name, one), colour in zip(potentials.items(), shades(len(potentials)), strict=True)
    ]
    high = 1.03 * max(float(one.frequencies.max()) for _, one, _, _ in curves)
    grid = np.linspace(0, high, _POINTS)
    for name, one, colour, width in curves:
        style = {"color": colour, "linewidth": width, "label": f"{name}: {one.kappa.sum():.4g} W/m/K"}
        spectrum.plot(grid, _spectrum(one, grid, _SMEARING * high), **style)
        cumulative.step(*_cumulative(one, high), where="post", **style)
        _scatter(lifetimes, one, colour)
    _finish_lifetimes(lifetimes, grid, high)
    lifetimes.set(ylabel="lifetime (ps)", title="modes; area: share of κ")
    spectrum.set(ylabel="dκ/dν (W/m/K/THz)", title="spectrum")
    cumulative.set(ylabel="κ up to ν (W/m/K)", title="accumulated")
    for axes in (spectrum, cumulative):
        lowest = min(float(line.get_ydata().min()) for line in axes.lines)
        highest = max(float(line.get_ydata().max()) for line in axes.lines)
        if lowest > -1e-3 * highest:  # coherences may be negative, where they are seen
            axes.set_ylim(0, 1.05 * highest)
    for axes in (lifetimes, spectrum, cumulative):
        axes.set(xlim=(0, high), xlabel="frequency ν (THz)")
        axes.title.set_fontsize(9)
        _style(axes)
    figure.suptitle(title, fontsize=11)
    handles, labels = cumulative.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", fontsize=8, frameon=False, ncols=4)
    write_figure(figure, path)


def parity_plot(records: "Mapping[str, Sequence[ConductivityRecord]]", path: Path) -> None:
    """Draw conductivities over their references, and the histogram of the SRME.

    Args:
        records: those with a reference, by the label of the potential.
        path: of the figure.

    Raises:
        OSError: the file cannot be written.
    """
    figure = Figure(figsize=(9.6, 4.4), dpi=140, layout="constrained")
    left, right = figure.subplots(1, 2)
    ends: list[float] = []
    missing: list[tuple[list[float], str]] = []
    colours = shades(len(records))
    for (label, mine), colour in zip(records.items(), colours, strict=True):
        pairs = [(r.reference_kappa, r.kappa("total", r.reference_kelvin)) for r in mine]
        pairs = [(x, y) for x, y in pairs if x > 0]
        known = np.array([(x, y) for x, y in pairs if y > 0]).reshape(-1, 2)
        ends += [x for x, _ in pairs] + known[:, 1].tolist()
        missing.append(([x for x, y in pairs if not np.isfinite(y)], colour))
        left.plot(*known.T, "o", color=colour, markersize=4.5, alpha=0.75, markeredgewidth=0, label=label)
    if ends:
        _diagonal(left, min(ends) / 1.6, max(ends) * 1.6, missing)
    left.set(xlabel="κ of the reference (W/m/K)", ylabel="κ (W/m/K)")
    left.legend(fontsize=8, frameon=False, loc="upper left")
    right.set(xlabel="SRME", ylabel="materials", xlim=(0, WORST))
    right.yaxis.get_major_locator().set_params(integer=True)
    _histogram(right, {label: [record.srme for record in mine] for label, mine in records.items()}, colours)
    for axes in (left, right):
        axes.set_box_aspect(1)
        _style(axes)
    write_figure(figure, path)


def _style(axes: Any) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)


def _spectrum(one: Carriers, grid: np.ndarray, width: float) -> Float64[np.ndarray, " K"]:
    found = np.zeros(len(grid))
    for low in range(0, len(one.kappa), 4096):  # all modes of a large cell at once would fill the memory
        part = slice(low, low + 4096)
        z = (grid[:, None] - one.frequencies[None, part]) / width
        found += np.exp(-0.5 * z**2) @ one.kappa[part]
    return np.asarray(found / (width * np.sqrt(2 * np.pi)))


def _cumulative(one: Carriers, high: float) -> tuple[np.ndarray, np.ndarray]:
    order = np.argsort(one.frequencies)
    sums = np.cumsum(one.kappa[order])
    return np.array([0.0, *one.frequencies[order], high]), np.array([0.0, *sums, sums[-1]])


def _scatter(axes: Any, one: Carriers, colour: str) -> None:
    if one.lifetimes is None:
        return
    shown = np.isfinite(one.lifetimes) & (one.frequencies > 0) & (one.kappa > 0)
    if not shown.any():
        return
    share = one.kappa[shown] / one.kappa[shown].max()
    axes.scatter(
        one.frequencies[shown],
        one.lifetimes[shown],
        s=2 + _LARGEST_AREA * share,
        color=colour,
        alpha=0.35,
        linewidths=0,
        rasterized=True,
    )


def _finish_lifetimes(axes: Any, grid: np.ndarray, high: float) -> None:
    """Draw the limit of Ioffe and Regel, τ = 1 / ω, below which a phonon lives for less than one oscillation."""
    axes.set_yscale("log")
    if not axes.collections:
        axes.text(0.5, 0.5, "no lifetimes", ha="center", transform=axes.transAxes, color=REFERENCE)
        return
    low, top = axes.get_ylim()
    limit = 1 / (2 * np.pi * grid[1:])
    axes.plot(grid[1:], limit, color="#444444", linewidth=0.9, linestyle="--")
    axes.set_ylim(min(low, 0.5 / (2 * np.pi * high)), 1.5 * top)
    place = int(0.8 * len(limit))
    words = {"xytext": (0, 5), "textcoords": "offset points", "fontsize": 8, "color": "#444444"}
    axes.annotate("τ = 1/ω", (grid[place], limit[place]), **words)


def _histogram(axes: Any, errors: Mapping[str, Sequence[float]], colours: Sequence[str]) -> None:
    """Draw bars side by side, and a line at each mean."""
    labels = [f"{label}: mean {np.mean(values):.3f}" for label, values in errors.items()]
    axes.hist(list(errors.values()), bins=_BINS, color=list(colours), label=labels, alpha=0.75)
    for values, colour in zip(errors.values(), colours, strict=True):
        axes.axvline(float(np.mean(values)), color=colour, linewidth=1.1, linestyle="--")
    axes.set_ylim(0, axes.get_ylim()[1] * (1.1 + 0.07 * len(labels)))
    axes.legend(fontsize=8, framealpha=1, edgecolor="none", loc="upper center")


def _diagonal(axes: Any, low: float, high: float, without: Sequence[tuple[list[float], str]]) -> None:
    """Draw the diagonal, a band of a factor of two, and crosses at the bottom for materials without a conductivity."""
    line = np.array([low, high])
    axes.fill_between(line, line / 2, line * 2, color="#eeeeee", linewidth=0, zorder=0)
    axes.plot(line, line, color=REFERENCE, linewidth=0.9, zorder=1)
    for places, colour in without:
        axes.plot(places, [low * 1.12] * len(places), "x", color=colour, markersize=5, clip_on=False)
    axes.set(xscale="log", yscale="log", xlim=(low, high), ylim=(low, high))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_minor_locator(LogLocator(subs="auto"))
        axis.set_minor_formatter(NullFormatter())
    if any(places for places, _ in without):
        axes.text(0.98, 0.06, "×: no κ", ha="right", fontsize=8, transform=axes.transAxes, color="#444444")
