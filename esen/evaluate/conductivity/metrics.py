"""Errors of a conductivity against its reference, in total and mode by mode (Póta et al., arXiv:2408.00755)."""

import numpy as np
from jaxtyping import Float64
from scipy.stats import wasserstein_distance

from esen.errors import InputError

WORST = 2.0
"""SRME and SRE of a material without a conductivity."""


def mean_of_trace(tensor: Float64[np.ndarray, "*any 6"]) -> Float64[np.ndarray, "*any"]:
    """Return trace / 3 of symmetric tensors with components xx, yy, zz, yz, xz, xy.

    >>> mean_of_trace(np.array([1.0, 2.0, 6.0, 9.0, 9.0, 9.0])).item()
    3.0
    """
    return np.asarray(tensor[..., :3].mean(axis=-1))


def mode_conductivity(
    particle: Float64[np.ndarray, "T Q s 6"],
    coherence: Float64[np.ndarray, "T Q s s 6"],
    heat_capacity: Float64[np.ndarray, "T Q s"],
) -> Float64[np.ndarray, "T Q s 6"]:
    """Return the contribution of each mode, particle-like and by coherence with other modes.

    A pair (i, j) is divided between its two modes in proportion to heat capacities C:

        κ_j = κ^P_j + 2 Σ_i κ^C_ij C_i / (C_i + C_j)

    The sum is over the index whose heat capacity is in the numerator, as in the code of the benchmark, which made the
    reference data: a mode is given the share of its partner. Sums over modes do not depend on this choice.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        pair = heat_capacity[..., :, None] + heat_capacity[..., None, :]
        share = np.where(pair > 0, heat_capacity[..., :, None] / pair, 0.0)
    return np.asarray(particle + 2 * np.einsum("tqij,tqijc->tqjc", share, coherence))


def srd(predicted: float, reference: float) -> float:
    """Symmetric relative difference 2 (κ − κ_ref) / (κ + κ_ref), from −2 to 2.

    >>> srd(3.0, 1.0), srd(0.0, 0.0)
    (1.0, 0.0)
    """
    total = predicted + reference
    return WORST * (predicted - reference) / total if total else 0.0


def srme(
    predicted: Float64[np.ndarray, "Q s"],
    reference: Float64[np.ndarray, "P r"],
    weights: Float64[np.ndarray, " W"],
    totals: tuple[float, float],
) -> float:
    """Symmetric relative mean error 2 · (Σ |κ_qs − κ_qs^ref| / Σ w_q) / (κ + κ_ref), from 0 to 2.

    Args:
        predicted: contributions of the modes at irreducible points; those of a point count all its equivalents.
        reference: the same of the reference.
        weights: number of points of the mesh that each point stands for.
        totals: κ and κ_ref.

    Raises:
        InputError: the modes are not the same ones.

    >>> srme(np.array([[2.0, 0.0]]), np.array([[0.0, 2.0]]), np.array([1.0]), (2.0, 2.0))
    2.0
    """
    if predicted.shape != reference.shape or len(weights) != len(predicted):
        raise InputError(
            f"modes cannot be compared: {_size(predicted)} with {_size(reference)} of the reference; "
            "compute both on the same mesh, at the same space group"
        )
    error = float(np.abs(predicted - reference).sum() / weights.sum())
    total = totals[0] + totals[1]
    if total == 0:
        return WORST if error else 0.0
    return WORST * error / total


def spectrum_distance(
    predicted: Float64[np.ndarray, "Q s"],
    predicted_weights: Float64[np.ndarray, " Q"],
    reference: Float64[np.ndarray, "P r"],
    reference_weights: Float64[np.ndarray, " P"],
) -> float:
    """Return the Wasserstein-1 distance of two spectra in THz: the mean shift of the frequencies.

    >>> flat = np.array([[1.0, 2.0], [3.0, 4.0]])
    >>> round(spectrum_distance(flat + 0.5, np.array([1.0, 8.0]), flat, np.array([1.0, 8.0])), 12)
    0.5
    """
    mine = np.repeat(predicted_weights, predicted.shape[1])
    theirs = np.repeat(reference_weights, reference.shape[1])
    return float(wasserstein_distance(predicted.ravel(), reference.ravel(), mine, theirs))


def _size(modes: Float64[np.ndarray, "Q s"]) -> str:
    return " × ".join(str(number) for number in modes.shape) + " (points × modes)"
