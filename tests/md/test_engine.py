"""What both integrators share."""

import io

import numpy as np
import pytest
from ase import Atoms

from esen.md.ase_nve import AseNve
from esen.md.engine import (
    HOTTEST,
    HOTTEST_KINETIC,
    Engine,
    Failure,
    progress_arrays,
    progress_of,
)
from esen.md.nve import BatchNve
from tests.md.small import start_of
from tests.toys import lennard_jones


def test_both_are_engines() -> None:
    start = start_of(Atoms("Ar"))
    assert isinstance(BatchNve(lennard_jones(), [start], 1.0), Engine)
    assert isinstance(AseNve(None, start, 1.0), Engine)


@pytest.mark.parametrize(
    ("live", "failures"),
    [
        ([0, 1, 2], {}),
        ([1], {2: Failure(7, "it is hot"), 0: Failure(0, "E → ∞, “the calculator” said")}),
        ([], {0: Failure(3, "")}),
    ],
)
def test_failures_survive_a_file(live: list[int], failures: dict[int, Failure]) -> None:
    content = io.BytesIO()
    np.savez(content, **progress_arrays(1000, live, failures))
    content.seek(0)
    step, systems, found = progress_of(dict(np.load(content, allow_pickle=False)))
    assert (step, systems, found) == (1000, live, failures)
    assert list(found) == list(failures)


def test_hottest() -> None:
    atoms = Atoms("Ar3")
    atoms.set_momenta(np.ones((3, 3)))
    atoms.set_momenta(np.sqrt(HOTTEST / atoms.get_temperature()) * atoms.get_momenta())
    assert atoms.get_kinetic_energy() == pytest.approx(3 * HOTTEST_KINETIC)
