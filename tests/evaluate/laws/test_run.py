"""All laws, on a potential that obeys them, on the network, and on its ablations."""

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch

from esen.data.structure import Structure
from esen.errors import InputError
from esen.evaluate.laws.run import LAW_OF, LAWS, Report, check_laws, choose_laws
from esen.evaluate.laws.subject import Subject
from esen.graph.types import Graph, Prediction
from tests.evaluate.laws.known import Changed, crystal, molecule, only, single_atom, smooth
from tests.models.variants import chiral_molecule, isolated, potential_of, triclinic_crystal
from tests.toys import PairPotential

SMOOTH = ("E is continuous", "F is continuous")


def checked(variant: str, *laws: str, on: Structure | None = None) -> Report:
    potential = potential_of(variant)
    subject = Subject(potential, differentiable=deepcopy(potential).requires_grad_(False).train())
    return check_laws(subject, [on or triclinic_crystal()], laws or None)


@pytest.fixture(scope="module")
def told() -> list[tuple[str, str]]:
    """Progress of the report below: a law and the structure that it is checked on."""
    return []


@pytest.fixture(scope="module")
def of_all_laws(told: list[tuple[str, str]]) -> Report:
    subject = Subject(smooth(), rounded=smooth())
    return check_laws(subject, [crystal(), molecule()], progress=lambda law, about: told.append((law, about)))


def test_what_obeys_all_laws_passes_all(of_all_laws: Report, told: list[tuple[str, str]]) -> None:
    report = of_all_laws
    assert report.holds, [f for f in report.findings if f.verdict == "fail"]
    assert {"pass", "information", "not applicable"} == {finding.verdict for finding in report.findings}
    assert [law for law, about in told if about == "crystal"] == ["first look", *LAWS]
    assert ("diatomics", "molecule") not in told  # its elements are the crystal's
    assert [scan.kind for scan in report.scans].count("diatomic") == 3


def test_one_atom_is_legal() -> None:
    for periodic in (True, False):
        report = check_laws(Subject(smooth()), [single_atom(periodic=periodic)])
        assert report.holds
        assert "not applicable" in {finding.verdict for finding in report.findings}


@pytest.mark.parametrize("apart", [None, 6.0])
def test_laws_are_not_tested_by_atoms_without_neighbours(apart: float | None) -> None:
    structure = single_atom(periodic=False)
    if apart is not None:
        two = np.array([[0.0, 0.0, 0.0], [0.0, 0.0, apart]])
        structure = replace(structure, numbers=np.repeat(structure.numbers, 2), positions=two)
    laws = ["rotation", "translation", "batch", "permutation", "forces", "curl", "determinism"]
    report = check_laws(Subject(smooth()), [structure], laws)
    assert {finding.verdict for finding in report.findings} == {"not applicable"}
    assert not report.holds
    assert check_laws(Subject(smooth()), [structure], ["isolated", "diatomics"]).holds


def test_forces_are_tested_on_displaced_atoms_where_they_vanish_by_symmetry() -> None:
    perfect = replace(crystal(), numbers=np.full(2, 18), positions=np.array([[0.0, 0, 0], [2.0, 2.0, 2.0]]))
    perfect = replace(perfect, cell=4.0 * np.eye(3))
    halved = Changed(smooth(), lambda graph, p: replace(p, forces=p.forces / 2))
    assert only(check_laws(Subject(smooth()), [perfect], ["forces"]).findings, "forces").verdict == "pass"
    assert only(check_laws(Subject(halved), [perfect], ["forces"]).findings, "forces").verdict == "fail"


def test_the_default_network_obeys_all() -> None:
    report = checked("one layer", *(law for law in LAWS if law not in ("diatomics", "reflection")))
    assert report.holds, [f for f in report.findings if f.verdict == "fail"]
    for law in ("rotation", "no pole", "curl", "translation", "supercell", "forces"):
        assert only(report.findings, law).tolerance < 1e-8
    assert "automatic differentiation" in only(report.findings, "curl").says


def test_direct_forces_have_a_curl() -> None:
    report = checked("direct", "curl", "forces", "translation")
    assert only(report.findings, "curl").value > 1e-2
    assert only(report.findings, "forces").verdict == "fail"
    assert only(report.findings, "translation").verdict == "pass"


