from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from esen.data.structure import Structure
from esen.evaluate.laws.derivatives import stress
from esen.evaluate.laws.law import Outcome
from esen.evaluate.laws.subject import Case
from esen.evaluate.laws.symmetry import (
    batch,
    cell,
    copies,
    determinism,
    no_pole,
    permutation,
    reflection,
    rotation,
    translation,
)
from esen.graph.types import Graph, Prediction
from tests.evaluate.laws.known import Changed, case_of, crystal, molecule, only, single_atom, smooth

LAWS = [rotation, translation, permutation, cell, copies, batch]


def sum_of(graph: Graph, per_atom: torch.Tensor) -> torch.Tensor:
    return torch.zeros(graph.num_structures, dtype=torch.float64).index_add(0, graph.structure, per_atom)


def shifted(graph: Graph, prediction: Prediction, energy: torch.Tensor) -> Prediction:
    return replace(prediction, energy=prediction.energy + energy)


CHANGES: dict[str, Callable[[Graph, Prediction], Prediction]] = {
    "rotation": lambda g, p: shifted(g, p, 1e-3 * sum_of(g, p.forces[:, 0].abs())),
    "translation": lambda g, p: shifted(g, p, 1e-3 * sum_of(g, g.positions[:, 0])),
    "permutation": lambda g, p: shifted(g, p, 1e-3 * sum_of(g, p.forces[:, 0] * torch.arange(g.num_atoms))),
    "choice of cell": lambda g, p: shifted(g, p, 1e-3 * g.cell[:, 0, 1]),
    "supercell": lambda g, p: shifted(g, p, 1e-3 * torch.ones(g.num_structures, dtype=torch.float64)),
    "batch": lambda g, p: replace(p, forces=p.forces + 1e-3 * (g.num_structures - 1)),
}
"""What breaks each law. Only the forces of a batch are changed: all structures would be in the others' way."""


@pytest.mark.parametrize(
    "structure", [crystal(), molecule(), single_atom(periodic=True)], ids=lambda s: s.source
)
def test_what_obeys_the_laws_passes(structure: Structure) -> None:
    case = case_of(smooth(), structure)
    for law in LAWS:
        (finding,) = law(case).findings
        applicable = not (
            (law in (cell, copies) and not structure.pbc.any())
            or (law is permutation and len(structure) == 1)
        )
        assert finding.verdict == ("pass" if applicable else "not applicable"), finding
        if applicable:
            assert finding.tolerance < 1e-7
    assert reflection(case).findings[0].verdict == "information"


@pytest.mark.parametrize(("name", "law"), list(zip(CHANGES, LAWS, strict=True)), ids=list(CHANGES))
def test_what_breaks_a_law_fails(name: str, law: Callable[[Case], Outcome]) -> None:
    case = case_of(Changed(smooth(), CHANGES[name]))
    (finding,) = law(case).findings
    assert (finding.law, finding.verdict) == (name, "fail")
    assert finding.value > 100 * finding.tolerance


def test_the_error_of_a_rotation_is_known() -> None:
    """Forces that do not turn at all differ by R F − F."""
    fixed = torch.tensor([[0.3, 0.0, 0.0]], dtype=torch.float64)
    case = case_of(Changed(smooth(), lambda g, p: replace(p, forces=p.forces + fixed)))
    (finding,) = rotation(case).findings
    assert 0.2 < finding.value <= 0.3 * 2
    assert finding.unit == "eV/Å"


def test_a_wrong_stress_is_found_and_a_missing_one_is_not_compared() -> None:
    def wrong(graph: Graph, prediction: Prediction) -> Prediction:
        stress = prediction.stress.clone()
        stress[:, 0, 0] += 1.0
        return replace(prediction, stress=stress)

    (finding,) = rotation(case_of(Changed(smooth(), wrong))).findings
    assert (finding.verdict, finding.unit) == ("fail", "eV/Å³")
    missing = Changed(smooth(), lambda g, p: replace(p, stress=p.stress * float("nan")))
    assert rotation(case_of(missing)).findings[0].verdict == "pass"


