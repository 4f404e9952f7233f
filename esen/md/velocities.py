"""Initial momenta: Maxwell-Boltzmann, without drift, without rotation; and the number of directions that they have."""

import numpy as np
from ase.units import kB
from jaxtyping import Float64

from esen.data.constraints import free_directions
from esen.data.structure import Structure


def degrees_of_freedom(
    structure: Structure, *, momentum_removed: bool = False, rotation_removed: bool = False
) -> int:
    """Return f of E_kin = f k_B T / 2: 3N less fixed directions, and less what was removed and stays removed.

    These are three for the momentum (fewer where atoms are fixed) and, without a period, three for the rotation, or two
    for a linear molecule.
    """
    free = free_directions(structure.constraints, structure.cell, len(structure))
    if free is not None:
        count = round(float(np.trace(free, axis1=1, axis2=2).sum()))
        return count - momentum_removed * round(float(np.trace(common_directions(free))))
    count = 3 * len(structure) - 3 * momentum_removed
    if rotation_removed and not structure.pbc.any():
        arms = structure.positions - structure.positions.mean(axis=0)
        lines = np.linalg.matrix_rank(arms, tol=1e-4)  # 0: one atom, 1: a linear molecule
        count -= (0, 2, 3, 3)[int(lines)]
    return count


def common_directions(free: Float64[np.ndarray, "N 3 3"]) -> Float64[np.ndarray, "3 3"]:
    """Return the projection onto the directions that are free for all atoms, along which the whole system can drift."""
    values, vectors = np.linalg.eigh(free.mean(axis=0))
    shared = vectors[:, values > 1 - 1e-10]
    return np.asarray(shared @ shared.T)


def maxwell_boltzmann(
    masses: Float64[np.ndarray, " N"], temperature_kelvin: float, seed: int
) -> Float64[np.ndarray, "N 3"]:
    """Draw momenta p = ξ √(m k_B T) with normally distributed ξ, as ASE does with `np.random.default_rng(seed)`.

    They depend only on seed, masses and temperature, so that a system starts with the same momenta in any batch.

    Args:
        masses: in amu.
        temperature_kelvin: T. The temperature of one draw differs from it by about T √(2/3N).
        seed: seed of the generator.

    Returns:
        Momenta in amu · Å per ASE's unit of time (10.18 fs), so that p²/2m is in eV.
    """
    normal = np.random.default_rng(seed).standard_normal((len(masses), 3))
    return np.asarray(normal * np.sqrt(masses * temperature_kelvin * kB)[:, None])


def without_drift(
    momenta: Float64[np.ndarray, "N 3"],
    masses: Float64[np.ndarray, " N"],
    free: Float64[np.ndarray, "N 3 3"] | None = None,
) -> Float64[np.ndarray, "N 3"]:
    """Remove the momentum of the centre of mass and restore the kinetic energy, as ASE's `Stationary` does.

    Args:
        momenta: along free directions.
        masses: in amu.
        free: directions in which atoms may move, as `free_directions` returns them. The momentum is removed only along
            directions that are free for all atoms.
    """
    total = momenta.sum(axis=0)
    if free is not None:
        total = common_directions(free) @ total
    left = momenta - masses[:, None] * (total / masses.sum())
    return _scaled(left, momenta, masses)


def without_rotation(
    momenta: Float64[np.ndarray, "N 3"],
    masses: Float64[np.ndarray, " N"],
    positions: Float64[np.ndarray, "N 3"],
) -> Float64[np.ndarray, "N 3"]:
    """Remove the angular momentum about the centre of mass, p − m ω × r with ω = I⁻¹ L, and restore the kinetic energy.

    The axis of a linear molecule has no moment of inertia; there ω has no component along it, unlike in ASE's
    `ZeroRotation`, which divides by it.
    """
    arms = positions - (masses @ positions) / masses.sum()
    angular = np.cross(arms, momenta).sum(axis=0)
    squares = np.einsum("n,ni,nj->ij", masses, arms, arms)
    inertia = np.trace(squares) * np.eye(3) - squares
    omega = np.linalg.pinv(inertia, rcond=1e-10, hermitian=True) @ angular
    return _scaled(momenta - masses[:, None] * np.cross(omega, arms), momenta, masses)


def _scaled(
    left: Float64[np.ndarray, "N 3"], before: Float64[np.ndarray, "N 3"], masses: Float64[np.ndarray, " N"]
) -> Float64[np.ndarray, "N 3"]:
    """Scale momenta to an earlier kinetic energy; to zero if only rounding is left, as of a single atom."""
    now, then = (float((p**2 / masses[:, None]).sum()) for p in (left, before))
    return np.zeros_like(left) if now <= 1e-20 * then else np.asarray(left * np.sqrt(then / now))
