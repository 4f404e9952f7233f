"""The convention of the stress: σ = (1/V) ∂E/∂ε in eV/Å³, positive under tension. See docs/formats.md."""

from typing import Literal

import numpy as np
from ase.units import GPa
from jaxtyping import Float64

StressConvention = Literal["ase", "vasp_kbar", "virial"]

EV_PER_CUBIC_ANGSTROM_PER_KBAR = 0.1 * GPa
"""1 kBar = 0.1 GPa, in eV/Å³."""

_VOIGT = np.array([[0, 5, 4], [5, 1, 3], [4, 3, 2]])
"""Index of each component in ASE's Voigt order: xx, yy, zz, yz, xz, xy."""


def to_stress(
    values: Float64[np.ndarray, " K"], convention: StressConvention, volume: float
) -> Float64[np.ndarray, "3 3"]:
    """Convert the numbers of a file to σ in eV/Å³, with ASE's sign.

    `ase`: the numbers are σ. `vasp_kbar`: σ = −0.1 GPa × value. `virial`: σ = −W / V.
    An asymmetry of the size of rounding errors is averaged; `check_structure` refuses a larger one.

    Args:
        values: 6 numbers in Voigt order (xx, yy, zz, yz, xz, xy), or the 9 of the tensor.
        convention: unit and sign of the numbers.
        volume: volume of the cell in Å³.

    >>> to_stress(np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]), "ase", 1.0)
    array([[1., 6., 5.],
           [6., 2., 4.],
           [5., 4., 3.]])
    """
    tensor = values[_VOIGT] if len(values) == 6 else values.reshape(3, 3)
    match convention:
        case "ase":
            stress = tensor
        case "vasp_kbar":
            stress = -EV_PER_CUBIC_ANGSTROM_PER_KBAR * tensor
        case "virial":
            stress = -tensor / volume
    return (stress + stress.T) / 2 if is_symmetric(stress) else stress


def is_symmetric(stress: Float64[np.ndarray, "3 3"]) -> bool:
    """Return whether ‖σ − σᵀ‖ ≤ 10⁻³ ‖σ‖ + 10⁻⁶ eV/Å³. The second term is about the precision of printed stresses."""
    if not np.isfinite(stress).all():
        return False
    asymmetry = np.linalg.norm(stress - stress.T)
    return bool(asymmetry <= 1e-3 * np.linalg.norm(stress) + 1e-6)
