"""Figures of modes and of many materials."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from esen.evaluate.conductivity.modes import Modes, modes_of
from esen.files import read_arrays_as, write_arrays
from esen.study.conductivity import ConductivityRecord
from esen.study.plots.conductivity import (
    Carriers,
    carriers_of,
    carriers_of_reference,
    modes_plot,
    parity_plot,
)
from tests.evaluate.conductivity.materials import coarse, coarse_reference


def is_picture(path: Path) -> bool:
    with Image.open(path) as picture:
        return min(picture.size) > 500


def test_carriers_add_up_to_the_conductivity(tmp_path: Path) -> None:
    found = coarse()
    assert found.transport is not None
    write_arrays(tmp_path / "al.npz", vars(modes_of(found)))
    kept = read_arrays_as(tmp_path / "al.npz", Modes)
    mine, reference = carriers_of(kept), carriers_of_reference(coarse_reference())
    assert mine is not None
    assert reference is not None
    assert mine.kappa.sum() == pytest.approx(found.transport.mean[0])
    assert reference.kappa == pytest.approx(mine.kappa)
    assert reference.lifetimes is None
    modes_plot({"emt": mine}, reference, "Al, 300 K", tmp_path / "both.png")
    modes_plot({}, reference, "Al, 300 K", tmp_path / "reference.png")
    below = Carriers(np.array([1.0, 2.0]), np.array([-1.0, 3.0]), np.array([1.0, np.inf]))
    modes_plot({f"{number}": below for number in range(7)}, None, "made", tmp_path / "many.png")
    assert all(is_picture(tmp_path / f"{name}.png") for name in ("both", "reference", "many"))
    again = kept.as_reference("Al", "", 225)
    assert again is not None
    assert (again.modes == coarse_reference().modes).all()


def test_many_materials(tmp_path: Path) -> None:
    one = coarse_reference()
    kappa = float(one.kappa[0])
    record = ConductivityRecord(
        "Al",
        temperatures=(300.0,),
        kappas={"total": [2 * kappa]},
        reference="a file",
        reference_kelvin=300.0,
        reference_kappa=kappa,
        srme=0.7,
        srd=0.6,
    )
    failed = replace(record, temperatures=(), kappas=None, failure="no", srme=2.0, srd=-2.0)
    parity_plot({"a": [record, failed], "b": [failed]}, tmp_path / "parity.png")
    assert is_picture(tmp_path / "parity.png")
