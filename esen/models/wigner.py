"""Wigner matrices that rotate an edge onto the polar axis, without a singular direction and without a random roll.

The network is invariant to a roll about the edge, so any rotation R with R n = e_y can be used if it is a smooth
function of n. No such function exists on the whole sphere, but two together cover it. For n_y ≥ 0 we take the shortest
rotation, whose quaternion is q = (w, x, 0, z) = (√((1+n_y)/2), −n_z/2w, 0, n_x/2w) with w ≥ 1/√2, so there is no
division by a small number. Directions with n_y < 0 are first rotated by π about x, which changes only signs of real
spherical harmonics. At n_y = 0 the roll jumps, but the energy and all its derivatives are continuous, because both
rotations give the same energy.

An entry of D^l is a homogeneous polynomial of degree 2l in (w, x, z). Its coefficients are computed by recursion from
D^1 = R(q) and the Clebsch–Gordan coefficients of 1 ⊗ (l−1) → l:

    D^l_{m'm} = Σ C^{l m'}_{ab} C^{l m}_{cd} D^1_{ac} D^{l−1}_{bd}.

Real spherical harmonics are those of e3nn: polar axis y, m = −l … l, and l = 1 is (x, y, z).
"""

from functools import lru_cache
from itertools import combinations_with_replacement
from math import sqrt

import numpy as np
import torch
from e3nn import o3
from jaxtyping import Float64, Int64
from torch import Tensor

from esen.models.constants import constant

Polynomial = dict[tuple[int, int, int], np.ndarray]  # exponents of (w, x, z) -> coefficients (2l+1, 2l+1)


def shortest_rotation(
    direction: Float64[Tensor, "E 3"],
) -> tuple[Float64[Tensor, "E 3"], Float64[Tensor, "E 1"]]:
    """Return the components (w, x, z) of the quaternions that rotate directions n onto e_y, and their hemisphere.

    Returns:
        The quaternion, whose y component is zero, of the shortest rotation onto e_y: of n itself where n_y ≥ 0, and of
        n rotated by π about x where n_y < 0. The second tensor is 1 in the first case and 0 in the second.
    """
    upper = (direction[:, 1:2] >= 0).to(direction.dtype)
    side = 2 * upper - 1
    nx, ny, nz = direction.split(1, dim=1)
    w = torch.sqrt((1 + side * ny) / 2)
    return torch.cat([w, -side * nz / (2 * w), nx / (2 * w)], dim=1), upper


def edge_wigner(
    direction: Float64[Tensor, "E 3"], lmax: int, mmax: int
) -> tuple[Float64[Tensor, "E _rows _columns"], ...]:
    """Return D^l(R) with R n = e_y for every l, with only the rows |m'| ≤ mmax, which the network uses.

    Args:
        direction: unit vectors n.
        lmax: highest degree.
        mmax: highest order kept.

    Returns:
        For each l, (E, 2 min(l, mmax) + 1, 2l + 1).
    """
    quaternion, upper = shortest_rotation(direction)
    w, x, z = quaternion.split(1, dim=1)
    pairs = torch.cat([w * w, w * x, w * z, x * x, x * z, z * z], dim=1)  # as in _PAIRS
    monomials = torch.ones_like(upper)  # (E, 1), degree 0
    blocks = []
    for l in range(lmax + 1):
        if l:
            lower, factors = _products(l, direction.device)
            monomials = monomials.index_select(1, lower) * pairs.index_select(1, factors)
        coefficients, turned = _coefficients(l, min(l, mmax), direction.device)
        matrix = monomials @ coefficients  # (E, rows * columns)
        signs = torch.where(upper == 1, 1.0, turned)  # (E, columns)
        blocks.append(matrix.unflatten(1, (-1, 2 * l + 1)) * signs.unsqueeze(1))
    return tuple(blocks)


_PAIRS = tuple(combinations_with_replacement(range(3), 2))


def _exponents(degree: int) -> list[tuple[int, int, int]]:
    """Return every (i, j, k) with i + j + k = degree, in a fixed order."""
    return [(i, j, degree - i - j) for i in range(degree + 1) for j in range(degree + 1 - i)]


@constant
def _products(
    l: int, device: torch.device
) -> tuple[Int64[Tensor, " monomials"], Int64[Tensor, " monomials"]]:
    """Return, for each monomial of degree 2l, indices of a monomial of degree 2l − 2 and of a pair that give it."""
    index = {e: i for i, e in enumerate(_exponents(2 * l - 2))}
    lower, factors = [], []
    for exponent in _exponents(2 * l):
        for p, (a, b) in enumerate(_PAIRS):
            rest = list(exponent)
            rest[a] -= 1
            rest[b] -= 1
            if min(rest) >= 0:
                lower.append(index[tuple(rest)])  # type: ignore[index]  # three entries, as the keys have
                factors.append(p)
                break
    return torch.tensor(lower, device=device), torch.tensor(factors, device=device)


@constant
def _coefficients(
    l: int, mmax: int, device: torch.device
) -> tuple[Float64[Tensor, "monomials entries"], Float64[Tensor, " columns"]]:
    """Return the matrix from monomials to the entries of D^l in rows |m'| ≤ mmax, and D^l of a rotation by π about x.

    The latter is diagonal and returned as its signs.
    """
    polynomial = _wigner_polynomial(l)
    keep = slice(l - mmax, l + mmax + 1)
    zero = np.zeros((2 * l + 1, 2 * l + 1))
    table = np.stack([polynomial.get(e, zero)[keep].reshape(-1) for e in _exponents(2 * l)])
    turned = np.diag(polynomial.get((0, 2 * l, 0), zero)) if l else np.ones(1)  # at q = (0, 1, 0, 0)
    return torch.from_numpy(table).to(device), torch.from_numpy(np.sign(turned)).to(device)


@lru_cache
def _wigner_polynomial(l: int) -> Polynomial:
    if l == 0:
        return {(0, 0, 0): np.ones((1, 1))}
    if l == 1:
        ww, xx, zz = (np.diag(d).astype(float) for d in ([1, 1, 1], [1, -1, -1], [-1, -1, 1]))
        wx, wz, xz = np.zeros((3, 3)), np.zeros((3, 3)), np.zeros((3, 3))
        wx[1, 2], wx[2, 1] = -2, 2
        wz[0, 1], wz[1, 0] = -2, 2
        xz[0, 2], xz[2, 0] = 2, 2
        return {(2, 0, 0): ww, (0, 2, 0): xx, (0, 0, 2): zz, (1, 1, 0): wx, (1, 0, 1): wz, (0, 1, 1): xz}
    coupling = sqrt(2 * l + 1) * o3.wigner_3j(1, l - 1, l, dtype=torch.float64).numpy()
    result: Polynomial = {}
    for e1, first in _wigner_polynomial(1).items():
        for e2, second in _wigner_polynomial(l - 1).items():
            exponent = (e1[0] + e2[0], e1[1] + e2[1], e1[2] + e2[2])
            term = np.einsum("abi,ac,bd,cdj->ij", coupling, first, second, coupling, optimize=True)
            result[exponent] = result.get(exponent, 0.0) + term
    return result


__all__ = ["edge_wigner", "shortest_rotation"]
