"""What a user names."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from phono3py import Phono3py
from phono3py.file_IO import write_FORCES_FC2, write_FORCES_FC3
from phonopy.physical_units import get_calculator_physical_units

from esen.data.readers import Files, Reading, load_structures
from esen.data.structure import Structure
from esen.errors import InputError
from esen.evaluate.conductivity.force_constants import displace, second_by_displacements, use_force_sets
from esen.evaluate.conductivity.inputs import (
    Sizes,
    is_of_benchmark,
    is_phono3py_yaml,
    material_of_benchmark,
    material_of_structure,
    material_of_yaml,
    phono3py_name,
)
from esen.evaluate.conductivity.material import Material, make_phono3py
from esen.evaluate.conductivity.run import harmonic, reference_conductivity
from esen.evaluate.phonons.crystal import from_phonopy
from esen.evaluate.phonons.yaml import Units
from tests.evaluate.conductivity.materials import RELAXED, SILICON, TIGHT, aluminium, coarse, emt
from tests.evaluate.phonons.crystals import structure_of

COARSE = Sizes(mesh=(5, 5, 5))
FRAMES = """\
2
Lattice="4.0 0.0 0.0 0.0 4.0 0.0 0.0 0.0 6.0" Properties=species:S:1:pos:R:3 fc3_supercell="_JSON [[3, 0, 0], \
[0, 3, 0], [0, 0, 2]]" fc2_supercell="_JSON [[5, 0, 0], [0, 5, 0], [0, 0, 3]]" mp_id=mp-1 q_mesh="_JSON [19, 19, 15]" \
name=ZnO symm.no=186 pbc="T T T"
Zn 0.0 0.0 0.0
O 0.0 2.0 2.0
1
Lattice="4.0 0.0 0.0 0.0 4.0 0.0 0.0 0.0 4.0" Properties=species:S:1:pos:R:3 fc3_supercell="2 2 2" \
fc2_supercell="4 0 0 0 4 0 0 0 4" material_id=mp-2 q_point_mesh="19 19 19" pbc="T T T"
Cu 0.0 0.0 0.0
"""


def test_the_layout_of_the_benchmark(tmp_path: Path) -> None:
    path = tmp_path / "structures.extxyz"
    path.write_text(FRAMES)
    frames = load_structures([Files(str(path))], Reading(required=()))
    assert all(is_of_benchmark(frame) for frame in frames)
    first, second = (material_of_benchmark(frame) for frame in frames)
    assert (first.name, first.label, first.space_group, first.mesh) == ("mp-1", "ZnO", 186, (19, 19, 15))
    assert first.fc2_supercell.tolist() == np.diag([5, 5, 3]).tolist()
    assert first.fc3_supercell.tolist() == np.diag([3, 3, 2]).tolist()
    assert (second.name, second.label, second.space_group) == ("mp-2", "", None)
    assert second.fc2_supercell.tolist() == np.diag([4, 4, 4]).tolist()
    assert second.fc3_supercell.tolist() == np.diag([2, 2, 2]).tolist()
    assert second.mesh == (19, 19, 19)


def frame(**info: Any) -> Structure:
    known = {"mp_id": "mp-1", "fc2_supercell": [2, 2, 2], "fc3_supercell": [2, 2, 2], "q_mesh": [5, 5, 5]}
    return replace(structure_of(bulk("Al"), "some.xyz, frame 3"), info={**known, **info})


@pytest.mark.parametrize(
    "given", [[2, 3, 4], np.diag([2, 3, 4]), "[2, 3, 4]", "_JSON [[2, 0, 0], [0, 3, 0], [0, 0, 4]]"]
)
def test_matrices_in_each_form(given: object) -> None:
    assert (
        material_of_benchmark(frame(fc2_supercell=given)).fc2_supercell.tolist()
        == np.diag([2, 3, 4]).tolist()
    )


@pytest.mark.parametrize(
    ("info", "words"),
    [
        ({"fc2_supercell": "two"}, "fc2_supercell .*'two'"),
        ({"fc2_supercell": [2.5, 2, 2]}, r"fc2_supercell .*2\.5"),
        ({"fc3_supercell": [2, 2]}, "fc3_supercell .*2 .*3 or 9"),
        ({"fc3_supercell": [2, 2, 0]}, "volume"),
        ({"q_mesh": [19]}, "mesh .*19"),
        ({"q_mesh": [0, 1, 1]}, "mesh .*0, 1, 1"),
    ],
)
def test_bad_frames_are_one_line(info: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=f"some.xyz, frame 3: .*{words}"):
        material_of_benchmark(frame(**info))


def test_missing_keys_are_named() -> None:
    without = frame()
    del without.info["q_mesh"]
    with pytest.raises(InputError, match="q_point_mesh"):
        material_of_benchmark(without)
    del without.info["mp_id"]
    with pytest.raises(InputError, match="material_id"):
        material_of_benchmark(without)
    assert not is_of_benchmark(structure_of(bulk("Al")))


def test_sizes_follow_from_widths_and_lengths() -> None:
    structure = structure_of(bulk("Al", cubic=True))
    found = material_of_structure(structure, "Al", Sizes(fc2_width=12.0, fc3_width=8.0, mesh=25.0), 1e-5)
    assert found.fc2_supercell.tolist() == np.diag([3, 3, 3]).tolist()
    assert found.fc3_supercell.tolist() == np.diag([2, 2, 2]).tolist()
    assert found.mesh == (11, 11, 11)  # of the primitive cell: |b| = √3 / 4.05 per Å
    given = Sizes(np.diag([4, 4, 4]), np.diag([1, 1, 2]), mesh=(3, 4, 5))
    found = material_of_structure(structure, "Al", given, 1e-5)
    assert (found.fc2_supercell[0, 0], found.fc3_supercell[2, 2], found.mesh) == (4, 2, (3, 4, 5))


def test_a_length_makes_a_mesh_of_any_lattice() -> None:
    centred = bulk("Cu", cubic=True)
    centred.set_cell([3.6, 3.6, 3.75], scale_atoms=True)  # body-centred tetragonal
    found = material_of_structure(structure_of(centred, "tet"), "tet", Sizes(mesh=20.0), 1e-5)
    assert found.mesh == (11, 11, 11)
    make_phono3py(found, 1e-5)


def test_left_handed_cells_are_turned() -> None:
    atoms = bulk("Al")
    atoms.set_cell(atoms.cell.array[[1, 0, 2]])
    found = material_of_structure(structure_of(atoms, "al"), "al", Sizes(mesh=(3, 3, 3)), 1e-5)
    assert make_phono3py(found, 1e-5).primitive.volume == pytest.approx(atoms.get_volume())


def test_a_mesh_of_too_many_points_is_refused() -> None:
    found = material_of_structure(structure_of(bulk("Al"), "al"), "al", Sizes(mesh=(999, 999, 9)), 1e-5)
    with pytest.raises(InputError, match=r"al: .*999×999×9 .*8\.98e\+06 .*1e\+06"):
        make_phono3py(found, 1e-5)


def test_molecules_have_no_conductivity() -> None:
    molecule = structure_of(Atoms("CO", [[0, 0, 0], [0, 0, 1.1]]), "co.xyz")
    with pytest.raises(InputError, match=r"co\.xyz: .*crystal"):
        material_of_structure(molecule, "co", Sizes(), 1e-5)


def computed(*, second: bool, material: Material | None = None) -> Phono3py:
    """Aluminium with forces of EMT, as another program would have left them."""
    found = make_phono3py(material or aluminium(), 1e-5, single=not second)
    found.generate_displacements(distance=TIGHT.displacement)
    forces_of = emt().forces
    found.forces = np.array(
        forces_of([from_phonopy(cell, "") for cell in found.supercells_with_displacements])
    )
    if second:
        cells = found.phonon_supercells_with_displacements
        found.phonon_forces = np.array(forces_of([from_phonopy(cell, "") for cell in cells]))
    return found


def in_yaml(phono3py: Phono3py, folder: Path) -> Path:
    phono3py.save(folder / "phono3py_params.yaml")
    return folder / "phono3py_params.yaml"


def beside(phono3py: Phono3py, folder: Path) -> Path:
    phono3py.save(folder / "phono3py_disp.yaml", settings={"force_sets": False})
    write_FORCES_FC3(phono3py.dataset, filename=folder / "FORCES_FC3")
    if phono3py.phonon_dataset is not None:
        write_FORCES_FC2(phono3py.phonon_dataset, filename=folder / "FORCES_FC2")
    return folder / "phono3py_disp.yaml"


@pytest.mark.parametrize("layout", [in_yaml, beside])
@pytest.mark.parametrize("second", [True, False])
def test_force_sets_of_the_file_are_the_reference(
    layout: Callable[[Phono3py, Path], Path], second: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = computed(second=second, material=aluminium(fc3=1))
    path = layout(expected, tmp_path)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "FORCES_FC3").write_text("not of this material")
    monkeypatch.chdir(elsewhere)
    material = material_of_yaml(path, COARSE, 1e-5)
    assert material.name == tmp_path.name
    assert material.reference is not None
    assert (material.reference.second is not None) is second
    found = make_phono3py(material, 1e-5, single=not second)
    use_force_sets(found, material.reference, material.name)
    np.testing.assert_allclose(found.forces, expected.forces, atol=1e-9)
    if second:
        np.testing.assert_allclose(found.phonon_forces, expected.phonon_forces, atol=1e-9)


def test_the_reference_is_computed_by_the_same_steps(tmp_path: Path) -> None:
    material = material_of_yaml(in_yaml(computed(second=False), tmp_path), COARSE, 1e-5)
    found, expected = reference_conductivity(material, TIGHT).transport, coarse().transport
    assert found is not None
    assert expected is not None
    np.testing.assert_allclose(found.mean, expected.mean, rtol=1e-4)  # forces in text have ten digits


def test_a_larger_supercell_for_second_derivatives_is_used() -> None:
    phono3py = make_phono3py(aluminium(fc2=3, fc3=1), 1e-5)
    assert displace(phono3py, TIGHT) == (1, 7)
    second_by_displacements(phono3py, TIGHT, emt())
    assert phono3py.fc2.shape == (1, 108, 3, 3)
    larger, smaller = harmonic(phono3py, TIGHT), coarse().harmonic
    np.testing.assert_allclose(larger.frequencies, smaller.frequencies, atol=0.3)
    assert np.abs(larger.frequencies - smaller.frequencies).max() > 0.01


def test_yaml_without_forces_is_a_material(tmp_path: Path) -> None:
    phono3py = make_phono3py(aluminium(fc2=3, fc3=1), 1e-5)
    displace(phono3py, TIGHT)
    phono3py.save(tmp_path / "phono3py_disp.yaml", settings={"force_sets": False})
    material = material_of_yaml(tmp_path / "phono3py_disp.yaml", Sizes(mesh=10.0), 1e-5)
    assert (material.reference, material.mesh) == (None, (4, 4, 4))
    assert material.fc2_supercell.tolist() == np.diag([3, 3, 3]).tolist()
    assert material.fc3_supercell.tolist() == np.eye(3).tolist()
    with pytest.raises(InputError, match="force sets"):
        reference_conductivity(material, TIGHT)


def in_units(phono3py: Phono3py, calculator: str) -> Phono3py:
    """The same in the units of a calculator."""
    units = get_calculator_physical_units(calculator)
    scale = Units(1 / units.distance_to_A, 1 / units.force_to_eVperA)
    found = Phono3py(
        scale.cell(phono3py.unitcell),
        phono3py.supercell_matrix,
        phonon_supercell_matrix=phono3py.phonon_supercell_matrix,
        primitive_matrix=phono3py.primitive_matrix,
        calculator=calculator,
    )
    found.dataset = scale.converted(phono3py.dataset)
    found.phonon_dataset = scale.converted(phono3py.phonon_dataset)
    return found


@pytest.mark.parametrize("layout", [in_yaml, beside])
@pytest.mark.parametrize("calculator", ["qe", "abinit", "wien2k", "elk", "cp2k", "crystal", "aims"])
def test_other_units_are_converted(
    layout: Callable[[Phono3py, Path], Path], calculator: str, tmp_path: Path
) -> None:
    expected = computed(second=True, material=aluminium(fc3=1))
    material = material_of_yaml(layout(in_units(expected, calculator), tmp_path), COARSE, 1e-5)
    assert material.unitcell.volume == pytest.approx(RELAXED**3, rel=1e-9)
    assert material.reference is not None
    found = make_phono3py(material, 1e-5)
    use_force_sets(found, material.reference, material.name)
    np.testing.assert_allclose(found.forces, expected.forces, atol=1e-8)
    np.testing.assert_allclose(found.phonon_forces, expected.phonon_forces, atol=1e-8)
    one, other = found.dataset["first_atoms"][0], expected.dataset["first_atoms"][0]
    np.testing.assert_allclose(one["displacement"], other["displacement"], atol=1e-9)
    one, other = one["second_atoms"][-1], other["second_atoms"][-1]
    np.testing.assert_allclose(one["displacement"], other["displacement"], atol=1e-9)


def test_random_displacements_are_fitted(tmp_path: Path) -> None:
    found = make_phono3py(aluminium(), 1e-5, single=True)
    found.generate_displacements(distance=0.03, number_of_snapshots=20, random_seed=1)
    cells = [from_phonopy(cell, "") for cell in found.supercells_with_displacements]
    found.forces = np.array(emt().forces(cells))
    material = material_of_yaml(in_yaml(found, tmp_path), COARSE, 1e-5)
    one, other = reference_conductivity(material, TIGHT), coarse()
    np.testing.assert_allclose(one.harmonic.frequencies, other.harmonic.frequencies, atol=0.02)
    assert one.transport is not None
    assert other.transport is not None
    np.testing.assert_allclose(one.transport.mean, other.transport.mean, rtol=0.05)


def test_forces_of_another_crystal_are_one_line(tmp_path: Path) -> None:
    path = beside(computed(second=False, material=aluminium(fc3=1)), tmp_path)
    other = computed(second=False, material=aluminium(fc3=2))
    write_FORCES_FC3(other.dataset, filename=tmp_path / "FORCES_FC3")
    with pytest.raises(InputError, match=r"phono3py_disp\.yaml: ") as caught:
        material_of_yaml(path, COARSE, 1e-5)
    assert "\n" not in str(caught.value)


def test_masses_are_those_of_the_file(tmp_path: Path) -> None:
    phono3py = make_phono3py(aluminium(fc2=1, fc3=1), 1e-5)
    phono3py.masses = [27.5]
    phono3py.save(tmp_path / "phono3py_disp.yaml", settings={"force_sets": False})
    material = material_of_yaml(tmp_path / "phono3py_disp.yaml", COARSE, 1e-5)
    assert make_phono3py(material, 1e-5).masses.tolist() == [27.5]
    assert make_phono3py(aluminium(fc2=1, fc3=1), 1e-5).masses[0] == pytest.approx(26.98, abs=0.01)


def test_silicon_by_another_program() -> None:
    material = material_of_yaml(SILICON, COARSE, 1e-5)
    assert (material.name, len(material.unitcell)) == ("silicon", 8)
    assert material.reference is not None
    assert material.reference.second is None
    assert len(material.reference.third["first_atoms"][0]["second_atoms"]) == 110
    assert material.reference.third["first_atoms"][0]["forces"].shape == (64, 3)


@pytest.mark.slow
def test_silicon_as_its_authors_have_it() -> None:
    """119.5 W/m/K at 300 K on 11³ without isotopes, in the notes of phono3py's example."""
    material = material_of_yaml(SILICON, Sizes(mesh=(11, 11, 11)), 1e-5)
    found = reference_conductivity(material, replace(TIGHT, isotopes=False)).transport
    assert found is not None
    assert found.diagonal[0, 0] == pytest.approx(119.5, abs=0.05)
    assert found.coherence[0, 0] < 0.002 * found.mean[0]


