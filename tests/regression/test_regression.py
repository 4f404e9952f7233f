"""The commands give the numbers that they gave before.

Sums round differently on other processors, so numbers agree to 1e-9 of the largest of each array. On the machine and
with the libraries that `make_reference.py` was run with, `ESEN_EXACT=1 OMP_NUM_THREADS=1` demands the same bits.
"""

import json
import os
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.regression.results import COMMANDS, HERE, copy_inputs

EXACT = os.environ.get("ESEN_EXACT") == "1"
RELATIVE, ABSOLUTE = 1e-9, 1e-12

# What other rounding changes by more, with its relative and absolute tolerances.
SENSITIVE = {
    "*/lowest": (0, 1e-6),  # THz; an acoustic mode at Γ is zero but for rounding
    "*/frequencies": (0, 1e-6),  # THz; the same
    "*/tensors/*": (0.02, 0),  # on a coarse mesh, degenerate modes scatter or not by their last bits
    "*/kappas/*": (0.02, 0),
    "*/value": (0, 1e-7),  # of a law that holds: rounding errors, in float32 up to 1e-6
    "*/tolerance": (0, 1e-8),  # grows with the rounding errors that were measured
}


def tolerances(name: str) -> tuple[float, float]:
    return next(
        (found for pattern, found in SENSITIVE.items() if fnmatch(name, pattern)), (RELATIVE, ABSOLUTE)
    )


def assert_close(name: str, found: Any, expected: Any) -> None:
    if not isinstance(expected, float | list):  # a count, a verdict, or no number
        assert found == expected, name
        return
    values, reference = np.array(found, dtype=float), np.array(expected, dtype=float)
    assert values.shape == reference.shape, name
    relative, absolute = tolerances(name)
    largest = np.nanmax(np.abs(reference), initial=0.0)
    np.testing.assert_allclose(
        values, reference, rtol=0, atol=relative * largest + absolute, equal_nan=True, err_msg=name
    )


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_gives_the_numbers_that_it_gave(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy_inputs(tmp_path)
    monkeypatch.chdir(tmp_path)
    expected = json.loads((HERE / "reference" / f"{name}.json").read_text())
    found = COMMANDS[name].run(tmp_path)
    assert found.keys() == expected.keys()
    if EXACT:
        assert {key: value for key, value in found.items() if value != expected[key]} == {}
    for key, value in found.items():
        assert_close(key, value, expected[key])
