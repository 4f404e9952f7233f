import math

from esen.evaluate.laws.quantities import Deviation, Quantities, worst

ALLOWED = Quantities(energy=1e-6, forces=1e-4, stress=1e-8)


def test_the_worst_is_the_largest_part_of_what_is_allowed_not_the_largest_number() -> None:
    stress = Quantities(energy=1e-7, forces=5e-5, stress=6e-9)
    assert worst([stress], ALLOWED) == Deviation(6e-9, 1e-8, "eV/Å³")
    energy = Quantities(energy=9e-7, forces=5e-5, stress=6e-9)
    assert worst([stress, energy], ALLOWED) == Deviation(9e-7, 1e-6, "eV/atom")
    assert worst([energy, Quantities(0.0, 1.0, 0.0)], ALLOWED) == Deviation(1.0, 1e-4, "eV/Å")


def test_nan_is_worse_than_anything() -> None:
    found = worst([Quantities(1.0, 1.0, 1.0), Quantities(0.0, 0.0, math.nan)], ALLOWED)
    assert math.isnan(found.value)
    assert (found.unit, found.ratio) == ("eV/Å³", math.inf)


def test_a_stress_that_there_is_not_is_never_the_worst() -> None:
    none = Quantities(1e-6, 1e-4, math.inf)
    assert worst([Quantities(0.0, 1e-9, 0.0)], none).unit == "eV/Å"
    assert worst([Quantities(0.0, 0.0, 0.0)], none).ratio == 0
