"""Band structure and density of states, of several computations of one crystal."""

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from phonopy import Phonopy
from phonopy.phonon.band_structure import get_band_qpoints_by_seekpath

from esen.evaluate.phonons.crystal import quietly
from esen.models.checkpoint import write_atomically

_COLOURS = ("#2166ac", "#b2182b", "#4d9221", "#e08214", "#762a83")
_REFERENCE = "#8a8a8a"
_POINTS = 101


def bands_plot(phonons: Mapping[str, Phonopy], reference: Phonopy | None, title: str, path: Path) -> None:
    """Bands along seekpath's path of the first, and densities of states; the reference in grey beneath.

    Every computation runs along the path of its own reciprocal lattice, drawn over the lengths of the first.

    Raises:
        OSError: the file cannot be written.
    """
    figure = Figure(figsize=(8.6, 4.6), dpi=140, layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(3.2, 1))
    drawn = ({"reference": reference} if reference is not None else {}) | dict(phonons)
    first = next(iter(drawn.values()))
    points, labels, connections = get_band_qpoints_by_seekpath(first.primitive, _POINTS)
    distances = None
    colours = iter(_COLOURS * (1 + len(phonons) // len(_COLOURS)))
    for name, one in drawn.items():
        is_reference = name == "reference" and reference is not None
        colour = _REFERENCE if is_reference else next(colours)
        width, style = (2.4, "-") if is_reference else (1.1, "-")
        quietly(one.run_band_structure, points, path_connections=connections, labels=labels)
        assert one.band_structure is not None
        distances = one.band_structure.distances if distances is None else distances
        for number, (x, y) in enumerate(zip(distances, one.band_structure.frequencies, strict=True)):
            lines = left.plot(x, y, color=colour, linewidth=width, linestyle=style)
            if number == 0:
                lines[0].set_label("DFT" if is_reference else name)
        quietly(one.run_mesh, mesh=(20, 20, 20))
        quietly(one.run_total_dos)
        dos = one.total_dos
        assert dos is not None
        right.plot(dos.dos, dos.frequency_points, color=colour, linewidth=width)
    assert distances is not None
    _ticks(left, distances, labels, connections)
    left.axhline(0, color="#9a9a9a", linewidth=0.6)
    left.set(ylabel="frequency (THz)", xlim=(distances[0][0], distances[-1][-1]))
    left.set_title(title, fontsize=11)
    right.set(xlabel="states / THz", xlim=(0, None))
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=8)
    left.legend(fontsize=8, frameon=False, loc="best")
    content = io.BytesIO()
    figure.savefig(content, format="png")
    write_atomically(path, content.getvalue())


def _ticks(axes: object, distances: list[np.ndarray], labels: list[str], connections: list[bool]) -> None:
    """The names of the special points, two where the path jumps."""
    places, names, number = [float(distances[0][0])], [labels[0]], 1
    for x, connected in zip(distances, connections, strict=True):
        name = labels[number]
        number += 1
        if not connected and number < len(labels):
            name = f"{name}|{labels[number]}"
            number += 1
        places.append(float(x[-1]))
        names.append(name)
    axes.set_xticks(places, [name.replace("$\\mathrm{", "").replace("}$", "") for name in names])  # type: ignore[attr-defined]
    for place in places:
        axes.axvline(place, color="#dddddd", linewidth=0.6, zorder=0)  # type: ignore[attr-defined]
