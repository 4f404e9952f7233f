from typing import Annotated, Literal

from pydantic import BaseModel, Field, TypeAdapter

from esen.recipe.place import Place, one_of, place_of, places_of, recipe_place, show_path


class _Options(BaseModel):
    share: Annotated[float, Field(gt=0, lt=1)] | None = None
    count: Annotated[int, Field(gt=1, le=9)] = 2
    either: int | bool = 1
    word: Literal["a", "b"] = "a"


def child(place: Place, *path: str | int) -> Place:
    for part in path:
        found = place.child(part)
        assert found is not None
        place = found
    return place


def test_a_union_that_may_be_null_has_its_kinds() -> None:
    forces = child(recipe_place(), "train", "stages", 0, "forces")
    assert list(forces.kinds) == ["conservative", "direct"]
    assert forces.keys == ["kind", "stress", "energy"]
    assert forces.describe() == "a section with `kind`: 'conservative' or 'direct' or null"
    assert forces.child("stress", "conservative") is None
    assert forces.child("stress", "direct") is not None
    assert forces.child("stress") is not None


def test_places_in_words() -> None:
    options = place_of(TypeAdapter(_Options).json_schema())
    said = {key: child(options, key).describe() for key in options.keys}
    assert said["share"] == "a number greater than 0 and below 1 or null"
    assert said["count"] == "a whole number greater than 1 and of at most 9"
    assert said["either"] == "a whole number or true or false"
    assert said["word"] == "'a' or 'b'"


def test_the_recipe_in_words() -> None:
    train = child(recipe_place(), "data", "train")
    assert train.describe() == "a list with at least one entry"
    assert child(train, 0).describe() == (
        "a section (keys: path, format, frames, repeat, weight, energy_key, forces_key, stress_key, stress_convention)"
    )
    assert train.child("path") is None
    assert child(recipe_place(), "model", "radial").default_kind == "gaussian"
    assert child(recipe_place(), "model", "lmax").describe() == "a whole number from 1 to 8"
    references = child(recipe_place(), "data", "references").describe()
    assert references == "'least_squares', 'isolated_atoms' or 'none' or a section (keys: file)"


def test_where_a_key_belongs() -> None:
    assert [show_path(p) for p in places_of("width")] == ["model.radial.width"]
    assert [show_path(p) for p in places_of("epochs")] == ["train.stages[0].epochs"]
    assert places_of("nowhere") == []


def test_one_of() -> None:
    assert one_of(["a"]) == "'a'"
    assert one_of(["a", "b", "c"]) == "'a', 'b' or 'c'"
