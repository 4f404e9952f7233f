"""What the sections of a network have to do with each other."""

import pytest
from pydantic import ValidationError

from esen.recipe import ModelSpec, Recipe


@pytest.mark.parametrize("kind", ["grid", "grid_edges"])
@pytest.mark.parametrize("lmax", [1, 2, 3])
def test_resolutions_of_a_grid_are_even_and_at_least_twice_the_degrees(kind: str, lmax: int) -> None:
    least = 2 * (lmax + 1)
    for resolution in range(-1, 20):
        model = {"lmax": lmax, "mmax": 1, "nonlinearity": {"kind": kind, "resolution": resolution}}
        if resolution >= least and resolution % 2 == 0:
            spec = ModelSpec.model_validate(model).nonlinearity
            assert spec.resolution == resolution  # type: ignore[union-attr]
            continue
        with pytest.raises(ValidationError) as caught:
            ModelSpec.model_validate(model)
        _, _, advised = str(caught.value.errors()[0]["msg"]).partition("; write ")
        for value in map(int, advised.split(" or ")):  # what is advised is legal
            model["nonlinearity"] = {"kind": kind, "resolution": value}
            ModelSpec.model_validate(model)
            assert value in {least, resolution - 1, resolution + 1}


def test_editors_are_told_of_even_numbers() -> None:
    grid = Recipe.model_json_schema()["$defs"]["GridSpec"]["properties"]["resolution"]
    assert grid["anyOf"][0] == {"type": "integer", "minimum": 4, "multipleOf": 2}


def test_the_order_does_not_exceed_the_degree() -> None:
    with pytest.raises(ValidationError, match=r"mmax .*3.*lmax.*2"):
        ModelSpec(lmax=2, mmax=3)


def test_a_direct_stress_of_rank_two_needs_l_2() -> None:
    direct = {"kind": "direct"}
    with pytest.raises(ValidationError, match=r"lmax .*2.*1"):
        ModelSpec.model_validate({"lmax": 1, "mmax": 1, "forces": direct})
    for stress in ({"kind": "none"}, {"kind": "outer"}):
        ModelSpec.model_validate({"lmax": 1, "mmax": 1, "forces": direct | {"stress": stress}})


def test_edge_frames_are_smooth_unless_random_ones_are_asked_for() -> None:
    assert ModelSpec.model_validate({}).edge_frame.kind == "smooth"
    assert ModelSpec.model_validate({"edge_frame": {"kind": "random"}}).edge_frame.kind == "random"


def test_random_edge_frames_are_not_compiled() -> None:
    recipe = {
        "model": {"edge_frame": {"kind": "random"}},
        "data": {"train": [{"path": "a.xyz"}]},
        "train": {"stages": [{"epochs": 1}]},
    }
    Recipe.model_validate(recipe)
    with pytest.raises(ValidationError, match=r"compile.*edge_frame.*compile: false"):
        Recipe.model_validate(recipe | {"train": {"stages": [{"epochs": 1}], "compile": True}})
