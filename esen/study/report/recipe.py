"""The recipe of a run in its report, and what differs from the recipe that it was made from."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from esen.errors import InputError
from esen.files import read_json
from esen.recipe import load_recipe
from esen.recipe.load import flatten
from esen.study.report.sheet import Sheet, listing, sheet_of
from esen.study.source import SOURCE, RunSource
from esen.text import without_secrets

RECIPE = "recipe.yaml"


@dataclass(frozen=True)
class RecipeOfRun:
    """The recipe of a run.

    Attributes:
        name: Of the recipe that was given; empty if it is not known.
        command: That trains by it; empty if it is not known.
        sheets: What differs from the base, and the whole recipe.
        changed: Keys that differ.
        note: What is not known.
    """

    name: str
    command: str
    sheets: list[Sheet]
    note: str = ""


def recipe_of(folder: Path) -> RecipeOfRun | None:
    """Return the recipe of a run; None if the folder has none."""
    if not (folder / RECIPE).is_file():
        return None
    try:
        now = flatten(load_recipe(folder / RECIPE))
    except InputError as error:
        return RecipeOfRun("", "", [], f"The recipe cannot be read: {error}")
    known = _source(folder)
    given, changes = str(known.get("recipe", "")), known.get("set", [])
    whole = listing("Recipe with all defaults", now, folded=True)
    if not given:
        return RecipeOfRun("", "", [whole], "The folder does not say which recipe this one was made from.")
    options = [part for text in changes for part in ("--set", str(text))]
    command = without_secrets(shlex.join(["esen", "train", given, *options]))
    name = Path(given).stem
    before = known.get("base") or _base_today(Path(given))
    if not isinstance(before, Mapping):
        return RecipeOfRun(
            name, command, [whole], f"{given} is no longer there, so nothing is known of the differences."
        )
    keys = [key for key in dict.fromkeys((*now, *before)) if now.get(key) != before.get(key)]
    if not keys:
        return RecipeOfRun(name, command, [whole], f"Nothing differs from {name}.")
    rows = [[key, now.get(key), before.get(key)] for key in keys]
    differs = sheet_of("Different from the base", ["key", "this run", f"base of {name}"], rows)
    return RecipeOfRun(name, command, [differs, whole])


def _source(folder: Path) -> dict[str, Any]:
    try:
        return read_json(folder / SOURCE, "")
    except InputError:
        return {}  # of an imported checkpoint, or an older version


def _base_today(recipe: Path) -> Mapping[str, Any] | None:
    """The base as its file is now, for runs that did not keep it."""
    try:
        return RunSource(recipe).base()
    except InputError:
        return None
