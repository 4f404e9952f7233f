"""What may stand where in a recipe or a study: its JSON Schema, walked key by key and put into words.

A place is a list of alternatives: the JSON Schemas of everything that may stand there, with references followed and
unions taken apart.
"""

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

from esen.recipe.base import Spec
from esen.recipe.document import KeyPath
from esen.recipe.recipe import Recipe

Schema = dict[str, Any]
Place = list[Schema]

_DEFINITIONS: dict[str, Schema] = {}
"""What references lead to, by name, of all schemas that were asked for."""


@cache
def schema_of(model: type[Spec]) -> Schema:
    """The JSON Schema of a kind of file: a recipe or a study."""
    schema = model.model_json_schema()
    _DEFINITIONS.update(schema["$defs"])
    return schema


def recipe_schema() -> Schema:
    """The JSON Schema of a recipe."""
    return schema_of(Recipe)


def alternatives(schema: Schema) -> Place:
    """The place that a part of the schema describes."""
    if "$ref" in schema:
        return alternatives(_DEFINITIONS[schema["$ref"].rpartition("/")[2]])
    members = schema.get("oneOf", schema.get("anyOf"))
    return [schema] if members is None else [one for member in members for one in alternatives(member)]


def keys(place: Place) -> list[str]:
    """The keys of a section, of every kind."""
    return list(dict.fromkeys(key for one in place for key in one.get("properties", {})))


def kinds(place: Place) -> dict[str, Place]:
    """The sections that `kind` chooses from; the first is the default. None where `kind` is a word like any other."""
    found = [(one.get("properties", {}).get("kind", {}).get("const"), one) for one in place]
    return {kind: [one] for kind, one in found if kind is not None}


def words(place: Place) -> list[str]:
    """The words that may stand here, or that the `kind` of a section here may be."""
    return list(kinds(place)) or [
        word for one in place for word in one.get("enum", [one.get("const")]) if word
    ]


def of_type(place: Place, name: str) -> Schema | None:
    """The alternative of a type of JSON, such as `array`; None: there is no such alternative."""
    return next((one for one in place if one.get("type") == name), None)


def child(place: Place, part: str | int, kind: object = None) -> Place:
    """What stands at a key of the section (of this `kind`, if it has kinds), or in an entry of the list."""
    chosen = kinds(place).get(kind, place) if isinstance(kind, str) else place
    schemas = (
        one.get("items") if isinstance(part, int) else one.get("properties", {}).get(part) or _any_key(one)
        for one in chosen
    )
    return next((alternatives(schema) for schema in schemas if schema is not None), [])


@cache
def places_of(key: str, model: type[Spec] = Recipe) -> list[KeyPath]:
    """Every path of a file that ends with this key; an entry of a list has the index 0."""
    return [path for path in _paths([schema_of(model)], ()) if path[-1] == key]


def describe(place: Place) -> str:
    """What is expected here, in words: `a number greater than 0`."""
    section = f"a section with `kind`: {one_of(list(kinds(place)))}" if kinds(place) else ""
    said = [section if section and one["type"] == "object" else _describe(one) for one in place]
    return " or ".join(dict.fromkeys(said))


def one_of(words: Sequence[object]) -> str:
    """`'a'`, or `'a', 'b' or 'c'`.

    >>> print(one_of(["gaussian", "bessel"]))
    'gaussian' or 'bessel'
    """
    *most, last = [repr(word) for word in words]
    return f"{', '.join(most)} or {last}" if most else last


def show_path(path: KeyPath) -> str:
    """Write a path as messages do.

    >>> show_path(("data", "train", 0, "path"))
    'data.train[0].path'
    """
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".")


def _any_key(schema: Schema) -> Schema | None:
    """What stands at the keys of a section whose keys are the user's names."""
    found = schema.get("additionalProperties")
    return found if isinstance(found, dict) else None


def _paths(place: Place, prefix: KeyPath) -> Iterator[KeyPath]:
    parts: list[str | int] = [*keys(place), 0]
    for part in parts:
        if below := child(place, part):
            yield (*prefix, part)
            yield from _paths(below, (*prefix, part))


def _describe(schema: Schema) -> str:
    if choices := words([schema]):
        return one_of(choices)
    kind: str = schema.get("type", "any value")
    limits = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    bounds = ", ".join(f"{sign} {schema[name]:g}" for name, sign in limits.items() if name in schema)
    inside = ", ".join(keys([schema]))
    if _any_key(schema) is not None or schema.get("additionalProperties") is True:
        return "a section with keys of your own"
    said = {
        "integer": f"{'an even' if schema.get('multipleOf') == 2 else 'a'} whole number {bounds}",
        "number": f"a number {bounds}",
        "string": "text",
        "boolean": "true or false",
        "array": "a list with at least one entry" if schema.get("minItems") else "a list",
        "object": f"a section (keys: {inside})" if inside else "a section without keys, {}",
    }
    return said.get(kind, kind).strip()
