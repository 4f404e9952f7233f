"""`esen import`: a published checkpoint becomes a folder of ours, and is compared with stored outputs."""

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from esen.data.structure import Structure
from esen.errors import InputError
from esen.graph.batch import make_graph
from esen.graph.types import Graph
from esen.models.checkpoint import Checkpoint, save_checkpoint, with_prefix, write_atomically
from esen.models.convert import Imported, import_published, published_training
from esen.models.direct import DirectHeads
from esen.models.potential import EsenPotential
from esen.recipe import DataSpec, Recipe, SourceSpec, dump_recipe, parameter_count
from esen.recipe.model import DirectSpec, NoStressSpec

TOLERANCE = 2e-5
"""Of the largest value of a kind. Stored outputs are float32, whose sums over edges differ by about 1e-6."""

_SMALLEST = {"energy": 1e-3, "forces": 0.1, "stress": 1e-3}
"""eV, eV/Å, eV/Å³. Where symmetry makes a quantity vanish, what is left is rounding."""

IN_NETWORK_UNITS = "stress, unscaled"
"""Of direct models whose two parts of the stress have units of their own, which the published calculator forgets."""

_PUBLISHED = "huggingface.co/facebook/OMAT24"


@dataclass(frozen=True)
class Licence:
    """Under what the weights may be used.

    Attributes:
        source: where it was found; empty: nowhere.
        text: the whole of it; empty: not known.
    """

    source: str
    text: str

    def describe(self) -> str:
        """One line."""
        if not self.text:
            return f"not in the file. Weights of {_PUBLISHED} go with its LICENSE: give it by --licence FILE"
        title = next((line.strip("# ").strip() for line in self.text.splitlines() if line.strip()), "")
        return f"{title[:70]} ({self.source})"


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


@dataclass(frozen=True, eq=False)
class ImportResult:
    """What was imported, the table about it, and the files that were written."""

    imported: Imported
    comparisons: tuple[Comparison, ...]
    rows: list[tuple[str, str]]
    paths: dict[str, Path]

    @property
    def agrees(self) -> bool:
        """Whether all that was compared agrees."""
        return all(comparison.agrees for comparison in self.comparisons)


def run_import(
    checkpoint: Path,
    folder: Path,
    *,
    raw: bool = False,
    outputs: Sequence[Path] = (),
    licence: Path | None = None,
) -> ImportResult:
    """Write `best.safetensors`, `recipe.yaml`, `import.json` and, if there is one, `LICENSE`.

    Args:
        checkpoint: of fairchem 1.x.
        folder: of the files; made if it is not there.
        raw: take the weights as they were trained, not their moving average.
        outputs: `.npz` files, or folders of them, to compare with: `numbers`, `positions`, `cell`, `pbc`, and
            `energy`, `forces`, `stress`.
        licence: of the weights; None: a LICENSE beside the checkpoint, if there is one.

    Raises:
        InputError: the checkpoint is refused, there is nothing to compare with, or the folder cannot be written.
    """
    imported = import_published(checkpoint, raw=raw)
    terms = _find_licence(checkpoint, licence)
    comparisons = compare(imported.potential, _stored(outputs)) if outputs else ()
    recipe, note = _recipe(imported)
    imported = imported if note is None else replace(imported, notes=(*imported.notes, note))
    origin = {
        "file": checkpoint.name,
        "sha256": hashlib.sha256(checkpoint.read_bytes()).hexdigest(),
        "format": "fairchem-core 1.x",
        "weights": imported.weights,
        "licence": {"source": terms.source, "text": terms.text},
    }
    paths = {
        "potential": folder / "best.safetensors",
        "recipe": folder / "recipe.yaml",
        "report": folder / "import.json",
    } | ({"licence": folder / "LICENSE"} if terms.text else {})
    report = _report(imported, origin, comparisons)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not terms.text:  # that of an earlier import into this folder
            (folder / "LICENSE").unlink(missing_ok=True)
        save_checkpoint(paths["potential"], _checkpoint(imported, recipe, origin))
        write_atomically(paths["recipe"], dump_recipe(recipe).encode())
        write_atomically(paths["report"], report)
        if terms.text:
            write_atomically(paths["licence"], terms.text.encode())
    except OSError as error:
        raise InputError(f"{folder}: cannot be written ({error.strerror or error})") from error
    return ImportResult(imported, tuple(comparisons), _rows(imported, terms), paths)


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
    except (OSError, ValueError, KeyError, EOFError) as error:
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


def _stored(outputs: Sequence[Path]) -> list[Path]:
    files: list[Path] = []
    for path in outputs:
        found = sorted(path.glob("*.npz")) if path.is_dir() else [path]
        if not found or not found[0].exists():
            raise InputError(f"{path}: no stored outputs (.npz) to compare with; name them by --outputs")
        files += found
    return files


def _find_licence(checkpoint: Path, given: Path | None) -> Licence:
    beside = sorted(p for p in checkpoint.parent.glob("LICEN[CS]E*") if p.is_file())
    path = given if given is not None else (beside[0] if beside else None)
    if path is None:
        return Licence("", "")
    try:
        return Licence(path.name, path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: the licence cannot be read ({error})") from error


def _recipe(imported: Imported) -> tuple[Recipe, str | None]:
    """Model and training as published; the frames are the user's own. And what could not be taken over."""
    train, note = published_training(imported.config)
    model = imported.potential.spec
    if isinstance(model.forces, DirectSpec) and isinstance(model.forces.stress, NoStressSpec):
        train = train.model_copy(update={"loss": train.loss.model_copy(update={"stress": 0.0})})
    data = DataSpec(train=(SourceSpec(path="my_frames.extxyz"),))
    return Recipe(model=model, data=data, train=train), note


def _checkpoint(imported: Imported, recipe: Recipe, origin: dict[str, Any]) -> Checkpoint:
    return Checkpoint(
        recipe=recipe.model_dump(mode="json"),
        elements=(),
        metrics={},
        tensors=with_prefix("weights", imported.potential.state_dict()),
        origin=origin,
    )


def _report(imported: Imported, origin: dict[str, Any], comparisons: Sequence[Comparison]) -> bytes:
    content = {
        "origin": origin,
        "notes": list(imported.notes),
        "progress": imported.progress,
        "verified": [
            {
                **vars(c),
                "difference": c.difference if math.isfinite(c.difference) else None,
                "agrees": c.agrees,
            }
            for c in comparisons
        ],
        "tolerance": TOLERANCE,
        "config": imported.config,
    }
    try:
        return json.dumps(content, indent=2, ensure_ascii=False, default=_plain).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(f"{origin['file']}: its configuration is not plain data ({error})") from error


def _plain(value: object) -> Any:
    """Numbers of numpy and torch as numbers; anything else as text."""
    return (
        value.item() if isinstance(value, np.generic | torch.Tensor) and np.size(value) == 1 else str(value)
    )


def _rows(imported: Imported, licence: Licence) -> list[tuple[str, str]]:
    potential = imported.potential
    spec = potential.spec
    known = int((potential.references != 0).sum())
    rows = [
        ("parameters", f"{parameter_count(spec):,}"),
        ("network", f"lmax {spec.lmax}, mmax {spec.mmax}, {spec.layers} layers, cutoff {spec.cutoff:g} Å"),
        ("forces", spec.forces.kind + (", DeNS" if spec.dens else "")),
        ("weights", imported.weights),
        ("unit of energy", f"{float(potential.scale):.7g} eV"),
        ("elements", f"{known} with a reference energy"),
        ("licence", licence.describe()),
    ]
    return rows + [("note", note) for note in imported.notes]
