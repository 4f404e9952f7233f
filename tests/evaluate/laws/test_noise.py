from copy import deepcopy
from dataclasses import replace

import pytest
import torch

from esen.evaluate.laws.law import Finding
from esen.evaluate.laws.noise import measure_noise, noise
from esen.evaluate.laws.subject import Subject
from esen.evaluate.laws.symmetry import determinism
from esen.graph.batch import make_graph
from esen.graph.types import Graph, Prediction
from tests.evaluate.laws.known import Changed, case_of, crystal, molecule, only, smooth
from tests.models.variants import potential_of, triclinic_crystal


def test_noise_is_measured() -> None:
    generator = torch.Generator().manual_seed(0)

    def change(graph: Graph, prediction: Prediction) -> Prediction:
        def drawn(*shape: int) -> torch.Tensor:
            return torch.randn(*shape, generator=generator, dtype=torch.float64)

        return replace(
            prediction,
            energy=prediction.energy + 1e-5 * drawn(graph.num_structures),
            forces=prediction.forces + 1e-3 * drawn(graph.num_atoms, 3),
            stress=prediction.stress + 1e-4 * drawn(graph.num_structures, 3, 3),
        )

    measured = measure_noise(Subject(Changed(smooth(), change)), crystal(), seed=0)
    assert measured.energy == pytest.approx(1e-5, rel=0.7)
    assert measured.forces == pytest.approx(1e-3, rel=0.7)
    assert measured.stress == pytest.approx(1e-4, rel=0.7)
    exact = measure_noise(Subject(smooth()), crystal(), seed=0)
    assert exact.energy < 1e-13
    assert exact.forces < 1e-13
    assert exact.stress < 1e-14
    assert measure_noise(Subject(Changed(smooth(), change)), molecule(), seed=0).stress == 0
    silent = Changed(smooth(), lambda g, p: replace(p, stress=p.stress * float("nan")))
    assert measure_noise(Subject(silent), crystal(), seed=0).stress == 0


def test_float32_is_compared_where_there_is_one() -> None:
    case = case_of(potential_of("default"), triclinic_crystal())
    assert [finding.law for finding in noise(case).findings] == ["noise"]
    rounded = deepcopy(potential_of("default")).float()
    case = case_of(potential_of("default"), triclinic_crystal(), rounded=rounded)
    finding = only(noise(case), "float32")
    assert finding.verdict == "information"
    assert 1e-9 < finding.value < 1e-4


def test_tolerances_follow_the_noise() -> None:
    double = case_of(potential_of("default"), triclinic_crystal())
    single = case_of(potential_of("default", torch.float32), triclinic_crystal())
    for name in ("energy", "forces", "stress"):
        assert getattr(double.tolerances, name) == pytest.approx(1e-9 * getattr(double.sizes, name))
        part = getattr(single.tolerances, name) / getattr(single.sizes, name)
        assert 1e-8 < part <= 1e-3


def test_noise_of_equal_calls_by_a_random_frame() -> None:
    gate = only(noise(case_of(potential_of("random frame"), triclinic_crystal())), "equal calls")
    assert 0 < gate.value < 1e-12
    grid = potential_of("grid along edges, random frame")
    finding = only(noise(case_of(grid, triclinic_crystal())), "equal calls")
    graph = make_graph(triclinic_crystal(), grid.cutoff)
    forces = torch.stack([grid(graph).forces for _ in range(60)])
    assert finding.value == pytest.approx(float(forces.var(dim=0).mean().sqrt()), rel=0.4)
    assert "meV/Å" in finding.says


def test_a_noisy_potential_is_not_deterministic_and_a_gate_with_random_frames_is_to_the_last_digits() -> None:
    def verdict(variant: str, *, stateful: bool = True) -> Finding:
        case = case_of(potential_of(variant), triclinic_crystal(), stateful=stateful)
        return only(determinism(case), "determinism")

    assert verdict("grid along edges, random frame").verdict == "fail"
    assert "meV" in verdict("grid along edges, random frame").says
    assert verdict("random frame").verdict == "pass"
    assert verdict("grid along edges", stateful=False).verdict == "pass"
