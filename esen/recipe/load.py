"""Recipes from and to YAML files. A mistake costs the user one line: file, line, key, what to write."""

import glob
import json
import os
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from esen.errors import InputError
from esen.recipe.data import ReferencesFileSpec, SourceSpec
from esen.recipe.extend import as_seen_from, merged
from esen.recipe.mistakes import Mistake, find_mistakes, nearest
from esen.recipe.outline import Place, show_path
from esen.recipe.overrides import Override, apply_override, parse_override
from esen.recipe.recipe import Recipe
from esen.recipe.yaml12 import Document, KeyPath, parse_document, write_document

_LARGEST_FILE = 1_000_000
"""In bytes. No recipe is so long; a file of structures given by mistake often is."""


EXTENDS = "extends"
"""The key of a recipe that names another, which it changes."""

_LONGEST_CHAIN = 8


def load_recipe(path: Path, overrides: Sequence[str] = (), *, chain: tuple[Path, ...] = ()) -> Recipe:
    """Read a recipe and check it. What it does not say it takes from the recipe it `extends`, or from the defaults.

    Args:
        path: a YAML file.
        chain: the recipes that extend this one, the last one first.
        overrides: `a.b=c`, set on top of the file; the last one of a key holds. Every change of a `kind` is
            made before the other keys are set.

    Raises:
        InputError: the file cannot be read, is not YAML, or is not a recipe. One line a mistake, in the
            order of the file.
    """
    document = parse_document(_read_text(path), str(path))
    if document.value is None:
        raise InputError(f"{path}: the recipe is empty; `esen recipe list` shows some to start from")
    if not isinstance(document.value, dict):
        line, _ = document.position(())
        raise InputError(f"{path}:{line}: expected a recipe, sections such as `model:`, but this is not one")
    # a copy without shared parts: an anchor and its aliases are one object, but --set means one place
    data = json.loads(json.dumps(document.value))
    if EXTENDS in data:
        line, _ = document.position((EXTENDS,))
        data = _extended(path, data.pop(EXTENDS), data, f"{path}:{line}: {EXTENDS}", (*chain, path))
    settings = sorted((parse_override(text) for text in overrides), key=lambda o: o.parts[-1] != "kind")
    applied = [(setting, apply_override(data, setting, _outline())) for setting in settings]
    try:
        # strict: text is no number; as JSON, because strict Python wants tuples where YAML has lists
        return Recipe.model_validate_json(json.dumps(data), strict=True)
    except ValidationError as error:
        mistakes = find_mistakes(error, data, _outline())
        lines = sorted(_locate(mistake, path, document, applied) for mistake in mistakes)
        raise InputError("\n".join(line for *_, line in lines)) from None


def dump_recipe(recipe: Recipe) -> str:
    """The recipe as YAML with every default filled in. It loads back equal."""
    return write_document(recipe.model_dump(mode="json"))


def flatten(recipe: Recipe) -> dict[str, str | int | float | bool]:
    """Every value under its dotted key, as `--set` writes it: `{"train.stages.0.epochs": 100, …}`.

    What is not a number, true/false or text is written as YAML: `null`, `[]`, `{}`.
    """
    return dict(_leaves(recipe.model_dump(mode="json"), ""))


def resolve_paths(recipe: Recipe, base: Path) -> Recipe:
    """The recipe with every data path, and `train.init_from`, absolute, so that it means the same wherever it is saved.

    Args:
        recipe: as loaded.
        base: the recipe's folder, where relative paths start. `~` is the user's home.
    """
    data = recipe.data
    resolved = {
        name: tuple(_resolve(source, base) for source in sources)
        for name, sources in (("train", data.train), ("validation", data.validation), ("test", data.test))
    }
    references = data.references
    if isinstance(references, ReferencesFileSpec):
        file = str(Path(base.absolute()) / _home(references.file))
        references = references.model_copy(update={"file": file})
    changes: dict[str, object] = {"data": data.model_copy(update={**resolved, "references": references})}
    if recipe.train.init_from is not None:
        source = str(Path(base.absolute()) / _home(recipe.train.init_from))
        changes["train"] = recipe.train.model_copy(update={"init_from": source})
    return recipe.model_copy(update=changes)


