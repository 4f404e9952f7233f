"""Every recipe survives its file, and nothing that stands in a file ends in a traceback."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from esen.errors import InputError
from esen.recipe import (
    BatchSpec,
    BesselSpec,
    DataSpec,
    GaussianSpec,
    ModelSpec,
    NoEnvelopeSpec,
    PolynomialEnvelopeSpec,
    Recipe,
    SourceSpec,
    StageSpec,
    TrainSpec,
    dump_recipe,
    flatten,
    load_recipe,
)

# a test's file is written anew for each example
SMALL = settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


@st.composite
def models(draw: st.DrawFn) -> ModelSpec:
    lmax = draw(st.integers(1, 8))
    positive = st.floats(min_value=0, exclude_min=True, allow_infinity=False)
    return ModelSpec(
        cutoff=draw(positive),
        lmax=lmax,
        mmax=draw(st.integers(0, lmax)),
        layers=draw(st.integers(1, 20)),
        sphere_channels=draw(st.integers(1, 512)),
        max_elements=draw(st.integers(2, 119)),
        radial=draw(
            st.builds(GaussianSpec, count=st.integers(2, 600), width=positive)
            | st.builds(BesselSpec, count=st.integers(1, 600))
        ),
        envelope=draw(st.builds(PolynomialEnvelopeSpec, p=st.integers(2, 9)) | st.just(NoEnvelopeSpec())),
    )


@st.composite
def recipes(draw: st.DrawFn) -> Recipe:
    sources = st.builds(SourceSpec, path=st.text(), frames=st.text())
    batch = st.builds(BatchSpec, atoms=st.integers(1)) | st.builds(BatchSpec, structures=st.integers(1))
    return Recipe(
        model=draw(models()),
        data=DataSpec(
            train=tuple(draw(st.lists(sources, min_size=1, max_size=2))),
            test=tuple(draw(st.lists(sources, max_size=2))),
            energy_key=draw(st.text()),
        ),
        train=TrainSpec(
            batch=draw(batch),
            stages=tuple(draw(st.lists(st.builds(StageSpec, epochs=st.integers(1)), min_size=1, max_size=2))),
        ),
    )


@SMALL
@given(recipe=recipes())
def test_a_dumped_recipe_loads_equal(tmp_path: Path, recipe: Recipe) -> None:
    path = tmp_path / "dump.yaml"
    path.write_text(dump_recipe(recipe), encoding="utf-8")
    assert load_recipe(path) == recipe


@SMALL
@given(model=models())
def test_flat_keys_are_those_of_settings(tmp_path: Path, model: ModelSpec) -> None:
    recipe = Recipe(
        model=model,
        data=DataSpec(train=(SourceSpec(path="a.xyz"), SourceSpec(path="b.xyz"))),
        train=TrainSpec(stages=(StageSpec(epochs=3),)),
    )
    flat = flatten(recipe)
    assert flat["model.radial.kind"] == model.radial.kind
    assert flat["data.train.1.path"] == "b.xyz"
    assert (flat["tracking.enabled"], flat["tracking.uri"]) == (True, "null")
    assert (flat["data.test"], flat["evaluate.mae"]) == ("[]", "{}")
    path = tmp_path / "empty.yaml"
    path.write_text("{}")
    assert load_recipe(path, [f"{key}={value}" for key, value in flat.items()]) == recipe


_PATHS: list[tuple[Any, ...]] = [
    ("model",),
    ("model", "lmax"),
    ("model", "cutoff"),
    ("model", "radial"),
    ("model", "radial", "kind"),
    ("model", "radial", "new"),
    ("data", "train"),
    ("data", "train", 0),
    ("data", "train", 0, "path"),
    ("train", "batch"),
    ("train", "batch", "structures"),
    ("train", "stages"),
    ("train", "precision"),
    ("tracking",),
    ("evaluate", "mae"),
    ("new",),
]
_ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["kind", "path", "atoms", "count", "x"]), inner, max_size=3)
    ),
    max_leaves=5,
)


@settings(SMALL, max_examples=200)
@given(path=st.sampled_from(_PATHS), value=_ANYTHING)
def test_anything_in_any_place_loads_or_is_explained(
    tmp_path: Path, path: tuple[Any, ...], value: object
) -> None:
    data: dict[str, Any] = {
        "model": {"lmax": 2, "radial": {"kind": "gaussian", "width": 2.0}},
        "data": {"train": [{"path": "a.xyz"}]},
        "train": {"batch": {"atoms": 10}, "stages": [{"epochs": 1}]},
        "evaluate": {},
    }
    node: Any = data
    for part in path[:-1]:
        node = node[part]
    node[path[-1]] = value
    file = tmp_path / "any.yaml"
    file.write_text(json.dumps(data).replace("NaN", ".nan").replace("Infinity", ".inf"))
    try:
        assert isinstance(load_recipe(file), Recipe)
    except InputError as error:
        for line in str(error).splitlines():
            assert line.startswith(f"{file}:1: ")
            assert "Input should" not in line  # pydantic's own words say less than ours


@settings(SMALL, max_examples=100)
@given(text=st.text() | st.text(alphabet="abdlmort:[]{}-#&*!|>'\"%@` \n\t,.1"))
def test_any_text_loads_or_is_explained(tmp_path: Path, text: str) -> None:
    file = tmp_path / "any.yaml"
    file.write_bytes(text.encode())
    with pytest.raises(InputError) as caught:
        load_recipe(file)
    assert all(line.startswith(f"{file}:") for line in str(caught.value).splitlines())
