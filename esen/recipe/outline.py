"""What a recipe may hold where: its JSON Schema, walked key by key and put into words."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

from pydantic import BaseModel

from esen.recipe.yaml12 import KeyPath

Schema = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Place:
    """One place in a recipe, with all that may stand there.

    Attributes:
        schema: the JSON Schema of this place, its reference followed.
        definitions: the schemas that references name.
    """

    schema: Schema
    definitions: dict[str, Schema]

    @classmethod
    def of(cls, model: type[BaseModel]) -> Self:
        """The outermost place of a pydantic model."""
        schema = model.model_json_schema()
        return cls(schema, schema.get("$defs", {}))

    def _at(self, schema: Schema) -> "Place":
        if "$ref" in schema:
            name = schema["$ref"].rsplit("/", 1)[-1]
            schema = self.definitions[name] | {k: v for k, v in schema.items() if k != "$ref"}
        return Place(schema, self.definitions)

    @cached_property
    def choices(self) -> "list[Place]":
        """The alternatives of a plain union, null among them; else the place itself."""
        return [self._at(s) for s in self.schema["anyOf"]] if "anyOf" in self.schema else [self]

    @cached_property
    def inner(self) -> "Place":
        """The place without its `or null`."""
        others = [c for c in self.choices if c.schema.get("type") != "null"]
        return others[0].inner if len(others) == 1 and others[0] is not self else self

    @cached_property
    def kinds(self) -> "dict[str, Place]":
        """The sections that `kind` chooses from."""
        mapping: dict[str, str] = self.inner.schema.get("discriminator", {}).get("mapping", {})
        return {kind: self._at({"$ref": ref}) for kind, ref in sorted(mapping.items())}

    @property
    def default_kind(self) -> str | None:
        """The kind of a section that the recipe leaves out."""
        default = self.schema.get("default")
        return default.get("kind") if isinstance(default, dict) else None

    @property
    def is_list(self) -> bool:
        """Whether a list stands here."""
        return self.inner.schema.get("type") == "array"

    @property
    def is_section(self) -> bool:
        """Whether keys and values stand here."""
        return bool(self.kinds) or self.inner.schema.get("type") == "object"

    @property
    def required(self) -> list[str]:
        """The keys that a section cannot leave out."""
        return list(self.inner.schema.get("required", []))

    @property
    def keys(self) -> list[str]:
        """The keys of a section, of every kind."""
        if self.kinds:
            return list(dict.fromkeys(key for place in self.kinds.values() for key in place.keys))
        return list(self.inner.schema.get("properties", {}))

    @property
    def words(self) -> list[str]:
        """The words to choose from, where a word is chosen."""
        if self.kinds:
            return list(self.kinds)
        schema = self.inner.schema
        return [w for w in schema.get("enum", [schema.get("const")]) if isinstance(w, str)]

    def child(self, part: str | int, kind: object = None) -> "Place | None":
        """What stands at a key of the section (of this `kind`, if kinds differ), or in an entry of a list."""
        if self.kinds:
            chosen = self.kinds.get(kind) if isinstance(kind, str) else None
            sections = [chosen] if chosen is not None else list(self.kinds.values())
            return next((place for s in sections if (place := s.child(part)) is not None), None)
        schema = self.inner.schema
        if isinstance(part, int):
            return self._at(schema["items"]) if "items" in schema else None
        return self._at(schema["properties"][part]) if part in schema.get("properties", {}) else None

    def describe(self) -> str:
        """What is expected here, in words: `a number greater than 0`."""
        if len(self.choices) > 1:
            return " or ".join(place.describe() for place in self.choices)
        if self.kinds:
            return f"a section with `kind`: {one_of(self.words)}"
        if self.words:
            return one_of(self.words)
        schema = self.schema
        words = {
            "integer": f"{'an even' if schema.get('multipleOf') == 2 else 'a'} whole number{_bounds(schema)}",
            "number": f"a number{_bounds(schema)}",
            "string": "text",
            "boolean": "true or false",
            "array": "a list" + (" with at least one entry" if schema.get("minItems") else ""),
            "object": f"a section (keys: {', '.join(self.keys)})"
            if self.keys
            else "a section without keys, {}",
        }
        kind = str(schema.get("type"))
        return words.get(kind, kind)

    def places_of(self, key: str, prefix: KeyPath = ()) -> Iterator[KeyPath]:
        """Every place of the recipe that has a key of this name."""
        if self.is_list:
            entry = self.child(0)
            yield from entry.places_of(key, (*prefix, 0)) if entry is not None else ()
        for name in self.keys:
            if name == key:
                yield (*prefix, name)
            place = self.child(name)
            yield from place.places_of(key, (*prefix, name)) if place is not None else ()


def one_of(words: Sequence[object]) -> str:
    """`'a'`, or `'a', 'b' or 'c'`.

    >>> print(one_of(["gaussian", "bessel"]))
    'gaussian' or 'bessel'
    """
    *most, last = [repr(word) for word in words]
    return f"{', '.join(most)} or {last}" if most else last


def show_path(path: KeyPath) -> str:
    """A path as messages write it.

    >>> show_path(("data", "train", 0, "path"))
    'data.train[0].path'
    """
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".")


def _bounds(schema: Schema) -> str:
    low, high = schema.get("minimum"), schema.get("maximum")
    above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    if low is not None and high is not None:
        return f" from {low:g} to {high:g}"
    limits = (("of at least", low), ("greater than", above), ("of at most", high), ("below", below))
    said = [f"{words} {value:g}" for words, value in limits if value is not None]
    return f" {' and '.join(said)}" if said else ""
