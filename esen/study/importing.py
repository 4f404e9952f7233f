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

from esen.errors import InputError
from esen.files import write_atomically
from esen.models.checkpoint import Checkpoint, save_checkpoint, with_prefix
from esen.models.convert import Imported, import_published, published_training
from esen.models.cost import parameter_count
from esen.recipe import DataSpec, Recipe, SourceSpec, dump_recipe
from esen.recipe.model import DirectSpec, NoStressSpec
from esen.study.import_compare import TOLERANCE, Comparison, compare, stored_outputs
from esen.study.import_licence import Licence, find_licence


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
    terms = find_licence(checkpoint, licence)
    comparisons = compare(imported.potential, stored_outputs(outputs)) if outputs else ()
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
