"""`--set a.b=c`: a key of a recipe, given on the command line."""

import re
from dataclasses import dataclass
from typing import Any

from esen.errors import InputError
from esen.recipe import schema
from esen.recipe.document import KeyPath, cut, parse_value
from esen.recipe.schema import Place, show_path

_LONGEST_LABEL = 200
"""Characters of a `--set` that are shown."""


@dataclass(frozen=True)
class Override:
    """One `--set`.

    Attributes:
        label: the option with its argument, for messages.
        parts: the dotted key, divided.
        value: what it is set to.
    """

    label: str
    parts: tuple[str, ...]
    value: Any


def parse_override(text: str) -> Override:
    """Divide `a.b=c` into a key and a value. `stages.0.epochs` and `stages[0].epochs` are the same.

    Raises:
        InputError: there is no key or no `=`, or the value is not YAML.

    >>> parse_override("train.stages[0].epochs=3").parts
    ('train', 'stages', '0', 'epochs')
    """
    key, equals, value = text.partition("=")
    parts = parts_of(key)
    label = f"--set {cut(text, _LONGEST_LABEL)}"
    if not equals or not all(parts):
        raise InputError(f"{label}: expected KEY=VALUE, such as model.lmax=3")
    return Override(label, parts, parse_value(value, label))


def parts_of(key: str) -> tuple[str, ...]:
    """Divide a dotted key; `stages[0]` is `stages.0`."""
    return tuple(re.sub(r"\[(\d+)\]", r".\1", key.strip()).split("."))


def apply_override(data: dict[str, Any], override: Override) -> KeyPath:
    """Set one key of a recipe's data, in place, and return its path.

    Missing sections on the way are made, of their default kind. Where a `kind` changes, the keys that only other kinds
    have are dropped.

    Raises:
        InputError: the path goes through something that is neither a section nor a list, or beyond the end of a list.
    """
    node: Any = data
    place: Place = [schema.recipe_schema()]
    path: KeyPath = ()
    for part in override.parts[:-1]:
        key = _step(node, part, path, override.label)
        path = (*path, key)
        place = schema.child(place, key, node.get("kind") if isinstance(node, dict) else None)
        if node[key] is None:
            kind = next(iter(schema.kinds(place)), None)
            node[key] = [] if schema.of_type(place, "array") else {"kind": kind} if kind else {}
        node = node[key]
    key = _step(node, override.parts[-1], path, override.label)
    node[key] = override.value
    if key == "kind" and isinstance(override.value, str) and override.value in schema.kinds(place):
        for other in set(schema.keys(place)) - set(schema.keys(schema.kinds(place)[override.value])):
            node.pop(other, None)
    return (*path, key)


def _step(node: Any, part: str, path: KeyPath, label: str) -> str | int:
    """The key or index of the next step, at which `node` now holds at least null."""
    here = show_path(path)
    if isinstance(node, dict):
        node.setdefault(part, None)
        return part
    if not isinstance(node, list):
        raise InputError(f"{label}: {here} is a value, not a section, so it has no key {part!r}")
    if not (part.isascii() and part.isdigit()):
        raise InputError(f"{label}: {here} is a list; expected a number after it, such as {here}.0")
    if part not in map(str, range(len(node) + 1)):
        count = f"{len(node)} {'entry' if len(node) == 1 else 'entries'}"
        raise InputError(f"{label}: {here} has {count}, counted from 0; there is no entry {part}")
    if int(part) == len(node):  # one past the end adds an entry
        node.append(None)
    return int(part)
