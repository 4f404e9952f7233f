"""Compare an imported potential with stored outputs of the published calculator."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from torch import Tensor

from esen.data.structure import Structure
from esen.errors import InputError
from esen.graph.batch import make_graph
from esen.graph.types import Graph
from esen.models.direct import DirectHeads
from esen.models.potential import EsenPotential
from esen.study.table import Column

TOLERANCE = 2e-5
"""Largest difference relative to the largest value. Outputs in float32 differ by about 1e-6 in sums over edges."""

_SMALLEST = {"energy": 1e-3, "forces": 0.1, "stress": 1e-3}
"""Least size of a quantity in eV, eV/Å, eV/Å³: if a quantity vanishes by symmetry, only rounding is left."""

IN_NETWORK_UNITS = "stress, unscaled"
"""Direct models have separate units for the two parts of the stress, which the published calculator does not apply."""


@dataclass(frozen=True)
class Comparison:
    """The difference between a stored quantity and the predicted one.

    Attributes:
        outputs: Name of the file.
        quantity: `energy`, `forces`, `stress`, or `IN_NETWORK_UNITS`.
        size: Largest stored value, in eV, eV/Å or eV/Å³.
        difference: Largest difference, in units of `size`.
    """

    outputs: str
    quantity: str
    size: float
    difference: float

    @property
    def agrees(self) -> bool:
        """Whether the difference is within `TOLERANCE`. NaN is not."""
        return self.difference <= TOLERANCE


COMPARED: tuple[Column[Comparison], ...] = (
    Column("outputs", symbol="stored", wraps=True),
    Column("quantity", wraps=True),
    Column("size", symbol="largest", format=".4g"),
    Column("difference", format=".1e"),
    Column("agrees", symbol=f"≤ {TOLERANCE:g}", format=lambda agrees: "yes" if agrees else "NO"),
)


def compare(potential: EsenPotential, files: Sequence[Path]) -> tuple[Comparison, ...]:
    """Predict the structures of files of stored outputs in float64, and compare.

    Raises:
        InputError: A file does not hold stored outputs.
    """
    precision = next(potential.parameters()).dtype
    potential.double()
    found = [c for path in files for c in _compare_file(potential, path)]
    potential.to(precision)
    return tuple(found)


def _compare_file(potential: EsenPotential, path: Path) -> list[Comparison]:
    try:
        with np.load(path, allow_pickle=False) as file:
            data = dict(file)
        structures = _structures(data, path)
    except (OSError, ValueError, KeyError, IndexError, EOFError) as error:
        raise InputError(
            f"{path}: not a file of stored outputs (.npz with numbers, positions, cell, pbc): {error}"
        ) from error
    graph = make_graph(structures, potential.cutoff)
    prediction = potential(graph)
    periodic = np.array([s.pbc.all() for s in structures])
    comparisons = []
    for name, ours in (
        ("energy", prediction.energy.numpy()),
        ("forces", prediction.forces.numpy()),
        ("stress", prediction.stress.numpy()[periodic]),
    ):
        stored = data.get(name, data.get(f"out_{name}"))
        if stored is None or not ours.size:
            continue
        stored = np.reshape(stored, prediction.stress.shape)[periodic] if name == "stress" else stored
        if stored.size != ours.size:
            raise InputError(f"{path}: {name} has the shape {stored.shape}, expected {ours.shape}")
        size = max(float(np.abs(stored).max()), _SMALLEST[name])
        comparison = Comparison(path.name, name, size, _largest(ours, stored) / size)
        if name == "stress" and not comparison.agrees and potential.direct is not None:
            raw = _in_network_units(potential, potential.direct, graph).numpy()[periodic]
            published = replace(
                comparison, quantity=IN_NETWORK_UNITS, difference=_largest(raw, stored) / size
            )
            comparison = published if published.agrees else comparison
        comparisons.append(comparison)
    if not comparisons:
        raise InputError(f"{path}: has no energy, forces or stress to compare with")
    return comparisons


def _largest(ours: np.ndarray, stored: np.ndarray) -> float:
    return float(np.abs(ours.reshape(-1) - stored.reshape(-1)).max())


def _in_network_units(potential: EsenPotential, heads: DirectHeads, graph: Graph) -> Tensor:
    """Return the stress of a direct model as the published calculator gives it, neither scaled nor shifted."""
    units, pressure = heads.units.clone(), heads.pressure.clone()
    heads.units.fill_(1 / float(potential.scale))
    heads.pressure.zero_()
    stress = potential(graph).stress
    heads.units.copy_(units)
    heads.pressure.copy_(pressure)
    return stress


def _structures(data: dict[str, np.ndarray], path: Path) -> list[Structure]:
    cells = np.reshape(data["cell"], (-1, 3, 3)).astype(np.float64)
    pbc = np.reshape(data["pbc"], (-1, 3)).astype(bool)
    ends = np.cumsum(data["natoms"] if "natoms" in data else [len(data["numbers"])])
    atoms = np.split(np.arange(len(data["numbers"])), ends[:-1])
    return [
        Structure(
            data["numbers"][mine].astype(np.int64),
            data["positions"][mine].astype(np.float64),
            cell,
            periods,
            source=str(path),
        )
        for mine, cell, periods in zip(atoms, cells, pbc, strict=True)
    ]


def stored_outputs(outputs: Sequence[Path]) -> list[Path]:
    """Return files of stored outputs, with folders replaced by the files in them.

    Raises:
        InputError: A path leads to no such file.
    """
    files: list[Path] = []
    for path in outputs:
        found = sorted(path.glob("*.npz")) if path.is_dir() else [path]
        if not found or not found[0].exists():
            raise InputError(f"{path}: no stored outputs (.npz) to compare with; name them by --outputs")
        files += found
    return files
