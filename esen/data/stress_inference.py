"""Infer from energies which unit, sign and order of components the stresses of a data set have.

Two kinds of evidence are used, both linear in the stress σ:

- For frames whose energy derivative is known from a reference potential: σ = (1/V) dE/dε.
- For pairs of frames with the same atoms: a strain ε, and displacements u on top of it, change the energy by
  ΔE ≈ V σ̄ : ε − Σ F̄ · u, with the means of both frames (trapezoidal rule, third-order error).

Every common interpretation of stresses is tried, and the one that explains the evidence best is named.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from esen.data.stress import EV_PER_CUBIC_ANGSTROM_PER_KBAR as KBAR
from esen.data.structure import Structure

Tensor = Float64[np.ndarray, "3 3"]

_LARGEST_STRAIN = 0.04
_SMALLEST_STRAIN = 2e-4
_LARGEST_STRAINED_STEP = 0.03
"""Å: the largest displacement beyond the strain in a strained pair. The work of stresses is small beside that of
forces, whose third-order error would hide it."""
_LARGEST_STEP = 0.25
"""Å: the largest displacement in a pair of one cell, where only forces do work."""
_WINDOW = 3
"""Frames of the same atoms that a frame is compared with."""
_SEARCHED = 5000
"""Frames among which pairs are searched."""
_EXPLAINED = 0.35
"""Fraction of the evidence that the right interpretation may leave unexplained."""
_TINY = 1e-30
_CLEARER = 0.5
"""An interpretation is better than another one if it leaves less than this fraction of the other's rest."""

_FROM_VASP_ORDER = np.array([[0, 5, 1], [5, 4, 2], [1, 2, 8]])
"""Flat index of each component of the right tensor in one that was read from six numbers in VASP's order."""


@dataclass(frozen=True)
class Interpretation:
    """What the numbers of a stress may be.

    Attributes:
        words: description.
        cure: what to write or change; empty if the stress is right.
        factor: factor to the right stress, in units of Å³ to the power `-volume_power`.
        volume_power: power of the volume in the factor.
        reordered: whether six numbers in VASP's order (XX YY ZZ XY YZ ZX) were read as xx, yy, zz, yz, xz, xy.
    """

    words: str
    cure: str
    factor: float
    volume_power: int = 0
    reordered: bool = False

    def stress(self, structure: Structure) -> Tensor:
        """Return the right stress in eV/Å³, if this interpretation is true."""
        stress = _stress(structure)
        stress = stress.ravel()[_FROM_VASP_ORDER] if self.reordered else stress
        return np.asarray(self.factor * structure.volume**self.volume_power * stress)


@dataclass(frozen=True)
class StressVerdict:
    """The result of an inference.

    Attributes:
        verdict: `ok`, `wrong` or `undecided`.
        words: the verdict as a sentence.
        cure: what to write in the recipe; empty unless wrong.
        left: fraction of the evidence that is unexplained by the stresses as they are and as they should be
            (see `_verdict`).
        count: number of pieces of evidence.
    """

    verdict: str
    words: str
    cure: str
    left: tuple[float, float]
    count: int


_KEY = "data.stress_convention"
_FLIPPED = "after a change of the sign in the file"
_UNITS = (
    Interpretation("eV/Å³ in ASE's sign, as they should be", "", 1.0),
    Interpretation(
        "eV/Å³ with the wrong sign (compression positive)",
        "change the sign in the file; there is no convention for it",
        -1.0,
    ),
    Interpretation("kBar in VASP's sign (compression positive)", f"{_KEY}: vasp_kbar", -KBAR),
    Interpretation("kBar, tension positive", f"{_KEY}: vasp_kbar {_FLIPPED}", KBAR),
    Interpretation(
        "GPa, compression positive", f"{_KEY}: vasp_kbar after multiplying by 10 in the file", -10 * KBAR
    ),
    Interpretation(
        "GPa, tension positive", f"{_KEY}: vasp_kbar after multiplying by −10 in the file", 10 * KBAR
    ),
    Interpretation("virials in eV (−stress × volume)", f"{_KEY}: virial", -1.0, -1),
    Interpretation("stress × volume in eV", f"{_KEY}: virial {_FLIPPED}", 1.0, -1),
    Interpretation(
        "eV/Å³ in ASE's sign already, before they were converted from kBar", f"{_KEY}: ase", -1 / KBAR
    ),
    Interpretation(
        "eV/Å³ already, but with the wrong sign, before they were converted from kBar",
        f"{_KEY}: ase {_FLIPPED}",
        1 / KBAR,
    ),
)


def _in_vasp_order(unit: Interpretation) -> Interpretation:
    words = f"{unit.words if unit.cure else 'right in unit and sign'}, but six numbers in VASP's order"
    cure = "reorder them in the file to xx yy zz yz xz xy, or give nine"
    return Interpretation(
        f"{words} (XX YY ZZ XY YZ ZX)",
        f"{cure}; and {unit.cure}" if unit.cure else cure,
        unit.factor,
        unit.volume_power,
        reordered=True,
    )


INTERPRETATIONS = (*_UNITS, *map(_in_vasp_order, _UNITS))


def judge_by_stresses(
    given: Sequence[Structure], known: Sequence[Tensor], of: str = "the finite differences"
) -> StressVerdict:
    """Compare the stresses of structures with right ones of the same structures.

    Args:
        given: structures with a stress.
        known: (1/V) dE/dε of each structure, in eV/Å³.
        of: name of the right stresses, for the words of the verdict.
    """
    found = [np.array([i.stress(s).ravel() for s in given]) for i in INTERPRETATIONS]
    return _verdict(found, np.array([np.ravel(stress) for stress in known]), of)


