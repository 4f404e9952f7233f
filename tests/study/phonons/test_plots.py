"""Bands over those of the reference."""

from pathlib import Path

from PIL import Image

from esen.evaluate.phonons.inputs import crystal_of_yaml
from esen.evaluate.phonons.protocol import PROTOCOLS
from esen.study.phonons.plots import bands_plot
from tests.evaluate.phonons.crystals import NACL


def test_a_curve_over_the_reference(tmp_path: Path) -> None:
    reference = crystal_of_yaml(NACL, PROTOCOLS["tight"]).reference
    assert reference is not None
    bands_plot({"again": reference}, reference, "NaCl", tmp_path / "both.png")
    with Image.open(tmp_path / "both.png") as picture:
        assert min(picture.size) > 500
