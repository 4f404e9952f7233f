"""What figures have in common: colours, panels without values, and how a file is written."""

import io
import warnings
from pathlib import Path

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.text import Text

from esen.files import write_atomically
from esen.text import printable_lines

COLOURS = ("#2166ac", "#b2182b", "#4d9221", "#e08214", "#762a83")
REFERENCE = "#8a8a8a"
FAINT = "#9a9a9a"


def shades(count: int) -> list[str]:
    """Return colours: a few that are easily told apart, or many from one colour map."""
    if count <= len(COLOURS):
        return list(COLOURS[:count])
    return [to_hex(colormaps["viridis"](0.92 * number / (count - 1))) for number in range(count)]


def write_empty(axes: Axes, words: str) -> None:
    """Write words in the middle of a panel that has nothing to show."""
    axes.text(0.5, 0.5, words, ha="center", va="center", color=FAINT, transform=axes.transAxes)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)


def write_figure(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, as a whole or not at all. Names in its texts are shown as they are, also with `$`.

    Raises:
        OSError: The file cannot be written.
    """
    axes = [axis for each in figure.axes for axis in (each.xaxis, each.yaxis)]
    ticks = {id(label) for axis in axes for label in axis.get_ticklabels(which="both")}
    for text in figure.findobj(Text):
        if isinstance(text, Text) and id(text) not in ticks:  # powers of ten at ticks are in `$`
            text.set_parse_math(False)
            text.set_text(printable_lines(text.get_text()))
    content = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(content, format="png")
    write_atomically(path, content.getvalue())
