from typing import Annotated, Literal

from pydantic import BaseModel, Field, TypeAdapter

from esen.recipe import schema
from esen.recipe.schema import Place, one_of, places_of, show_path


class _Options(BaseModel):
    share: Annotated[float, Field(gt=0, lt=1)] | None = None
    count: Annotated[int, Field(gt=1, le=9)] = 2
    either: int | bool = 1
    word: Literal["a", "b"] = "a"


def at(*path: str | int, place: Place | None = None) -> Place:
    place = place or [schema.recipe_schema()]
    for part in path:
        place = schema.child(place, part)
        assert place
    return place


def test_a_union_that_may_be_null_has_its_kinds() -> None:
    forces = at("train", "stages", 0, "forces")
    assert list(schema.kinds(forces)) == ["conservative", "direct"]
    assert schema.keys(forces) == ["kind", "stress", "energy"]
    assert schema.describe(forces) == "a section with `kind`: 'conservative' or 'direct' or null"
    assert not schema.child(forces, "stress", "conservative")
    assert schema.child(forces, "stress", "direct")
    assert schema.child(forces, "stress")


def test_the_first_kind_of_a_section_is_its_default() -> None:
    for key, value in schema.recipe_schema()["$defs"]["ModelSpec"]["properties"].items():
        kinds = list(schema.kinds(at("model", key)))
        assert not kinds or kinds[0] == value["default"]["kind"]


def test_places_in_words() -> None:
    options = schema.alternatives(TypeAdapter(_Options).json_schema())
    said = {key: schema.describe(at(key, place=options)) for key in schema.keys(options)}
    assert said["share"] == "a number > 0, < 1 or null"
    assert said["count"] == "a whole number > 1, ≤ 9"
    assert said["either"] == "a whole number or true or false"
    assert said["word"] == "'a' or 'b'"


def test_the_recipe_in_words() -> None:
    assert schema.describe(at("data", "train")) == "a list with at least one entry"
    assert schema.describe(at("data", "train", 0)) == (
        "a section (keys: path, format, frames, repeat, weight, energy_key, forces_key, stress_key, stress_convention)"
    )
    assert not schema.child(at("data", "train"), "path")
    references = schema.describe(at("data", "references"))
    assert references == "'least_squares', 'isolated_atoms' or 'none' or a section (keys: file)"


def test_where_a_key_belongs() -> None:
    assert [show_path(p) for p in places_of("width")] == ["model.radial.width"]
    assert [show_path(p) for p in places_of("epochs")] == ["train.stages[0].epochs"]
    assert places_of("nowhere") == []


def test_one_of() -> None:
    assert one_of(["a"]) == "'a'"
    assert one_of(["a", "b", "c"]) == "'a', 'b' or 'c'"
