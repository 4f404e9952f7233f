"""What pictures have in common: colours of potentials, and how a file is written."""

import io
from pathlib import Path

from matplotlib import colormaps
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from esen.files import write_atomically

COLOURS = ("#2166ac", "#b2182b", "#4d9221", "#e08214", "#762a83")
REFERENCE = "#8a8a8a"


def shades(count: int) -> list[str]:
    """A few colours that are told apart, or many that follow each other."""
    if count <= len(COLOURS):
        return list(COLOURS[:count])
    return [to_hex(colormaps["viridis"](0.92 * number / (count - 1))) for number in range(count)]


def write_figure(figure: Figure, path: Path) -> None:
    """As PNG, whole or not at all.

    Raises:
        OSError: the file cannot be written.
    """
    content = io.BytesIO()
    figure.savefig(content, format="png")
    write_atomically(path, content.getvalue())
