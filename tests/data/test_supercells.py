import numpy as np
import pytest
from ase.build import bulk, fcc111, make_supercell

from esen.data.atoms import from_atoms
from esen.data.supercells import matrix_of, parse_supercell, repeated
from esen.errors import InputError


@pytest.mark.parametrize("text", ["2,1,3", "2x1x3", "2×1×3", "2, 1, 3", "2,0,0,0,1,0,0,0,3"])
def test_the_grammar(text: str) -> None:
    assert parse_supercell(text).tolist() == [[2, 0, 0], [0, 1, 0], [0, 0, 3]]


def test_nine_numbers_are_rows_of_the_matrix() -> None:
    expected = [[-1, 1, 1], [1, -1, 1], [1, 1, -1]]
    assert parse_supercell("-1,1,1,1,-1,1,1,1,-1").tolist() == expected
    assert matrix_of([-1, 1, 1, 1, -1, 1, 1, 1, -1]).tolist() == expected


@pytest.mark.parametrize(
    "text",
    ["2", "2,2", "2,2,x", "a,b,c", "0,2,2", "-1,2,2", "2x2x-1", "-1,-1,2", "1,0,0,1,0,0,0,0,1", "", "2 2 2"],
)
def test_supercells_that_are_none(text: str) -> None:
    with pytest.raises(InputError, match="--fc2"):
        parse_supercell(text, "--fc2")


def test_multiples_are_as_ase_repeats() -> None:
    atoms = bulk("MgO", "rocksalt", a=4.2)
    made = repeated(from_atoms(atoms, ""), matrix_of([2, 3, 1]))
    expected = atoms.repeat((2, 3, 1))
    np.testing.assert_allclose(made.positions, expected.positions, atol=1e-12)
    np.testing.assert_allclose(made.cell, expected.cell.array, atol=1e-12)
    assert made.numbers.tolist() == expected.numbers.tolist()


@pytest.mark.parametrize("values", [[-1, 1, 1, 1, -1, 1, 1, 1, -1], [2, 1, 0, 0, 1, 1, 1, 0, 2]])
def test_a_matrix_is_as_phonopy_has_it(values: list[int]) -> None:
    from phonopy.structure.atoms import PhonopyAtoms
    from phonopy.structure.cells import get_supercell

    atoms = bulk("MgO", "rocksalt", a=4.2)
    made = repeated(from_atoms(atoms, ""), matrix_of(values))
    unitcell = PhonopyAtoms(numbers=atoms.numbers, cell=atoms.cell.array, positions=atoms.positions)
    for expected in (
        get_supercell(unitcell, matrix_of(values)),
        make_supercell(atoms, matrix_of(values).T),
    ):
        np.testing.assert_allclose(made.cell, np.asarray(expected.cell), atol=1e-12)
        assert len(made) == len(expected)
        # The same atoms up to whole supercells, in another order.
        within = np.linalg.solve(
            made.cell.T, (made.positions[:, None] - expected.positions[None]).reshape(-1, 3).T
        )
        same = (np.abs(within - np.rint(within)) < 1e-8).all(axis=0).reshape(len(made), -1)
        assert (same.sum(axis=1) == 1).all()
        assert (made.numbers == np.asarray(expected.numbers)[same.argmax(axis=1)]).all()


def test_only_along_periods() -> None:
    slab = from_atoms(fcc111("Al", (1, 1, 2), vacuum=5.0), "slab.xyz, frame 0")
    assert len(repeated(slab, matrix_of([2, 2, 1]))) == 8
    assert len(repeated(slab, matrix_of([1, 1, 0, -1, 1, 0, 0, 0, 1]))) == 4
    for values in ([1, 1, 2], [1, 0, 1, 0, 1, 0, 0, 0, 1]):
        with pytest.raises(InputError, match=r"slab\.xyz.*--supercell.* 3 "):
            repeated(slab, matrix_of(values))
