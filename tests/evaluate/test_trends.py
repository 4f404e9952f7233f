"""Trends of errors with volume and composition, against numbers that were put in."""

from dataclasses import replace

import numpy as np
import pytest
from ase.build import bulk
from ase.units import GPa

from esen.data.atoms import from_atoms
from esen.data.structure import Structure
from esen.evaluate.trends import composition_trend, volume_trend

RANDOM = np.random.default_rng(0)


def crystals(count: int, symbol: str = "Cu", lattice: float = 3.6) -> list[Structure]:
    """Return crystals of one atom with volumes within ±10 %."""
    scales = np.linspace(0.9, 1.1, count) ** (1 / 3)
    return [from_atoms(bulk(symbol, "fcc", a=lattice * scale), symbol) for scale in scales]


def logs_of(structures: list[Structure]) -> np.ndarray:
    return np.log([structure.volume / len(structure) for structure in structures])


def test_an_error_of_the_bulk_modulus_is_found() -> None:
    structures = crystals(30)
    errors = -20.0 * GPa * 1000 * logs_of(structures) + 3.0 + RANDOM.normal(0, 0.1, 30)
    trend = volume_trend(structures, errors)
    assert trend is not None
    assert trend.modulus_error == pytest.approx(-20, abs=4 * trend.uncertainty)
    assert 0 < trend.uncertainty < 0.2
    assert 0.99 < trend.share < 1
    assert trend.structures == 30


def test_it_is_that_of_a_birch_murnaghan_curve() -> None:
    """Stresses of two curves that differ in B0 alone differ by the slope at V0."""
    structures = crystals(41)
    volumes = np.array([structure.volume for structure in structures])
    middle = volumes[20]

    def stress(modulus: float) -> np.ndarray:  # −P in GPa, B0' = 4
        x = (middle / volumes) ** (1 / 3)
        return -1.5 * modulus * (x**7 - x**5)

    trend = volume_trend(structures, 1000 * GPa * (stress(110.0) - stress(150.0)))
    assert trend is not None
    assert trend.modulus_error == pytest.approx(-40, rel=0.03)


def test_every_composition_has_a_constant_of_its_own() -> None:
    copper, silver = crystals(12), crystals(12, "Ag", 4.1)
    errors = np.concatenate([np.full(12, 5.0), np.full(12, -5.0)]) + RANDOM.normal(0, 0.1, 24)
    assert volume_trend(copper + silver, errors) is None
    slope = 1000 * GPa * np.concatenate([logs_of(copper), logs_of(silver)])
    trend = volume_trend(copper + silver, errors + 7.0 * slope)
    assert trend is not None
    assert trend.modulus_error == pytest.approx(7, abs=4 * trend.uncertainty)


def test_noise_gives_no_trend() -> None:
    found = [volume_trend(crystals(30), np.random.default_rng(seed).normal(0, 1, 30)) for seed in range(200)]
    assert sum(trend is not None for trend in found) <= 2


@pytest.mark.parametrize("case", ["few", "one volume", "no labels", "no error", "molecules"])
def test_no_trend_where_there_is_nothing_to_fit(case: str) -> None:
    structures, errors = crystals(30), 100.0 * logs_of(crystals(30))
    if case == "few":
        structures, errors = structures[:5], errors[:5]
    elif case == "one volume":
        structures = [structures[0]] * 30
    elif case == "no labels":
        errors = np.full(30, np.nan)
    elif case == "no error":
        errors = np.zeros(30)
    else:
        structures = [replace(s, cell=np.zeros((3, 3)), pbc=np.zeros(3, bool)) for s in structures]
    assert volume_trend(structures, errors) is None


def alloys(count: int) -> list[Structure]:
    """Return crystals of four atoms with one to three of copper, the others of gold or silver."""
    structures = []
    for i in range(count):
        atoms = bulk("Cu", "fcc", a=3.9, cubic=True)
        atoms.symbols[: 1 + i % 3] = "Au" if i % 2 else "Ag"
        structures.append(from_atoms(atoms, f"alloy {i}"))
    return structures


def test_an_error_of_the_reference_energies_is_found() -> None:
    structures = alloys(40)
    gold = np.array([(structure.numbers == 79).mean() for structure in structures])
    copper = np.array([(structure.numbers == 29).mean() for structure in structures])
    trend = composition_trend(structures, 4.0 * gold - 6.0 * copper + RANDOM.normal(0, 0.01, 40))
    assert trend is not None
    assert trend.highest == ("Au", pytest.approx(4, abs=0.1))
    assert trend.lowest == ("Cu", pytest.approx(-6, abs=0.1))
    assert trend.share > 0.99


def test_no_trend_with_one_composition_or_noise() -> None:
    assert composition_trend(crystals(30), np.linspace(-1, 1, 30)) is None
    assert composition_trend([], np.zeros(0)) is None
    assert composition_trend(alloys(40), np.full(40, np.nan)) is None
    found = [composition_trend(alloys(40), np.random.default_rng(s).normal(0, 1, 40)) for s in range(100)]
    assert sum(trend is not None for trend in found) <= 1
