"""A recipe that states only what differs from another."""

from pathlib import Path

import pytest

from esen.errors import InputError
from esen.recipe import load_recipe
from esen.recipe.load import merged
from esen.recipe.shipped import recipe_folder

BASE = """
model:
  layers: 3
  radial: {kind: gaussian, count: 7, width: 1.5}
data:
  train:
    - path: frames/*.xyz
train:
  stages:
    - epochs: 2
"""


def write(folder: Path, **texts: str) -> Path:
    folder.mkdir(exist_ok=True, parents=True)
    for name, text in texts.items():
        (folder / f"{name}.yaml").write_text(text)
    return folder


def test_only_what_differs(tmp_path: Path) -> None:
    child = "extends: base.yaml\nmodel:\n  lmax: 3\n  radial: {kind: gaussian, count: 9}\n"
    recipe = load_recipe(write(tmp_path, base=BASE, child=child) / "child.yaml", ["model.mmax=1"])
    assert (recipe.model.layers, recipe.model.lmax, recipe.model.mmax) == (3, 3, 1)
    assert recipe.model.radial.model_dump() == {"kind": "gaussian", "count": 9, "width": 1.5}
    assert recipe.data.train[0].path == "frames/*.xyz"


def test_another_kind_replaces_the_section(tmp_path: Path) -> None:
    child = "extends: base.yaml\nmodel:\n  radial: {kind: bessel}\n"
    recipe = load_recipe(write(tmp_path, base=BASE, child=child) / "child.yaml")
    assert recipe.model.radial.model_dump() == {"kind": "bessel", "count": 10}


def test_lists_are_replaced_as_a_whole() -> None:
    assert merged({"a": [1, 2], "b": 3}, {"a": [4]}) == {"a": [4], "b": 3}


def test_paths_of_a_base_elsewhere_stay_where_they_were(tmp_path: Path) -> None:
    write(tmp_path / "common", base=BASE)
    write(tmp_path / "mine", child="extends: ../common/base.yaml\n")
    recipe = load_recipe(tmp_path / "mine" / "child.yaml")
    assert recipe.data.train[0].path == "../common/frames/*.xyz"


def test_mistakes_name_the_file_they_stand_in(tmp_path: Path) -> None:
    write(tmp_path, base=BASE, child="extends: base.yaml\nmodel:\n  lmx: 3\n")
    with pytest.raises(InputError, match=r"child\.yaml:3: model\.lmx.*lmax"):
        load_recipe(tmp_path / "child.yaml")
    write(tmp_path, base=BASE.replace("layers", "layrs"), child="extends: base.yaml\n")
    with pytest.raises(InputError, match=r"base\.yaml:3: model\.layrs"):
        load_recipe(tmp_path / "child.yaml")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("extends: bse.yaml", r"child\.yaml:1: extends: .*bse\.yaml: .*did you mean .*base\.yaml"),
        ("extends: 3", r"child\.yaml:1: extends: .*3"),
        ("extends: child.yaml", "leads back"),
        ("extends: other.yaml", "leads back"),
    ],
)
def test_a_base_that_cannot_be(line: str, message: str, tmp_path: Path) -> None:
    write(tmp_path, base=BASE, child=line, other="extends: child.yaml\n")
    with pytest.raises(InputError, match=message):
        load_recipe(tmp_path / "child.yaml")


def test_every_ablation_changes_one_choice_of_the_base() -> None:
    folder = recipe_folder() / "ablation"
    base = load_recipe(folder / "base.yaml")
    variants = [path for path in sorted(folder.glob("*.yaml")) if "extends: base.yaml" in path.read_text()]
    assert len(variants) >= 8
    for path in variants:
        recipe = load_recipe(path)
        changed = [
            key
            for key in type(recipe.model).model_fields
            if getattr(recipe.model, key) != getattr(base.model, key)
        ]
        assert len(changed) == 1, path.stem
        assert recipe.train == base.train
        assert recipe.data == base.data
