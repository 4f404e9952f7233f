"""`esen recipe new` on frames of copper and of molecules: a recipe that is valid, and one line for each mistake."""

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.io import write

from esen.errors import InputError
from esen.models.cost import parameter_count
from esen.recipe import Recipe, load_recipe
from esen.study.new_recipe import write_new_recipe


def frames(path: Path, atoms: Atoms, count: int, **names: str) -> str:
    """Write rattled frames whose labels stand under the given names."""
    written = []
    for seed in range(count):
        frame = atoms.copy()
        frame.rattle(0.05, seed=seed)
        frame.calc = EMT()
        energy, forces = frame.get_potential_energy(), frame.get_forces()
        stress = frame.get_stress(voigt=False) if "stress" in names else None
        frame.calc = None
        if "energy" in names:
            frame.info[names["energy"]] = energy
        if "forces" in names:
            frame.arrays[names["forces"]] = forces
        if stress is not None:
            frame.info[names["stress"]] = stress
        written.append(frame)
    write(path, written, format="extxyz")
    return str(path)


COPPER = bulk("Cu", cubic=True)
USUAL = {"energy": "energy", "forces": "forces"}


def new(tmp_path: Path, *paths: str, **options: object) -> Recipe:
    """The recipe of these frames."""
    output = tmp_path / "recipe.yaml"
    rows = write_new_recipe(paths, output, lambda _: None, **options)  # type: ignore[arg-type]
    assert {"frames", "time"} <= {name for name, *_ in rows}
    return load_recipe(output)


def test_labels_are_found_and_every_choice_is_explained(tmp_path: Path) -> None:
    path = frames(tmp_path / "a.xyz", COPPER, 12, energy="REF_energy", forces="REF_forces", stress="virials")
    recipe = new(tmp_path, path)
    (source,) = recipe.data.train
    assert (source.energy_key, source.forces_key, source.stress_key) == (
        "REF_energy",
        "REF_forces",
        "virials",
    )
    assert (source.stress_convention, source.path) == ("virial", path)
    assert recipe.train.loss.energy > 0 < recipe.train.loss.stress
    assert recipe.train.stages[0].epochs * 11 >= 1000  # few frames are seen often
    text = (tmp_path / "recipe.yaml").read_text(encoding="utf-8")
    assert all("#" in line for line in text.splitlines() if "cutoff" in line or "epochs" in line)
    assert "Å" in text


def test_the_time_is_kept(tmp_path: Path) -> None:
    path = frames(tmp_path / "a.xyz", COPPER, 12, **USUAL)
    assert new(tmp_path, path, hours=1e-6).train.stages[0].epochs == 1


def test_size_and_cutoff_can_be_chosen(tmp_path: Path) -> None:
    path = frames(tmp_path / "a.xyz", COPPER, 4, **USUAL)
    recipe = new(tmp_path, path, size="medium", cutoff=3.0)
    assert (recipe.model.sphere_channels, recipe.model.cutoff) == (64, 3.0)
    assert parameter_count(recipe.model) < 1e6


@pytest.mark.parametrize("label", ["energy", "forces"])
def test_one_label_is_enough(tmp_path: Path, label: str) -> None:
    recipe = new(tmp_path, frames(tmp_path / "a.xyz", COPPER, 4, **{label: label}))
    weights = recipe.train.loss.model_dump(include={"energy", "forces", "stress"})
    assert [name for name, weight in weights.items() if weight] == [label]
    assert recipe.data.references == ("least_squares" if label == "energy" else "none")


def test_a_molecule_needs_no_more_than_its_neighbours(tmp_path: Path) -> None:
    recipe = new(tmp_path, frames(tmp_path / "a.xyz", molecule("CH3CH2OH"), 4, **USUAL))
    assert recipe.model.cutoff < 6
    assert recipe.train.loss.stress == 0


def test_paths_hold_in_the_folder_of_the_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    frames(Path("a.xyz"), COPPER, 4, **USUAL)
    Path("sub").mkdir()
    write_new_recipe(["a.xyz"], Path("sub/mine.yaml"), lambda _: None)
    assert load_recipe(Path("sub/mine.yaml")).data.train[0].path == "../a.xyz"


def test_frames_that_cannot_be_trained_on_are_one_line(tmp_path: Path) -> None:
    bare = frames(tmp_path / "bare.xyz", COPPER, 3)
    one = frames(tmp_path / "one.xyz", COPPER, 1, **USUAL)
    alone = frames(tmp_path / "alone.xyz", Atoms("Cu", positions=np.zeros((1, 3))), 3, **USUAL)
    for path, word in (
        (bare, "energies or forces"),
        (one, "1 frame"),
        (alone, "no two atoms"),
        ("none.xyz", "none.xyz"),
    ):
        with pytest.raises(InputError, match=word) as caught:
            new(tmp_path, path)
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "recipe.yaml").exists()


def test_a_file_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("mine")
    with pytest.raises(InputError, match=r"recipe\.yaml"):
        new(tmp_path, frames(tmp_path / "a.xyz", COPPER, 3, **USUAL))
    assert (tmp_path / "recipe.yaml").read_text() == "mine"
