from pathlib import Path

import pytest
from ase.build import bulk
from ase.io import write

from esen.errors import InputError
from esen.md.systems import choose_names, file_systems, known_systems

FORMATS = Path(__file__).parents[1] / "data" / "formats"


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    """Three frames of different lattice constants, and single structures that only ASE reads."""
    frames = [bulk("NaCl", "rocksalt", a=5.6 + i) for i in range(3)]
    paths = {name: str(tmp_path / name) for name in ("run.xyz", "run.extxyz.gz", "b.cif", "POSCAR", "c.traj")}
    write(paths["run.xyz"], frames, format="extxyz")
    write(paths["run.extxyz.gz"], frames, format="extxyz")
    write(paths["b.cif"], frames[0])
    write(paths["POSCAR"], frames[1], format="vasp")
    write(paths["c.traj"], frames)
    return paths


def test_names_come_from_files_and_frames(files: dict[str, str]) -> None:
    chosen = [files[name] for name in ("run.xyz", "b.cif", "POSCAR", "c.traj")]
    assert [s.name for s in file_systems(chosen, ":1", 300.0)] == ["run", "b", "POSCAR", "c"]
    several = file_systems([files["run.xyz"], files["c.traj"]], "1:", 300.0)
    assert [s.name for s in several] == ["run#1", "run#2", "c#1", "c#2"]
    assert [s.structure.cell[0, 1] for s in several] == pytest.approx([3.3, 3.8, 3.3, 3.8])
    assert {s.temperature_kelvin for s in several} == {300.0}
    (last,) = file_systems([files["run.extxyz.gz"]], "-1:", 0.0)
    assert (last.name, last.structure.source.endswith("frame 2")) == ("run", True)


def test_same_names_are_told_apart(files: dict[str, str], tmp_path: Path) -> None:
    for folder in ("x/Cu", "y/Cu"):
        (tmp_path / folder).mkdir(parents=True)
        write(tmp_path / folder / "POSCAR", bulk("Cu"), format="vasp")
    pair = [str(tmp_path / folder / "Cu/POSCAR") for folder in "xy"]
    both = [*pair, files["run.xyz"], files["run.extxyz.gz"], files["b.cif"]]
    names = [s.name for s in file_systems(both, ":1", 300.0)]
    assert names == ["x-Cu-POSCAR", "y-Cu-POSCAR", "run.xyz", "run.extxyz.gz", "b"]


def test_mistakes_are_one_line(files: dict[str, str]) -> None:
    for given, temperature, words in (
        (["none.xyz"], 300.0, "no such file"),
        ([files["run.xyz"]] * 2, 300.0, "given 2 times"),
        ([files["run.xyz"]], -1.0, r"-1\.0 K"),
        ([files["run.xyz"]], float("nan"), "nan K"),
    ):
        with pytest.raises(InputError, match=words) as caught:
            file_systems(given, ":1", temperature)
        assert "\n" not in str(caught.value)


def test_known_systems(files: dict[str, str]) -> None:
    salt = file_systems([files["b.cif"]], ":1", 300.0)
    water = file_systems([str(FORMATS / "md22_layout_GFN2_ethanol.npz")], ":1", 300.0)
    both = salt + water
    assert known_systems(both, None) == (both, [])
    assert known_systems(both, (1, 6, 8)) == (water, salt)
    assert known_systems(both, {11, 17, 8}) == (salt, water)  # oxygen alone is not enough
    assert known_systems(both, ()) == ([], both)


def test_names_that_do_not_exist() -> None:
    with pytest.raises(InputError, match=r"'Xx'.* Ag, Cu"):
        choose_names("here", ("Ag", "Cu"), ["ag", "Xx"])
