from dataclasses import replace

import numpy as np
import pytest

from esen.data.references import fit_references, isolated_references, no_references, read_references
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
    with pytest.raises(InputError, match="references: none"):
        fit_references([made_of([2], None)], max_elements=20)


def test_many_frames_are_fitted_a_part_at_a_time():
    rng = np.random.default_rng(1)
    truth = rng.normal(-5.0, 3.0, 100)
    compositions = [rng.choice([1, 6, 7, 8, 26], size=rng.integers(1, 6)) for _ in range(9000)]
    noise = rng.normal(0, 0.1, 9000)
    made = [made_of(c, float(truth[c].sum() + n)) for c, n in zip(compositions, noise, strict=True)]
    fit = fit_references(made, max_elements=100)
    table = np.stack([np.bincount(c, minlength=100)[[1, 6, 7, 8, 26]] for c in compositions])
    expected = np.linalg.lstsq(table, np.array([s.energy for s in made]), rcond=None)[0]
    np.testing.assert_allclose(fit.energies[[1, 6, 7, 8, 26]], expected, rtol=1e-11)
    assert fit.rank == 5


def test_isolated_atoms():
    frames = [made_of([12, 8], -12.0), made_of([12], -1.5), made_of([8], -2.5), made_of([8], -2.5)]
    found = isolated_references(frames, 20)
    assert (found.energies[12], found.energies[8]) == (-1.5, -2.5)
    assert not found.rank_deficient
    with pytest.raises(InputError, match="Mg"):
        isolated_references([frames[0], frames[2]], 20)
    with pytest.raises(InputError, match=r"O has -3 eV.*-2\.5 eV"):
        isolated_references([*frames, made_of([8], -3.0)], 20)


def in_a_box(size, **info):
    atom = made_of([12], -1.5)
    return replace(atom, cell=size * np.eye(3), pbc=np.ones(3, dtype=bool), info=info)


def test_an_atom_in_a_box_is_alone_where_the_box_is_large():
    assert isolated_references([in_a_box(12.0)], 20).energies[12] == -1.5
    assert isolated_references([in_a_box(5.0, config_type="IsolatedAtom")], 20).energies[12] == -1.5
    with pytest.raises(InputError, match="Mg"):
        isolated_references([in_a_box(5.0)], 20)  # simple cubic magnesium


@pytest.mark.parametrize(
    "text", ['{"O": -2, "12": -1.5, "H": 0}', '{"unit": "eV", "energies": {"O": -2, "Mg": -1.5}}']
)
def test_a_file(tmp_path, text):
    (tmp_path / "r.json").write_text(text)
    found = read_references(tmp_path / "r.json", [made_of([12, 8], -12.0)], 20)
    assert (found.energies[8], found.energies[12], found.energies[1]) == (-2, -1.5, 0)
    assert (found.elements, found.rank_deficient) == ((8, 12), False)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"O": -2}', "Mg"),
        ('{"O": "-2", "Mg": 1}', "O .*'-2'"),
        ('{"Ox": -2}', "'Ox'"),
        ('{"O": NaN}', "O .*nan"),
        ("[1]", "element"),
        ("{", "JSON"),
    ],
)
def test_a_bad_file(tmp_path, text, message):
    (tmp_path / "r.json").write_text(text)
    with pytest.raises(InputError, match=message) as refusal:
        read_references(tmp_path / "r.json", [made_of([12, 8], -12.0)], 20)
    assert str(refusal.value).startswith(str(tmp_path / "r.json"))


def test_no_references():
    found = no_references([made_of([12, 8], None)], 20)
    assert found.elements == (8, 12)
    assert not found.energies.any()
