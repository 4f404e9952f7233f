"""Recipes from and to YAML files. A mistake costs the user one line: file, line, key, what to write."""

import glob
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from esen.errors import InputError
from esen.recipe.data import ReferencesFileSpec
from esen.recipe.document import Document, KeyPath, parse_document, write_document
from esen.recipe.mistakes import Mistake, find_mistakes
from esen.recipe.overrides import Override, apply_override, parse_override
from esen.recipe.recipe import WHOLE, Recipe
from esen.recipe.schema import show_path
from esen.recipe.shipped import find_recipe, no_such_recipe
from esen.text import encoding_of

EXTENDS = "extends"
"""The key of a recipe that names another, which it changes."""

_LARGEST_FILE = 100_000
"""Bytes. No recipe is so long; a file of structures given by mistake often is."""
_LONGEST_CHAIN = 8
"""Recipes that extend each other."""
_MOST_LINES = 20
"""Mistakes that are listed."""


def load_recipe(
    path: Path,
    overrides: Sequence[str | Override] = (),
    *,
    chain: tuple[Path, ...] = (),
    text: str | None = None,
) -> Recipe:
    """Read a recipe and check it. What it does not say is taken from the recipe it `extends`, or from the defaults.

    Args:
        path: a YAML file.
        overrides: `a.b=c`, or parsed; set on top of the file; the last one of a key holds. Every change of a `kind`
            is made before the other keys are set.
        chain: the recipes that extend this one, the last one first.
        text: the content of the file, if it is not written yet.

    Raises:
        InputError: the file cannot be read, is not YAML, or is not a recipe. There is one line per mistake, in the
            order of the file, up to 20.
    """
    document = parse_document(read_text(path) if text is None else text, str(path))
    data = document.value
    if isinstance(data, dict) and {"variants", "systems"} & set(data):
        raise InputError(f"{path}: this is a study of several trainings; run it with: esen ablate {path}")
    if data is None:
        raise InputError(f"{path}: the recipe is empty; `esen recipe list` shows some to start from")
    if not isinstance(data, dict):
        raise InputError(
            f"{path}:{document.position(())[0]}: expected a recipe, sections such as `model:`, but this is not one"
        )
    if EXTENDS in data:
        where = f"{path}:{document.position((EXTENDS,))[0]}: {EXTENDS}"
        base = _load_base(data.pop(EXTENDS), path, where, (*chain, path))
        data = merged(base.model_dump(mode="json", exclude_unset=True, context=WHOLE), data)
    parsed = [one if isinstance(one, Override) else parse_override(one) for one in overrides]
    settings = sorted(parsed, key=lambda o: o.parts[-1] != "kind")
    applied = [(setting, apply_override(data, setting)) for setting in settings]
    try:
        # strict: text is no number; as JSON, because strict Python wants tuples where YAML has lists
        return Recipe.model_validate_json(json.dumps(data), strict=True)
    except ValidationError as error:
        lines = sorted(_line_of(mistake, path, document, applied) for mistake in find_mistakes(error, data))
        shown = [line for *_, line in lines[:_MOST_LINES]]
        if len(lines) > _MOST_LINES:
            more = max(len(lines), error.error_count()) - _MOST_LINES
            shown.append(f"{path}: there are {more} more mistakes")
        raise InputError(*shown) from None


def unchanged_recipe(path: Path) -> Recipe:
    """The recipe that a file extends or, if it extends none, that of the file itself.

    Raises:
        InputError: as `load_recipe`.
    """
    data = parse_document(read_text(path), str(path)).value
    return _load_base(data[EXTENDS], path, str(path), (path,)) if EXTENDS in data else load_recipe(path)