@pytest.mark.parametrize("content", [b"nothing: true\n", b"[", b"\xff\xfe"])
def test_other_yaml_is_one_line(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "phono3py_other.yaml"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"phono3py_other\.yaml: ") as caught:
        material_of_yaml(path, COARSE, 1e-5)
    assert "\n" not in str(caught.value)


def test_forces_that_do_not_fit_are_one_line(tmp_path: Path) -> None:
    path = beside(computed(second=False, material=aluminium(fc3=1)), tmp_path)
    (tmp_path / "FORCES_FC3").write_text("0 0 0\n0 0 0\n")
    with pytest.raises(InputError, match="phono3py ") as caught:
        material_of_yaml(path, COARSE, 1e-5)
    assert "\n" not in str(caught.value)


def test_force_sets_of_other_atoms_are_one_line(tmp_path: Path) -> None:
    material = material_of_yaml(
        in_yaml(computed(second=False, material=aluminium(fc3=1)), tmp_path), COARSE, 1e-5
    )
    other = replace(material, fc3_supercell=np.diag([2, 1, 1]))
    with pytest.raises(InputError, match="force sets") as caught:
        reference_conductivity(other, TIGHT)
    assert "\n" not in str(caught.value)


def test_names_of_yaml() -> None:
    assert is_phono3py_yaml(Path("phono3py_params.yaml.xz"))
    assert not is_phono3py_yaml(Path("mp-149.yaml"))
    assert not is_phono3py_yaml(Path("phono3py.hdf5"))
    assert phono3py_name(Path("phono3py-Sr.y2o3.yaml")) == "phono3py-Sr.y2o3"
