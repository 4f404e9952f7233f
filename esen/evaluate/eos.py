"""Equation of state of a crystal: its energy as a function of its volume, fitted by Birch and Murnaghan's form."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from ase.units import GPa
from jaxtyping import Float64
from numpy.polynomial import Polynomial

from esen.data.structure import Structure
from esen.errors import InputError
from esen.evaluate.elastic import relax_crystals
from esen.evaluate.model import Model, Progress, no_progress
from esen.evaluate.relax import RelaxSpec

VOLUMES = tuple(float(ratio) for ratio in np.linspace(0.94, 1.06, 9).round(4))
"""Volumes, relative to that of the given structure, which determine B0 and B0' of most crystals to 1 %."""


@dataclass(frozen=True, eq=False)
class EquationOfState:
    """A fit of the third-order Birch–Murnaghan equation of state.

    With ξ = (V0/V)^(2/3),

        E(V) = E0 + (9/16) V0 B0 [ B0' (ξ − 1)³ + (ξ − 1)² (6 − 4 ξ) ].

    Source: F. Birch, Phys. Rev. 71, 809 (1947).

    Attributes:
        volumes: of the cells that were computed, in Å³.
        energies: of these cells, in eV.
        volume: V0, in Å³.
        energy: E0, in eV.
        bulk: B0 = V0 d²E/dV² at V0, in GPa.
        derivative: B0' = dB/dP at V0, without unit.
        rms: root mean square of the residuals of the fit, in eV.
        unconverged: how many of the cells did not reach the tolerance of the forces.
    """

    volumes: Float64[np.ndarray, " K"]
    energies: Float64[np.ndarray, " K"]
    volume: float
    energy: float
    bulk: float
    derivative: float
    rms: float
    unconverged: int = 0

    def energy_at(self, volumes: Float64[np.ndarray, " M"]) -> Float64[np.ndarray, " M"]:
        """E(V) in eV of volumes in Å³."""
        xi = (self.volume / volumes) ** (2 / 3)
        shape = self.derivative * (xi - 1) ** 3 + (xi - 1) ** 2 * (6 - 4 * xi)
        return np.asarray(self.energy + 9 / 16 * self.volume * self.bulk * GPa * shape)


def equation_of_state(
    structure: Structure,
    model: Model,
    spec: RelaxSpec,
    volumes: Sequence[float] = VOLUMES,
    progress: Progress = no_progress,
) -> EquationOfState:
    """Relax a crystal at several volumes and fit its energies.

    At each volume the positions and, if `spec.cell`, the shape of the cell are relaxed, so that the crystal is under
    hydrostatic pressure and B0 is the Reuss bulk modulus. Without relaxation of the shape, B0 is Voigt's.

    Args:
        structure: the relaxed crystal.
        model: the potential. Cells are relaxed together where it takes batches.
        spec: how each volume is relaxed.
        volumes: relative to that of the structure; at least five.
        progress: is called with the numbers of volumes that are done, and of all.

    Raises:
        InputError: a relaxation fails or ends in another crystal, or the energies have no minimum among these volumes.
    """
    scaled = {
        f"relaxation at {ratio:g} times its volume": replace(
            structure,
            cell=ratio ** (1 / 3) * structure.cell,
            positions=ratio ** (1 / 3) * structure.positions,
        )
        for ratio in volumes
    }
    found = relax_crystals(scaled, model, replace(spec, fixed_volume=True), progress)
    sizes = np.array([one.structure.volume for one in found])
    energies = np.array([one.structure.energy for one in found], dtype=np.float64)
    try:
        fit = fit_birch_murnaghan(sizes, energies)
    except InputError as error:
        raise InputError(f"{structure.source}: {error}") from error
    return replace(fit, unconverged=sum(not one.converged for one in found))


def fit_birch_murnaghan(
    volumes: Float64[np.ndarray, " K"], energies: Float64[np.ndarray, " K"]
) -> EquationOfState:
    """Fit by linear least squares, because the equation is a cubic polynomial of V^(−2/3).

    With E = E0 + a (ξ − 1)² + b (ξ − 1)³, B0 = 8 a / (9 V0) and B0' = 4 + 2 b / a.

    Args:
        volumes: in Å³, at least five.
        energies: in eV.

    Raises:
        InputError: there are too few volumes, or no minimum among them.
    """
    if len(volumes) < 5:
        raise InputError(f"equation of state: {len(volumes)} volumes were given, expected at least 5")
    middle = float(volumes.mean())
    reduced = (middle / volumes) ** (2 / 3)
    fit = Polynomial.fit(reduced, energies, 3)
    slope, curvature = fit.deriv(), fit.deriv(2)
    roots = [float(root.real) for root in slope.roots() if abs(root.imag) < 1e-12]
    minima = [x for x in roots if reduced.min() <= x <= reduced.max() and curvature(x) > 0]
    if not minima:
        raise InputError(
            f"equation of state: the energy has no minimum from {volumes.min():.4g} to {volumes.max():.4g} Å³"
        )
    (x0,) = minima  # a cubic polynomial has only one minimum
    volume = middle * x0**-1.5
    second, third = curvature(x0) * x0**2 / 2, fit.deriv(3)(x0) * x0**3 / 6
    return EquationOfState(
        volumes=volumes,
        energies=energies,
        volume=volume,
        energy=float(fit(x0)),
        bulk=float(8 * second / (9 * volume) / GPa),
        derivative=float(4 + 2 * third / second),
        rms=float(np.sqrt(np.mean((fit(reduced) - energies) ** 2))),
    )
