from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.io import write

from esen.data.checks import check_structure
from esen.errors import InputError
from esen.study.check_structures import default_structures, read_geometries


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    """Three frames as extended XYZ, plain and packed, and formats that only ASE reads."""
    frames = [bulk("NaCl", "rocksalt", a=5.6 + i) for i in range(3)]
    paths = {
        name: str(tmp_path / name) for name in ("a.xyz", "a.extxyz.gz", "b.cif", "POSCAR", "c.traj", "w.xyz")
    }
    write(paths["a.xyz"], frames, format="extxyz")
    write(paths["a.extxyz.gz"], frames, format="extxyz")
    write(paths["b.cif"], frames[0])
    write(paths["POSCAR"], frames[1], format="vasp")
    write(paths["c.traj"], frames)
    write(paths["w.xyz"], molecule("H2O"), format="extxyz")
    return paths


def test_formats_and_frames(files: dict[str, str]) -> None:
    for name in ("a.xyz", "a.extxyz.gz", "c.traj"):
        all_of_it = read_geometries([files[name]], ":")
        assert [s.cell[0, 1] for s in all_of_it] == pytest.approx([2.8, 3.3, 3.8])
        (last,) = read_geometries([files[name]], "-1:")
        assert last.source.endswith(f"{name}, frame 2")
    several = read_geometries([files["b.cif"], files["POSCAR"], files["w.xyz"]], ":1")
    assert [set(s.numbers.tolist()) for s in several] == [{11, 17}, {11, 17}, {1, 8}]
    assert [s.pbc.all() for s in several] == [True, True, False]
    assert all(s.energy is None and s.forces is None for s in several)


def test_mistakes_are_one_line(files: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "notes.dat").write_text("what I did today")
    (tmp_path / "empty.xyz").write_text("")
    twice = str(tmp_path / "twice.xyz")
    write(twice, Atoms("H2", positions=np.zeros((2, 3))), format="extxyz")
    for file, frames, words in (
        ("none.xyz", ":1", "no such file"),
        (str(tmp_path), ":1", "is a folder"),
        (str(tmp_path / "notes.dat"), ":1", "ASE cannot read it"),
        (str(tmp_path / "empty.xyz"), ":1", "the file is empty"),
        (files["a.xyz"], "7:8", "selects nothing"),
        (files["c.traj"], "7:8", "selects nothing"),
        (files["a.xyz"], "first", "is not a Python slice"),
        (twice, ":1", "0.000 Å apart"),
    ):
        with pytest.raises(InputError, match=words) as caught:
            read_geometries([file], frames)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("elements", "numbers"),
    [
        (None, [{8, 12}, {1, 8}]),
        ((8, 12), [{8, 12}]),
        ((29, 47), [{29}]),
        ((18,), [{18}]),
        ((3, 9, 17), [{3, 9}]),
        ((1, 6, 7, 8), [{1}, {1, 8}]),
        ((14,), [{14}]),
        ((26,), [{26}]),
        ((6,), [{6}]),
        ((93,), [{93}]),
        (tuple(range(1, 100)), [{8, 12}, {1, 8}]),
    ],
)
def test_defaults_are_made_of_known_elements(
    elements: tuple[int, ...] | None, numbers: list[set[int]]
) -> None:
    made = default_structures(elements)
    assert [set(s.numbers.tolist()) for s in made] == numbers
    for structure in made:
        check_structure(structure, 119)
        assert structure.source
    assert made[0].pbc.all()
    assert len(made[0]) == 8
    assert len(default_structures(elements, molecules=False)) == 1


def test_the_seed_moves_the_atoms() -> None:
    a, b, c = (default_structures((29,), seed)[0] for seed in (0, 0, 1))
    assert np.array_equal(a.positions, b.positions)
    assert not np.allclose(a.positions, c.positions)
