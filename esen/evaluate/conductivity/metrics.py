"""How far a conductivity is from its reference: in total, and mode by mode (Póta et al., arXiv:2408.00755)."""

import numpy as np
from jaxtyping import Float64
from scipy.stats import wasserstein_distance

from esen.errors import InputError

WORST = 2.0
"""Of SRME and SRE: what a material gets that has no conductivity."""


def mean_of_trace(tensor: Float64[np.ndarray, "*any 6"]) -> Float64[np.ndarray, "*any"]:
    """Trace / 3 of symmetric tensors xx, yy, zz, yz, xz, xy.

    >>> mean_of_trace(np.array([1.0, 2.0, 6.0, 9.0, 9.0, 9.0])).item()
    3.0
    """
    return np.asarray(tensor[..., :3].mean(axis=-1))


def mode_conductivity(
    particle: Float64[np.ndarray, "T Q s 6"],
    coherence: Float64[np.ndarray, "T Q s s 6"],
    heat_capacity: Float64[np.ndarray, "T Q s"],
) -> Float64[np.ndarray, "T Q s 6"]:
    """What each mode contributes, particle-like and by coherence with others.

    A pair (i, j) is divided between its two modes by heat capacities C:

        κ_j = κ^P_j + 2 Σ_i κ^C_ij C_i / (C_i + C_j)

    The sum is over the index whose heat capacity stands above, as in the code of the benchmark, from which the
    reference data come: a mode is given the share of its partner. Sums over modes are the same either way.
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


def sre(predicted: float, reference: float) -> float:
    """Symmetric relative error |SRD|, from 0 to 2.

    >>> sre(1.0, 3.0)
    1.0
    """
    return abs(srd(predicted, reference))


def srme(
    predicted: Float64[np.ndarray, "Q s"],
    reference: Float64[np.ndarray, "P r"],
    weights: Float64[np.ndarray, " W"],
    totals: tuple[float, float],
) -> float:
    """Symmetric relative mean error 2 · (Σ |κ_qs − κ_qs^ref| / Σ w_q) / (κ + κ_ref), from 0 to 2.

    Args:
        predicted: contributions of the modes at irreducible points; that of a point counts all its equivalents.
        reference: the same.
        weights: how many points each of them stands for.
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
    """Wasserstein-1 distance of two spectra in THz: how far frequencies are moved in the mean.

    >>> flat = np.array([[1.0, 2.0], [3.0, 4.0]])
    >>> round(spectrum_distance(flat + 0.5, np.array([1.0, 8.0]), flat, np.array([1.0, 8.0])), 12)
    0.5
    """
    mine = np.repeat(predicted_weights, predicted.shape[1])
    theirs = np.repeat(reference_weights, reference.shape[1])
    return float(wasserstein_distance(predicted.ravel(), reference.ravel(), mine, theirs))


def _size(modes: Float64[np.ndarray, "Q s"]) -> str:
    return " × ".join(str(number) for number in modes.shape) + " (points × modes)"
