"""`--set a.b=c`: a key of a recipe, given on the command line."""

import re
from dataclasses import dataclass
from typing import Any

from esen.errors import InputError
from esen.recipe.outline import Place, show_path
from esen.recipe.yaml12 import KeyPath, parse_value


@dataclass(frozen=True)
class Override:
    """One `--set`.

    Attributes:
        text: as it was given, for messages.
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
        InputError: there is no key or no `=`, or the value is no YAML.

    >>> parse_override("train.stages[0].epochs=3")
    Override(text='train.stages[0].epochs=3', parts=('train', 'stages', '0', 'epochs'), value=3)
    """
    key, equals, value = text.partition("=")
    parts = tuple(re.sub(r"\[(\d+)\]", r".\1", key.strip()).split("."))
    if not equals or not all(parts):
        raise InputError(f"--set {text}: expected KEY=VALUE, such as model.lmax=3")
    return Override(text, parts, parse_value(value, f"--set {text}"))


def apply_override(data: dict[str, Any], override: Override, outline: Place) -> KeyPath:
    """Set one key of a recipe's data, in place, and return its path.

    Sections on the way are made where they are missing, of their default kind. Where a `kind` changes, the
    keys that only other kinds have are dropped.

    Raises:
        InputError: the path goes through something that is neither a section nor a list, or beyond its end.
    """
    node: Any = data
    place: Place | None = outline
    path: KeyPath = ()
    for part in override.parts[:-1]:
        key = _key(node, part, path, override)
        path = (*path, key)
        place = place.child(key, _kind(node)) if place is not None else None
        if _get(node, key) is None:
            _put(node, key, _empty(place))
        node = _get(node, key)
    key = _key(node, override.parts[-1], path, override)
    if key == "kind" and place is not None and isinstance(override.value, str):
        _drop_keys_of_other_kinds(node, place, override.value)
    _put(node, key, override.value)
    return (*path, key)


def _key(node: Any, part: str, path: KeyPath, override: Override) -> str | int:
    """The next step of the path: a key of a section, or the number of a list's entry."""
    here = show_path(path)
    if isinstance(node, dict):
        return part
    if not isinstance(node, list):
        raise InputError(f"{override.label}: {here} is a value, not a section, so it has no key {part!r}")
    if not (part.isascii() and part.isdigit()):
        raise InputError(f"{override.label}: {here} is a list; expected a number after it, such as {here}.0")
    index = int(part) if len(part) < 10 else len(node) + 1
    if index > len(node):  # one past the end adds an entry
        count = f"{len(node)} {'entry' if len(node) == 1 else 'entries'}"
        raise InputError(f"{override.label}: {here} has {count}, counted from 0; there is no entry {part}")
    return index


def _kind(node: Any) -> object:
    return node.get("kind") if isinstance(node, dict) else None


def _get(node: Any, key: str | int) -> Any:
    if isinstance(node, list) and isinstance(key, int):
        return node[key] if key < len(node) else None
    return node.get(key)


def _put(node: Any, key: str | int, value: Any) -> None:
    if isinstance(node, list) and key == len(node):
        node.append(value)
    else:
        node[key] = value


def _empty(place: Place | None) -> list[Any] | dict[str, Any]:
    """The section or list that a path goes through and the recipe does not have yet."""
    if place is None:
        return {}
    if place.is_list:
        return []
    return {"kind": place.default_kind} if place.kinds and place.default_kind else {}


def _drop_keys_of_other_kinds(node: Any, place: Place, kind: str) -> None:
    if isinstance(node, dict) and kind in place.kinds:
        for key in set(place.keys) - set(place.kinds[kind].keys):
            node.pop(key, None)
