"""How noisy a potential is: what rounding leaves of energies, forces and stress as atoms hardly move."""

from dataclasses import dataclass
from math import comb

import numpy as np
from jaxtyping import Float64

ORDER = 4
STEP = 1e-5
"""Å. A fourth difference of anything smooth is then far below float64's rounding."""
POINTS = 16


@dataclass(frozen=True)
class Noise:
    """Standard deviations.

    Attributes:
        energy: of the total energy, in eV.
        forces: of a component of a force, in eV/Å.
        stress: of a component, in eV/Å³; 0 where there is none.
    """

    energy: float = 0.0
    forces: float = 0.0
    stress: float = 0.0


def noise_of(values: Float64[np.ndarray, "K M"]) -> float:
    """The largest standard deviation of the noise in M series of K values at equal steps.

    The fourth difference of a smooth function is h⁴ f⁗, that of noise has √C(8, 4) = √70 times its standard
    deviation. (Hamming's difference table; Moré and Wild, SIAM J. Sci. Comput. 33, 1292, 2011.) Medians leave a
    jump in the series out of account. Values that all are float32 numbers have at least the noise of that rounding, a
    uniform error of one spacing: near equilibrium they may not change at all.
    """
    differences = np.abs(np.diff(values, n=ORDER, axis=0))
    if not differences.size:
        return 0.0
    rounding = 0.0
    if bool(
        (values.astype(np.float32) == values).all()
    ):  # they were rounded to float32, perhaps to the same number
        rounding = float(np.spacing(np.abs(values).max().astype(np.float32))) / float(np.sqrt(12))
    median = float(np.median(differences, axis=0).max())
    spread = float(np.sqrt(np.mean(np.minimum(differences, 5 * median) ** 2)))
    return max(rounding, max(median / 0.6745, spread) / float(np.sqrt(comb(2 * ORDER, ORDER))))
