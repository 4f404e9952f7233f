"""Bands over those of the reference."""

from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from esen.errors import InputError
from esen.evaluate.phonons.inputs import crystal_of_yaml
from esen.evaluate.phonons.protocol import PROTOCOLS
from esen.study.phonons.bands import bands_of, path_of, read_bands, write_bands
from esen.study.phonons.plots import bands_plot, convergence_plot, parity_plots
from esen.study.phonons.record import QUANTITIES, Record
from esen.study.phonons.rows import convergence_rows
from tests.evaluate.phonons.crystals import NACL


def test_a_curve_over_the_reference(tmp_path: Path) -> None:
    crystal = crystal_of_yaml(NACL, PROTOCOLS["tight"])
    assert crystal.reference is not None
    bands = bands_of(crystal.reference, path_of(crystal, 1e-5))
    write_bands(tmp_path / "a.npz", bands)
    again = read_bands(tmp_path / "a.npz")
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
        read_bands(tmp_path / "a.npz")


def test_parity_and_convergence(tmp_path: Path) -> None:
    known = dict.fromkeys(QUANTITIES, 2.0)
    values = dict.fromkeys(QUANTITIES, 3.0)
    one = Record("MgO", "MgO", 2, 64, values, known, 300.0)
    parity_plots({"a": [one, replace(one, values={}, failure="no")], "b": [one]}, tmp_path / "parity.png")
    study = [(0.01, one), (0.1, replace(one, max_commensurate=400.0)), (0.2, replace(one, failure="no"))]
    convergence_plot({"a": study, "b": study}, "MgO", tmp_path / "convergence.png")
    for name in ("parity.png", "convergence.png"):
        with Image.open(tmp_path / name) as picture:
            assert min(picture.size) > 300
    (row,) = convergence_rows({"MgO": {"a": study[:2]}})
    assert row == {"ω_max (THz) of": "a", "0.01 Å": "6.251", "0.1 Å": "8.335", "range": "33.33 %"}
