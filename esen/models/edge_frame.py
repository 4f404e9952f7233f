"""The random roll of the edge frames about their edges (`model.edge_frame: {kind: random}`), an ablation.

The published code completes each edge direction n to a frame by a random vector v. With the smooth frame D of
`wigner.py` and v in it, (a, b, c) = D¹ v, the roll is the rotation about the polar axis e_y by the angle γ with

    cos γ = c / √(a² + c²),  sin γ = −a / √(a² + c²),

which turns v into the half plane x = 0, z > 0. It mixes only the orders ±m of each degree:

    D_m ← cos(mγ) D_m − sin(mγ) D_−m.

v is drawn for every edge at every call: uniformly in the cube [−½, ½]³ and then, of itself and two permutations of its
components, the one least aligned with the edge. v is a constant when energies are differentiated, but γ is not, since
D depends on n. This is what the published code does, so that with the same v forces and stress are the same, too.
Its special case for edges near ±y is not reproduced.

Source: fairchem-core 1.10, `init_edge_rot_mat`.
"""

from typing import assert_never

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from esen.models.concatenation import concatenate
from esen.recipe.model import EdgeFrameSpec, RandomFrameSpec, SmoothFrameSpec


class RandomRoll:
    """The generator of the random vectors. Every draw advances it; a copy continues from the same state.

    A new generator has the seed 0, so that a program gives the same numbers each time it is started.
    """

    def __init__(self) -> None:
        self.seed(0)

    def seed(self, *key: int) -> None:
        """Start again from a seed, which may consist of several numbers."""
        self._random = np.random.default_rng(key)

    def draw(self, edges: int) -> Float64[Tensor, "E 3"]:
        """Return one vector per edge, uniformly distributed in the cube [−½, ½]³."""
        return torch.from_numpy(self._random.random((edges, 3)) - 0.5)


def make_roll(spec: EdgeFrameSpec) -> RandomRoll | None:
    """Return the generator of random rolls; None for the smooth frame, which has no roll."""
    match spec:
        case SmoothFrameSpec():
            return None
        case RandomFrameSpec():
            return RandomRoll()
        case _:
            assert_never(spec)


def rolled(
    wigner: tuple[Float64[Tensor, "E _rows _columns"], ...],
    direction: Float64[Tensor, "E 3"],
    drawn: Float64[Tensor, "E 3"],
) -> tuple[Float64[Tensor, "E _rows _columns"], ...]:
    """Return D^l with the roll that random vectors give them.

    Args:
        wigner: for each l, the rows |m| ≤ mmax of D^l, as `edge_wigner` returns them.
        direction: unit vectors n.
        drawn: random vectors v of any length.
    """
    if wigner[-1].shape[1] == 1:
        return wigner  # only m = 0, which no roll changes
    vector = _least_aligned(drawn, direction)
    a, _, c = (wigner[1] @ vector.unsqueeze(2)).squeeze(2).split(1, dim=1)
    length = torch.sqrt(a * a + c * c)
    cosine, sine = c / length, -a / length
    cosines, sines = [torch.ones_like(cosine)], [torch.zeros_like(sine)]  # of mγ
    for _ in range(wigner[-1].shape[1] // 2):
        last = cosines[-1], sines[-1]
        cosines.append(last[0] * cosine - last[1] * sine)
        sines.append(last[1] * cosine + last[0] * sine)
    blocks = []
    for block in wigner:
        orders = range(-(block.shape[1] // 2), block.shape[1] // 2 + 1)
        of_rows = concatenate([cosines[abs(m)] for m in orders], dim=1).unsqueeze(2)
        across = concatenate([sines[m] if m >= 0 else -sines[-m] for m in orders], dim=1).unsqueeze(2)
        blocks.append(of_rows * block - across * block.flip(1))
    return tuple(blocks)


def _least_aligned(
    drawn: Float64[Tensor, "E 3"], direction: Float64[Tensor, "E 3"]
) -> Float64[Tensor, "E 3"]:
    """Return (x, y, z), (−y, x, z) or (x, −z, y): the one with the smallest component along the edge."""
    x, y, z = drawn.split(1, dim=1)
    choices = torch.stack([torch.cat(c, dim=1) for c in ((x, y, z), (-y, x, z), (x, -z, y))], dim=1)
    along = (choices @ direction.detach().unsqueeze(2)).abs()  # (E, 3, 1)
    return choices.gather(1, along.argmin(dim=1, keepdim=True).expand(-1, 1, 3)).squeeze(1)
