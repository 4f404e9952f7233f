"""`esen import`: a published checkpoint becomes a folder with a potential, and is compared with stored outputs."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from esen.errors import InputError
from esen.files import plain, sha256_of, write_atomically
from esen.models.checkpoint import Checkpoint, save_checkpoint, with_prefix
from esen.models.convert import Imported, import_published, published_training
from esen.models.cost import parameter_count
from esen.recipe import DataSpec, Recipe, SourceSpec, dump_recipe
from esen.recipe.model import DirectSpec, NoStressSpec
from esen.study.import_compare import COMPARED, TOLERANCE, Comparison, compare, stored_outputs
from esen.study.potentials import potential_sources
from esen.study.report import finish
from esen.study.table import Table, write_result

_PUBLISHED = "huggingface.co/facebook/OMAT24"


@dataclass(frozen=True)
class Licence:
    """The licence of published weights.

    Attributes:
        source: Name of the file with the text; empty if there is none.
        text: The whole text; empty if it is not known.
    """

    source: str
    text: str

    def describe(self) -> str:
        """Describe the licence in one line."""
        if not self.text:
            return f"not in the file. Weights of {_PUBLISHED} go with its LICENSE: give it by --licence FILE"
        title = next((line.strip("# ").strip() for line in self.text.splitlines() if line.strip()), "")
        return f"{title[:70]} ({self.source})"


@dataclass(frozen=True, eq=False)
class ImportResult:
    """The result of `esen import`.

    Attributes:
        imported: The imported potential.
        table: Comparisons with stored outputs, one row per quantity of a file.
        rows: Name and value of each fact about the import.
        paths: Description and path of each file that was written.
    """

    imported: Imported
    table: Table[Comparison]
    rows: list[tuple[str, str]]
    paths: dict[str, Path]

    @property
    def agrees(self) -> bool:
        """Whether all quantities that were compared agree."""
        return all(comparison.agrees for comparison in self.table.records)


def run_import(
    checkpoint: Path,
    folder: Path,
    *,
    raw: bool = False,
    outputs: Sequence[Path] = (),
    licence: Path | None = None,
) -> ImportResult:
    """Write `best.safetensors`, `recipe.yaml`, `import.json`, `result.json` and, if there is a licence, `LICENSE`.

    Args:
        checkpoint: Checkpoint of fairchem 1.x.
        folder: Folder of the files; made if it does not exist.
        raw: Take the trained weights instead of their moving average.
        outputs: `.npz` files to compare with, or folders of them, which hold `numbers`, `positions`, `cell`, `pbc`,
            and `energy`, `forces`, `stress`.
        licence: Licence of the weights; a LICENSE beside the checkpoint by default.

    Raises:
        InputError: The checkpoint is refused, or there is nothing to compare with.
        OSError: A file cannot be written.
    """
    imported = import_published(checkpoint, raw=raw)
    terms = find_licence(checkpoint, licence)
    comparisons = compare(imported.potential, stored_outputs(outputs)) if outputs else ()
    recipe, note = _recipe(imported)
    imported = imported if note is None else replace(imported, notes=(*imported.notes, note))
    digest = sha256_of(checkpoint)
    origin = {
        "file": checkpoint.name,
        "sha256": digest,
        "format": "fairchem-core 1.x",
        "weights": imported.weights,
        "licence": {"source": terms.source, "text": terms.text},
    }
    report = _report(imported, origin, comparisons)
    paths = {
        "potential": folder / "best.safetensors",
        "recipe": folder / "recipe.yaml",
        "findings": folder / "import.json",
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "LICENSE").unlink(missing_ok=True)  # of an earlier import into this folder
    save_checkpoint(paths["potential"], _checkpoint(imported, recipe, origin))
    write_atomically(paths["recipe"], dump_recipe(recipe))
    write_atomically(paths["findings"], report)
    if terms.text:
        paths["licence"] = folder / "LICENSE"
        write_atomically(paths["licence"], terms.text)
    table = Table(COMPARED, comparisons)
    sources = potential_sources([str(paths["potential"])], {}, default_dtype=None)
    settings = {"checkpoint": checkpoint.name, "sha256": digest, "raw": raw, "tolerance": TOLERANCE}
    paths["summary"] = write_result(folder, "import", potentials=sources, settings=settings, table=table)
    return ImportResult(imported, table, _rows(imported, terms), finish(folder, paths))


def find_licence(checkpoint: Path, given: Path | None) -> Licence:
    """Read the given licence, or the LICENSE beside the checkpoint; source and text are empty if there is none.

    Raises:
        InputError: The file cannot be read.
    """
    beside = sorted(p for p in checkpoint.parent.glob("LICEN[CS]E*") if p.is_file())
    path = given if given is not None else (beside[0] if beside else None)
    if path is None:
        return Licence("", "")
    try:
        return Licence(path.name, path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: the licence cannot be read ({error})") from error


def _recipe(imported: Imported) -> tuple[Recipe, str | None]:
    """Return a recipe with the published model and training for the user's frames, and a note on what it leaves out."""
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


def _report(imported: Imported, origin: dict[str, Any], comparisons: Sequence[Comparison]) -> str:
    content = {
        "origin": origin,
        "notes": list(imported.notes),
        "progress": imported.progress,
        "verified": [plain(vars(c) | {"agrees": c.agrees}) for c in comparisons],
        "tolerance": TOLERANCE,
        "config": imported.config,
    }
    try:
        return json.dumps(content, indent=2, ensure_ascii=False, default=_number_or_text)
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(f"{origin['file']}: its configuration is not plain data ({error})") from error


def _number_or_text(value: object) -> Any:
    """Convert a number of NumPy or PyTorch to a plain number, and anything else to text."""
    is_number = isinstance(value, np.generic | torch.Tensor) and np.size(value) == 1
    return value.item() if is_number else str(value)  # type: ignore[attr-defined]


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
