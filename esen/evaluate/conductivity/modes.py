"""Mode-resolved conductivity as it is kept in a file: enough for figures, and for an SRME against any reference."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64

from esen.evaluate.conductivity.metrics import mean_of_trace
from esen.evaluate.conductivity.reference import ReferenceConductivity
from esen.evaluate.conductivity.run import Conductivity
from esen.evaluate.conductivity.transport import Transport


@dataclass(frozen=True, eq=False)
class Modes:
    """The modes of one material. A material without a conductivity has no temperatures (T = 0).

    Attributes:
        mesh: divisions of the Brillouin zone.
        points: irreducible points, in units of the primitive reciprocal lattice.
        weights: number of points of the mesh that each of them stands for.
        frequencies: in THz, imaginary ones negative.
        temperatures: in K.
        kappa: total conductivity in W/m/K: xx, yy, zz, yz, xz, xy.
        modes: contributions to κ; those of a point count all its equivalents, so that κ = Σ_qs κ_qs / Σ_q w_q.
        heat_capacity: in eV/K.
        half_widths: γ in THz; the lifetime is 1 / (4 π γ) in ps.
        velocities: group velocities in THz Å (100 m/s); NaN if there is no conductivity.
    """

    mesh: Int64[np.ndarray, " 3"]
    points: Float64[np.ndarray, "Q 3"]
    weights: Float64[np.ndarray, " Q"]
    frequencies: Float64[np.ndarray, "Q s"]
    temperatures: Float64[np.ndarray, " T"]
    kappa: Float64[np.ndarray, "T 6"]
    modes: Float64[np.ndarray, "T Q s 6"]
    heat_capacity: Float64[np.ndarray, "T Q s"]
    half_widths: Float64[np.ndarray, "T Q s"]
    velocities: Float64[np.ndarray, "Q s 3"]

    @property
    def lifetimes(self) -> Float64[np.ndarray, "T Q s"]:
        """τ = 1 / (4 π γ) in ps; infinite where nothing scatters."""
        with np.errstate(divide="ignore"):
            return np.asarray(1 / (4 * np.pi * self.half_widths))

    def as_reference(
        self, material: str, label: str = "", space_group: int | None = None
    ) -> ReferenceConductivity | None:
        """Return what other conductivities are compared with; None if there is no conductivity.

        Args:
            material: its name.
            label: its name in tables.
            space_group: its number.
        """
        if not len(self.temperatures):
            return None
        x, y, z = (int(number) for number in self.mesh)
        return ReferenceConductivity(
            material=material,
            temperatures=self.temperatures,
            kappa=mean_of_trace(self.kappa),
            modes=mean_of_trace(self.modes),
            weights=self.weights,
            frequencies=self.frequencies,
            points=self.points,
            heat_capacity=self.heat_capacity,
            mesh=(x, y, z),
            label=label,
            space_group=space_group,
        )


def modes_of(found: Conductivity) -> Modes:
    """Return the modes of a material."""
    harmonic, solved = found.harmonic, found.transport or _no_transport(*found.harmonic.frequencies.shape)
    return Modes(
        mesh=np.array(found.material.mesh, dtype=np.int64),
        points=harmonic.points,
        weights=harmonic.weights,
        frequencies=harmonic.frequencies,
        temperatures=solved.temperatures,
        kappa=solved.total,
        modes=solved.modes,
        heat_capacity=solved.heat_capacity,
        half_widths=solved.half_widths,
        velocities=solved.velocities,
    )


def _no_transport(points: int, branches: int) -> Transport:
    tensors, scalars = np.zeros((0, 6)), np.zeros((0, points, branches))
    modes, velocities = np.zeros((0, points, branches, 6)), np.full((points, branches, 3), np.nan)
    return Transport(np.zeros(0), tensors, tensors, tensors, modes, scalars, scalars, velocities)
