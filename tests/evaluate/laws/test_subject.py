import numpy as np
import pytest

from esen.errors import InputError
from esen.evaluate.laws.precision import Noise
from esen.evaluate.laws.subject import Case, NoPredictionError, Subject
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
    from dataclasses import replace

    nan = Changed(smooth(), lambda g, p: replace(p, **{what: getattr(p, what) * float("nan")}))
    words = {"energy": "the energy is nan", "forces": "the force on atom 0 is"}[what]
    with pytest.raises(NoPredictionError, match=rf"crystal: {words}"):
        Subject(nan).predict([crystal()])


def test_a_refusal_says_where() -> None:
    with pytest.raises(NoPredictionError, match="crystal: the potential does not know element 10"):
        Subject(PairPotential(lambda r: r, 3.0, frozenset({18}))).predict([crystal()])


def test_too_little_memory_names_the_size() -> None:
    import torch

    def greedy(*_: object) -> object:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(InputError, match=r"crystal: 4 atoms and \d+ edges do not fit"):
        Subject(Changed(smooth(), greedy)).predict([crystal()])  # type: ignore[arg-type]


def test_tolerances_have_a_floor_and_a_ceiling() -> None:
    case = case_of(smooth())
    exact = Case(case.subject, case.structure, case.prediction, Noise(), 0)
    noisy = Case(case.subject, case.structure, case.prediction, Noise(1.0, 1.0), 0)
    assert exact.tolerance == pytest.approx(1e-9 * case.size)
    assert noisy.tolerance == pytest.approx(1e-3 * case.size)


def test_random_numbers_depend_on_law_and_seed_alone() -> None:
    case = case_of(smooth())
    assert case.rng("curl").random() == case.rng("curl").random()
    assert case.rng("curl").random() != case.rng("forces").random()
