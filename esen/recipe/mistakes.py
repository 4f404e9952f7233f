"""Pydantic's errors, each as one line that says what to write instead."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from esen.recipe import schema
from esen.recipe.base import Spec
from esen.recipe.document import KeyPath, cut, plain_scalar
from esen.recipe.recipe import Recipe
from esen.recipe.schema import Place, one_of, show_path

_SWITCH = {"on": "true", "yes": "true", "y": "true", "off": "false", "no": "false", "n": "false"}
_TYPES = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}
_MOST = 1000
"""Errors that are put into words; a file of another kind can have any number."""


@dataclass(frozen=True)
class Mistake:
    """A mistake in a recipe.

    Attributes:
        path: the key.
        text: what is wrong, without the key.
        at: the key whose line is named: the section if `path` is missing; if a section is wrong as a whole, the key
            that `text` begins with.
        whole: the section is wrong as a whole, so that any of its keys may be the cause.
    """

    path: KeyPath
    text: str
    at: KeyPath
    whole: bool = False


def find_mistakes(error: ValidationError, data: dict[str, Any], model: type[Spec] = Recipe) -> list[Mistake]:
    """Put the errors of a validation into words, without repetition.

    Args:
        error: what pydantic raised for `data`.
        data: the recipe or study as it was given.
        model: what `data` should be.
    """
    mistakes = [_explain(detail, data, model) for detail in error.errors(include_url=False)[:_MOST]]
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
    detail: ErrorDetails, data: dict[str, Any], model: type[Spec]
) -> Mistake | None:
    path, section, place, value = _locate(detail["loc"], data, model)
    match detail["type"]:
        case "extra_forbidden":
            return Mistake(path, _unknown_key(str(path[-1]), section, detail["loc"], model), path)
        case "missing":
            return Mistake(path, f"this key is missing; expected {schema.describe(place)}", path[:-1])
        case "value_error":
            text = str(detail["ctx"]["error"])
            return Mistake(path, text, _first_key(path, text, value), whole=True)
        case "too_short" if len(value) >= detail["ctx"]["min_length"]:
            return None  # pydantic counts only the good entries; the bad ones have errors of their own
        case "literal_error" if isinstance(value, dict) and schema.of_type(place, "object"):
            return None  # a section was given, which has errors of its own
        case "union_tag_not_found" if isinstance(value, dict) and "kind" not in value:
            return Mistake(path, f"`kind` is missing; expected {one_of(schema.words(place))}", path)
        case "union_tag_not_found" | "union_tag_invalid" if isinstance(value, dict):
            path, value, place = (*path, "kind"), value["kind"], [{"enum": schema.words(place)}]
    chosen = (
        isinstance(value, str)
        and schema.words(place)
        and {one.get("type", "string") for one in place} == {"string"}
    )
    given = f"{cut(repr(value))} is not a choice here;" if chosen else f"given {_given(value)},"
    return Mistake(path, f"{given} expected {schema.describe(place)}{_remedy(value, place)}", path)


def _locate(loc: tuple[str | int, ...], data: Any, model: type[Spec]) -> tuple[KeyPath, Place, Place, Any]:
    """The path that pydantic's location stands for, the section around it, its place, and the value there.

    Pydantic also names the alternative of a union on the way, as in `("model", "radial", "gaussian", "count")`. Such a
    name is neither a key of the section nor in the data.
    """
    path: KeyPath = ()
    place = section = [schema.schema_of(model)]
    value = data
    for number, part in enumerate(loc):
        child = schema.child(place, part, value.get("kind") if isinstance(value, dict) else None)
        given = (
            part in value if isinstance(value, dict) else isinstance(value, list) and isinstance(part, int)
        )
        if given or (child and number == len(loc) - 1):
            path, section, place, value = (*path, part), place, child, value[part] if given else None
    return path, section, place, value


def _first_key(path: KeyPath, text: str, value: Any) -> KeyPath:
    """The key that a text begins with, such as `mmax is 3, …`, if the section at `path` has it; else the section."""
    key = text.partition(" ")[0].split(".")
    for part in key:
        value = value.get(part) if isinstance(value, dict) else None
    return path if value is None else (*path, *key)


def _unknown_key(key: str, section: Place, loc: tuple[str | int, ...], model: type[Spec]) -> str:
    kinds = schema.kinds(section)
    if others := [kind for kind, other in kinds.items() if key in schema.keys(other)]:
        return f"no such key for kind {loc[-2]!r}; it belongs to kind {one_of(others)}"
    keys = schema.keys(kinds[str(loc[-2])] if kinds else section)
    near, elsewhere = nearest(key, keys), [show_path(path) for path in schema.places_of(key, model)]
    hints = [f"did you mean {near!r}?"] if near else []
    if elsewhere:
        hints.append(f"{key!r} belongs to {' or '.join(elsewhere[:3])}")
    there = f"(keys here: {', '.join(keys)})" if keys else "(this section has no keys)"
    return f"no such key{' here' if elsewhere else ''}; {' '.join([*hints, there])}"


def _given(value: Any) -> str:
    """What was given, and of which type."""
    if value is None:
        return "nothing (null)"
    if isinstance(value, list):
        return f"a list of {len(value)}" if value else "an empty list"
    if isinstance(value, dict):
        return "a section"
    shown = str(value).lower() if isinstance(value, bool) else cut(repr(value))
    return f"{shown} ({_TYPES[type(value)]})"


def _remedy(value: Any, place: Place) -> str:
    """What to write instead, where it can be told."""
    if isinstance(value, str):
        return _instead_of_text(value, place)
    whole = schema.of_type(place, "integer")
    if whole and isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return f"; write {int(value)}" if value % whole.get("multipleOf", 1) == 0 else ""
    if schema.of_type(place, "string") and not schema.words(place) and isinstance(value, bool | int | float):
        return "; put quotes around it"
    if schema.of_type(place, "object") and value is None:
        return "; give at least one key, or remove the line to have the defaults"
    return ""


def _instead_of_text(text: str, place: Place) -> str:
    number = plain_scalar(text.strip().replace("_", ""))
    if (schema.of_type(place, "integer") or schema.of_type(place, "number")) and type(number) in {int, float}:
        return f"; write {number}, without quotes"
    if schema.of_type(place, "boolean") and text.lower() in _SWITCH:
        return f"; write {_SWITCH[text.lower()]}"
    if near := nearest(text, schema.words(place)):
        shown = f"{{kind: {near}}}" if schema.kinds(place) else repr(near)
        return f"; write {shown}" if near == text else f"; did you mean {shown}?"
    if schema.of_type(place, "array"):
        return "; write a list, each entry on a line of its own that begins with '- '"
    required = [key for one in place for key in one.get("required", ())]
    return f"; write {{{required[0]}: {cut(text)}}}" if len(required) == 1 and not schema.words(place) else ""
