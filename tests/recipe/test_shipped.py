import re
from pathlib import Path

import numpy as np
import pytest
from ase.io import read

from esen.errors import InputError
from esen.models.cost import parameter_count
from esen.recipe import load_recipe
from esen.recipe.shipped import find_recipe, no_such_recipe, recipe_folder, shipped_recipes

MINE = "extends: quickstart\ntrain: {seed: 3}\n"


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", shipped_recipes())
def test_every_shipped_recipe_is_valid_and_says_how_large_it_is(name: str) -> None:
    path = shipped_recipes()[name]
    description = path.read_text(encoding="utf-8").splitlines()[0]
    assert description.startswith("# ")
    (count,) = re.findall(r"([0-9,]+) parameters", description)
    assert int(count.replace(",", "")) == parameter_count(load_recipe(path).model)


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("mptrj30m", 30_085_121),
        ("oam30m", 30_161_153),
        ("ablation/base", 3_199_745),
        ("ablation/basis512", 3_392_513),
        ("ablation/bessel", 3_199_755),
        ("ablation/grid6", 3_034_881),
        ("spice3m", 3_199_745),
    ],
)
def test_the_papers_recipes_have_the_papers_counts(name: str, count: int) -> None:
    assert parameter_count(load_recipe(shipped_recipes()[name]).model) == count


def test_shipped_recipes_are_found_by_name(work: Path) -> None:
    assert find_recipe("quickstart") == recipe_folder() / "quickstart.yaml"
    assert find_recipe("quickstart.yaml") == recipe_folder() / "quickstart.yaml"
    assert find_recipe("ablation/bessel") == recipe_folder() / "ablation" / "bessel.yaml"


def test_a_file_of_the_user_comes_first(work: Path) -> None:
    Path("quickstart.yaml").touch()
    assert find_recipe("quickstart.yaml") == Path("quickstart.yaml")
    assert find_recipe("quickstart") == recipe_folder() / "quickstart.yaml"


def test_a_folder_of_the_same_name_does_not_hide_a_recipe(work: Path) -> None:
    Path("quickstart").mkdir()
    assert find_recipe("quickstart") == recipe_folder() / "quickstart.yaml"
    Path("other").mkdir()
    with pytest.raises(InputError, match="directory"):
        load_recipe(find_recipe("other"))


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("quikstart", "did you mean quickstart?"),
        ("recipes/quickstart.yaml", "did you mean quickstart?"),
        ("ablation/besel", "did you mean ablation/bessel?"),
        ("mine", "did you mean mine.yaml?"),
        ("sub/mien.yaml", f"did you mean {Path('sub') / 'mine2.yml'}?"),
    ],
)
def test_a_wrong_name_is_answered_with_the_nearest(work: Path, name: str, hint: str) -> None:
    Path("mine.yaml").touch()
    Path("sub").mkdir()
    Path("sub/mine2.yml").touch()
    with pytest.raises(InputError, match="no such recipe") as caught:
        load_recipe(find_recipe(name))
    assert hint in str(caught.value)


def test_a_name_like_no_other_has_no_hint(work: Path) -> None:
    assert "did you mean" not in no_such_recipe(Path("xyz"))


def test_a_shipped_recipe_is_extended_by_name_from_any_folder(work: Path) -> None:
    Path("deep/er").mkdir(parents=True)
    path = Path("deep/er/mine.yaml")
    path.write_text(MINE)
    recipe, base = load_recipe(path), load_recipe(recipe_folder() / "quickstart.yaml")
    assert recipe.train.seed == 3
    assert recipe.model == base.model
    found = (path.parent / recipe.data.train[0].path).resolve()
    assert found == (recipe_folder() / base.data.train[0].path).resolve()
    assert found.is_file()


def test_a_recipe_of_ones_own_may_have_the_name_of_the_one_it_extends(work: Path) -> None:
    Path("quickstart.yaml").write_text(MINE)
    assert load_recipe(Path("quickstart.yaml")).train.seed == 3


@pytest.mark.parametrize(
    "name", ["quickstart", "molecule", "srtio3", "ablation/quick-mgo", "ablation/quick-molecule"]
)
def test_the_data_of_the_recipes_that_need_no_download_are_there(name: str) -> None:
    path = shipped_recipes()[name]
    data = load_recipe(path).data
    for source in (*data.train, *data.test):
        assert list(path.parent.glob(source.path)), source.path


def test_files_among_the_data_are_no_recipes() -> None:
    assert list((recipe_folder() / "data").rglob("*.yaml"))
    assert not [name for name in shipped_recipes() if name.startswith("data/")]


def test_the_data_that_come_along_are_small() -> None:
    sizes = [file.stat().st_size for file in (recipe_folder() / "data").rglob("*") if file.is_file()]
    assert sum(sizes) < 4e6


@pytest.mark.parametrize("name", ["ethanol", "malonaldehyde", "acetamide"])
def test_molecules_have_labels_in_our_units_and_no_cell(name: str) -> None:
    folder = recipe_folder() / "data" / "molecules"
    relaxed = read(folder / f"{name}.xyz")
    train = read(folder / f"{name}_train.xyz.gz", ":40")
    test = read(folder / f"{name}_test.xyz.gz", "::10")
    assert len(test) == 10
    assert np.abs(relaxed.get_forces()).max() < 1e-3
    for frame in (*train, *test):
        assert (frame.numbers == relaxed.numbers).all()
        assert not frame.pbc.any()
        assert not frame.cell.any()
        np.testing.assert_allclose(frame.get_forces().sum(axis=0), 0, atol=1e-6)
        assert 0 < frame.get_potential_energy() - relaxed.get_potential_energy() < 5
    means = np.array([frame.get_potential_energy() for frame in train]).reshape(-1, 4).mean(axis=0)
    assert (np.diff(means) > 0).all()  # one frame of each temperature after the other


def test_the_cell_of_srtio3_is_that_of_its_nearly_perfect_frame() -> None:
    folder = recipe_folder() / "data" / "srtio3"
    cell, frame = read(folder / "srtio3.cif"), read(folder / "SrTiO3_train1.xyz.gz", 0)
    assert cell.get_chemical_formula() == "O3SrTi"
    assert cell.get_volume() * 8 == pytest.approx(frame.get_volume(), rel=1e-3)


def test_the_cell_of_mgo_is_that_of_its_force_set() -> None:
    folder = recipe_folder() / "data" / "mgo"
    lattice = float(
        re.findall(r"unit_cell:\n  lattice:\n  - \[ +([0-9.]+),", (folder / "mgo.yaml").read_text())[0]
    )
    assert read(folder / "mgo.cif").cell.lengths() == pytest.approx([lattice] * 3, abs=1e-5)
