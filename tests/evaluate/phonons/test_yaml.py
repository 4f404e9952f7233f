"""Units of phonopy's yaml, and parts of it that do not belong together."""

import bz2
import lzma
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from ase import Atoms
from ase.build import bulk
from phonopy import Phonopy
from phonopy.file_IO import write_FORCE_CONSTANTS, write_force_constants_to_hdf5, write_FORCE_SETS
from phonopy.interface.calculator import calculator_info
from phonopy.physical_units import get_calculator_physical_units

from esen.errors import InputError
from esen.evaluate.phonons.crystal import from_phonopy, to_phonopy
from esen.evaluate.phonons.inputs import crystal_of_yaml
from esen.evaluate.phonons.properties import measure
from tests.evaluate.phonons.crystals import STILL, emt, structure_of


@cache
def displaced(random: int, distance: float) -> tuple[Any, Any, np.ndarray]:
    """Copper, displacements, and forces by EMT."""
    atoms = to_phonopy(structure_of(bulk("Cu", a=3.6)))
    found = Phonopy(atoms, np.diag([2, 2, 2]))
    found.generate_displacements(
        distance=distance, number_of_snapshots=random or None, random_seed=1 if random else None
    )
    cells = found.supercells_with_displacements or []
    return atoms, found.dataset, np.array(emt().forces([from_phonopy(cell, "") for cell in cells]))


def with_forces(calculator: str | None = None, *, random: int = 0, distance: float = 0.01) -> Phonopy:
    """The same in the units of a calculator."""
    units = get_calculator_physical_units(calculator)
    atoms, data, forces = displaced(random, distance)
    scaled = atoms.copy()
    scaled.cell = atoms.cell / units.distance_to_A
    result = Phonopy(scaled, np.diag([2, 2, 2]), calculator=calculator)
    if random:
        result.dataset = {"displacements": data["displacements"] / units.distance_to_A}
    else:
        first = [
            {"number": one["number"], "displacement": one["displacement"] / units.distance_to_A}
            for one in data["first_atoms"]
        ]
        result.dataset = {"natom": 8, "first_atoms": first}
    result.forces = forces / units.force_to_eVperA
    return result


def content_of(phonons: Phonopy, path: Path, *, constants: bool = False) -> dict[str, Any]:
    if constants:
        phonons.produce_force_constants()
    phonons.save(path, settings={"force_sets": not constants, "force_constants": constants})
    found: dict[str, Any] = yaml.load(path.read_text(), yaml.CSafeLoader)
    return found


def written(content: dict[str, Any], path: Path) -> Path:
    path.write_text(yaml.dump(content, Dumper=yaml.CSafeDumper))
    return path


def constants_of(path: Path) -> np.ndarray:
    reference = crystal_of_yaml(path, STILL).reference
    assert reference is not None
    return np.array(reference.force_constants)


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("known") / "known.yaml"
    with_forces().save(path)
    return path


@pytest.mark.parametrize("constants", [False, True])
@pytest.mark.parametrize("calculator", sorted(calculator_info))
def test_units_of_each_calculator(calculator: str, constants: bool, known: Path, tmp_path: Path) -> None:
    path = tmp_path / "cu.yaml"
    assert (
        content_of(with_forces(calculator), path, constants=constants)["phonopy"]["calculator"] == calculator
    )
    found = crystal_of_yaml(path, STILL)
    np.testing.assert_allclose(found.unitcell.volume, 3.6**3 / 4, rtol=1e-9)
    assert found.reference is not None
    np.testing.assert_allclose(found.reference.force_constants, constants_of(known), atol=1e-6)


def test_frequencies_do_not_depend_on_units(known: Path, tmp_path: Path) -> None:
    with_forces("qe").save(tmp_path / "qe.yaml")
    one, other = (crystal_of_yaml(path, STILL).reference for path in (known, tmp_path / "qe.yaml"))
    assert one is not None
    assert other is not None
    protocol = replace(STILL, mesh=(4, 4, 4))
    expected = measure(one, protocol).max_commensurate
    assert measure(other, protocol).max_commensurate == pytest.approx(expected, rel=1e-7)