def judge_by_energies(pairs: Sequence[tuple[Structure, Structure]]) -> StressVerdict:
    """Compare the work of the stresses between the frames of each pair with the difference of their energies."""
    strains = [_strain(a, b)[0] for a, b in pairs]
    differences = np.array([energy_difference(a, b) - work_of_forces(a, b) for a, b in pairs])

    def work(interpretation: Interpretation) -> list[float]:
        return [
            float(np.mean([s.volume * np.sum(interpretation.stress(s) * strain) for s in pair]))
            for pair, strain in zip(pairs, strains, strict=True)
        ]

    found = [np.array(work(interpretation))[:, None] for interpretation in INTERPRETATIONS]
    return _verdict(found, differences[:, None], "the energies of strained frames")


def strained_pairs(frames: Sequence[Structure], most: int = 400) -> list[tuple[Structure, Structure]]:
    """Return pairs of nearby frames of the same atoms that differ by a small strain and hardly by anything else.

    Args:
        frames: in the order of their file; those without all labels are left out.
        most: largest number of pairs.
    """
    labelled = (s for s in _labelled(frames) if s.stress is not None and s.pbc.all())
    return _near_pairs(labelled, most, _LARGEST_STRAINED_STEP, (_SMALLEST_STRAIN, _LARGEST_STRAIN))


def energy_pairs(frames: Sequence[Structure], most: int = 400) -> list[tuple[Structure, Structure]]:
    """Return pairs of nearby frames of the same atoms in the same cell that differ by small displacements."""
    return _near_pairs(_labelled(frames), most, _LARGEST_STEP, (0.0, 1e-9))


def energy_difference(a: Structure, b: Structure) -> float:
    """Return E_b − E_a in eV."""
    return (b.energy or 0.0) - (a.energy or 0.0)


def work_of_forces(a: Structure, b: Structure) -> float:
    """Return the energy difference of a pair by its forces, −Σ F̄ · u, in eV."""
    assert a.forces is not None
    assert b.forces is not None
    return -float(np.sum((a.forces + b.forces) / 2 * _strain(a, b)[1]))


def _labelled(frames: Sequence[Structure]) -> Iterator[Structure]:
    for index in range(min(len(frames), _SEARCHED)):
        s = frames[index]
        if s.energy is not None and s.forces is not None:
            yield s


def _near_pairs(
    structures: Iterable[Structure], most: int, largest_step: float, strains: tuple[float, float]
) -> list[tuple[Structure, Structure]]:
    last: dict[bytes, list[Structure]] = {}
    pairs: list[tuple[Structure, Structure]] = []
    for s in structures:
        before = last.setdefault(s.numbers.tobytes() + s.pbc.tobytes(), [])
        pairs += [(other, s) for other in before if _is_near(other, s, largest_step, strains)]
        before.append(s)
        del before[:-_WINDOW]
        if len(pairs) >= most:
            break
    return pairs[:most]


def _is_near(a: Structure, b: Structure, largest_step: float, strains: tuple[float, float]) -> bool:
    """Return whether the trapezoidal rule is accurate between two frames."""
    strain, moved = _strain(a, b)
    least, most = strains
    return bool(least <= np.linalg.norm(strain) <= most and np.abs(moved).max(initial=0.0) <= largest_step)


def _strain(a: Structure, b: Structure) -> tuple[Tensor, Float64[np.ndarray, "N 3"]]:
    """Return ε with cell_b = cell_a (1 + ε), symmetrised as the rotation is small, and further displacements in Å."""
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
    """Choose the interpretation that explains the evidence best.

    For a piece of evidence e with the explanation p, an interpretation leaves |p − e|² / (|p|² + |e|²): 0 if it is
    right, 1 if it is off by a large factor, up to 2 if the sign is wrong. The median over the pieces decides, so that
    frames outside the domain of a reference potential do not.

    Args:
        explained: explanation by each interpretation, one row per piece of evidence.
        evidence: one row per piece.
        of: name of the evidence, for the words.
    """
    count = len(evidence)
    if not count or not evidence.any():
        return StressVerdict("undecided", "there is nothing to judge the stresses by", "", (1.0, 1.0), 0)
    sizes = np.square(evidence).sum(axis=-1)
    left = [
        float(np.median(np.square(p - evidence).sum(axis=-1) / (np.square(p).sum(axis=-1) + sizes + _TINY)))
        for p in explained
    ]
    index = int(np.argmin(left))
    if left[0] <= _EXPLAINED and left[index] >= _CLEARER * left[0] - 1e-6:
        index = 0
    best, rest = INTERPRETATIONS[index], (left[0], left[index])
    share = f"explain {1 - left[index]:.1%} of {of}"
    if left[index] > _EXPLAINED:
        words = f"no reading of the stresses explains {of}; the best, {best.words}, leaves {left[index]:.0%}"
        return StressVerdict("undecided", words, "", rest, count)
    if index == 0:
        return StressVerdict("ok", f"stresses are {best.words}: they {share}", "", rest, count)
    words = f"stresses are {best.words}: read so, they {share}; as they are, {max(1 - left[0], 0.0):.0%}"
    return StressVerdict("wrong", words, best.cure, rest, count)
