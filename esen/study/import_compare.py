"""Stored outputs of a published calculator against what the imported potential gives."""

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

TOLERANCE = 2e-5
"""Of the largest value of a kind. Stored outputs are float32, whose sums over edges differ by about 1e-6."""

_SMALLEST = {"energy": 1e-3, "forces": 0.1, "stress": 1e-3}
"""eV, eV/Å, eV/Å³. Where symmetry makes a quantity vanish, what is left is rounding."""

IN_NETWORK_UNITS = "stress, unscaled"
"""Of direct models whose two parts of the stress have units of their own, which the published calculator forgets."""


@dataclass(frozen=True)
class Comparison:
    """How far a quantity of one stored output is from ours.

    Attributes:
        outputs: the file.
        quantity: `energy`, `forces`, `stress`, or `IN_NETWORK_UNITS`.
        size: largest stored value, in eV, eV/Å or eV/Å³.
        difference: largest difference, in units of `size`.
    """

    outputs: str
    quantity: str
    size: float
    difference: float

    @property
    def agrees(self) -> bool:
        """Whether it is within `TOLERANCE`; a NaN is not."""
        return self.difference <= TOLERANCE


def compare(potential: EsenPotential, files: Sequence[Path]) -> tuple[Comparison, ...]:
    """Predict, in float64, what the files hold outputs for, and compare.

    Raises:
        InputError: a file is no such file, or its structure cannot be.
    """
    precision = next(potential.parameters()).dtype
    potential.double()
    found = [c for path in files for c in _compare_file(potential, path)]
    potential.to(precision)
    return tuple(found)


def _compare_file(potential: EsenPotential, path: Path) -> list[Comparison]:
    try:
        with np.load(path, allow_pickle=False) as file:
            data = {name: file[name] for name in file.files}
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
    """The stress of a direct model as the published calculator gives it, neither scaled nor shifted."""
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
    """The files of stored outputs, also those in folders.

    Raises:
        InputError: there are none at a path.
    """
    files: list[Path] = []
    for path in outputs:
        found = sorted(path.glob("*.npz")) if path.is_dir() else [path]
        if not found or not found[0].exists():
            raise InputError(f"{path}: no stored outputs (.npz) to compare with; name them by --outputs")
        files += found
    return files