def file_schema() -> dict[str, Any]:
    """The JSON Schema of a recipe's file, which may also extend another recipe."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema"} | Recipe.model_json_schema()
    description = "Another recipe, by path or shipped name; this one states only what differs from it."
    schema["properties"][EXTENDS] = {"type": "string", "description": description}
    schema["anyOf"] = [{"required": schema.pop("required")}, {"required": [EXTENDS]}]
    return schema


def dump_recipe(recipe: Recipe) -> str:
    """The recipe as YAML with every default filled in. It loads back equal."""
    return write_document(recipe.model_dump(mode="json"))


def flatten(recipe: Recipe) -> dict[str, str | int | float | bool]:
    """Every value by its dotted key, as `--set` writes it: `{"train.stages.0.epochs": 100, …}`.

    Anything but a number, a truth value or text is written as YAML: `null`, `[]`, `{}`.
    """
    return dict(_leaves(recipe.model_dump(mode="json"), ""))


def resolve_paths(recipe: Recipe, base: Path) -> Recipe:
    """The recipe with absolute data paths and `train.init_from`, so that it means the same wherever it is saved.

    Args:
        recipe: as loaded.
        base: the recipe's folder, where relative paths start. `~` is the user's home.
    """
    return _rebased(recipe, str(base.absolute()))


_SAME_KEYS = ("optimizer", "loss")
"""Sections whose keys are the same for every `kind`."""


def merged(base: Any, child: Any, name: str = "") -> Any:
    """The child's value where it has one, section by section; lists and sections of another `kind` replace the base's.

    >>> merged({"a": {"kind": "x", "n": 1}, "b": {"c": 1, "d": 2}}, {"a": {"kind": "y"}, "b": {"c": 3}})
    {'a': {'kind': 'y'}, 'b': {'c': 3, 'd': 2}}

    Args:
        base: data of a recipe, or of a section of it.
        child: data of the recipe that extends it.
        name: key of the section.
    """
    if not (isinstance(base, dict) and isinstance(child, dict)):
        return child
    if "kind" in child and child["kind"] != base.get("kind") and name not in _SAME_KEYS:
        return child
    return base | {
        key: merged(base[key], value, key) if key in base else value for key, value in child.items()
    }


def _load_base(name: Any, path: Path, where: str, chain: tuple[Path, ...]) -> Recipe:
    """The recipe that another extends, with paths that hold in the other's folder."""
    if not isinstance(name, str):
        raise InputError(f"{where}: given {name!r}, expected a recipe, such as base.yaml or quickstart")
    file = find_recipe(name, path.parent)
    if not os.path.isfile(file):  # noqa: PTH113  # Path.is_file raises OSError for a name that is too long
        raise InputError(f"{where}: {no_such_recipe(file)}")
    if len(chain) > _LONGEST_CHAIN or file.resolve() in [one.resolve() for one in chain]:
        raise InputError(
            f"{where}: {name} leads back to this recipe, or through more than {_LONGEST_CHAIN} others"
        )
    return _rebased(
        load_recipe(file, chain=chain),
        os.path.relpath(file.parent.absolute(), path.parent.absolute()),
    )


def _rebased(recipe: Recipe, folder: str) -> Recipe:
    """The recipe with `folder` before its relative paths."""

    def moved(path: str, *, pattern: bool = False) -> str:
        home = Path(os.path.expanduser(path))  # noqa: PTH111  # Path.expanduser raises where there is no such user
        # only the user's part is a pattern, even where a folder is called `[1]`
        start = glob.escape(folder) if pattern and glob.has_magic(path) else folder
        return str(Path(start) / home)

    data: dict[str, Any] = {
        name: tuple(s.model_copy(update={"path": moved(s.path, pattern=True)}) for s in sources)
        for name in ("train", "validation", "test")
        if (sources := getattr(recipe.data, name))
    }
    references = recipe.data.references
    if isinstance(references, ReferencesFileSpec):
        data["references"] = references.model_copy(update={"file": moved(references.file)})
    start = recipe.train.init_from
    train = {} if start is None else {"init_from": moved(start)}
    return recipe.model_copy(
        update={
            "data": recipe.data.model_copy(update=data),
            "train": recipe.train.model_copy(update=train),
        }
    )


def read_text(path: Path, what: str = "recipe") -> str:
    """Return the text of a recipe or of another YAML file, named `what` in messages.

    Raises:
        InputError: the file is not there, cannot be read, is too large, or is not text.
    """
    try:
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise InputError(f"{path}: expected a {what}, a YAML file, but this is not a file")
        with path.open("rb") as file:
            content = file.read(_LARGEST_FILE + 1)
    except FileNotFoundError:
        raise InputError(no_such_recipe(path)) from None
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        if isinstance(error, IsADirectoryError) and (path / "recipe.yaml").is_file():
            raise InputError(f"{path}: the folder of a run; its recipe is {path / 'recipe.yaml'}") from None
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise InputError(f"{path}: the {what} cannot be read: {reason}") from None
    if len(content) > _LARGEST_FILE:
        raise InputError(f"{path}: expected a {what}, a YAML file, but this is over {_LARGEST_FILE:,} bytes")
    try:
        return content.decode(encoding_of(content) or "utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        byte = f"0x{content[error.start]:02x}"
        raise InputError(
            f"{path}:{line}: expected a YAML file in UTF-8, but it holds the byte {byte}"
        ) from None


def _line_of(
    mistake: Mistake, path: Path, document: Document, applied: list[tuple[Override, KeyPath]]
) -> tuple[int, int, int, str]:
    """The line to print for a mistake, after what sorts it: its place in the file, or its `--set`."""
    key = show_path(mistake.path)
    at = mistake.path if mistake.whole else mistake.at
    for number, (override, target) in reversed(list(enumerate(applied))):
        wrote = at[: len(target)] == target
        touched = target[: len(at)] == at and (mistake.whole or at not in document.positions)
        if wrote or touched:
            named = f"{key}: " if key and target != mistake.path else ""
            return 1, number, 0, f"{override.label}: {named}{mistake.text}"
    line, column = document.position(mistake.at)
    return 0, line, column, f"{path}:{line}: {f'{key}: ' if key else ''}{mistake.text}"


def _leaves(value: Any, key: str) -> Iterator[tuple[str, str | int | float | bool]]:
    if value and isinstance(value, dict | list):
        for name, entry in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _leaves(entry, f"{key}.{name}" if key else str(name))
    else:
        yield key, value if isinstance(value, str | int | float | bool) else json.dumps(value)