def in_float32(graph: Graph, prediction: Prediction) -> Prediction:
    """What a network in float32 behind a calculator gives."""
    return replace(
        prediction,
        energy=prediction.energy.float().double(),
        forces=prediction.forces.float().double(),
        stress=prediction.stress.float().double(),
    )


GENERATOR = torch.Generator().manual_seed(0)


def noisy(graph: Graph, prediction: Prediction) -> Prediction:
    """Noise of 1e-5 of energies and forces, as of the noisiest calculators that are in use."""

    def drawn(values: torch.Tensor, deviation: float) -> torch.Tensor:
        noise = torch.randn(values.shape, generator=GENERATOR, dtype=values.dtype)
        return values + deviation * ((noise + noise.mT) / 2**0.5 if values.dim() == 3 else noise)

    return replace(
        prediction,
        energy=drawn(prediction.energy, 1e-7),
        forces=drawn(prediction.forces, 1e-6),
        stress=drawn(prediction.stress, 3e-8),
    )


SWAP = torch.eye(3, dtype=torch.float64)[[1, 0, 2]]
STRESSES: dict[str, tuple[Callable[[torch.Tensor], torch.Tensor], bool]] = {
    "in kBar": (lambda s: 1602.18 * s, False),
    "of the other sign": (lambda s: -s, False),
    "5 % too large": (lambda s: 1.05 * s, False),
    "with x and y exchanged": (lambda s: SWAP @ s @ SWAP, True),
    "with x and y exchanged by 5 %": (lambda s: 0.95 * s + 0.05 * SWAP @ s @ SWAP, True),
    "with yz, xz, xy in the order xy, xz, yz": (
        lambda s: s.flip(1, 2) * (1 - torch.eye(3)) + s * torch.eye(3),
        True,
    ),
    "not symmetric by 5 %": (lambda s: s + 0.05 * (s @ SWAP - SWAP @ s), True),
}
"""A wrong stress, and whether that is seen by rotating it."""


@pytest.mark.parametrize("precision", [lambda g, p: p, in_float32, noisy], ids=["exact", "float32", "noisy"])
def test_a_gross_error_of_the_stress_alone_is_found(
    precision: Callable[[Graph, Prediction], Prediction],
) -> None:
    """Also where forces are so noisy that a tolerance in eV/Å is more than the whole stress in eV/Å³."""
    good = case_of(Changed(smooth(), precision))
    for law in (*LAWS, stress, no_pole):
        assert all(finding.verdict == "pass" for finding in law(good).findings)
    for name, (error, turns) in STRESSES.items():
        case = case_of(
            Changed(smooth(), lambda g, p, e=error: precision(g, replace(p, stress=e(p.stress))))  # type: ignore[misc]
        )
        (by_strain,) = stress(case).findings
        assert (by_strain.verdict, by_strain.unit) == ("fail", "eV/Å³"), name
        (by_turning,) = rotation(case).findings
        assert by_turning.verdict == ("fail" if turns else "pass"), name
        assert not turns or by_turning.unit == "eV/Å³"


def test_a_stress_that_becomes_nan_fails() -> None:
    """As the first prediction has one, it is to be compared."""

    def change(graph: Graph, prediction: Prediction) -> Prediction:
        nan = torch.where(graph.cell[:, :1, :1] == 4.0, 0.0, float("nan"))
        return replace(prediction, stress=prediction.stress + nan)

    (finding,) = rotation(case_of(Changed(smooth(), change))).findings
    assert finding.verdict == "fail"
    assert np.isnan(finding.value)


