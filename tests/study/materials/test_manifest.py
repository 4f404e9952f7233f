"""A folder holds the results of one thing."""

import json
from pathlib import Path

import numpy as np
import pytest

from esen.errors import InputError
from esen.study.materials.manifest import claim, refuse_another


def test_more_may_come_but_nothing_else(tmp_path: Path) -> None:
    output = tmp_path / "out"
    assert refuse_another(output, {}) == {}
    claim(output, {"settings": {"mesh": (2, 2)}, "crystals": {"a": "a.cif"}})
    claim(output, {"settings": {"mesh": np.array([2, 2])}, "crystals": {"b": "b.cif"}})
    kept = json.loads((output / "manifest.json").read_text())
    assert kept == {"settings": {"mesh": [2, 2]}, "crystals": {"a": "a.cif", "b": "b.cif"}}
    with pytest.raises(InputError, match=r"was computed with settings: mesh \[2, 2\], now \[3, 3\]"):
        claim(output, {"settings": {"mesh": (3, 3)}, "crystals": {}})
    (output / "manifest.json").write_text("[]")
    with pytest.raises(InputError, match="not a manifest"):
        refuse_another(output, {"settings": {}})
