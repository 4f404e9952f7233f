from pathlib import Path

import numpy as np
import pytest

from esen.data.readers import Files, load_structures
from esen.errors import InputError

ETHANOL = Path(__file__).parents[1] / "formats" / "md22_layout_GFN2_ethanol.npz"
KCAL = 0.0433641  # eV a molecule


def read(path, **options):
    return load_structures([Files(str(path), **options)])


def test_md22():
    frames = read(ETHANOL)
    with np.load(ETHANOL) as raw:
        assert len(frames) == 20
        for index in (0, 7):
            s = frames[index]
            assert s.numbers.tolist() == raw["z"].tolist()
            np.testing.assert_array_equal(s.positions, raw["R"][index])
            assert s.energy == pytest.approx(float(raw["E"][index, 0]) * KCAL, rel=1e-6)
            np.testing.assert_allclose(s.forces, raw["F"][index] * KCAL, rtol=1e-6)
    assert not s.pbc.any()
    assert not s.cell.any()
    assert s.stress is None
    assert s.info == {"name": "ethanol_GFN2"}
    assert read(ETHANOL, frames="7:8")[0].energy == s.energy


def save(path, **changes):
    arrays = {
        "nuclear_charges": np.array([8, 1], dtype=np.uint8),
        "coords": np.array([[[0, 0, 0], [0, 0, 1.0]]] * 3),
        "energies": np.array([-1.0, -2.0, -3.0]),
        "forces": np.full((3, 2, 3), 0.5),
        "old_energies": np.zeros(3),
        **changes,
    }
    np.savez(path, **{key: value for key, value in arrays.items() if value is not None})
    return path


def test_rmd17(tmp_path):
    frames = read(save(tmp_path / "rmd17_x.npz"))
    assert [s.energy for s in frames] == pytest.approx([-KCAL, -2 * KCAL, -3 * KCAL], rel=1e-6)
    np.testing.assert_allclose(frames[0].forces, 0.5 * KCAL, rtol=1e-6)
    assert frames[0].info == {"name": "rmd17_x"}


def test_other_units(tmp_path):
    frame = read(save(tmp_path / "a.npz", e_unit="Hartree", r_unit="bohr"))[0]
    assert frame.energy == pytest.approx(-27.2114, abs=1e-3)
    assert frame.positions[1, 2] == pytest.approx(0.529177, abs=1e-6)
    assert frame.forces[0, 0] == pytest.approx(0.5 * 51.4221, abs=1e-3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"coords": None}, "expected z, R, E, F or nuclear_charges"),
        ({"coords": np.zeros((3, 5, 3))}, r"coords .*\(3, 5, 3\).*\(3, 2, 3\)"),
        ({"energies": np.zeros(2)}, r"energies .*\(2,\).*\(3,\)"),
        ({"forces": np.zeros((3, 1, 3))}, "forces "),
        ({"e_unit": "cal"}, "e_unit .*'cal'.*kcal/mol"),
        ({"lattice": np.eye(3)}, "lattice"),
    ],
)
def test_bad_arrays(tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        read(save(tmp_path / "a.npz", **changes), format="npz")


def test_no_arrays(tmp_path):
    (tmp_path / "a.npz").write_text("nothing")
    with pytest.raises(InputError, match=r"a\.npz"):
        read(tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", R=np.array([{"x": 1}], dtype=object), z=np.zeros(1))
    with pytest.raises(InputError, match=r"b\.npz"):  # a pickle is not opened
        read(tmp_path / "b.npz")
