"""`--set a.b=c`: a key of a recipe, given on the command line."""

import re
from dataclasses import dataclass
from typing import Any

from esen.errors import InputError
from esen.recipe.document import KeyPath, parse_value
from esen.recipe.place import Place, recipe_place, show_path


@dataclass(frozen=True)
class Override:
    """One `--set`.

    Attributes:
        text: the argument, for messages.
        parts: the dotted key, divided.
        value: what it is set to.
    """

    text: str
    parts: tuple[str, ...]
    value: Any

    @property
    def label(self) -> str:
        """What messages begin with."""
        return f"--set {self.text}"


def parse_override(text: str) -> Override:
    """Divide `a.b=c` into a key and a value. `stages.0.epochs` and `stages[0].epochs` are the same.

    Raises:
        InputError: there is no key or no `=`, or the value is not YAML.

    >>> parse_override("train.stages[0].epochs=3")
    Override(text='train.stages[0].epochs=3', parts=('train', 'stages', '0', 'epochs'), value=3)
    """
    key, equals, value = text.partition("=")
    parts = tuple(re.sub(r"\[(\d+)\]", r".\1", key.strip()).split("."))
    if not equals or not all(parts):
        raise InputError(f"--set {text}: expected KEY=VALUE, such as model.lmax=3")
    return Override(text, parts, parse_value(value, f"--set {text}"))


def apply_override(data: dict[str, Any], override: Override) -> KeyPath:
    """Set one key of a recipe's data, in place, and return its path.

    Missing sections on the way are made, of their default kind. Where a `kind` changes, the keys that only other kinds
    have are dropped.

    Raises:
        InputError: the path goes through something that is neither a section nor a list, or beyond the end of a list.
    """
    node: Any = data
    place: Place | None = recipe_place()
    path: KeyPath = ()
    for part in override.parts:
        section, key = node, _step(node, part, path, override)
        path = (*path, key)
        if len(path) == len(override.parts):
            break
        kind = section.get("kind") if isinstance(section, dict) else None
        place = place.child(key, kind) if place is not None else None
        if section[key] is None:
            section[key] = _empty(place)
        node = section[key]
    section[key] = override.value
    if key == "kind" and place is not None and override.value in list(place.kinds):
        for other in set(place.keys) - set(place.kinds[override.value].keys):
            section.pop(other, None)
    return path


def _step(node: Any, part: str, path: KeyPath, override: Override) -> str | int:
    """The key or index of the next step, at which `node` now holds at least null."""
    here = show_path(path)
    if isinstance(node, dict):
        node.setdefault(part, None)
        return part
    if not isinstance(node, list):
        raise InputError(f"{override.label}: {here} is a value, not a section, so it has no key {part!r}")
    if not (part.isascii() and part.isdigit()):
        raise InputError(f"{override.label}: {here} is a list; expected a number after it, such as {here}.0")
    index = int(part) if len(part) < 10 else len(node) + 1
    if index > len(node):
        count = f"{len(node)} {'entry' if len(node) == 1 else 'entries'}"
        raise InputError(f"{override.label}: {here} has {count}, counted from 0; there is no entry {part}")
    if index == len(node):  # one past the end adds an entry
        node.append(None)
    return index


def _empty(place: Place | None) -> list[Any] | dict[str, Any]:
    """The section or list that a path goes through and that the recipe does not have yet."""
    if place is not None and place.of_type("array"):
        return []
    return {"kind": place.default_kind} if place is not None and place.default_kind else {}