def _extended(
    path: Path, base: Any, data: dict[str, Any], where: str, chain: tuple[Path, ...]
) -> dict[str, Any]:
    """The recipe's own data on top of that of its base, which is checked for itself first."""
    if not isinstance(base, str):
        raise InputError(f"{where}: given {base!r}, expected a recipe, such as base.yaml")
    file = path.parent / base
    if len(chain) > _LONGEST_CHAIN or file.resolve() in [one.resolve() for one in chain]:
        raise InputError(
            f"{where}: {base} leads back to this recipe, or through more than {_LONGEST_CHAIN} others"
        )
    if not file.is_file():
        raise InputError(f"{where}: there is no recipe {file}{_near_files(file)}")
    whole: dict[str, Any] = merged(
        as_seen_from(load_recipe(file, chain=chain), file.parent, path.parent), data
    )
    return whole


@cache
def _outline() -> Place:
    return Place.of(Recipe)


def _read_text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST_FILE + 1)
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such recipe{_near_files(path)}") from None
    except IsADirectoryError:
        raise InputError(f"{path}: expected a recipe, a YAML file, but this is a folder") from None
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise InputError(f"{path}: the recipe cannot be read: {reason}") from None
    if len(content) > _LARGEST_FILE:
        raise InputError(f"{path}: expected a recipe, a YAML file, but this is over {_LARGEST_FILE} bytes")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        byte = f"0x{content[error.start]:02x}"
        raise InputError(
            f"{path}:{line}: expected a YAML file in UTF-8, but it holds the byte {byte}"
        ) from None


def _near_files(path: Path) -> str:
    """What the user may have meant by a file that is not there."""
    if not path.parent.is_dir():
        return f", and no folder {path.parent}"
    try:
        names = sorted(p.name for p in path.parent.iterdir() if p.suffix in {".yaml", ".yml"})
    except OSError:
        return ""
    near = nearest(path.name, names) or nearest(f"{path.name}.yaml", names)
    return f"; did you mean {path.parent / near}?" if near else ""


def _locate(
    mistake: Mistake, path: Path, document: Document, applied: list[tuple[Override, KeyPath]]
) -> tuple[int, int, int, str]:
    """The line to print of a mistake, after what sorts it: its place in the file, or its `--set`."""
    setting = _cause(mistake, document, applied)
    key = show_path(mistake.path)
    if setting is None:
        line, column = document.position(mistake.at)
        return 0, line, column, f"{path}:{line}: {f'{key}: ' if key else ''}{mistake.text}"
    number, override, target = setting
    named = f"{key}: " if key and target != mistake.path else ""
    return 1, number, 0, f"{override.label}: {named}{mistake.text}"


def _cause(
    mistake: Mistake, document: Document, applied: list[tuple[Override, KeyPath]]
) -> tuple[int, Override, KeyPath] | None:
    """The last `--set` that wrote the value in question, if it does not stand in the file."""
    at = mistake.path if mistake.whole else mistake.at
    for number, (override, target) in reversed(list(enumerate(applied))):
        wrote = at[: len(target)] == target
        touched = target[: len(at)] == at
        if wrote or (touched and (mistake.whole or not document.holds(at))):
            return number, override, target
    return None


def _leaves(value: Any, key: str) -> Iterator[tuple[str, str | int | float | bool]]:
    if value and isinstance(value, dict | list):
        for name, entry in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _leaves(entry, f"{key}.{name}" if key else str(name))
    else:
        yield key, value if isinstance(value, str | int | float | bool) else json.dumps(value)


def _home(path: str) -> Path:
    return Path(os.path.expanduser(path))  # noqa: PTH111  # Path.expanduser raises where there is no such user


def _resolve(source: SourceSpec, base: Path) -> SourceSpec:
    path = _home(source.path)
    if path.is_absolute():
        return source.model_copy(update={"path": str(path)})
    folder = str(base.absolute())
    if glob.has_magic(source.path):  # only the user's part is a pattern, even where a folder is called `[1]`
        folder = glob.escape(folder)
    return source.model_copy(update={"path": str(Path(folder) / path)})
