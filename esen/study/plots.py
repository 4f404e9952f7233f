"""Figures. Drawn without pyplot, so that no window, no global state and no display is needed."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from esen.evaluate.report import Errors, MaeReport, Parity
from esen.study.figures import write_figure

_BLUE, _GREY = "#2166ac", "#9a9a9a"
_SINGLE_POINTS = 3000
"""Up to so many numbers are points; more are a map of their density."""
_QUANTITIES = (
    ("energy", "#2166ac", "meV/atom"),
    ("forces", "#b2182b", "meV/Å"),
    ("stress", "#4d9221", "meV/Å³"),
)


def parity_plot(report: MaeReport, path: Path) -> None:
    """Prediction against reference: energy per atom about its mean, force components, stress components.

    Raises:
        OSError: the file cannot be written.
    """
    figure = Figure(figsize=(10.5, 3.7), dpi=160, layout="constrained")
    energy, forces, stress = figure.subplots(1, 3)
    mean = report.energy.reference.mean() if report.energy.reference.size else 0.0
    about_mean = Parity(report.energy.reference - mean, report.energy.predicted - mean)
    overall = report.overall
    _parity(energy, about_mean, overall.energy, "Energy", "meV/atom", "eV/atom, about the mean")
    _parity(forces, report.forces, overall.forces, "Forces", "meV/Å", "eV/Å")
    _parity(stress, report.stress, overall.stress, "Stress", "meV/Å³", "eV/Å³")
    write_figure(figure, path)


def _parity(axes: Axes, pairs: Parity, errors: Errors, title: str, error_unit: str, unit: str) -> None:
    axes.set_box_aspect(1)
    axes.spines[["top", "right"]].set_visible(False)
    if not pairs.reference.size:
        axes.set_title(title, fontsize=11)
        _empty(axes, "no reference")
        return
    axes.set_title(f"{title}: MAE {errors.mae:.3g} {error_unit}", fontsize=11)
    low, high = _limits(pairs)
    axes.plot([low, high], [low, high], color=_GREY, linewidth=0.8, zorder=1)
    if pairs.reference.size <= _SINGLE_POINTS:
        axes.scatter(
            pairs.reference,
            pairs.predicted,
            s=9,
            alpha=0.5,
            color=_BLUE,
            linewidths=0,
            zorder=2,
            rasterized=True,
        )
    else:
        axes.hexbin(
            pairs.reference,
            pairs.predicted,
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
            0.03, 0.95, f"{outside} outside", color=_GREY, fontsize=8, va="top", transform=axes.transAxes
        )
    axes.set(xlim=(low, high), ylim=(low, high), xlabel=f"reference ({unit})", ylabel="predicted")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(5))
    axes.tick_params(labelsize=8)


def _limits(pairs: Parity) -> tuple[float, float]:
    """All references; predictions as long as they are not farther off than the references' own range."""
    low, high = float(pairs.reference.min()), float(pairs.reference.max())
    span = high - low or max(float(np.abs(pairs.predicted - low).max()), 1e-6)
    low = max(low - span, min(low, float(pairs.predicted.min())))
    high = min(high + span, max(high, float(pairs.predicted.max())))
    return low - 0.04 * span, high + 0.04 * span


def training_curves(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Loss and validation errors against the step.

    Args:
        rows: lines of `metrics.jsonl`: `step` and any of `train/loss`, `validation/energy_mae` (meV/atom),
            `validation/forces_mae` (meV/Å), `validation/stress_mae` (meV/Å³).
        path: of the PNG.

    Raises:
        OSError: the file cannot be written.
    """
    figure = Figure(figsize=(9.0, 3.6), dpi=160, layout="constrained")
    loss, errors = figure.subplots(1, 2)
    noisy = [row for row in rows if "train/denoising_loss" in row]
    plain = [row for row in rows if "train/denoising_loss" not in row]
    has_loss = _loss_curve(loss, plain, _BLUE, "frames as they are")
    if noisy:
        has_loss |= _loss_curve(loss, noisy, _GREY, "atoms displaced (DeNS)")
    last = max((float(row["step"]) for row in rows), default=1.0)
    _finish(loss, "Training loss", has_loss, last)
    if noisy and has_loss:
        loss.legend(fontsize=8, frameon=False)
    drawn = False
    for name, colour, unit in _QUANTITIES:
        steps, values = _series(rows, f"validation/{name}_mae")
        if steps.size:
            drawn = True
            label = f"{name}: {values[-1]:.3g} {unit}"
            errors.plot(steps, values, "o-", markersize=2.5, color=colour, linewidth=1.4, label=label)
    _finish(errors, "Validation MAE, last value in the legend", drawn, last)
    if drawn:
        errors.legend(fontsize=8, frameon=False)
    write_figure(figure, path)


def _loss_curve(axes: Axes, rows: Sequence[Mapping[str, Any]], colour: str, label: str) -> bool:
    """The loss of some batches; if they are many, each of them faintly and their mean over neighbours."""
    steps, values = _series(rows, "train/loss")
    if not steps.size:
        return False
    if steps.size >= 50:
        axes.plot(steps, values, color=colour, linewidth=0.7, alpha=0.3)
        axes.plot(steps, _smoothed(values), color=colour, linewidth=1.6, label=label)
    else:
        axes.plot(steps, values, color=colour, linewidth=1.4, label=label)
    return True


def _series(rows: Sequence[Mapping[str, Any]], key: str) -> tuple[Float64[np.ndarray, " K"], ...]:
    """Steps and values where the value is a positive number, as a logarithm needs."""
    points = [
        (float(row["step"]), float(row[key]))
        for row in rows
        if isinstance(row.get(key), int | float) and math.isfinite(row[key]) and row[key] > 0
    ]
    table = np.array(points, dtype=np.float64).reshape(-1, 2)
    return table[:, 0], table[:, 1]


def _smoothed(values: Float64[np.ndarray, " K"]) -> Float64[np.ndarray, " K"]:
    """Mean of the neighbouring 2 % on either side, at least 5, of the logarithms as the plot shows them."""
    half = max(5, len(values) // 50)
    total = np.concatenate([[0.0], np.cumsum(np.log(values))])
    index = np.arange(len(values))
    begin, end = np.maximum(index - half, 0), np.minimum(index + half + 1, len(values))
    return np.asarray(np.exp((total[end] - total[begin]) / (end - begin)))


def _finish(axes: Axes, title: str, drawn: bool, last_step: float) -> None:
    axes.set_title(title, fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)
    if not drawn:
        _empty(axes, "no values")
        return
    axes.set(xlabel="step", xlim=(0, 1.02 * last_step), yscale="log")
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    low, high = axes.get_ylim()
    decades = high > 5 * low  # in less, too few of 1, 2, 5, … fall
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)) if decades else MaxNLocator(5))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.grid(axis="y", color="#e6e6e6", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(which="both", labelsize=8)


def _empty(axes: Axes, words: str) -> None:
    axes.text(0.5, 0.5, words, ha="center", va="center", color=_GREY, transform=axes.transAxes)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
