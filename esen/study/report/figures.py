"""Figures of a report: the images of a folder with their captions, embedded in the page."""

import re
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from esen.files import RESULT
from esen.study.ablation.cells import RECORD

_MOST_BYTES = 2_000_000
"""Bytes of all images of a page, which keep it below 3 MB."""
_PNG = b"\x89PNG\r\n\x1a\n"
_CAPTIONS = (
    (r"training", "Training curves: losses and validation errors against the step"),
    (r"energy(?:-(?P<name>.+))?", "Energy against time: the change of the total energy per atom"),
    (r"correlation-.+", "Correlation of two quantities over all potentials"),
    (r"order", "Order of the integrator: fluctuation of the energy against the time step"),
    (r"mae", "Parity: predicted against reference values"),
    (r"parity", "Parity: computed values against references"),
    (r"smoothness", "Smoothness: energy and forces as atoms cross the cutoff"),
    (r"diatomics", "Diatomic curves: energy and force of pairs against their distance"),
    (r"(?P<name>.+)\.bands", "Phonon bands and density of states"),
    (r"(?P<name>.+)\.convergence", "Convergence: phonons against the displacement"),
    (r"(?P<name>.+)\.modes", "Modes: contributions to the thermal conductivity"),
    (r"(?P<name>.+)\.eos", "Equation of state: energy against volume"),
)
"""Captions by the name of the file."""


@dataclass(frozen=True)
class Figure:
    """An image of the page.

    Attributes:
        caption: What it shows.
        file: Its path in the folder.
        data: Its content, in base64.
        width: In pixels.
        height: In pixels.
    """

    caption: str
    file: str
    data: str
    width: int
    height: int

    @property
    def wide(self) -> bool:
        """Whether it takes the whole width of the page."""
        return self.width > 1.7 * self.height


def find_figures(folder: Path, own: frozenset[str] = frozenset()) -> tuple[list[Figure], str]:
    """Return the figures of a folder, and a note about those that are not on the page.

    Args:
        folder: Of the results.
        own: Names of subfolders whose figures belong to it although they hold results of their own.
    """
    figures: list[Figure] = []
    size, too_many, damaged = 0, [], []
    for path in _images(folder, own):
        name = path.relative_to(folder).as_posix()
        content = path.read_bytes()
        if not content.startswith(_PNG):
            damaged.append(name)
        elif size + len(content) > _MOST_BYTES:
            too_many.append(name)
        else:
            size += len(content)
            width, height = (int.from_bytes(content[at : at + 4]) for at in (16, 20))
            figures.append(Figure(caption_of(path, folder), name, b64encode(content).decode(), width, height))
    notes = []
    if too_many:
        notes.append(f"{len(too_many)} more figures are in the folder, such as {too_many[0]}.")
    if damaged:
        notes.append(f"{len(damaged)} files are not PNG images, such as {damaged[0]}.")
    return figures, " ".join(notes)


def caption_of(path: Path, folder: Path) -> str:
    """Return what a figure shows, by the name of its file.

    >>> caption_of(Path("out/emt/MgO.bands.png"), Path("out"))
    'Phonon bands and density of states, MgO, emt'
    """
    inside = path.relative_to(folder).parts[:-1]
    for pattern, caption in _CAPTIONS:
        if found := re.fullmatch(pattern, path.stem):
            name = found.groupdict().get("name")
            return ", ".join(part for part in (caption, name, *inside) if part)
    words = re.sub(r"[-_.]+", " ", path.stem)
    return ", ".join((words[:1].upper() + words[1:], *inside))


def _images(folder: Path, own: frozenset[str]) -> Iterator[Path]:
    """The images of a folder and of its subfolders that are not results of their own."""
    yield from sorted(path for path in folder.glob("*.png") if path.is_file())
    for inner in sorted(path for path in folder.iterdir() if path.is_dir()):
        has_own = any((inner / name).exists() for name in (RESULT, RECORD, "recipe.yaml"))
        if inner.name in own or not has_own:
            yield from sorted(path for path in inner.glob("*.png") if path.is_file())
