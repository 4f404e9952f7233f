"""The recipes that come with esen, by name."""

import difflib
from pathlib import Path

from esen.errors import InputError

_PACKAGE = Path(__file__).parent


def recipe_folder() -> Path:
    """Where the shipped recipes lie: inside an installed package, or at the top of a checkout."""
    installed = _PACKAGE / "recipes"
    return installed if installed.is_dir() else _PACKAGE.parent / "recipes"


def shipped_recipes() -> dict[str, Path]:
    """Name and file of each, by name: `{"quickstart": …}`, and `folder/name` below."""
    folder = recipe_folder()
    files = sorted(folder.rglob("*.yaml"))
    return {file.relative_to(folder).with_suffix("").as_posix(): file for file in files}


def find_recipe(name: str) -> Path:
    """The file that a user means: a path, or the name of a shipped recipe.

    Raises:
        InputError: there is neither; with the nearest names.
    """
    path = Path(name)
    shipped = shipped_recipes()
    if path.is_file():
        return path
    if name.removesuffix(".yaml") in shipped:
        return shipped[name.removesuffix(".yaml")]
    if path.exists():  # a folder, a pipe: the loader says what it makes of it
        return path
    near = _nearest(path, list(shipped))
    hint = f"; did you mean {near}?" if near else ""
    raise InputError(f"{name}: there is no such recipe{hint} (`esen recipe list` shows what there is)")


def _nearest(path: Path, shipped: list[str]) -> str | None:
    """The file beside `path`, or the shipped recipe, whose name is most like it."""
    beside = {}
    if path.parent.is_dir():
        beside = {p.stem: str(p) for p in path.parent.iterdir() if p.suffix in {".yaml", ".yml"}}
    known = {name: name for name in shipped} | beside
    found = difflib.get_close_matches(path.stem, list(known), n=1)
    return known[found[0]] if found else None