@pytest.mark.parametrize(("variant", "atoms"), [("no envelope", 2), ("nearest", 4)])
def test_what_is_not_smooth_jumps(variant: str, atoms: int) -> None:
    corners = np.array([[0.0, 0, 0], [1.3, 0.1, 0], [-0.3, 1.4, 0.1], [-0.4, -0.4, 1.5]])
    report = checked(variant, "smoothness", on=isolated([8] * atoms, corners[:atoms]))
    assert all(only(report.findings, law).verdict == "fail" for law in SMOOTH)
    assert only(report.findings, "E is continuous").value > 1e-4


def test_grids_break_rotation() -> None:
    report = checked("grid 6", "rotation", "permutation")
    assert only(report.findings, "rotation").verdict == "fail"
    assert only(report.findings, "permutation").verdict == "pass"


def test_float32_is_judged_by_its_own_noise() -> None:
    subject = Subject(potential_of("one layer", torch.float32))
    report = check_laws(subject, [chiral_molecule()], ["rotation", "forces", "curl", "pole"])
    assert report.holds, [f for f in report.findings if f.verdict == "fail"]
    assert 1e-8 < only(report.findings, "rotation").tolerance < 1e-2


def test_nan_breaks_the_law_whose_input_gave_it() -> None:
    def change(graph: Graph, prediction: Prediction) -> Prediction:
        """NaN for more atoms than the crystal has."""
        atoms = torch.bincount(graph.structure, minlength=graph.num_structures)
        return replace(prediction, energy=torch.where(atoms > 4, float("nan"), prediction.energy))

    report = check_laws(Subject(Changed(smooth(), change)), [crystal()], ["rotation", "supercell"])
    assert [finding.verdict for finding in report.findings] == ["pass", "fail"]
    assert report.findings[1].says == "crystal, 2×2×2 supercell: the energy is nan"


def test_nan_from_the_beginning_ends_there() -> None:
    nan = Changed(smooth(), lambda g, p: replace(p, energy=p.energy * float("nan")))
    (finding,) = check_laws(Subject(nan), [crystal()]).findings
    assert (finding.law, finding.verdict, finding.says) == ("finite", "fail", "crystal: the energy is nan")


def test_what_cannot_be_computed_at_all_is_the_users_mistake() -> None:
    with pytest.raises(InputError, match=r"crystal: .*\b10\b"):
        check_laws(Subject(PairPotential(lambda r: r, 3.0, frozenset({18}))), [crystal()])
    with pytest.raises(InputError, match=r"'curls'.*did you mean 'curl'"):
        check_laws(Subject(smooth()), [crystal()], ["curls"])


def test_laws_may_be_named_as_their_rows_are(of_all_laws: Report) -> None:
    """Whatever a finding is called is taken, and gives that finding again."""
    rows = {finding.law for finding in of_all_laws.findings}
    assert rows >= set(LAW_OF) - {"equal calls"}  # which only a potential has whose equal calls differ
    for row in rows:
        (law,) = choose_laws([row])
        assert law == LAW_OF.get(row, row)
        assert law in LAWS
    assert choose_laws(["Curl", "no pole", "force constants", "pole"]) == ["curl", "pole"]
    assert choose_laws(None) == list(LAWS)
    with pytest.raises(InputError, match="--laws"):
        choose_laws([])


def test_two_structures_share_no_pair() -> None:
    def of(numbers: list[int]) -> Structure:
        return replace(molecule(), numbers=np.array(numbers), source=f"atoms {numbers}")

    report = check_laws(Subject(smooth()), [of([10, 18, 18]), of([18, 1, 1]), of([1, 10, 10])], ["diatomics"])
    curves = [scan.about for scan in report.scans]
    assert sorted(curves) == ["Ar–Ar", "H–Ar", "H–H", "H–Ne", "Ne–Ar", "Ne–Ne"]


@pytest.mark.parametrize(
    "structure", [crystal(), molecule(), single_atom(periodic=True)], ids=lambda s: s.source
)
def test_a_potential_without_forces_is_told(structure: Structure) -> None:
    """It obeys every other law."""
    zero = PairPotential(lambda r: 0 * r, 5.0)
    report = check_laws(Subject(zero), [structure], ["rotation", "forces", "batch"])
    *others, last = report.findings
    assert (last.law, last.verdict, last.about) == ("interaction", "fail", structure.source)
    assert all(finding.verdict != "fail" for finding in others)
