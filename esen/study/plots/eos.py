"""Equations of state of one crystal: computed energies and their fits."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from esen.evaluate.eos import EquationOfState
from esen.study.plots.style import shades, write_figure


def eos_plot(states: Mapping[str, EquationOfState], atoms: int, title: str, path: Path) -> None:
    """Draw energies per atom above the minimum against the volume per atom, as PNG.

    Args:
        states: by label of the potential.
        atoms: number of atoms of the cell.
        title: of the figure.
        path: of the figure.

    Raises:
        OSError: the file cannot be written.
    """
    figure = Figure(figsize=(5, 4), dpi=150, layout="constrained")
    axes = figure.subplots()
    for (label, state), colour in zip(states.items(), shades(len(states)), strict=True):
        volumes = np.linspace(state.volumes.min(), state.volumes.max(), 200)
        fitted = 1000 * (state.energy_at(volumes) - state.energy) / atoms
        axes.plot(volumes / atoms, fitted, color=colour, label=label)
        computed = 1000 * (state.energies - state.energy) / atoms
        axes.plot(state.volumes / atoms, computed, "o", color=colour, markersize=4)
    axes.set(xlabel="V (Å³/atom)", ylabel="E − E0 (meV/atom)", title=title)
    axes.legend(frameon=False)
    write_figure(figure, path)
