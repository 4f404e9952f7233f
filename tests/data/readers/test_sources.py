import gzip
import logging
from pathlib import Path

import ase
import ase.io
import numpy as np
import pytest
from ase.calculators.singlepoint import SinglePointCalculator

from esen.data.checks import check_structure
from esen.data.readers import Reading, load_structures
from esen.errors import InputError
from esen.recipe import DataSpec, SourceSpec

MGO = Path(__file__).parents[3] / "recipes" / "data" / "mgo"


def text(energy=-1.0, comment="", lattice=True):
    cell = 'Lattice="3 0 0 0 3 0 0 0 3" ' if lattice else ""
    columns = "Properties=species:S:1:pos:R:3:forces:R:3"
    return f"1\n{cell}{columns} energy={energy} {comment}\nMg 0 0 0 0.1 0.2 0.3\n"


def source(path, frames=":"):
    return SourceSpec(path=str(path), frames=frames)


def energies(structures):
    return [structure.energy for structure in structures]


def test_the_shipped_frames():
    train = load_structures([source(MGO / "MgO_train1.xyz.gz")])
    test = load_structures([source(MGO / "MgO_test1.xyz.gz")])
    assert (len(train), len(test)) == (270, 30)
    for structure in train + test:
        check_structure(structure, max_elements=13)
        assert np.bincount(structure.numbers).tolist() == [0] * 8 + [32] + [0] * 3 + [32]
        assert structure.stress is not None
        assert np.abs(structure.forces.sum(axis=0)).max() < 1e-6
    assert train[0].energy == -381.09178120
    assert train[0].forces[0].tolist() == [0.00192874, -0.00487429, -0.00563339]
    assert max(np.linalg.norm(s.forces, axis=1).max() for s in train) == pytest.approx(6.7, abs=0.1)
    # Frames whose cell was stretched pull inwards: volume and trace of the stress rise together.
    volumes, traces = zip(*[(s.volume, np.trace(s.stress)) for s in train], strict=True)
    assert np.corrcoef(volumes, traces)[0, 1] > 0.3


def test_what_ase_writes(tmp_path):
    rng = np.random.default_rng(0)
    atoms = ase.Atoms("MgO", positions=[[0, 0, 0], [2.1, 0, 0]], cell=[4, 5, 6], pbc=True)
    forces, stress = rng.normal(size=(2, 3)), rng.normal(size=6)
    atoms.calc = SinglePointCalculator(atoms, energy=-1.5, free_energy=-1.6, forces=forces, stress=stress)
    atoms.info["config_type"] = "bulk"
    ase.io.write(tmp_path / "a.extxyz", atoms)
    (structure,) = load_structures([source(tmp_path / "a.extxyz")])
    assert structure.energy == -1.5
    np.testing.assert_allclose(structure.forces, forces, atol=1e-8)
    np.testing.assert_allclose(structure.stress[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]], stress)
    assert structure.info == {"config_type": "bulk", "free_energy": -1.6}
    assert structure.source.endswith("a.extxyz, frame 0")


def test_keys_and_convention_come_from_the_recipe(tmp_path):
    frame = text(comment='E_tot=-7 W="9 0 0 0 9 0 0 0 9"').replace("forces:R:3", "DFT_f:R:3")
    (tmp_path / "a.xyz").write_text(frame)
    spec = DataSpec.model_validate(
        {
            "train": [{"path": "a.xyz"}],
            "energy_key": "E_tot",
            "forces_key": "DFT_f",
            "stress_key": "W",
            "stress_convention": "virial",
        }
    )
    (structure,) = load_structures(spec.train, Reading.of(spec), folder=tmp_path)
    assert structure.energy == -7.0
    assert structure.forces.tolist() == [[0.1, 0.2, 0.3]]
    np.testing.assert_allclose(structure.stress, -np.eye(3) / 3.0)


