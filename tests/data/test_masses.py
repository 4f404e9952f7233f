import numpy as np
import pytest
from ase import Atoms
from ase.data import atomic_masses
from ase.io import write

from esen.data.atoms import from_atoms
from esen.data.masses import masses_of, standard_masses
from esen.data.structures import read_structures
from esen.errors import InputError


def test_masses_of_all_elements() -> None:
    masses = standard_masses(np.array([1, 29, 84, 118]))
    assert masses == pytest.approx([1.008, 63.546, 208.982, 294.214], abs=1e-3)
    assert standard_masses(np.arange(1, 119)).tolist() == atomic_masses[1:].tolist()


@pytest.mark.parametrize("number", [0, 119, -1])
def test_no_element(number: int) -> None:
    with pytest.raises(InputError, match=rf"atom 1: .* {number};"):
        standard_masses(np.array([29, number]))


@pytest.mark.parametrize("name", ["a.traj", "a.extxyz", "a.json", "a.db"])
def test_masses_of_a_file(tmp_path, name) -> None:
    atoms = Atoms("H2", [[0, 0, 0], [0, 0, 0.8]])
    atoms.set_masses([2.014, 1.008])
    write(tmp_path / name, atoms)
    ((_, structure),) = read_structures(tmp_path / name, ":")
    assert masses_of(structure).tolist() == [2.014, 1.008]


def test_elements_have_their_masses_where_a_file_gives_none(tmp_path) -> None:
    write(tmp_path / "a.traj", Atoms("CO", [[0, 0, 0], [0, 0, 1.1]]))
    ((_, structure),) = read_structures(tmp_path / "a.traj", ":")
    assert structure.masses is None
    assert masses_of(structure).tolist() == [12.011, 15.999]


def test_deuterium_of_a_cif(tmp_path) -> None:
    lines = ["data_x", *(f"_cell_length_{a} 5" for a in "abc")]
    lines += [f"_cell_angle_{a} 90" for a in ("alpha", "beta", "gamma")]
    lines += ["loop_", "_atom_site_label", "_atom_site_type_symbol"]
    lines += [f"_atom_site_fract_{a}" for a in "xyz"]
    (tmp_path / "d.cif").write_text("\n".join([*lines, "D1 D 0 0 0", "H1 H 0 0 0.2", ""]))
    ((_, structure),) = read_structures(tmp_path / "d.cif", ":")
    assert structure.numbers.tolist() == [1, 1]
    assert masses_of(structure) == pytest.approx([2.014, 1.008], abs=1e-3)


@pytest.mark.parametrize(
    ("column", "masses"), [("", [2.014102, 3.016049, 15.999]), (":masses:R:1", [2.5, 3.0, 16.0])]
)
def test_isotopes_of_hydrogen_in_extended_xyz(tmp_path, column, masses) -> None:
    given = [f" {mass}" if column else "" for mass in masses]
    rows = [f"{symbol} 0 0 {2 * i}{given[i]}" for i, symbol in enumerate("DTO")]
    (tmp_path / "d.xyz").write_text("\n".join(["3", f"Properties=species:S:1:pos:R:3{column}", *rows, ""]))
    ((_, structure),) = read_structures(tmp_path / "d.xyz", ":")
    assert structure.numbers.tolist() == [1, 1, 8]
    assert masses_of(structure).tolist() == masses


@pytest.mark.parametrize("mass", [0.0, -1.0, np.nan, np.inf, 1.06e-25])
def test_impossible_masses_name_the_atom(tmp_path, mass) -> None:
    atoms = Atoms("Cu2", [[0, 0, 0], [0, 0, 2.5]])
    atoms.set_masses([63.5, mass])
    write(tmp_path / "a.traj", atoms)
    with pytest.raises(InputError, match="frame 0: atom 1 has the mass"):
        read_structures(tmp_path / "a.traj", ":")


def test_supercells_keep_masses() -> None:
    from dataclasses import replace

    from esen.data.supercells import matrix_of, repeated

    unit = from_atoms(Atoms("CuAu", [[0, 0, 0], [0, 0, 2]], cell=[3, 3, 4], pbc=True), "x")
    unit = replace(unit, masses=np.array([60.0, 200.0]))
    assert repeated(unit, matrix_of([2, 1, 1])).masses.tolist() == [60.0, 200.0] * 2
