"""A conductivity against its reference."""

from dataclasses import replace

import numpy as np
import pytest

from esen.errors import InputError
from esen.evaluate.conductivity.compare import Score, score
from esen.evaluate.conductivity.metrics import srd
from esen.evaluate.conductivity.modes import modes_of
from esen.evaluate.conductivity.reference import ReferenceConductivity
from esen.evaluate.conductivity.run import conductivity_at
from tests.evaluate.conductivity.materials import PUBLISHED, aluminium, coarse_reference, emt


def made(modes: list[list[float]], frequencies: list[list[float]] | None = None) -> ReferenceConductivity:
    found, weights = np.array([modes]), np.ones(len(modes))
    return ReferenceConductivity(
        material="made",
        temperatures=np.array([300.0]),
        kappa=found.sum(axis=(1, 2)) / weights.sum(),
        modes=found,
        weights=weights,
        frequencies=None if frequencies is None else np.array(frequencies),
    )


def test_a_material_is_like_itself() -> None:
    assert score(coarse_reference(), coarse_reference()) == Score(0.0, 0.0, 0.0, "")


def test_another_lattice_constant_is_told_apart() -> None:
    given = aluminium().unitcell
    smaller = replace(
        aluminium(), unitcell=replace(given, cell=given.cell * 0.99, positions=given.positions * 0.99)
    )
    found = modes_of(conductivity_at(smaller, None, emt(), PUBLISHED)).as_reference("Al")
    assert found is not None
    result = score(found, coarse_reference())
    assert result.reason == ""
    assert result.srd == pytest.approx(srd(found.kappa[0], coarse_reference().kappa[0]))
    assert 0 < abs(result.srd) <= result.srme < 1
    assert 0.1 < result.spectrum < 2


def test_other_modes_count_as_failed_with_the_reason() -> None:
    result = score(made([[1.0, 1.0], [2.0, 0.0]]), made([[1.0, 1.0]]))
    assert (result.srme, result.srd) == (2.0, 0.0)
    assert "2 × 2 (points × modes) with 1 × 2" in result.reason


def test_what_is_out_of_bounds_counts_as_failed() -> None:
    cancelling = score(made([[9.0, -8.0]]), made([[0.0, 1.0]]))
    assert (cancelling.srme, cancelling.srd) == (2.0, 0.0)
    assert cancelling.reason == "an SRME of 18, above its bound of 2"
    negative = score(made([[-2.0, 1.0]]), made([[0.0, 1.0]]))
    assert (negative.srme, negative.srd, negative.reason) == (2.0, -2.0, "a conductivity of -1 W/m/K")


def test_the_temperature_is_that_of_the_reference() -> None:
    cold, warm = made([[1.0, 1.0]]), made([[4.0, 0.0]])
    both = replace(
        cold,
        temperatures=np.array([100.0, 300.0]),
        kappa=np.concatenate([cold.kappa, warm.kappa]),
        modes=np.concatenate([cold.modes, warm.modes]),
    )
    assert score(both, warm).srme == 0.0
    with pytest.raises(InputError, match=r"made: .*200 K.*100, 300 K"):
        score(both, replace(warm, temperatures=np.array([200.0])))


def test_spectra_are_compared_where_both_are_known() -> None:
    known = made([[1.0, 1.0]], [[1.0, 2.0]])
    assert score(known, made([[1.0, 1.0]], [[1.5, 2.5]])).spectrum == pytest.approx(0.5)
    assert np.isnan(score(known, made([[1.0, 1.0]])).spectrum)


def test_another_mesh_counts_as_failed_also_where_it_has_as_many_points() -> None:
    one = replace(made([[1.0, 2.0], [3.0, 4.0]]), mesh=(5, 5, 5))
    found = score(one, replace(one, mesh=(9, 7, 5)))
    assert (found.srme, found.srd) == (2.0, 0.0)
    assert found.reason == "a mesh of 5×5×5, 9×7×5 of the reference: give --mesh"
    assert score(one, replace(one, mesh=None)).reason == ""
