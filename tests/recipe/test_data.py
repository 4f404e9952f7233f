"""`data:`: sources, their repeats and weights, and reference energies."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from esen.errors import InputError
from esen.recipe import DataSpec, Recipe, ReferencesFileSpec, dump_recipe, load_recipe, resolve_paths

TRAIN = [{"path": "a.xyz"}]


def spec(**changes: Any) -> DataSpec:
    return DataSpec.model_validate({"train": TRAIN, **changes})


def test_a_source_is_seen_once_and_weighs_one() -> None:
    (source,) = spec().train
    assert (source.format, source.frames, source.repeat, source.weight) == ("auto", ":", 1, 1.0)
    assert source.energy_key is None


@pytest.mark.parametrize(
    "change", [{"repeat": 0}, {"weight": 0.0}, {"format": "cif"}, {"stress_convention": "GPa"}]
)
def test_bad_sources(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        spec(train=[{"path": "a.xyz", **change}])


@pytest.mark.parametrize("name", ["validation", "test"])
@pytest.mark.parametrize("change", [{"repeat": 2}, {"weight": 0.5}])
def test_only_training_frames_are_weighted(name: str, change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=rf"{name}\[0\]\.{next(iter(change))}"):
        spec(**{name: [{"path": "b.xyz", **change}]})


@pytest.mark.parametrize("word", ["least_squares", "isolated_atoms", "none"])
def test_references_in_a_word(word: str) -> None:
    assert spec(references=word).references == word


def write(folder: Path, references: str, name: str = "a", extends: str = "") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    body = f"data:\n  train: [{{path: a.xyz, repeat: 8}}]\n  references: {references}\n"
    body += "train: {stages: [{epochs: 1}]}\n"
    (folder / f"{name}.yaml").write_text(extends or body)
    return folder / f"{name}.yaml"


def test_references_of_a_file_have_a_path(tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path / "base", "{file: refs.json}"))
    assert recipe.data.references == ReferencesFileSpec(file="refs.json")
    assert resolve_paths(recipe, tmp_path / "base").data.references == ReferencesFileSpec(
        file=str(tmp_path / "base" / "refs.json")
    )
    extended = load_recipe(write(tmp_path, "", "b", "extends: base/a.yaml\n"))
    assert resolve_paths(extended, tmp_path).data.references == ReferencesFileSpec(
        file=str(tmp_path / "base" / "refs.json")
    )
    written = tmp_path / "c.yaml"
    written.write_text(dump_recipe(recipe))
    again: Recipe = load_recipe(written)
    assert again == recipe
    assert again.data.train[0].repeat == 8


@pytest.mark.parametrize(
    ("references", "message"),
    [
        ("least_square", r"data\.references: .*did you mean 'least_squares'"),
        ("{}", r"data\.references\.file: .*missing"),
        ("{file: r.json, method: fit}", r"data\.references\.method: no such key"),
        ("{file: 3}", r"data\.references\.file: given 3"),
    ],
)
def test_mistakes_are_one_line(tmp_path: Path, references: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as refusal:
        load_recipe(write(tmp_path, references))
    assert len(str(refusal.value).splitlines()) == 1