def test_mixed_periodicity_and_missing_stress(tmp_path):
    stress = 'stress="1 0 0 0 1 0 0 0 1"'
    frames = [text(comment=stress), text(), text(comment=stress, lattice=False)]
    (tmp_path / "a.xyz").write_text("".join(frames))
    crystal, unstressed, molecule = load_structures([source(tmp_path / "a.xyz")])
    assert crystal.stress.tolist() == np.eye(3).tolist()
    assert unstressed.stress is None
    assert molecule.stress is None
    assert not molecule.pbc.any()


def test_folders_patterns_and_slices(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "b.xyz").write_text(text(-1) + text(-2) + text(-3))
    (tmp_path / "a.extxyz.gz").write_bytes(gzip.compress((text(-4) + text(-5)).encode()))
    (tmp_path / "deep" / "c.xyz").write_text(text(-6))
    (tmp_path / "notes.txt").write_text("not a frame")
    assert energies(load_structures([source(tmp_path)])) == [-4, -5, -1, -2, -3, -6]
    assert energies(load_structures([source(tmp_path, "::2")])) == [-4, -1, -3, -6]
    assert energies(load_structures([source(tmp_path / "*.xyz")])) == [-1, -2, -3]
    assert energies(load_structures([source(tmp_path / "**" / "*.xyz", "-1:")])) == [-3, -6]
    both = [source(tmp_path / "b.xyz", "1:2"), source(tmp_path / "deep" / "c.xyz")]
    assert energies(load_structures(both)) == [-2, -6]


def test_a_file_may_have_any_name(tmp_path):
    (tmp_path / "frames[1].txt").write_text(text(-1))
    assert energies(load_structures([source("frames[1].txt")], folder=tmp_path)) == [-1]


@pytest.mark.parametrize(
    ("path", "frames", "message"),
    [
        ("none.xyz", ":", "none.xyz: "),
        ("*.none", ":", r"\*.none: "),
        ("empty", ":", "empty: "),
        ("a.xyz", "5:", "a.xyz: .*'5:'"),
        ("a.xyz", "5", "'5'"),
        ("a.xyz", "::0", "'::0'"),
    ],
)
def test_nothing_to_read(tmp_path, path, frames, message):
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.xyz").write_text(text())
    with pytest.raises(InputError, match=message) as refusal:
        load_structures([source(path, frames)], folder=tmp_path)
    assert "\n" not in str(refusal.value)


def test_the_frame_without_a_label_is_named(tmp_path):
    (tmp_path / "a.xyz").write_text(text() + text().replace("energy=", "REF_energy="))
    with pytest.raises(InputError, match=r"a.xyz, frame 1: .*data.energy_key: REF_energy"):
        load_structures([source(tmp_path / "a.xyz")])


def test_a_stress_key_that_no_frame_has(tmp_path):
    path = tmp_path / "a.xyz"
    path.write_text(text(comment='REF_stress="1 0 0 0 1 0 0 0 1"'))
    with pytest.raises(InputError, match=r"'strss'.*REF_stress"):
        load_structures([source(path)], Reading(stress_key="strss"))
    path.write_text(text())
    with pytest.raises(InputError, match=r"data\.stress_key"):
        load_structures([source(path)], Reading(stress_key="strss"))
    path.write_text(text(lattice=False))
    (molecule,) = load_structures([source(path)], Reading(stress_key="strss"))
    assert molecule.stress is None


def test_a_stress_under_another_name_is_told_of(tmp_path, caplog):
    path = tmp_path / "a.xyz"
    path.write_text(text(comment='virial="1 0 0 0 1 0 0 0 1"'))
    with caplog.at_level(logging.WARNING):
        (structure,) = load_structures([source(path)])
    assert structure.stress is None
    assert "write data.stress_key: virial and data.stress_convention: virial" in caplog.text


def test_an_unknown_format_is_refused(tmp_path):
    with pytest.raises(InputError, match="'cif'"):
        load_structures([source(tmp_path).model_copy(update={"format": "cif"})])
