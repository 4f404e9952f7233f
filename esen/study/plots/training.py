"""Curves of a training."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from esen.data.targets import TARGETS
from esen.study.plots.style import COLOURS, FAINT, write_empty, write_figure


def training_curves(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draw the loss and the validation errors against the step.

    Args:
        rows: Lines of `metrics.jsonl`: `step` and any of `train/loss` and, for each target, `validation/NAME_mae` in
            its `error_unit`.
        path: The PNG file.

    Raises:
        OSError: The file cannot be written.
    """
    figure = Figure(figsize=(9.0, 3.6), dpi=160, layout="constrained")
    loss, errors = figure.subplots(1, 2)
    noisy = [row for row in rows if "train/denoising_loss" in row]
    plain = [row for row in rows if "train/denoising_loss" not in row]
    has_loss = _loss_curve(loss, plain, COLOURS[0], "frames as they are")
    if noisy:
        has_loss |= _loss_curve(loss, noisy, FAINT, "atoms displaced (DeNS)")
    last = max((float(row["step"]) for row in rows), default=1.0)
    _finish(loss, "Training loss", has_loss, last)
    if noisy and has_loss:
        loss.legend(fontsize=8, frameon=False)
    drawn = False
    for target, colour in zip(TARGETS, COLOURS, strict=False):
        steps, values = _series(rows, f"validation/{target.name}_mae")
        if steps.size:
            drawn = True
            label = f"{target.name}: {values[-1]:.3g} {target.error_unit}"
            errors.plot(steps, values, "o-", markersize=2.5, color=colour, linewidth=1.4, label=label)
    _finish(errors, "Validation MAE, last value in the legend", drawn, last)
    if drawn:
        errors.legend(fontsize=8, frameon=False)
    write_figure(figure, path)


def _loss_curve(axes: Axes, rows: Sequence[Mapping[str, Any]], colour: str, label: str) -> bool:
    """Draw the loss of each batch, faintly and with a running mean if there are many."""
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
    """Steps and values where the value is positive, because the axis is logarithmic."""
    points = [
        (float(row["step"]), float(row[key]))
        for row in rows
        if isinstance(row.get(key), int | float) and math.isfinite(row[key]) and row[key] > 0
    ]
    table = np.array(points, dtype=np.float64).reshape(-1, 2)
    return table[:, 0], table[:, 1]


def _smoothed(values: Float64[np.ndarray, " K"]) -> Float64[np.ndarray, " K"]:
    """Geometric mean over the neighbouring 2 % of values on either side, at least 5."""
    half = max(5, len(values) // 50)
    total = np.concatenate([[0.0], np.cumsum(np.log(values))])
    index = np.arange(len(values))
    begin, end = np.maximum(index - half, 0), np.minimum(index + half + 1, len(values))
    return np.asarray(np.exp((total[end] - total[begin]) / (end - begin)))


def _finish(axes: Axes, title: str, drawn: bool, last_step: float) -> None:
    axes.set_title(title, fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)
    if not drawn:
        write_empty(axes, "no values")
        return
    axes.set(xlabel="step", xlim=(0, 1.02 * last_step), yscale="log")
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    low, high = axes.get_ylim()
    decades = high > 5 * low  # a smaller range has too few of the ticks 1, 2, 5, …
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)) if decades else MaxNLocator(5))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.grid(axis="y", color="#e6e6e6", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(which="both", labelsize=8)
