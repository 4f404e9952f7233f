"""What the numbers of a folder depend on."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from esen.data.structure import Structure
from esen.errors import InputError
from esen.files import write_atomically
from esen.study.materials.records import plain
from esen.study.potentials import digest

MANIFEST = "manifest.json"


def claim(output: Path, manifest: dict[str, dict[str, Any]]) -> None:
    """Write what the numbers depend on, together with that of an earlier call of the same folder.

    Args:
        output: the folder, which is made.
        manifest: parts by name: `settings`, which are of the folder; `potentials` and materials, by name, which may be
            added by a later call.

    Raises:
        InputError: the folder has records of something else.
    """
    output.mkdir(parents=True, exist_ok=True)
    new, old = plain(manifest), refuse_another(output, manifest)
    for part, content in new.items():
        content.update(old.get(part, {}) | content)
    write_atomically(output / MANIFEST, json.dumps(new, indent=1, ensure_ascii=False).encode() + b"\n")


def refuse_another(output: Path, manifest: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The manifest of an earlier call of the folder; empty: there was none.

    Raises:
        InputError: the folder has records of something else.
    """
    path = output / MANIFEST
    if not path.exists():
        return {}
    try:
        old: dict[str, dict[str, Any]] = json.loads(path.read_text())
        for part, content in plain(manifest).items():
            _compare(output, part, old[part], content)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: not a manifest of this command ({error!r})") from error
    return old


def geometry_digest(structure: Structure) -> str:
    """`digest` of atoms, cell and periods."""
    arrays = (structure.numbers, structure.positions, structure.cell, structure.pbc)
    return digest(b"".join(np.ascontiguousarray(array).tobytes() for array in arrays))


def _compare(output: Path, part: str, old: dict[str, Any], new: dict[str, Any]) -> None:
    for key in old.keys() & new.keys():
        if old[key] != new[key]:
            raise InputError(
                f"--output {output}: was computed with {part}: {key} {old[key]}, now {new[key]}; give another folder"
            )
