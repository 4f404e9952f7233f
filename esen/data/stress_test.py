"""Whether stresses have the unit, sign and order that they are said to have, judged by energies.

Two kinds of evidence, both linear in the stress σ:
- of frames whose energy derivative is known from elsewhere: σ = (1/V) dE/dε of a reference potential;
- of pairs of frames with the same atoms: from one to the other, a strain ε and displacements u on top of it change the
  energy by ΔE ≈ V σ̄ : ε − Σ F̄ · u, with the means of both frames (trapezoidal rule, wrong in the third order).

Every way in which stresses are commonly wrong is tried; the one that explains the evidence is named.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from esen.data.stress import EV_PER_CUBIC_ANGSTROM_PER_KBAR as KBAR
from esen.data.structure import Structure

Tensor = Float64[np.ndarray, "3 3"]

_LARGEST_STRAIN = 0.04
_SMALLEST_STRAIN = 2e-4
_FARTHEST = 0.03
"""In Å: how far the atoms of a strained pair may move beyond the strain. The work of stresses is small beside that of
forces, whose third order would hide it."""
_STEP = 0.25
"""In Å: how far they may move in a pair of one cell, where the forces alone do work."""
_WINDOW = 3
"""Frames of the same atoms that a frame is compared with."""
_LOOKED_AT = 5000
"""Frames among which pairs are looked for."""
_EXPLAINED = 0.35
"""Part of the evidence that the right reading may leave unexplained."""
_TINY = 1e-30
_CLEARER = 0.5
"""A reading is better than another if it leaves so much less."""


@dataclass(frozen=True)
class Mistake:
    """A way in which stresses can be wrong.

    Attributes:
        words: what they are, in plain words.
        cure: what to write.
        right: the stress that was meant, from the stress as it was read and the volume.
    """

    words: str
    cure: str
    right: Callable[[Tensor, float], Tensor]


@dataclass(frozen=True)
class StressVerdict:
    """What the evidence says.

    Attributes:
        verdict: `ok`, `wrong` or `undecided`.
        words: the verdict in plain words.
        cure: what to write in the recipe; empty unless wrong.
        left: what the stresses leave unexplained of the evidence, as they are and as they should be (`_verdict`).
        count: pieces of evidence.
    """

    verdict: str
    words: str
    cure: str
    left: tuple[float, float]
    count: int


def _reordered(stress: Tensor) -> Tensor:
    """Six numbers in VASP's order, XX YY ZZ XY YZ ZX, that were read as xx, yy, zz, yz, xz, xy."""
    xy, yz, zx = stress[1, 2], stress[0, 2], stress[0, 1]
    right = np.diag(np.diag(stress))
    right[0, 1] = right[1, 0] = xy
    right[1, 2] = right[2, 1] = yz
    right[0, 2] = right[2, 0] = zx
    return right


_KEY = "data.stress_convention"
_UNITS: tuple[tuple[str, str, Callable[[float], float]], ...] = (
    ("eV/Å³ in ASE's sign, as they should be", "", lambda volume: 1.0),
    (
        "eV/Å³ with the wrong sign (compression positive)",
        "change the sign in the file; there is no convention for it",
        lambda volume: -1.0,
    ),
    ("kBar in VASP's sign (compression positive)", f"{_KEY}: vasp_kbar", lambda volume: -KBAR),
    (
        "kBar, tension positive",
        f"{_KEY}: vasp_kbar after a change of the sign in the file",
        lambda volume: KBAR,
    ),
    (
        "GPa, compression positive",
        f"{_KEY}: vasp_kbar after multiplying by 10 in the file",
        lambda volume: -10 * KBAR,
    ),
    (
        "GPa, tension positive",
        f"{_KEY}: vasp_kbar after multiplying by −10 in the file",
        lambda volume: 10 * KBAR,
    ),
    ("virials in eV (−stress × volume)", f"{_KEY}: virial", lambda volume: -1 / volume),
    (
        "stress × volume in eV",
        f"{_KEY}: virial after a change of the sign in the file",
        lambda volume: 1 / volume,
    ),
    (
        "eV/Å³ in ASE's sign already, before they were converted from kBar",
        f"{_KEY}: ase",
        lambda volume: -1 / KBAR,
    ),
    (
        "eV/Å³ already, but with the wrong sign, before they were converted from kBar",
        f"{_KEY}: ase after a change of the sign in the file",
        lambda volume: 1 / KBAR,
    ),
)
_ORDER = "six numbers in VASP's order (XX YY ZZ XY YZ ZX)"
_ORDER_CURE = "reorder them in the file to xx yy zz yz xz xy, or give nine"


def _mistakes() -> list[Mistake]:
    made = []
    for words, cure, factor in _UNITS:

        def scaled(stress: Tensor, volume: float, factor: Callable[[float], float] = factor) -> Tensor:
            return factor(volume) * stress

        def turned(stress: Tensor, volume: float, factor: Callable[[float], float] = factor) -> Tensor:
            return factor(volume) * _reordered(stress)

        made.append(Mistake(words, cure, scaled))
        both = f"{_ORDER_CURE}; and {cure}" if cure else _ORDER_CURE
        made.append(Mistake(f"{words if cure else 'right in unit and sign'}, but {_ORDER}", both, turned))
    return made


MISTAKES = _mistakes()


def judge_by_stresses(
    given: Sequence[Structure], known: Sequence[Tensor], of: str = "the finite differences"
) -> StressVerdict:
    """Compare the stresses of structures with others of the same structures that are known to be right.

    Args:
        given: structures with a stress.
        known: (1/V) dE/dε of each, in eV/Å³.
        of: what the others are, for the words.
    """
    found = [np.array([m.right(_stress(s), s.volume).ravel() for s in given]) for m in MISTAKES]
    return _verdict(found, np.array([np.ravel(k) for k in known]), of)


