"""What both engines share."""

import io

import numpy as np
import pytest
import torch
from ase import Atoms, units

from esen.md.ase_nve import AseNve
from esen.md.engine import (
    HOTTEST,
    Engine,
    Failure,
    hottest_kinetic,
    restored_failures,
    saved_failures,
    starts_together,
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
    np.savez(content, **saved_failures(1000, live, failures))
    content.seek(0)
    step, systems, found = restored_failures(dict(np.load(content, allow_pickle=False)))
    assert (step, systems, found) == (1000, live, failures)
    assert list(found) == list(failures)


def test_hottest() -> None:
    atoms = Atoms("Ar3")
    atoms.set_momenta(np.ones((3, 3)))
    atoms.set_momenta(np.sqrt(HOTTEST / atoms.get_temperature()) * atoms.get_momenta())
    assert hottest_kinetic(3.0) == pytest.approx(atoms.get_kinetic_energy())
    assert hottest_kinetic(torch.tensor([2.0, 4.0])).tolist() == pytest.approx(
        [3 * HOTTEST * units.kB, 6 * HOTTEST * units.kB]
    )


@pytest.mark.parametrize(
    ("atoms", "groups"),
    [
        (1, [[0], [1], [2], [3]]),
        (4, [[0, 1], [2], [3]]),
        (5, [[0, 1], [2], [3]]),
        (9, [[0, 1], [2, 3]]),
        (100, [[0, 1, 2, 3]]),
    ],
)
def test_groups_are_as_large_as_they_may(atoms: int, groups: list[list[int]]) -> None:
    starts = [start_of(Atoms(f"Ar{count}")) for count in (1, 3, 6, 2)]
    assert starts_together(starts, atoms) == groups
    assert starts_together([], atoms) == []
