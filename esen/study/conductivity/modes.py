"""What is kept mode by mode: enough for pictures, and for an SRME against any reference later."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64

from esen.evaluate.conductivity.metrics import mean_of_trace
from esen.evaluate.conductivity.reference import ReferenceConductivity
from esen.evaluate.conductivity.run import Conductivity


@dataclass(frozen=True, eq=False)
class Modes:
    """Of one material; of one without a conductivity there are no temperatures (T = 0).

    Attributes:
        mesh: divisions of the Brillouin zone.
        points: irreducible, in units of the primitive reciprocal lattice.
        weights: how many points of the mesh each stands for.
        frequencies: in THz, imaginary ones negative.
        temperatures: in K.
        kappa: total conductivity in W/m/K: xx, yy, zz, yz, xz, xy.
        modes: contributions to it, those of a point counting all its equivalents; κ = Σ_qs / Σ_q w.
        heat_capacity: in eV/K.
        half_widths: γ in THz; the lifetime is 1 / (4 π γ) in ps.
        velocities: of the group, in THz Å (100 m/s).
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
        """In ps; infinite where nothing scatters."""
        with np.errstate(divide="ignore"):
            return np.asarray(1 / (4 * np.pi * self.half_widths))

    def as_reference(self, name: str, label: str, group: int) -> ReferenceConductivity | None:
        """As others are compared with it; None: there is no conductivity.

        Args:
            name: of the material.
            label: what it is called in tables.
            group: number of its space group.
        """
        if not len(self.temperatures):
            return None
        x, y, z = (int(number) for number in self.mesh)
        return ReferenceConductivity(
            material=name,
            temperatures=self.temperatures,
            kappa=mean_of_trace(self.kappa),
            modes=mean_of_trace(self.modes),
            weights=self.weights,
            frequencies=self.frequencies,
            points=self.points,
            heat_capacity=self.heat_capacity,
            mesh=(x, y, z),
            label=label,
            space_group=group,
        )


def modes_of(found: Conductivity) -> Modes:
    """What was computed."""
    harmonic, transport = found.harmonic, found.transport
    shape = harmonic.frequencies.shape
    nothing = np.zeros((0, *shape))
    return Modes(
        mesh=np.array(found.material.mesh, dtype=np.int64),
        points=harmonic.points,
        weights=harmonic.weights,
        frequencies=harmonic.frequencies,
        temperatures=np.zeros(0) if transport is None else transport.temperatures,
        kappa=np.zeros((0, 6)) if transport is None else transport.total,
        modes=np.zeros((0, *shape, 6)) if transport is None else transport.modes,
        heat_capacity=nothing if transport is None else transport.heat_capacity,
        half_widths=nothing if transport is None else transport.half_widths,
        velocities=np.zeros((0, shape[1], 3)) if transport is None else transport.velocities,
    )
