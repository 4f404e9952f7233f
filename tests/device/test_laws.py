"""The laws of `esen check`, on the device in float64."""

from collections.abc import Sequence

import numpy as np

from esen.data.structure import Structure
from esen.evaluate.laws.law import Finding
from esen.evaluate.laws.run import check_laws
from esen.evaluate.laws.subject import Subject
from tests.device.small import potential_on
from tests.models.variants import chiral_molecule, triclinic_crystal

OF_EVERY_POTENTIAL = ["rotation", "translation", "permutation", "batch", "forces", "stress", "curl"]


def findings(variant: str, device: str, structure: Structure, laws: Sequence[str]) -> list[Finding]:
    potential = potential_on(device, variant)
    differentiable = potential_on(device, variant).requires_grad_(False).train()
    return check_laws(Subject(potential, device, differentiable=differentiable), [structure], laws).findings


def verdicts(found: list[Finding], verdict: str) -> set[str]:
    return {finding.law for finding in found if finding.verdict == verdict}


def test_the_default_network_obeys_the_laws(device: str) -> None:
    crystal = findings("default", device, triclinic_crystal(), OF_EVERY_POTENTIAL)
    assert verdicts(crystal, "pass") == set(OF_EVERY_POTENTIAL), crystal
    molecule = findings("default", device, chiral_molecule(), ["rotation", "forces"])
    assert verdicts(molecule, "pass") == {"rotation", "forces"}, molecule


def test_energy_and_forces_are_smooth(device: str) -> None:
    iron = Structure(
        np.array([26, 26]),
        np.array([[0, 0, 0], [1.4, 1.5, 1.3]]),
        np.array([[2.9, 0.1, 0], [0, 3.0, 0.2], [0.1, 0, 3.2]]),
        np.ones(3, dtype=bool),
    )
    found = findings("one layer", device, iron, ["smoothness"])
    assert verdicts(found, "pass") == {"E is continuous", "F is continuous", "dF/dr is continuous"}, found


def test_direct_forces_obey_the_laws_but_those_of_a_gradient(device: str) -> None:
    """The direct stress of a crystal is not equivariant either, as in the published code."""
    crystal = findings("direct", device, triclinic_crystal(), OF_EVERY_POTENTIAL)
    assert verdicts(crystal, "fail") == {"forces", "curl", "stress", "rotation"}, crystal
    assert {f.unit for f in crystal if f.law == "rotation"} == {"eV/Å³"}
    molecule = findings("direct", device, chiral_molecule(), ["rotation", "forces"])
    assert verdicts(molecule, "fail") == {"forces"}, molecule
