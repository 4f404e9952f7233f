import math
from dataclasses import replace

import numpy as np
import pytest

from esen.errors import InputError
from esen.evaluate.laws.quantities import Noise
from esen.evaluate.laws.subject import NoPredictionError, Subject
from tests.evaluate.laws.known import Changed, case_of, crystal, molecule, smooth
from tests.toys import PairPotential


def test_predictions_come_in_order_whatever_the_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    potential = smooth()
    subject = Subject(potential)
    structures = [crystal(0), molecule(), crystal(1), molecule()]
    whole = subject.predict(structures)
    assert potential.calls == 1
    monkeypatch.setattr("esen.evaluate.laws.subject._BATCH_EDGES", 10)
    pieces = subject.predict(structures)
    assert potential.calls == 1 + 4  # the molecules fit in ten, the crystals do not
    subject.predict(structures, together=True)
    assert potential.calls == 1 + 4 + 1
    for a, b in zip(whole, pieces, strict=True):
        assert a.forces.shape == b.forces.shape
        assert np.allclose(a.forces, b.forces, atol=1e-12)


@pytest.mark.parametrize("what", ["energy", "forces"])
def test_nan_says_where(what: str) -> None:
    nan = Changed(smooth(), lambda g, p: replace(p, **{what: getattr(p, what) * float("nan")}))
    words = {"energy": "energy .*nan", "forces": "atom 0 "}[what]
    with pytest.raises(NoPredictionError, match=rf"crystal: .*{words}"):
        Subject(nan).predict([crystal()])


def test_a_refusal_says_where() -> None:
    with pytest.raises(NoPredictionError, match=r"crystal: .*\b10\b"):
        Subject(PairPotential(lambda r: r, 3.0, frozenset({18}))).predict([crystal()])


def test_too_little_memory_names_the_size() -> None:
    import torch

    def greedy(*_: object) -> object:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(InputError, match=r"crystal: 4 atoms and \d+ edges"):
        Subject(Changed(smooth(), greedy)).predict([crystal()])  # type: ignore[arg-type]


def test_tolerances_have_a_floor_and_a_ceiling() -> None:
    case = case_of(smooth())
    exact = replace(case, noise=Noise())
    noisy = replace(case, noise=Noise(1.0, 1.0, 1.0))
    for name in ("energy", "forces", "stress"):
        size = getattr(case.sizes, name)
        assert getattr(exact.tolerances, name) == pytest.approx(1e-9 * size)
        assert getattr(noisy.tolerances, name) == pytest.approx(1e-3 * size)


def test_a_tolerance_is_a_hundred_times_the_noise_of_its_own_quantity() -> None:
    case = replace(case_of(smooth()), noise=Noise(energy=4e-7, forces=2e-8, stress=3e-9))
    assert len(case.structure) == 4
    assert case.tolerances.energy == pytest.approx(1e-5)  # the noise is that of four atoms
    assert case.tolerances.forces == pytest.approx(2e-6)
    assert case.tolerances.stress == pytest.approx(3e-7)


def test_the_size_of_a_stress_is_that_of_the_forces_per_volume_of_an_atom() -> None:
    case = case_of(smooth())
    assert case.sizes.stress == pytest.approx(case.size * 4 / case.structure.volume)
    strong = replace(case, prediction=replace(case.prediction, stress=case.prediction.stress * 100))
    assert strong.sizes.stress == float(strong.prediction.stress.abs().max())
    assert case_of(smooth(), molecule()).sizes.stress == math.inf


def test_what_earlier_structures_had_is_not_new() -> None:
    case = replace(case_of(smooth()), earlier=(frozenset({10}), frozenset({18, 1})))
    assert case.new_among(case.structure.numbers.tolist())  # of 10 and 18, which were apart
    assert [case.new_among(pair) for pair in ((10, 10), (18, 18), (10, 18))] == [False, False, True]
    assert not replace(case, earlier=(frozenset({1, 10, 18}),)).new_among((10, 18))


def test_random_numbers_depend_on_law_and_seed_alone() -> None:
    case = case_of(smooth())
    assert case.rng("curl").random() == case.rng("curl").random()
    assert case.rng("curl").random() != case.rng("forces").random()
