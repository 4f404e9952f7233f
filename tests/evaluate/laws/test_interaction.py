from dataclasses import replace

import numpy as np
import torch

from esen.data.structure import Structure
from esen.errors import InputError
from esen.evaluate.laws.interaction import isolated, no_interaction
from esen.evaluate.laws.quantities import Noise
from esen.graph.types import Graph, Prediction
from tests.evaluate.laws.known import Changed, case_of, crystal, molecule, only, single_atom, smooth
from tests.toys import PairPotential

ZERO = PairPotential(lambda r: 0 * r, 5.0)


def test_none_anywhere_is_a_finding() -> None:
    finding = no_interaction([case_of(ZERO, crystal()), case_of(ZERO, molecule())])
    assert finding is not None
    assert (finding.law, finding.verdict, finding.about) == ("interaction", "fail", "crystal, molecule")


def test_forces_on_one_structure_are_enough() -> None:
    assert no_interaction([case_of(smooth(), single_atom(periodic=False)), case_of(smooth())]) is None


def test_forces_that_vanish_by_symmetry_come_with_a_displacement() -> None:
    """A perfect crystal of two atoms, whose pairs on their own are never asked about where they have a force."""
    perfect = Structure(
        np.array([18, 18]),
        np.array([[0.0, 0, 0], [2, 2, 2]]),
        4.0 * np.eye(3),
        np.ones(3, bool),
        source="perfect",
    )
    only_crystals = Changed(
        smooth(), lambda g, p: replace(p, forces=p.forces * (g.cell[:, 0, 0] < 29)[g.structure, None])
    )
    case = case_of(only_crystals, perfect)
    assert float(case.prediction.forces.abs().max()) < 1e-12
    assert no_interaction([case]) is None


def test_an_atom_on_its_own_has_the_forces_of_a_pair() -> None:
    assert no_interaction([case_of(smooth(), single_atom(periodic=False))]) is None


def test_what_the_potential_refuses_to_say_is_no_finding() -> None:
    def change(graph: Graph, prediction: Prediction) -> Prediction:
        if (torch.bincount(graph.structure) == 2).any():
            raise InputError("no pairs")
        return prediction

    assert no_interaction([case_of(Changed(ZERO, change), molecule())]) is None


def test_atoms_that_are_far_apart_are_isolated() -> None:
    finding = only(isolated(case_of(smooth())), "isolated atom")
    assert finding.verdict == "pass"
    assert "5.01 Å" in finding.says


def test_a_force_from_afar_fails() -> None:
    """An energy of 1 meV a pair of atoms, however far."""

    def change(graph: Graph, prediction: Prediction) -> Prediction:
        atoms = torch.bincount(graph.structure, minlength=graph.num_structures)
        return replace(prediction, energy=prediction.energy + 1e-3 * (atoms - 1))

    finding = only(isolated(case_of(Changed(smooth(), change))), "isolated atom")
    assert finding.verdict == "fail"
    assert abs(finding.value - 1e-3) < 1e-9
    pushed = Changed(smooth(), lambda g, p: replace(p, forces=p.forces + 0.01))
    assert only(isolated(case_of(pushed)), "isolated atom").verdict == "fail"


def test_the_finding_is_what_exceeds_its_own_tolerance_most() -> None:
    """Two energies that are 1e-5 eV apart matter less where energies are noisy than forces of 1e-6 eV/Å."""

    def change(graph: Graph, prediction: Prediction) -> Prediction:
        atoms = torch.bincount(graph.structure, minlength=graph.num_structures)
        return replace(
            prediction, energy=prediction.energy + 1e-5 * (atoms - 1), forces=prediction.forces + 1e-6
        )

    case = case_of(Changed(smooth(), change))
    noisy = replace(case, noise=Noise(energy=4e-6, forces=0.0))
    assert only(isolated(noisy), "isolated atom").unit == "eV/Å"
    assert only(isolated(case), "isolated atom").unit == "eV"
