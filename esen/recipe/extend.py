"""`extends: base.yaml`: a recipe that states only what differs from another."""

import os
from pathlib import Path
from typing import Any

from esen.recipe.recipe import Recipe


def merged(base: Any, child: Any) -> Any:
    """The child's value where it has one, section by section; lists and sections of another `kind` replace the base's.

    >>> merged({"a": {"kind": "x", "n": 1}, "b": {"c": 1, "d": 2}}, {"a": {"kind": "y"}, "b": {"c": 3}})
    {'a': {'kind': 'y'}, 'b': {'c': 3, 'd': 2}}
    """
    if not (isinstance(base, dict) and isinstance(child, dict)):
        return child
    if "kind" in child and child["kind"] != base.get("kind"):
        return child
    return base | {key: merged(base[key], value) if key in base else value for key, value in child.items()}


def as_seen_from(recipe: Recipe, folder: Path, other: Path) -> dict[str, Any]:
    """A recipe's data with its relative data paths rewritten so that they hold in another folder.

    Args:
        recipe: whose relative paths start at `folder`.
        folder: of the recipe.
        other: of the one that extends it.
    """
    data: dict[str, Any] = recipe.model_dump(mode="json", exclude_unset=True)
    if folder.absolute() != other.absolute():
        away = os.path.relpath(folder.absolute(), other.absolute())
        for sources in ("train", "validation", "test"):
            for source in data["data"].get(sources, ()):
                if not Path(source["path"]).expanduser().is_absolute():
                    source["path"] = str(Path(away) / source["path"])
        references = data["data"].get("references")
        if isinstance(references, dict) and not Path(references["file"]).expanduser().is_absolute():
            references["file"] = str(Path(away) / references["file"])
        start = data["train"].get("init_from")
        if start is not None and not Path(start).expanduser().is_absolute():
            data["train"]["init_from"] = str(Path(away) / start)
    return data
