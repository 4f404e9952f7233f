"""The recipes that come with esen, by name."""

import os
from pathlib import Path

from esen.recipe.mistakes import nearest

_INSTALLED = Path(__file__).parent / "shipped"
_CHECKOUT = Path(__file__).parents[2] / "recipes"
_STUDY = "study"
"""How the names of files end that hold studies; the other YAML files are recipes."""


def recipe_folder() -> Path:
    """The folder of the shipped recipes: inside an installed package, or at the top of a checkout."""
    return _INSTALLED if _INSTALLED.is_dir() else _CHECKOUT


def shipped_recipes() -> dict[str, Path]:
    """Every shipped recipe by name: `quickstart`, or `folder/name`."""
    return {name: file for name, file in _shipped().items() if not file.stem.endswith(_STUDY)}


def shipped_studies() -> dict[str, Path]:
    """Every shipped study by name: `study`, or `folder/name`."""
    return {name: file for name, file in _shipped().items() if file.stem.endswith(_STUDY)}


def _shipped() -> dict[str, Path]:
    """Every shipped YAML file by name; files among the data are left out."""
    folder = recipe_folder()
    data = folder / "data"
    files = [file for file in sorted(folder.rglob("*.yaml")) if data not in file.parents]
    return {file.relative_to(folder).with_suffix("").as_posix(): file for file in files}


def find_recipe(name: str, folder: Path = Path()) -> Path:
    """The file that a user means by a path, or by the name of a shipped recipe; a file of the user comes first.

    Args:
        name: what the user wrote.
        folder: where a relative path starts.
    """
    return _find(name, folder, shipped_recipes())


def find_study(name: str) -> Path:
    """The file that a user means by a path, or by the name of a shipped study; a file of the user comes first."""
    return _find(name, Path(), shipped_studies())


def _find(name: str, folder: Path, known: dict[str, Path]) -> Path:
    path = folder / name
    # Path.is_file raises OSError for a name that is too long
    there = os.path.isfile(path)  # noqa: PTH113
    shipped = None if there else known.get(name.removesuffix(".yaml"))
    return path if shipped is None else shipped


def no_such_recipe(path: Path) -> str:
    """The message for a recipe that is not there, with the nearest name beside it or among the shipped ones."""
    known = {name.rpartition("/")[2]: name for name in _shipped()}
    if os.path.isdir(path.parent):  # noqa: PTH112  # as above
        beside = [file for file in path.parent.iterdir() if file.suffix in {".yaml", ".yml"}]
        known |= {file.stem: str(file) for file in beside}
    near = nearest(path.stem, list(known))
    hint = f"; did you mean {known[near]}?" if near else ""
    return f"{path}: there is no such recipe or study{hint} (`esen recipe list` shows what comes with esen)"
