"""Pydantic's errors, each as one line that says what to write instead."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from esen.recipe.document import KeyPath, cut, plain_scalar
from esen.recipe.place import Place, one_of, places_of, recipe_place, show_path

_SWITCH = {"on": "true", "yes": "true", "y": "true", "off": "false", "no": "false", "n": "false"}
_MOST = 1000
"""Errors that are put into words; a file of another kind can have any number."""


@dataclass(frozen=True)
class Mistake:
    """A mistake in a recipe.

    Attributes:
        path: the key.
        at: the key whose line is named: the section if `path` is missing; if a section is wrong as a whole, the key
            that `text` begins with.
        text: what is wrong, without the key.
        whole: the section is wrong as a whole, so that any of its keys may be the cause.
    """

    path: KeyPath
    at: KeyPath
    text: str
    whole: bool = False


def find_mistakes(error: ValidationError, data: dict[str, Any]) -> list[Mistake]:
    """Put the errors of a recipe's validation into words, without repetition.

    Args:
        error: what pydantic raised for `data`.
        data: the recipe as it was given.
    """
    mistakes = [_explain(detail, data) for detail in error.errors(include_url=False)[:_MOST]]
    return list(dict.fromkeys(m for m in mistakes if m is not None))


def nearest(word: str, known: Sequence[str]) -> str | None:
    """The known word most like `word`, in any case of letters; None: there is none like it.

    >>> nearest("Bacth", ["batch", "seed"])
    'batch'
    """
    lower = {k.lower(): k for k in known}
    found = difflib.get_close_matches(word.lower(), list(lower), n=1)
    return lower[found[0]] if found else None


def _explain(  # noqa: PLR0911  # one return per kind of error
    detail: ErrorDetails, data: dict[str, Any]
) -> Mistake | None:
    path, section, place, value = _locate(detail["loc"], data)
    if place is None:
        return Mistake(path, path, _unknown_key(path, section, detail))
    match detail["type"]:
        case "missing":
            return Mistake(path, path[:-1], f"this key is missing; expected {place.describe()}")
        case "value_error":
            text = str(detail["ctx"]["error"])
            return Mistake(path, _first_key(path, text, value), text, whole=True)
        case "too_short" if len(value) >= detail["ctx"]["min_length"]:
            return None  # pydantic counts only the good entries; the bad ones have errors of their own
        case "literal_error" if isinstance(value, dict) and place.of_type("object"):
            return None  # a section was given; the errors in it are told
        case "union_tag_not_found" | "union_tag_invalid" if isinstance(value, dict):
            if "kind" not in value:
                return Mistake(path, path, f"`kind` is missing; expected {one_of(place.words)}")
            path, value, place = (*path, "kind"), value["kind"], Place([{"enum": place.words}])
    expected = place.describe()
    if isinstance(value, str) and {one.get("type", "string") for one in place.alternatives} == {"string"}:
        said = f"{cut(repr(value))} is not a choice here; expected {expected}"
    else:
        said = f"given {_given(value)}, expected {expected}"
    return Mistake(path, path, said + _remedy(value, place))


def _locate(loc: tuple[str | int, ...], data: Any) -> tuple[KeyPath, Place, Place | None, Any]:
    """The path that pydantic's location stands for, the section around it, its place, and the value there.

    Pydantic also names the alternative of a union on the way, as in `("model", "radial", "gaussian", "count")`. Such a
    name is neither a key of the section nor in the data.
    """
    path: KeyPath = ()
    section, place, value = recipe_place(), recipe_place(), data
    for number, part in enumerate(loc):
        kind = value.get("kind") if isinstance(value, dict) else None
        child = place.child(part, kind)
        given = (
            part in value
            if isinstance(value, dict)
            else isinstance(value, list) and part in range(len(value))
        )
        last = number == len(loc) - 1
        if not given and (child is None or not last):
            continue
        path, section, value = (*path, part), place, value[part] if given else None
        if child is None:
            return path, section, None, value
        place = child
    return path, section, place, value


def _first_key(path: KeyPath, text: str, value: Any) -> KeyPath:
    """The key that a text begins with, such as `mmax is 3, …`, if the section at `path` has it; else the section."""
    key = text.partition(" ")[0].split(".")
    for part in key:
        value = value.get(part) if isinstance(value, dict) else None
    return path if value is None else (*path, *key)


def _unknown_key(path: KeyPath, section: Place, detail: ErrorDetails) -> str:
    key = str(path[-1])
    others = [name for name, other in section.kinds.items() if key in other.keys]
    kind = detail["loc"][-2] if len(detail["loc"]) > 1 else None
    if others:
        return f"no such key for kind {kind!r}; it belongs to kind {one_of(others)}"
    if kind in section.kinds:
        section = section.kinds[str(kind)]
    elsewhere = [show_path(p) for p in places_of(key)]
    near = nearest(key, section.keys)
    hints = [f"did you mean {near!r}?"] if near else []
    if elsewhere:
        hints.append(f"{key!r} belongs to {' or '.join(elsewhere[:3])}")
    keys = f"(keys here: {', '.join(section.keys)})" if section.keys else "(this section has no keys)"
    return f"no such key{' here' if elsewhere else ''}; {' '.join([*hints, keys])}"


def _given(value: Any) -> str:
    """What was given, and of which type."""
    if value is None:
        return "nothing (null)"
    if isinstance(value, bool):
        return f"{str(value).lower()} (true or false)"
    if isinstance(value, list):
        return f"a list of {len(value)}" if value else "an empty list"
    types = {str: "text", int: "a whole number", float: "a number"}
    return f"{cut(repr(value))} ({types[type(value)]})" if type(value) in types else "a section"


def _remedy(value: Any, place: Place) -> str:
    """What to write instead, where it can be told."""
    types = {str(one.get("type")) for one in place.alternatives}
    if isinstance(value, str):
        return _instead_of_text(value, place, types)
    whole = place.of_type("integer")
    if whole and isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return f"; write {int(value)}" if value % whole.get("multipleOf", 1) == 0 else ""
    if "string" in types and not place.words and isinstance(value, bool | int | float):
        return "; put quotes around it"
    if "object" in types and value is None:
        return "; give at least one key, or remove the line to have the defaults"
    return ""


def _instead_of_text(text: str, place: Place, types: set[str]) -> str:
    number = plain_scalar(text.strip().replace("_", ""))
    if types & {"integer", "number"} and type(number) in {int, float}:
        return f"; write {number}, without quotes"
    if "boolean" in types and text.lower() in _SWITCH:
        return f"; write {_SWITCH[text.lower()]}"
    if near := nearest(text, place.words):
        shown = f"{{kind: {near}}}" if place.kinds else repr(near)
        return f"; write {shown}" if near == text else f"; did you mean {shown}?"
    if "array" in types:
        return "; write a list, each entry on a line of its own that begins with '- '"
    required = [key for one in place.alternatives for key in one.get("required", ())]
    return f"; write {{{required[0]}: {cut(text)}}}" if len(required) == 1 and not place.words else ""