def changed(change: Callable[[dict[str, Any]], object], path: Path, calculator: str | None = "qe") -> Path:
    content = content_of(with_forces(calculator), path)
    change(content)
    return written(content, path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c["physical_unit"].update(length="angstrom"), "angstrom.*au"),
        (lambda c: c["phonopy"].update(calculator="mystery"), "mystery"),
        (lambda c: c["phonopy"].pop("calculator"), "Ry/au"),
        (lambda c: c["phonopy"].pop("calculator") and c["physical_unit"].pop("length"), "Ry/au"),
        (lambda c: c["phonopy"].pop("calculator") and c.pop("physical_unit"), "108.97.*Ry/au"),
        (lambda c: c.pop("unit_cell"), "unit_cell"),
        (lambda c: c.pop("supercell_matrix"), "supercell_matrix"),
        (lambda c: c.update(supercell_matrix=[[3, 0, 0], [0, 2, 0], [0, 0, 2]]), "8 atoms.*12 atoms"),
        (lambda c: c.update(supercell_matrix=[[2, 0, 0], [2, 2, 0], [0, 0, 2]]), "supercell"),
        (lambda c: c.update(supercell_matrix=[[99, 0, 0], [0, 99, 0], [0, 0, 99]]), "970299.*--max-atoms"),
        (lambda c: c.update(supercell_matrix=[[-2, 0, 0], [0, 2, 0], [0, 0, 2]]), "-2"),
        (lambda c: c["displacements"][0].update(atom=9), "atom 9"),
        (lambda c: c["displacements"][0].update(forces=[[0.0] * 3] * 7), "7 atoms.* 8"),
        (lambda c: c["displacements"][0]["forces"][3].__setitem__(0, float("nan")), "not finite"),
        (lambda c: c["displacements"][0].update(displacement=[0.0] * 3), "is zero"),
        (lambda c: c["displacements"][0].update(forces=[[0.0] * 3] * 8), "force constants vanish"),
        (lambda c: c.update(primitive_matrix=[[0.5, 0, 0], [0, 1, 0], [0, 0, 1]]), "0.5 atoms"),
        (lambda c: c["phonopy"].update(calculator="vasp") or c.pop("physical_unit"), "108.97.*Ry/au.*vasp"),
        (lambda c: c["unit_cell"]["points"][0].update(mass=0.0), "masses"),
        (lambda c: c["supercell"]["points"].reverse(), "supercell"),
    ],
)
def test_what_does_not_fit_is_one_line(
    change: Callable[[dict[str, Any]], object], words: str, tmp_path: Path
) -> None:
    path = changed(change, tmp_path / "cu.yaml")
    with pytest.raises(InputError, match=rf"cu\.yaml: .*{words}") as caught:
        crystal_of_yaml(path, STILL)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("pack", [bz2.compress, lzma.compress])
def test_a_truncated_file_is_one_line(pack: Callable[[bytes], bytes], tmp_path: Path) -> None:
    path = tmp_path / "cu.yaml"
    with_forces().save(path)
    suffix = ".bz2" if pack is bz2.compress else ".xz"
    packed = path.with_name(f"cu.yaml{suffix}")
    packed.write_bytes(pack(path.read_bytes())[:-200])
    with pytest.raises(InputError, match=r"cu\.yaml\."):
        crystal_of_yaml(packed, STILL)


def test_files_of_the_working_directory_change_nothing(
    known: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    expected = constants_of(known)
    monkeypatch.chdir(here)
    other = with_forces(distance=0.2)
    other.forces = 3 * np.array(other.forces)
    write_FORCE_SETS(other.dataset)
    other.produce_force_constants()
    write_FORCE_CONSTANTS(other.force_constants)
    write_force_constants_to_hdf5(other.force_constants)
    Path("BORN").write_text("nonsense")
    Path("phonopy.yaml").write_text("nonsense")
    np.testing.assert_array_equal(constants_of(known), expected)
    content = yaml.load(known.read_text(), yaml.CSafeLoader)
    del content["displacements"]
    assert crystal_of_yaml(written(content, tmp_path / "bare.yaml"), STILL).reference is None


def test_random_displacements_are_fitted(known: Path, tmp_path: Path) -> None:
    path = tmp_path / "random.yaml"
    content = content_of(with_forces(random=4, distance=0.002), path)
    assert len(content["dataset"]["displacements"]) == 4
    np.testing.assert_allclose(constants_of(path), constants_of(known), atol=5e-3)
    content["dataset"]["forces"][1][2][0] = float("inf")
    with pytest.raises(InputError, match="not finite"):
        crystal_of_yaml(written(content, path), STILL)


def test_random_displacements_must_determine_and_explain_the_forces(tmp_path: Path) -> None:
    path = tmp_path / "random.yaml"
    content = content_of(with_forces(random=4, distance=0.002), path)
    forces = content["dataset"]["forces"]
    content["dataset"]["forces"] = (np.array(forces) + np.arange(8)[None, :, None]).tolist()
    with pytest.raises(InputError, match=r"random\.yaml: .*% of its forces"):
        crystal_of_yaml(written(content, path), STILL)
    atoms = to_phonopy(structure_of(Atoms("CuAg", [[0, 0, 0], [1.7, 1.9, 1.6]], cell=[3, 4, 3.5], pbc=True)))
    few = Phonopy(atoms, np.diag([2, 2, 1]), primitive_matrix="P")
    few.generate_displacements(distance=0.01, number_of_snapshots=1, random_seed=1)
    few.forces = np.ones((1, 8, 3))
    few.save(path)
    with pytest.raises(InputError, match=r"random\.yaml: .*1 random displacements .*needed"):
        crystal_of_yaml(path, STILL)


def test_a_missing_displacement_of_atoms_under_force_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "cut.yaml"
    positions = [[0.1, 0, 0], [0, 1.9, 1.8], [1.8, 0, 1.7], [1.7, 1.8, 0.1]]
    crystal = structure_of(Atoms("NiCu3", positions, cell=[3.6, 3.6, 4], pbc=True))
    whole = Phonopy(to_phonopy(crystal), np.eye(3, dtype=int), primitive_matrix="P")
    whole.generate_displacements(distance=0.01)
    cells = whole.supercells_with_displacements or []
    whole.forces = np.array(emt().forces([from_phonopy(cell, "") for cell in cells]))
    content = content_of(whole, path)
    assert constants_of(path).shape == (4, 4, 3, 3)
    del content["displacements"][-1]
    with pytest.raises(InputError, match=r"cut\.yaml: .*a displacement is missing"):
        crystal_of_yaml(written(content, path), STILL)
