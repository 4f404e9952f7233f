import numpy as np
import pytest
from ase.data import atomic_masses

from esen.data.masses import masses_of
from esen.errors import InputError


def test_masses_of_all_elements() -> None:
    assert masses_of(np.array([1, 29, 84, 118])) == pytest.approx([1.008, 63.546, 208.982, 294.214], abs=1e-3)
    assert masses_of(np.arange(1, 119)).tolist() == atomic_masses[1:].tolist()


@pytest.mark.parametrize("number", [0, 119, -1])
def test_no_element(number: int) -> None:
    with pytest.raises(InputError, match=rf"atom 1: .* {number};"):
        masses_of(np.array([29, number]))
