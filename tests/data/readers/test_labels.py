import numpy as np
import pytest

from esen.data.readers.labels import energy_of, forces_of, stress_candidates, stress_of
from esen.data.structure import Structure
from esen.errors import InputError


def frame(values=None, arrays=None, pbc=(True, True, True), cell=2.0):
    return Structure(
        numbers=np.array([12, 8]),
        positions=np.zeros((2, 3)),
        cell=cell * np.eye(3),
        pbc=np.array(pbc),
        info=values or {},
        arrays=arrays or {},
        source="a.xyz, frame 0",
    )


def test_energy_under_any_name():
    assert energy_of(frame({"dft_E": np.int64(-3)}), "dft_E") == -3.0


def test_the_free_energy_does_not_stand_in_for_the_energy():
    with pytest.raises(InputError, match=r"data\.energy_key: free_energy"):
        energy_of(frame({"free_energy": -3.0}), "energy")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"REF_energy": -1.0, "config_type": "bulk", "dft_E": -2.0},
            "a.xyz, frame 0: no energy under 'energy'; the frame has REF_energy, dft_E: "
            "write data.energy_key: REF_energy",
        ),
        (
            {"energy_per_atom": -1.0, "free_energy": -2.0, "total_energy": -2.0},
            "the frame has total_energy, energy_per_atom, free_energy: write data.energy_key: total_energy",
        ),
        ({"config_type": "bulk"}, "the frame has only config_type: expected data.energy_key"),
        ({}, "the frame has nothing of the kind: expected data.energy_key"),
        ({"energy": "None"}, "energy is 'None', expected one number"),
        ({"energy": True}, "energy is True, expected one number"),
        ({"energy": np.array([1.0, 2.0])}, "expected one number"),
    ],
)
def test_no_energy(values, message):
    with pytest.raises(InputError) as refusal:
        energy_of(frame(values), "energy")
    assert message in str(refusal.value)


def test_forces_under_any_name():
    forces = np.array([[1, 0, 0], [-1, 0, 0]])
    found = forces_of(frame(arrays={"DFT_force": forces}), "DFT_force")
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, forces)


VECTORS, SCALARS = np.zeros((2, 3)), np.zeros(2)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (
            {"momenta": VECTORS, "REF_forces": VECTORS, "force_norm": SCALARS},
            "no forces under 'forces'; the frame has REF_forces: write data.forces_key: REF_forces",
        ),
        ({"gradient": VECTORS, "tag": SCALARS}, "the frame has gradient: write data.forces_key: gradient"),
        ({"tag": SCALARS}, "the frame has only tag: expected data.forces_key"),
        ({"forces": SCALARS}, "forces is not three numbers"),
        ({"forces": np.full((2, 3), "x", dtype=object)}, "forces is not three numbers"),
    ],
)
def test_no_forces(arrays, message):
    with pytest.raises(InputError) as refusal:
        forces_of(frame(arrays=arrays), "forces")
    assert message in str(refusal.value)


@pytest.mark.parametrize(("label", "read"), [("energy", energy_of), ("forces", forces_of)])
def test_a_needed_label_is_not_to_be_read(label, read):
    labelled = frame({"energy": -1.0}, {"forces": np.zeros((2, 3))})
    with pytest.raises(InputError, match=rf"data\.{label}_key.*train\.loss\.{label}: 0"):
        read(labelled, "none")
    assert read(labelled, "none", required=False) is None


def test_stress_of_each_convention():
    six = np.array([1.0, 2.0, 3.0, 0.4, 0.5, 0.6])
    read = {
        convention: stress_of(frame({"s": six}), "s", convention)
        for convention in ("ase", "vasp_kbar", "virial")
    }
    np.testing.assert_allclose(read["virial"], -read["ase"] / 8.0)  # the volume is 8 Å³
    np.testing.assert_allclose(read["vasp_kbar"], -read["ase"] / 1602.1766208, rtol=1e-9)


@pytest.mark.parametrize("convention", ["ase", "virial"])
@pytest.mark.parametrize(
    "where", [{"pbc": (True, True, False)}, {"pbc": (False, False, False), "cell": 0.0}, {"cell": 0.0}]
)
def test_no_stress_without_three_periods_and_a_volume(convention, where):
    assert stress_of(frame({"stress": np.ones(6)}, **where), "stress", convention) is None


def test_stress_that_is_absent_or_wrong():
    assert stress_of(frame({"energy": 1.0}), "stress", "ase") is None
    with pytest.raises(InputError, match="9 numbers"):
        stress_of(frame({"stress": np.ones(3)}), "stress", "ase")


def test_stress_candidates():
    values = {"virial": np.ones((3, 3)), "REF_stress": np.ones(6), "stress_unit": "GPa", "dipole": np.ones(6)}
    assert stress_candidates(frame(values)) == ["virial", "REF_stress"]
