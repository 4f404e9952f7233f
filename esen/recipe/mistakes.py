"""Pydantic's errors, each as one line that says what to write instead."""

import difflib
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from esen.recipe.outline import Place, one_of, show_path
from esen.recipe.yaml12 import KeyPath, read_number

_SWITCH = {"on": "true", "yes": "true", "y": "true", "off": "false", "no": "false", "n": "false"}


@dataclass(frozen=True)
class Mistake:
    """Something wrong in a recipe.

    Attributes:
        path: which key.
        at: the key whose line to name: where `path` is missing, the section that should hold it; where a section is
            wrong as a whole, its key that `text` begins with.
        text: what is wrong, without the key.
        whole: it is the section as a whole that is wrong, so any key of it may be the cause.
    """

    path: KeyPath
    at: KeyPath
    text: str
    whole: bool = False


def find_mistakes(error: ValidationError, data: dict[str, Any], outline: Place) -> list[Mistake]:
    """Put each error of a recipe's validation into words, without repetition.

    Args:
        error: what pydantic said of `data`.
        data: the recipe as it was given.
        outline: what a recipe may hold.
    """
    mistakes = [_explain(detail, data, outline) for detail in error.errors(include_url=False)]
    return list(dict.fromkeys(m for m in mistakes if m is not None))


def nearest(word: str, known: list[str]) -> str | None:
    """The known word most like `word`, whatever its case, if any is.

    >>> nearest("Bacth", ["batch", "seed"])
    'batch'
    """
    lower = {k.lower(): k for k in known}
    found = difflib.get_close_matches(word.lower(), list(lower), n=1)
    return lower[found[0]] if found else None


def _explain(  # noqa: PLR0911  # one return a kind of error
    detail: ErrorDetails, data: dict[str, Any], outline: Place
) -> Mistake | None:
    path, section, place = _locate(detail["loc"], outline)
    value = _value_at(data, path)
    if _is_of_another_alternative(detail, value, place):
        return None
    match detail["type"]:
        case "extra_forbidden":
            return Mistake(path, path, _unknown_key(path, section, _value_at(data, path[:-1]), outline))
        case "missing":
            expected = place.describe() if place is not None else "a value"
            return Mistake(path, path[:-1], f"this key is missing; expected {expected}")
        case "value_error":
            text = str(detail["ctx"]["error"])
            return Mistake(path, _first_key(path, text, data), text, whole=True)
        case "too_short" if isinstance(value, list) and len(value) >= detail["ctx"]["min_length"]:
            return None  # pydantic counts only the good entries; the bad ones have errors of their own
        case "union_tag_not_found" if isinstance(value, dict) and "kind" not in value and place is not None:
            return Mistake(path, path, f"`kind` is missing; expected {one_of(place.words)}")
        case "union_tag_invalid" | "union_tag_not_found" if isinstance(value, dict) and place is not None:
            kind = (*path, "kind")
            return Mistake(kind, kind, _bad_word(value["kind"], place.words))
    if place is None:
        return Mistake(path, path, detail["msg"])
    if place.words and not place.is_section:
        return Mistake(path, path, _bad_word(value, place.words))
    return Mistake(path, path, f"given {_given(value)}, expected {place.describe()}{_remedy(value, place)}")


def _locate(loc: tuple[str | int, ...], outline: Place) -> tuple[KeyPath, Place, Place | None]:
    """Pydantic's location as a path of keys, with the section it lies in and the place itself, if any.

    Pydantic also names the kind of a union on the way: `("model", "radial", "gaussian", "count")`.
    """
    path: KeyPath = ()
    section, place = outline, outline
    for part in loc:
        if part in place.kinds and isinstance(part, str):
            place = place.kinds[part]
            continue
        chosen = next((c for c in place.choices if c.is_section and part == c.schema.get("title")), None)
        if chosen is not None:
            place = chosen
            continue
        if not (place.is_section or place.is_list):
            break  # the name of an alternative of a plain union
        path = (*path, part)
        child = place.child(part)
        if child is None:
            return path, place, None
        section, place = place, child
    return path, section, place


def _is_of_another_alternative(detail: ErrorDetails, value: Any, place: Place | None) -> bool:
    """Whether it is about a word where a section was given, or the reverse: the other alternative has its own error."""
    if place is None:
        return False
    if isinstance(value, dict):
        return len(place.choices) > 1 and any(c.words for c in place.choices) and not place.is_section
    return detail["type"] == "model_type" and detail["loc"][-1] == place.schema.get("title")


