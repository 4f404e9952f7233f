"""What may stand where in a recipe: its JSON Schema, walked key by key and put into words."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from esen.recipe.document import KeyPath
from esen.recipe.recipe import Recipe

Schema = dict[str, Any]


@cache
def recipe_schema() -> Schema:
    """The JSON Schema of a recipe."""
    return Recipe.model_json_schema()


@dataclass(frozen=True, eq=False)
class Place:
    """One place in a recipe.

    Attributes:
        alternatives: schemas of everything that may stand here, unions taken apart and references followed.
        default: what stands here if the recipe does not say.
    """

    alternatives: list[Schema]
    default: Any = None

    @property
    def keys(self) -> list[str]:
        """The keys of a section, of every kind."""
        return list(dict.fromkeys(key for one in self.alternatives for key in one.get("properties", {})))

    @property
    def kinds(self) -> "dict[str, Place]":
        """The sections that `kind` chooses from."""
        named = {
            one["properties"]["kind"]["const"]: Place([one])
            for one in self.alternatives
            if "kind" in one.get("properties", {})
        }
        return dict(sorted(named.items()))

    @property
    def words(self) -> list[str]:
        """The words that may stand here, or that the `kind` of a section here may be."""
        stated = [one.get("enum", [one.get("const")]) for one in self.alternatives]
        return list(self.kinds) or [word for words in stated for word in words if isinstance(word, str)]

    @property
    def default_kind(self) -> str | None:
        """The kind of a section that the recipe leaves out."""
        return self.default.get("kind") if isinstance(self.default, dict) else None

    def of_type(self, name: str) -> Schema | None:
        """The alternative of a type of JSON, such as `array`; None: there is no such alternative."""
        return next((one for one in self.alternatives if one.get("type") == name), None)

    def child(self, part: str | int, kind: object = None) -> "Place | None":
        """What stands at a key of the section (of this `kind`, if kinds differ), or in an entry of the list."""
        chosen = self.kinds.get(kind, self) if isinstance(kind, str) else self
        for one in chosen.alternatives:
            schema = one.get("items") if isinstance(part, int) else one.get("properties", {}).get(part)
            if schema is not None:
                return place_of(schema)
        return None

    def describe(self) -> str:
        """What is expected here, in words: `a number greater than 0`."""
        kinds = f"a section with `kind`: {one_of(self.words)}" if self.kinds else ""
        said = [
            kinds if kinds and one.get("type") == "object" else _describe(one) for one in self.alternatives
        ]
        return " or ".join(dict.fromkeys(said))


def place_of(schema: Schema) -> Place:
    """The place that a part of the recipe's schema describes."""
    return Place(list(_alternatives(schema)), schema.get("default"))


def recipe_place() -> Place:
    """The recipe as a whole."""
    return place_of(recipe_schema())


@cache
def places_of(key: str) -> list[KeyPath]:
    """Every path of a recipe that ends with this key; an entry of a list has the index 0."""
    return [path for path in _paths(recipe_place(), ()) if path[-1] == key]


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


def _alternatives(schema: Schema) -> Iterator[Schema]:
    if "$ref" in schema:
        yield from _alternatives(recipe_schema()["$defs"][schema["$ref"].rsplit("/", 1)[-1]])
    elif members := schema.get("oneOf", schema.get("anyOf")):
        for member in members:
            yield from _alternatives(member)
    else:
        yield schema


def _paths(place: Place, prefix: KeyPath) -> Iterator[KeyPath]:
    parts: list[str | int] = [*place.keys, 0]
    for part in parts:
        child = place.child(part)
        if child is not None:
            path = (*prefix, part)
            yield path
            yield from _paths(child, path)


def _describe(schema: Schema) -> str:
    """One alternative in words."""
    keys = ", ".join(schema.get("properties", {}))
    if words := schema.get("enum", [schema["const"]] if "const" in schema else []):
        return one_of(words)
    words_of = {
        "integer": f"{'an even' if schema.get('multipleOf') == 2 else 'a'} whole number{_bounds(schema)}",
        "number": f"a number{_bounds(schema)}",
        "string": "text",
        "boolean": "true or false",
        "array": "a list" + (" with at least one entry" if schema.get("minItems") else ""),
        "object": f"a section (keys: {keys})" if keys else "a section without keys, {}",
    }
    kind: str = schema["type"]
    return words_of.get(kind, kind)


def _bounds(schema: Schema) -> str:
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and high is not None:
        return f" from {low:g} to {high:g}"
    above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    limits = (("of at least", low), ("greater than", above), ("of at most", high), ("below", below))
    said = [f"{words} {value:g}" for words, value in limits if value is not None]
    return f" {' and '.join(said)}" if said else ""
