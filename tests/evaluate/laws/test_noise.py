from copy import deepcopy
from dataclasses import replace

import pytest
import torch

from esen.evaluate.laws.noise import measure_noise, noise
from esen.evaluate.laws.subject import Subject
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
