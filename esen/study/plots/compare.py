"""Scatter plot of two quantities over potentials."""

from pathlib import Path

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from esen.study.compare.correlation import Coefficients, Correlation, Point
from esen.study.plots.style import FAINT, shades, write_figure
from esen.text import printable

_DECADES = 2
"""An axis is logarithmic where positive values span more than this many decades."""
_LONGEST_NAME = 40
_MOST_NAMES = 20


def correlation_plot(correlation: Correlation, path: Path) -> None:
    """Draw one point per potential, in the colour of its variant; open crosses do not conserve energy.

    Raises:
        OSError: The file cannot be written.
    """
    figure = Figure(figsize=(7.4, 4.6), dpi=160, layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    variants = list(dict.fromkeys(point.variant for point in correlation.points))
    for variant, colour in zip(variants, _colours(len(variants)), strict=True):
        mine = [point for point in correlation.points if point.variant == variant]
        _draw(axes, [p for p in mine if p.conserved], colour, marker="o")
        _draw(axes, [p for p in mine if p.conserved is None], colour, marker="o", hollow=True)
        _draw(axes, [p for p in mine if p.conserved is False], colour, marker="x")
        shown = printable(variant)
        shown = shown if len(shown) <= _LONGEST_NAME else f"{shown[: _LONGEST_NAME - 1]}…"
        axes.plot([], [], "s", color=colour, label=shown if variants.index(variant) < _MOST_NAMES else None)
    for set_scale, values in (
        (axes.set_xscale, [point.x for point in correlation.points]),
        (axes.set_yscale, [point.y for point in correlation.points]),
    ):
        if min(values) > 0 and max(values) > 10**_DECADES * min(values):
            set_scale("log")
    axes.set(xlabel=correlation.x.text, ylabel=correlation.y.text)
    axes.tick_params(labelsize=8)
    _marks(axes, correlation)
    axes.legend(fontsize=7, frameon=False, loc="upper left", bbox_to_anchor=(1.01, 1))
    lines = [_words(over, found) for over, found in correlation.lines().items()]
    axes.set_title(
        "\n".join([*filter(None, [printable(correlation.system)]), *lines]),
        fontsize=8,
        loc="left",
        color="#444444",
    )
    write_figure(figure, path)


def _colours(count: int) -> list[str]:
    """Return colours of variants: up to twenty that are told apart, or many from one colour map."""
    if count > 20:
        return shades(count)
    return [to_hex(colormaps["tab10" if count <= 10 else "tab20"](number)) for number in range(count)]


def _draw(axes: Axes, points: list[Point], colour: str, *, marker: str, hollow: bool = False) -> None:
    if points:
        axes.scatter(
            [point.x for point in points],
            [point.y for point in points],
            s=34,
            marker=marker,
            facecolors="none" if hollow else colour,
            edgecolors=None if marker == "x" else colour,
            zorder=2,
        )


def _marks(axes: Axes, correlation: Correlation) -> None:
    """Add to the legend what the marks mean, as far as they occur."""
    states = {point.conserved for point in correlation.points}
    for state, marker, fill, words in (
        (True, "o", FAINT, "energy conserved"),
        (False, "x", FAINT, "energy not conserved"),
        (None, "o", "none", "conservation not tested"),
    ):
        if state in states:
            axes.plot([], [], marker, color=FAINT, markerfacecolor=fill, label=words)


def _words(over: str, found: Coefficients) -> str:
    pearson, spearman = found.texts()
    return f"{over}, n = {found.n}: Pearson {pearson}, Spearman {spearman}"
