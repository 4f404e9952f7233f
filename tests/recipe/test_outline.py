from typing import Annotated, Literal

from pydantic import BaseModel, Field

from esen.recipe.outline import Place, one_of, show_path
from esen.recipe.recipe import Recipe


class _Knn(BaseModel):
    kind: Literal["knn"]
    k: int


class _Cutoff(BaseModel):
    kind: Literal["cutoff"] = "cutoff"


class _Model(BaseModel):
    graph: Annotated[_Knn | _Cutoff, Field(discriminator="kind")] | None = None
    share: Annotated[float, Field(gt=0, lt=1)] | None = None
    count: Annotated[int, Field(gt=1, le=9)] = 2
    either: int | bool = 1


def test_a_union_that_may_be_null_has_its_kinds() -> None:
    graph = Place.of(_Model).child("graph")
    assert graph is not None
    assert list(graph.kinds) == ["cutoff", "knn"]
    assert graph.keys == ["kind", "k"]
    assert graph.is_section
    assert graph.describe() == "a section with `kind`: 'cutoff' or 'knn' or null"
    assert graph.child("k", "cutoff") is None
    assert graph.child("k", "knn") is not None
    assert graph.child("k") is not None


def test_places_in_words() -> None:
    outline = Place.of(_Model)
    said = {key: place.describe() for key in outline.keys if (place := outline.child(key)) is not None}
    assert said["share"] == "a number greater than 0 and below 1 or null"
    assert said["count"] == "a whole number greater than 1 and of at most 9"
    assert said["either"] == "a whole number or true or false"


def test_the_recipe_in_words() -> None:
    recipe = Place.of(Recipe)
    data = recipe.child("data")
    assert data is not None
    assert data.required == ["train"]
    train = data.child("train")
    assert train is not None
    assert train.is_list
    assert train.describe() == "a list with at least one entry"
    entry = train.child(0)
    assert entry is not None
    assert entry.describe() == (
        "a section (keys: path, format, frames, repeat, weight, energy_key, forces_key, stress_key, stress_convention)"
    )
    assert train.child("path") is None
    model = recipe.child("model")
    assert model is not None
    radial = model.child("radial")
    assert radial is not None
    assert radial.default_kind == "gaussian"
    lmax = model.child("lmax")
    assert lmax is not None
    assert lmax.describe() == "a whole number from 1 to 8"


def test_where_a_key_belongs() -> None:
    recipe = Place.of(Recipe)
    assert [show_path(p) for p in recipe.places_of("width")] == ["model.radial.width"]
    assert [show_path(p) for p in recipe.places_of("epochs")] == ["train.stages[0].epochs"]
    assert list(recipe.places_of("nowhere")) == []


def test_one_of() -> None:
    assert one_of(["a"]) == "'a'"
    assert one_of(["a", "b", "c"]) == "'a', 'b' or 'c'"
