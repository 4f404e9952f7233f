import numpy as np
import pytest

from esen.data.references import fit_references
from esen.data.structure import Structure
from esen.errors import InputError


def made_of(numbers, energy):
    atoms = np.array(numbers, dtype=np.int64)
    return Structure(
        atoms, np.zeros((len(atoms), 3)), np.zeros((3, 3)), np.zeros(3, dtype=bool), energy=energy
    )


def test_exact_energies_are_found_again():
    rng = np.random.default_rng(0)
    elements = np.delete(np.arange(1, 90), [42, 60, 83, 84])
    truth = np.zeros(100)
    truth[elements] = rng.normal(-5.0, 3.0, len(elements))
    compositions = [rng.choice(elements, size=rng.integers(1, 30)) for _ in range(400)]
    fit = fit_references([made_of(c, float(truth[c].sum())) for c in compositions], max_elements=100)
    assert fit.elements == tuple(elements.tolist())
    assert fit.rank == len(elements) == 85
    assert not fit.rank_deficient
    assert fit.confounded == ()
    np.testing.assert_allclose(fit.energies, truth, atol=1e-10)


def test_a_fixed_composition_gives_the_least_norm():
    fit = fit_references([made_of([12, 8] * n, -12.0 * n) for n in (1, 2, 4)], max_elements=20)
    assert (fit.rank, fit.rank_deficient, fit.elements, fit.confounded) == (1, True, (8, 12), (8, 12))
    np.testing.assert_allclose(fit.energies[[8, 12]], [-6.0, -6.0], rtol=1e-14)
    assert np.count_nonzero(fit.energies) == 2


def test_only_the_elements_left_open_are_named():
    fit = fit_references([made_of([12, 8], -12.0), made_of([14], -5.0)], max_elements=20)
    assert fit.confounded == (8, 12)
    assert fit.energies[14] == pytest.approx(-5.0, rel=1e-14)


def test_structures_without_energy_are_left_out():
    fit = fit_references([made_of([1], -1.0), made_of([2], None)], max_elements=20)
    assert fit.elements == (1,)
    with pytest.raises(InputError, match="no structure has an energy"):
        fit_references([made_of([2], None)], max_elements=20)
