"""Wigner's transport equation in the relaxation-time approximation, solved by phono3py."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float64
from phono3py import Phono3py

from esen.errors import InputError, first_line
from esen.evaluate.conductivity.isotopes import mass_variances
from esen.evaluate.conductivity.metrics import mean_of_trace, mode_conductivity
from esen.evaluate.conductivity.protocol import ConductivityProtocol
from esen.evaluate.phonons.crystal import quietly

_BOUNDARY_THZ = 1e-4 / (4 * np.pi)
"""THz Å / µm as a half width in THz."""


@dataclass(frozen=True, eq=False)
class Transport:
    """Conductivity in W/m/K, tensors as xx, yy, zz, yz, xz, xy.

    Contributions of a mode at an irreducible point count all equivalent points; κ = Σ_qs κ_qs / Σ_q w_q.

    Attributes:
        temperatures: in K.
        particle: κ^P, phonons as particles; it includes the coupling of modes with the same frequency.
        coherence: κ^C, tunnelling between modes of different frequency.
        diagonal: κ of the Peierls-Boltzmann equation, from each mode alone, which phono3py prints without Wigner's.
        modes: contributions to the total.
        heat_capacity: C of the modes, in eV/K.
        half_widths: γ in THz, by scattering with phonons, isotopes and boundaries; the lifetime is 1 / (4 π γ) in ps.
        velocities: group velocities at the irreducible points, in THz Å (100 m/s).
    """

    temperatures: Float64[np.ndarray, " T"]
    particle: Float64[np.ndarray, "T 6"]
    coherence: Float64[np.ndarray, "T 6"]
    diagonal: Float64[np.ndarray, "T 6"]
    modes: Float64[np.ndarray, "T Q s 6"]
    heat_capacity: Float64[np.ndarray, "T Q s"]
    half_widths: Float64[np.ndarray, "T Q s"]
    velocities: Float64[np.ndarray, "Q s 3"]

    @property
    def total(self) -> Float64[np.ndarray, "T 6"]:
        """κ^P + κ^C."""
        return np.asarray(self.particle + self.coherence)

    @property
    def mean(self) -> Float64[np.ndarray, " T"]:
        """Trace / 3 of the total."""
        return mean_of_trace(self.total)


def solve(phono3py: Phono3py, protocol: ConductivityProtocol, name: str) -> Transport:
    """Solve for the conductivity with a phono3py that has derivatives of second and third order.

    Raises:
        InputError: phono3py fails, or the conductivity is not finite.
    """
    try:
        quietly(
            phono3py.init_phph_interaction,
            symmetrize_fc3q=False,
            symmetrize_tetrahedra=protocol.average,
            average_degenerate_weights=protocol.average,
        )
        quietly(
            phono3py.run_thermal_conductivity,
            temperatures=list(protocol.temperatures),
            is_isotope=protocol.isotopes,
            mass_variances=mass_variances(phono3py.primitive) if protocol.isotopes else None,
            boundary_mfp=protocol.boundary_mfp,
            transport_type=protocol.transport,
        )
    except Exception as error:  # of phono3py, by whatever name
        raise InputError(f"{name}: phono3py fails ({first_line(error)})") from error
    found: Any = phono3py.thermal_conductivity  # has what its inner solver has, unknown to type checkers
    pairs = np.array(found.mode_kappa_matrix[0], dtype=np.float64)
    points = np.array(found.grid_points)
    frequencies = np.array(phono3py.get_phonon_data()[0][points], dtype=np.float64)
    weights = np.array(found.grid_weights, dtype=np.float64)
    heat_capacity = np.array(found.mode_heat_capacities, dtype=np.float64)
    particle, coherence = split(pairs, frequencies, protocol.degenerate)
    result = Transport(
        temperatures=np.array(found.temperatures, dtype=np.float64),
        particle=particle.sum(axis=(1, 2)) / weights.sum(),
        coherence=coherence.sum(axis=(1, 2, 3)) / weights.sum(),
        diagonal=np.einsum("tqiic->tc", pairs) / weights.sum(),
        modes=mode_conductivity(particle, coherence, heat_capacity),
        heat_capacity=heat_capacity,
        half_widths=_half_widths(found, protocol),
        velocities=np.array(found.group_velocities, dtype=np.float64),
    )
    if not np.isfinite(result.modes).all():
        raise InputError(f"{name}: its conductivity is not finite")
    return result


def split(
    pairs: Float64[np.ndarray, "T Q s s 6"], frequencies: Float64[np.ndarray, "Q s"], degenerate: float
) -> tuple[Float64[np.ndarray, "T Q s 6"], Float64[np.ndarray, "T Q s s 6"]]:
    """Split the contributions of pairs of modes into particle-like ones of modes and coherences of pairs.

    Phono3py 4.9 counts all pairs of different modes as inter-band. In the publication and in the reference data, pairs
    of the same frequency are particle-like, half of them belonging to either mode.
    """
    same = np.abs(frequencies[:, :, None] - frequencies[:, None, :]) < degenerate
    within = np.where(same[None, ..., None], pairs, 0.0)
    particle = (within.sum(axis=2) + within.sum(axis=3)) / 2
    return particle, pairs - within


def unscattered_share(transport: Transport, protocol: ConductivityProtocol) -> float:
    """Return the share of κ carried by modes that only the boundary scatters, the largest over the temperatures."""
    speed = np.linalg.norm(transport.velocities, axis=-1)
    boundary = speed * _BOUNDARY_THZ / protocol.boundary_mfp
    free = transport.half_widths <= boundary * (1 + 1e-6)
    kappa = mean_of_trace(transport.modes)
    return float((np.where(free, kappa, 0.0).sum(axis=(1, 2)) / kappa.sum(axis=(1, 2))).max())


def _half_widths(found: Any, protocol: ConductivityProtocol) -> Float64[np.ndarray, "T Q s"]:
    widths = np.array(found.gamma[0], dtype=np.float64)
    if protocol.isotopes:
        widths = widths + found.gamma_isotope[0]
    speed = np.linalg.norm(found.group_velocities, axis=-1)
    return np.asarray(widths + speed * _BOUNDARY_THZ / protocol.boundary_mfp)