def judge_by_energies(pairs: Sequence[tuple[Structure, Structure]]) -> StressVerdict:
    """Compare the work of the stresses between the two frames of each pair with the difference of their energies."""
    explained: list[list[float]] = [[] for _ in MISTAKES]
    differences = []
    for a, b in pairs:
        strain, _ = _strain(a, b)
        differences.append((b.energy or 0.0) - (a.energy or 0.0) - work_of_forces(a, b))
        for row, mistake in zip(explained, MISTAKES, strict=True):
            work = [s.volume * np.sum(mistake.right(_stress(s), s.volume) * strain) for s in (a, b)]
            row.append(float(np.mean(work)))
    found = [np.array(row)[:, None] for row in explained]
    return _verdict(found, np.array(differences)[:, None], "the energies of strained frames")


def strained_pairs(frames: Sequence[Structure], most: int = 400) -> list[tuple[Structure, Structure]]:
    """Frames of the same atoms, not far after one another, whose cells differ by a small strain, and hardly more.

    Args:
        frames: in the order of their file; those without all labels are left out.
        most: pairs.
    """
    labelled = (s for s in _first(frames) if s.stress is not None and s.pbc.all())
    return _near_pairs(labelled, most, _FARTHEST, _SMALLEST_STRAIN, _LARGEST_STRAIN)


def energy_pairs(frames: Sequence[Structure], most: int = 400) -> list[tuple[Structure, Structure]]:
    """Frames of the same atoms in the same cell, not far after one another, that differ by small displacements."""
    return _near_pairs(_first(frames), most, _STEP, 0.0, 1e-9)


def work_of_forces(a: Structure, b: Structure) -> float:
    """What the forces say of the energy difference of a pair, −Σ F̄ · u, in eV."""
    assert a.forces is not None
    assert b.forces is not None
    return -float(np.sum((a.forces + b.forces) / 2 * _strain(a, b)[1]))


def _first(frames: Sequence[Structure]) -> Iterator[Structure]:
    for index in range(min(len(frames), _LOOKED_AT)):
        s = frames[index]
        if s.energy is not None and s.forces is not None:
            yield s


def _near_pairs(
    structures: Iterable[Structure], most: int, farthest: float, least: float, strain: float
) -> list[tuple[Structure, Structure]]:
    last: dict[bytes, list[Structure]] = {}
    pairs: list[tuple[Structure, Structure]] = []
    for s in structures:
        before = last.setdefault(s.numbers.tobytes() + s.pbc.tobytes(), [])
        pairs += [(other, s) for other in before if _is_near(other, s, farthest, least, strain)]
        before.append(s)
        del before[:-_WINDOW]
        if len(pairs) >= most:
            break
    return pairs[:most]


def _is_near(a: Structure, b: Structure, farthest: float, least: float, most: float) -> bool:
    """Whether the trapezoidal rule is good between two frames: a small strain, and small displacements beyond it."""
    strain, moved = _strain(a, b)
    return bool(least <= np.linalg.norm(strain) <= most and np.abs(moved).max(initial=0.0) <= farthest)


def _strain(a: Structure, b: Structure) -> tuple[Tensor, Float64[np.ndarray, "N 3"]]:
    """ε with cell_b = cell_a (1 + ε), symmetric as the rotation is small, and how the atoms move beyond it, in Å."""
    if not a.pbc.all():
        return np.zeros((3, 3)), b.positions - a.positions
    gradient = np.linalg.solve(a.cell, b.cell)
    within = (b.positions @ np.linalg.inv(b.cell)) - (a.positions @ np.linalg.inv(a.cell))
    within -= np.rint(within)
    return (gradient + gradient.T) / 2 - np.eye(3), within @ (a.cell + b.cell) / 2


def _stress(structure: Structure) -> Tensor:
    assert structure.stress is not None
    return structure.stress


def _verdict(
    explained: Sequence[Float64[np.ndarray, "P D"]], evidence: Float64[np.ndarray, "P D"], of: str
) -> StressVerdict:
    """The reading that explains the evidence best, piece by piece: a row each.

    Of a piece e and its explanation p, a reading leaves |p − e|² / (|p|² + |e|²): nothing where it is right, 1 where it
    is off by a large factor, up to 2 where the sign is wrong. The median over the pieces decides, so that some frames
    that a reference potential was not made for do not.
    """
    count = len(evidence)
    if not count or not evidence.any():
        return StressVerdict("undecided", "there is nothing to judge the stresses by", "", (1.0, 1.0), 0)
    sizes = np.square(evidence).sum(axis=-1)
    left = [
        float(np.median(np.square(p - evidence).sum(axis=-1) / (np.square(p).sum(axis=-1) + sizes + _TINY)))
        for p in explained
    ]
    best = int(np.argmin(left))
    if left[0] <= _EXPLAINED and left[best] >= _CLEARER * left[0] - 1e-6:
        best = 0
    share = f"they explain {1 - left[best]:.1%} of {of}"
    if left[best] > _EXPLAINED:
        words = f"no reading of the stresses explains {of}; the best, {MISTAKES[best].words}, leaves {left[best]:.0%}"
        return StressVerdict("undecided", words, "", (left[0], left[best]), count)
    if best == 0:
        return StressVerdict(
            "ok", f"stresses are {MISTAKES[0].words}: {share}", "", (left[0], left[0]), count
        )
    words = f"stresses are {MISTAKES[best].words}: so read {share}, as they are {max(1 - left[0], 0.0):.0%}"
    return StressVerdict("wrong", words, MISTAKES[best].cure, (left[0], left[best]), count)
