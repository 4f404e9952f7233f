"""Initial velocities."""

import numpy as np
from ase.units import kB
from jaxtyping import Float64


def maxwell_boltzmann(
    masses: Float64[np.ndarray, " N"], temperature_kelvin: float, seed: int
) -> Float64[np.ndarray, "N 3"]:
    """Momenta p = ξ √(m k_B T), ξ normal: what ASE draws with `np.random.default_rng(seed)`.

    They depend on seed, masses and temperature alone, so that a system starts the same beside others as by itself.

    Args:
        masses: in amu.
        temperature_kelvin: expected of them; that of a draw differs by about T √(2/3N).
        seed: of the draw.

    Returns:
        Momenta in amu · Å per ASE's unit of time (10.18 fs), so that p²/2m is in eV.
    """
    normal = np.random.default_rng(seed).standard_normal((len(masses), 3))
    return np.asarray(normal * np.sqrt(masses * temperature_kelvin * kB)[:, None])


def without_drift(
    momenta: Float64[np.ndarray, "N 3"], masses: Float64[np.ndarray, " N"]
) -> Float64[np.ndarray, "N 3"]:
    """Momenta in the frame of the centre of mass, scaled to the kinetic energy that they had, as ASE's `Stationary`."""
    left = momenta - masses[:, None] * (momenta.sum(axis=0) / masses.sum())
    return _scaled(left, momenta, masses)


def without_rotation(
    momenta: Float64[np.ndarray, "N 3"],
    masses: Float64[np.ndarray, " N"],
    positions: Float64[np.ndarray, "N 3"],
) -> Float64[np.ndarray, "N 3"]:
    """Momenta without angular momentum about the centre of mass: p − m ω × r with ω = I⁻¹ L.

    Of a linear molecule the axis has no moment of inertia, and ω no component along it. They are scaled to the kinetic
    energy that they had, as ASE's `ZeroRotation`.
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
    """What is left of momenta, with their kinetic energy. Of a single atom nothing but rounding is left: that is 0."""
    now, then = (float((p**2 / masses[:, None]).sum()) for p in (left, before))
    return np.zeros_like(left) if now <= 1e-20 * then else np.asarray(left * np.sqrt(then / now))
