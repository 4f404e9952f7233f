"""Bands over those of the reference."""

from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from esen.errors import InputError
from esen.evaluate.phonons.bands import Bands, bands_of, path_of
from esen.evaluate.phonons.inputs import crystal_of_yaml
from esen.evaluate.phonons.properties import QUANTITIES
from esen.evaluate.phonons.protocol import PROTOCOLS
from esen.files import read_arrays_as, write_arrays
from esen.study.phonons import DisplacementStudy, MeanErrors, PhononRecord, study_table
from esen.study.plots.phonons import bands_plot, convergence_plot, parity_plots
from tests.evaluate.phonons.crystals import NACL


def test_a_curve_over_the_reference(tmp_path: Path) -> None:
    crystal = crystal_of_yaml(NACL, PROTOCOLS["tight"])
    assert crystal.reference is not None
    bands = bands_of(crystal.reference, path_of(crystal, 1e-5))
    write_arrays(tmp_path / "a.npz", vars(bands))
    again = read_arrays_as(tmp_path / "a.npz", Bands)
    for key, value in vars(bands).items():
        assert (getattr(again, key) == value).all()
    assert again.labels.tolist()[:2] == ["$\\Gamma$", "X"]
    assert sum(len(x) for x, _ in again.lines()) == len(again.distances)
    bands_plot({"": {"again": again}}, bands, "NaCl", tmp_path / "both.png")
    many = {f"{number}": again for number in range(7)}
    bands_plot({"a": many, "b": many}, None, "NaCl", tmp_path / "studies.png")
    widths = []
    for name in ("both.png", "studies.png"):
        with Image.open(tmp_path / name) as picture:
            assert min(picture.size) > 500
            widths.append(picture.size[0])
    assert widths[1] > 1.5 * widths[0]
    (tmp_path / "a.npz").write_bytes(b"PK")
    with pytest.raises(InputError, match="damaged"):
        read_arrays_as(tmp_path / "a.npz", Bands)


def test_parity_and_convergence(tmp_path: Path) -> None:
    known: dict[str, float | None] = {quantity.name: 2.0 for quantity in QUANTITIES}
    values = {quantity.name: 3.0 for quantity in QUANTITIES}
    one = PhononRecord("MgO", "MgO", 2, 64, values, known, 300.0)
    bad = replace(one, values={}, failure="no")
    parity_plots([MeanErrors("a", [one, bad]), MeanErrors("b", [one])], tmp_path / "parity.png")
    far = replace(one, max_commensurate=400.0)
    studies = [DisplacementStudy("MgO", label, {0.01: one, 0.1: far, 0.2: bad}) for label in "ab"]
    convergence_plot(studies, "MgO", tmp_path / "convergence.png")
    for name in ("parity.png", "convergence.png"):
        with Image.open(tmp_path / name) as picture:
            assert min(picture.size) > 300
    (row,) = study_table([DisplacementStudy("MgO", "a", {0.01: one, 0.1: far})]).texts()
    assert row == {"ω_max (THz) of": "a", "0.01 Å": "6.251", "0.1 Å": "8.335", "range": "33.33 %"}