def test_hands_are_told_apart() -> None:
    """±10 meV by the sign of the volume that the four atoms span: the mirror image differs by 20 meV."""

    def handed(graph: Graph, prediction: Prediction) -> Prediction:
        corners = graph.positions.view(graph.num_structures, 4, 3)
        sign = torch.sign(torch.linalg.det(corners[:, 1:] - corners[:, :1]))
        return replace(prediction, energy=prediction.energy + 0.01 * sign)

    case = case_of(Changed(smooth(), handed))
    (finding,) = reflection(case).findings
    assert finding.verdict == "information"
    assert finding.value == pytest.approx(0.02 / 4)
    assert "hands" in finding.says
    assert rotation(case).findings[0].verdict == "pass"


def test_a_large_cell_is_not_repeated() -> None:
    case = case_of(smooth())
    numbers = np.full(1001, 18)
    huge = replace(
        case, structure=Structure(numbers, np.zeros((1001, 3)), np.eye(3), np.ones(3, bool), source="huge")
    )
    (finding,) = copies(huge).findings
    assert finding.verdict == "not applicable"
    assert "1001 atoms" in finding.says


def test_a_stress_whose_sign_is_that_of_the_cell() -> None:
    """As where the volume is a triple product: found by reversed lattice vectors, and not taken for handedness."""

    def signed(graph: Graph, prediction: Prediction) -> Prediction:
        return replace(
            prediction, stress=prediction.stress * torch.sign(torch.linalg.det(graph.cell))[:, None, None]
        )

    case = case_of(Changed(smooth(), signed))
    (finding,) = cell(case).findings
    assert (finding.verdict, finding.says) == ("fail", "worst: lattice vectors reversed")
    assert finding.value == pytest.approx(2 * float(case.prediction.stress.abs().max()))
    assert reflection(case).findings[0].value < 1e-9


def noisy_forces(deviation: float) -> Changed:
    generator = torch.Generator().manual_seed(0)

    def change(graph: Graph, prediction: Prediction) -> Prediction:
        noise = deviation * torch.randn(graph.num_atoms, 3, generator=generator, dtype=torch.float64)
        return replace(prediction, forces=prediction.forces + noise)

    return Changed(smooth(), change)


def test_the_same_bits() -> None:
    finding = only(determinism(case_of(smooth())), "determinism")
    assert (finding.verdict, finding.value, finding.tolerance) == ("pass", 0.0, 0.0)
    assert "all bits" in finding.says


def test_noise_is_found_however_small() -> None:
    for deviation in (1e-13, 1e-3):
        finding = only(determinism(case_of(noisy_forces(deviation))), "determinism")
        assert finding.verdict == "fail"
        assert deviation < finding.value < 10 * deviation


def test_what_keeps_a_state_may_differ_in_the_last_digits() -> None:
    assert only(determinism(case_of(noisy_forces(1e-15), stateful=True)), "determinism").verdict == "pass"
    assert only(determinism(case_of(noisy_forces(1e-9), stateful=True)), "determinism").verdict == "fail"


def test_what_remembers_the_call_before_is_found() -> None:
    last = [0.0]

    def change(graph: Graph, prediction: Prediction) -> Prediction:
        before, last[0] = last[0], float(prediction.energy[0])
        return replace(prediction, energy=prediction.energy + 1e-3 * before)

    assert only(determinism(case_of(Changed(smooth(), change))), "determinism").verdict == "fail"


def test_a_stress_is_judged_by_its_own_size() -> None:
    """1e-13 eV/Å³ is more than the last digits of a stress of 0.006, and less than those of a force."""
    generator = torch.Generator().manual_seed(0)

    def change(graph: Graph, prediction: Prediction) -> Prediction:
        noise = torch.randn(graph.num_structures, 3, 3, generator=generator, dtype=torch.float64)
        return replace(prediction, stress=prediction.stress + 3e-14 * noise)

    finding = only(determinism(case_of(Changed(smooth(), change), stateful=True)), "determinism")
    assert (finding.verdict, finding.unit) == ("fail", "eV/Å³")
    assert finding.value < 1e-12 * 0.09
