"""The recipe of a run in its report, and what differs from the recipe that it was made from."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from esen.errors import InputError
from esen.files import read_json
from esen.recipe import load_recipe
from esen.recipe.load import flatten
from esen.study.report.content import Page
from esen.study.report.sheet import listing, sheet_of
from esen.study.source import SOURCE, RunSource
from esen.text import without_secrets

RECIPE = "recipe.yaml"


def add_recipe(page: Page, folder: Path) -> str:
    """Add the recipe of a run, if the folder has one.

    Returns:
        The name of the recipe that was given; empty if it is not known.
    """
    if not (folder / RECIPE).is_file():
        return ""
    try:
        now = flatten(load_recipe(folder / RECIPE))
    except InputError as error:
        page.recipe_note = f"The recipe cannot be read: {error}"
        return ""
    known = _source(folder)
    given, changes = str(known.get("recipe", "")), known.get("set", [])
    page.recipe = [listing("Recipe with all defaults", now, folded=True)]
    if not given:
        page.recipe_note = "The folder does not say which recipe this one was made from."
        return ""
    name = Path(given).stem
    options = [part for text in changes for part in ("--set", str(text))]
    command = without_secrets(shlex.join(["esen", "train", given, *options]))
    page.commands.append(("Train by the same recipe and changes", command))
    before = known.get("base") or _base_today(Path(given))
    if not isinstance(before, Mapping):
        page.recipe_note = f"{given} is no longer there, so nothing is known of the differences."
        return name
    keys = [key for key in dict.fromkeys((*now, *before)) if now.get(key) != before.get(key)]
    if keys:
        rows = [[key, now.get(key), before.get(key)] for key in keys]
        headings = ["key", "this run", f"base of {name}"]
        page.recipe = [sheet_of("Different from the base", headings, rows), *page.recipe]
    else:
        page.recipe_note = f"Nothing differs from {name}."
    return name


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