def _value_at(data: Any, path: KeyPath) -> Any:
    for part in path:
        if isinstance(data, dict):
            data = data.get(part)
        elif isinstance(data, list) and isinstance(part, int) and part < len(data):
            data = data[part]
        else:
            return None
    return data


def _first_key(path: KeyPath, text: str, data: Any) -> KeyPath:
    """The key of the section at `path` that a text begins with, such as `mmax is 3, …`; else the section."""
    key = (*path, *text.partition(" ")[0].split("."))
    return path if _value_at(data, key) is None else key


def _unknown_key(path: KeyPath, section: Place, data: Any, outline: Place) -> str:
    key = str(path[-1])
    kind = data.get("kind") if isinstance(data, dict) else None
    union = _union_around(path, outline)
    others = [name for name, other in union.kinds.items() if key in other.keys] if union is not None else []
    if others:
        return f"no such key for kind {kind!r}; it belongs to kind {one_of(others)}"
    elsewhere = [show_path(p) for p in outline.places_of(key)]
    near = nearest(key, section.keys)
    hints = [f"did you mean {near!r}?"] if near else []
    if elsewhere:
        hints.append(f"{key!r} belongs to {' or '.join(elsewhere[:3])}")
    keys = f"(keys here: {', '.join(section.keys)})" if section.keys else "(this section has no keys)"
    return f"no such key{' here' if elsewhere else ''}; {' '.join([*hints, keys])}"


def _union_around(path: KeyPath, outline: Place) -> Place | None:
    place: Place | None = outline
    for part in path[:-1]:
        place = place.child(part) if place is not None else None
    return place


def _bad_word(value: Any, words: list[str]) -> str:
    if not isinstance(value, str):
        return f"given {_given(value)}, expected {one_of(words)}"
    near = nearest(value, words) if len(words) > 1 else None
    hint = f"; did you mean {near!r}?" if near else ""
    return f"{_cut(repr(value))} is not a choice here; expected {one_of(words)}{hint}"


def _given(value: Any) -> str:
    """What was given, and of which type."""
    if value is None:
        return "nothing (null)"
    if isinstance(value, bool):
        return f"{str(value).lower()} (true or false)"
    if isinstance(value, list):
        return f"a list of {len(value)}" if value else "an empty list"
    types = {str: "text", int: "a whole number", float: "a number"}
    return f"{_cut(repr(value))} ({types[type(value)]})" if type(value) in types else "a section"


def _remedy(value: Any, place: Place) -> str:  # noqa: PLR0911  # one return a remedy
    """What to write instead, where it can be told."""
    kinds = {p.inner.schema.get("type") for p in place.choices}
    numeric = kinds & {"integer", "number"}
    if numeric and isinstance(value, str):
        return _number_from_text(value)
    if numeric and isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        fits = "number" not in kinds and value % place.inner.schema.get("multipleOf", 1) == 0
        return f"; write {int(value)}" if fits else ""
    if "boolean" in kinds and isinstance(value, str) and value.lower() in _SWITCH:
        return f"; write {_SWITCH[value.lower()]}"
    if isinstance(value, str) and place.kinds:
        near = nearest(value, list(place.kinds))
        return (
            f"; write {{kind: {value}}}"
            if value == near
            else f"; did you mean {{kind: {near}}}?"
            if near
            else ""
        )
    words = [word for choice in place.choices for word in choice.words] if len(place.choices) > 1 else []
    if isinstance(value, str) and (near := nearest(value, words)):
        return f"; did you mean {near!r}?"
    if "string" in kinds and isinstance(value, bool | int | float):
        return "; put quotes around it"
    if place.is_list and value is not None and not isinstance(value, list):
        return "; write a list, each entry on a line of its own that begins with '- '"
    if place.is_section and value is None:
        return "; give at least one key, or remove the line to have the defaults"
    if place.is_section and isinstance(value, str) and len(place.required) == 1:
        return f"; write {{{place.required[0]}: {_cut(value)}}}"
    return ""


def _number_from_text(text: str) -> str:
    """Text where a number is expected: most often a number in quotes."""
    try:
        read_number(text.strip())
    except ValueError:
        pass
    else:
        return f"; remove the quotes: {text.strip()}"
    try:
        return f"; write {read_number(text.strip().replace('_', ''))}"
    except ValueError:
        return ""


def _cut(text: str, width: int = 60) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"
