from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk, molecule
from ase.io import write

from esen.data.checks import check_structure
from esen.study.check_structures import default_structures, given_structures


def test_frames_of_several_files(tmp_path: Path) -> None:
    write(tmp_path / "a.xyz", [bulk("NaCl", "rocksalt", a=5.6 + i) for i in range(3)], format="extxyz")
    write(tmp_path / "w.xyz", molecule("H2O"), format="extxyz")
    found = given_structures([str(tmp_path / "w.xyz"), str(tmp_path / "a.xyz")], "-1:")
    assert [set(s.numbers.tolist()) for s in found] == [{1, 8}, {11, 17}]
    assert found[1].cell[0, 1] == pytest.approx(3.8)


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
