"""What every NVE integrator offers, and what the two integrators share."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar, runtime_checkable

import numpy as np
from ase import units
from jaxtyping import Float64
from torch import Tensor

from esen.data.constraints import free_directions
from esen.data.structure import Structure
from esen.errors import InputError, first_line, typed_line

HOTTEST = 1e5
"""Temperature in K above which a system counts as exploded."""
HOTTEST_KINETIC = 1.5 * float(units.kB) * HOTTEST
"""Kinetic energy per atom at that temperature, in eV."""
FARTHEST = 100.0
"""Displacement of an atom in one step, in Å, above which a system counts as exploded and is not evaluated any more."""

TOO_HOT = f"it is hotter than {HOTTEST:,.0f} K"
TOO_FAR = f"an atom moves by more than {FARTHEST:g} Å in one step"
NOT_FINITE = "its energy or forces are not finite"

HBAR = float(units._hbar * units.J * units.s)
"""ħ in amu · Å² per ASE's unit of time."""

Arrays = dict[str, np.ndarray]
Array = TypeVar("Array", np.ndarray, Tensor)


@dataclass(frozen=True, eq=False)
class Start:
    """A system at step 0.

    Attributes:
        structure: species, cell, positions, and constraints, of which those of single atoms are kept.
        masses: in amu.
        momenta: along free directions, in amu · Å per ASE's unit of time.
        freedoms: degrees of freedom f, for the temperature 2 E_kin / f k_B; None: 3N less fixed directions.
    """

    structure: Structure
    masses: Float64[np.ndarray, " N"]
    momenta: Float64[np.ndarray, "N 3"]
    freedoms: int | None = None

    @property
    def free(self) -> Float64[np.ndarray, "N 3 3"] | None:
        """Projection onto the directions in which each atom may move; None if nothing is fixed."""
        return free_directions(self.structure.constraints, self.structure.cell, len(self.structure))

    @property
    def rotates_freely(self) -> bool:
        """Whether the angular momentum is conserved: no direction is periodic and no atom is fixed."""
        return not self.structure.pbc.any() and self.free is None


@dataclass(frozen=True)
class Failure:
    """Why a system was stopped.

    Attributes:
        step: the first step at which its energy or forces are not finite, the potential refuses it, an atom moves too
            far, or it is found to be too hot.
        reason: one line.
    """

    step: int
    reason: str


@dataclass(frozen=True, eq=False)
class Snapshot:
    """One system at one step.

    Attributes:
        positions: in Å, not wrapped into the cell.
        momenta: in amu · Å per ASE's unit of time.
        forces: in eV/Å, also along directions that are fixed.
        energy: potential energy in eV.
    """

    positions: Float64[np.ndarray, "N 3"]
    momenta: Float64[np.ndarray, "N 3"]
    forces: Float64[np.ndarray, "N 3"]
    energy: float


@runtime_checkable
class Engine(Protocol):
    """Integrates the equations of motion of some systems at constant energy.

    Attributes:
        step: number of steps that have been made.
        failures: why systems were stopped, by index.
    """

    step: int
    failures: dict[int, Failure]

    @property
    def live(self) -> Sequence[int]:
        """Indices of the systems that were not stopped."""

    def advance(self, steps: int = 1) -> None:
        """Make some steps. A system that cannot be continued is stopped without any effect on the others."""

    def observe(self) -> tuple[Tensor, Tensor]:
        """Return potential and kinetic energies of the live systems in eV, (live,) float64; stop those too hot."""

    def invariants(self) -> tuple[Tensor, Tensor]:
        """Return what exact dynamics conserves: shadow energies in eV and |L(t) − L(0)| in ħ, (live,) float64.

        The shadow energy (`shadow_correction`) is NaN at steps 0 and 1, because the derivative of the forces needs two
        earlier steps. L = Σ (r − R) × p is the angular momentum about the centre of mass R; its change is NaN unless
        the system `rotates_freely`. Call `observe` first, which stops systems whose energies are not finite.
        """

    def snapshot(self, system: int) -> Snapshot:
        """Return the present state of a live system."""

    def save(self) -> Arrays:
        """Return everything that `restore` needs to continue with the same bits."""

    def restore(self, arrays: Arrays) -> None:
        """Continue from what `save` returned. The engine must have been made from the same starts."""


def shadow_correction(
    momenta: Array, masses: Array, forces: Array, earlier: tuple[Array, Array], timestep: float
) -> Array:
    """Return what each component of each atom adds to the energy for the shadow energy of velocity Verlet, in eV.

    Velocity Verlet with the time step h conserves, up to O(h⁴), not H but the shadow energy

        H̃ = H + h²/12 vᵀ∇²V v − h²/24 Σ F²/m,

    so that H̃ shows changes of the energy far below the fluctuation of H, which is O(h²). Because dF/dt = −∇²V v along
    the trajectory, the second term is −h²/12 v · dF/dt, and dF/dt = (3 F(t) − 4 F(t − h) + F(t − 2h)) / 2h + O(h²), so
    that no further evaluation of the potential is needed. For forces that are not a gradient, H̃ is defined in the same
    way; it differs from H by a bounded amount, so that both drift and walk alike.

    Source: E. Hairer, C. Lubich and G. Wanner, Acta Numerica 12, 399 (2003), section 4.2; R. D. Skeel and D. J. Hardy,
    SIAM J. Sci. Comput. 23, 1172 (2001).

    Args:
        momenta: along free directions.
        masses: one per atom, as a column.
        forces: at the present step, along free directions.
        earlier: forces one and two steps earlier; NaN where there were none.
        timestep: h in ASE's unit of time.
    """
    rate = (3 * forces - 4 * earlier[0] + earlier[1]) / (2 * timestep)
    correction: Array = -(timestep**2) / 12 * (momenta * rate + 0.5 * forces**2) / masses
    return correction


def earlier_forces(arrays: Arrays) -> tuple[np.ndarray, np.ndarray]:
    """Return the forces one and two steps before a saved state; NaN if an earlier version saved it without them."""
    unknown = np.full_like(arrays["forces"], np.nan)
    return arrays.get("forces_before", unknown), arrays.get("forces_before_that", unknown)


def progress_arrays(step: int, live: Sequence[int], failures: dict[int, Failure]) -> Arrays:
    """Return step, live systems and failures as arrays for a file."""
    table = [(system, failure.step) for system, failure in failures.items()]
    return {
        "step": np.array(step),
        "live": np.array(live, dtype=np.int64),
        "failed": np.array(table, dtype=np.int64).reshape(-1, 2),
        "reasons": np.array([failure.reason for failure in failures.values()], dtype=np.str_),
    }


def progress_of(arrays: Arrays) -> tuple[int, list[int], dict[int, Failure]]:
    """Return what `progress_arrays` was given."""
    failures = {
        int(system): Failure(int(step), str(reason))
        for (system, step), reason in zip(arrays["failed"], arrays["reasons"], strict=True)
    }
    return int(arrays["step"]), arrays["live"].tolist(), failures


def refusal(error: Exception) -> str:
    """Return in one line why a potential cannot compute a system."""
    return first_line(error) if isinstance(error, InputError) else f"the potential raised {typed_line(error)}"
