"""Find problems in a set of frames: labels, outliers, duplicates, isolated atoms, units."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from ase.data import chemical_symbols
from jaxtyping import Float64

from esen.data.checks import pairs_within
from esen.data.frames import Frames
from esen.data.references import ISOLATED, References, fit_references
from esen.data.stress_inference import energy_difference, energy_pairs, work_of_forces
from esen.data.structure import Structure
from esen.data.targets import STRESS, TARGETS
from esen.errors import InputError

Verdict = Literal["ok", "note", "warning", "wrong"]

_OUTLIER = 12.0
"""An energy is an outlier beyond this many robust standard deviations, if it is also beyond `_OUTLIER_LEAST`."""
_OUTLIER_LEAST = 0.5
"""eV per atom."""
_STRONG = 50.0
"""eV/Å. Larger forces are seldom useful, and dominate a loss."""
_NET_FORCE = 0.02
"""eV/Å per atom that the sum of forces may have."""
_NAMED = 3
_EXPLAINED = 0.35
"""Fraction of the energy differences that the right unit of forces may leave unexplained."""

_FACTORS: tuple[tuple[float, str], ...] = (
    (1.0, ""),
    (-1.0, "the forces have the wrong sign: they are gradients"),
    (0.0433641, "the forces are in kcal/mol/Å where the energies are in eV"),
    (23.0605, "the energies are in kcal/mol where the forces are in eV/Å"),
    (51.4221, "the forces are in Hartree/Bohr where the energies are in eV"),
    (0.0367493, "the energies are in Hartree where the forces are in eV/Å"),
    (1.889726, "positions or forces are by Bohr where they should be by Å"),
    (0.529177, "positions are in Bohr, or forces in eV/Bohr"),
)
"""Factors between energies and the work of forces, and what each one means."""


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    Attributes:
        check: name of the check.
        verdict: `ok`; `note`: worth knowing; `warning`: probably unintended; `wrong`: not usable for training.
        found: description.
        advice: what to do; may be empty.
    """

    check: str
    verdict: Verdict
    found: str
    advice: str = ""


def examine(
    frames: Frames,
    *,
    most: int = 20_000,
    check: Callable[[Structure], None] = lambda structure: None,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> list[Finding]:
    """Check the facts of all frames, and the structures of at most `most` frames, evenly spread.

    Args:
        frames: with or without labels.
        most: largest number of structures to read.
        check: raises InputError for an impossible structure.
        progress: called with the numbers of structures that were read and that will be read.
    """
    chosen = np.unique(np.linspace(0, len(frames) - 1, min(most, len(frames))).round().astype(np.int64))
    survey = _Survey()
    for done, index in enumerate(chosen.tolist(), start=1):
        survey.add(frames[index], check)
        progress(done, len(chosen))
    of = f"{len(chosen):,} frames"
    if len(chosen) < len(frames):
        of = f"{len(chosen):,} of {len(frames):,} frames"
    return [
        *_labels(frames),
        _impossible(survey, of),
        *_energies(frames),
        *_forces(frames),
        *_net_force(survey),
        _duplicates(frames, survey, of),
        _isolated_atoms(frames, survey, of),
        *_lengths(survey),
        _energies_and_forces(frames),
    ]


@dataclass
class _Survey:
    """Collects what is found in structures one by one.

    Attributes:
        geometries: energy and source of each geometry, rounded to 1e-4 Å.
        same: number of structures with a geometry that was seen before.
        contradicting: pairs of sources with the same geometry and different energies.
        isolated: sources of structures with an atom without neighbours.
        net: net forces in eV/Å per atom.
        closest: the smallest distance in Å.
        volumes: volumes in Å³ per atom.
        impossible: errors of the check.
    """

    geometries: dict[bytes, tuple[float | None, str]] = field(default_factory=dict)
    same: int = 0
    contradicting: list[str] = field(default_factory=list)
    isolated: list[str] = field(default_factory=list)
    net: list[float] = field(default_factory=list)
    closest: float = np.inf
    volumes: list[float] = field(default_factory=list)
    impossible: list[str] = field(default_factory=list)

    def add(self, s: Structure, check: Callable[[Structure], None]) -> None:
        """Add a structure."""
        try:
            check(s)
        except InputError as error:
            self.impossible.append(str(error))
            return
        rounded = [np.round(array * 1e4).astype(np.int64).tobytes() for array in (s.positions, s.cell)]
        energy, source = self.geometries.setdefault(
            b"".join([*rounded, s.numbers.tobytes()]), (s.energy, s.source)
        )
        if source != s.source:
            self.same += 1
            if energy is not None and s.energy is not None and abs(energy - s.energy) > 1e-3 * len(s):
                self.contradicting.append(f"{source} and {s.source}")
        receiver, _, distances = pairs_within(s, ISOLATED)
        if len(s) > 1 and len(np.unique(receiver)) < len(s):
            self.isolated.append(s.source)
        self.closest = min(self.closest, float(distances.min(initial=np.inf)))
        if s.forces is not None and len(s) > 1:
            self.net.append(float(np.abs(s.forces.sum(axis=0)).max() / len(s)))
        if s.pbc.all():
            self.volumes.append(s.volume / len(s))


def _labels(frames: Frames) -> Iterator[Finding]:
    facts = frames.facts
    for target in TARGETS:
        of_stress = target is STRESS
        needed = facts.periodic if of_stress else np.ones(len(frames), dtype=np.bool_)
        missing = np.flatnonzero(needed & ~facts.has(target))
        name, of = f"labels: {target.name}", int(needed.sum())
        count = of - len(missing)
        if not of:
            yield Finding(name, "ok", "no frame is periodic in three directions: none is needed")
        elif not len(missing):
            yield Finding(name, "ok", f"all {of:,}{' periodic' if of_stress else ''} frames")
        else:
            example = "" if of_stress and not count else f", not e.g. {frames[int(missing[0])].source}"
            advice = f"train with train.loss.{target.name}: 0, or name the label: data.{target.name}_key"
            yield Finding(
                name,
                "note" if of_stress else "warning",
                f"{count:,} of {of:,} frames{example}",
                "" if count else advice,
            )


def _impossible(survey: _Survey, of: str) -> Finding:
    """Report structures that a training would refuse."""
    found = survey.impossible
    if not found:
        return Finding("frames", "ok", f"nothing impossible in {of}")
    return Finding("frames", "wrong", f"{len(found)} of {of} are impossible: {found[0]}", "leave them out")


def energies_left(frames: Frames, references: References) -> Float64[np.ndarray, " F"]:
    """Return the energies per atom in eV after subtraction of the reference energies; NaN without an energy."""
    facts, table = frames.facts, references.energies
    left = np.empty(len(frames))
    elements = list(references.elements)
    for rows, counts in facts.compositions(elements):
        left[rows] = (facts.energies[rows] - counts @ table[elements]) / facts.atoms[rows]
    return left


def _energies(frames: Frames) -> Iterator[Finding]:
    if not np.isfinite(frames.facts.energies).any():
        return
    references = fit_references(frames, len(chemical_symbols))
    left = energies_left(frames, references)
    middle = float(np.nanmedian(left))
    spread = 1.4826 * float(np.nanmedian(np.abs(left - middle)))
    away = np.abs(np.nan_to_num(left, nan=middle) - middle)
    outliers = np.flatnonzero(away > max(_OUTLIER * spread, _OUTLIER_LEAST))
    found = f"without reference energies {1e3 * spread:.3g} meV/atom (robust standard deviation)"
    if len(outliers):
        named = ", ".join(
            f"{frames[i].source} ({left[i] - middle:+.2f} eV/atom)" for i in _largest(outliers, away)
        )
        found = f"{found}; {len(outliers)} frames far off: {named}"
        yield Finding("energies", "warning", found, "look at them, or leave them out")
    else:
        yield Finding("energies", "ok", f"{found}, no outliers")
    if references.rank_deficient:
        names = ", ".join(chemical_symbols[z] for z in references.confounded)
        yield Finding(
            "references",
            "note",
            f"the frames fix the reference energies of {names} only in sums",
            "add isolated atoms or other compositions, if the model is to be used on such",
        )


def _forces(frames: Frames) -> Iterator[Finding]:
    facts = frames.facts
    if not facts.labelled.any():
        return
    largest = np.nan_to_num(facts.largest_forces)
    strong = np.flatnonzero(largest > _STRONG)
    if len(strong):
        named = ", ".join(f"{frames[i].source} ({largest[i]:.0f} eV/Å)" for i in _largest(strong, largest))
        found = f"{len(strong)} frames above {_STRONG:g} eV/Å: {named}"
        yield Finding("forces", "warning", found, "leave them out?")
    else:
        yield Finding("forces", "ok", f"at most {largest.max():.3g} eV/Å")


def _net_force(survey: _Survey) -> Iterator[Finding]:
    if not survey.net:
        return
    net = np.array(survey.net)
    share = float((net > _NET_FORCE).mean())
    if share > 0.01:
        found = f"in {share:.0%} of frames the sum is above {_NET_FORCE} eV/Å per atom"
        advice = "no conservative model can fit it; are columns swapped, or atoms held fixed?"
        yield Finding("net force", "warning", found, advice)
    else:
        yield Finding("net force", "ok", f"the sum is at most {net.max():.2g} eV/Å per atom")


def _duplicates(frames: Frames, survey: _Survey, of: str) -> Finding:
    digests, contradicting = frames.facts.digests, survey.contradicting
    exact = len(digests) - len(np.unique(digests, axis=0))
    if contradicting:
        found = f"{len(contradicting)} geometries have two energies, e.g. {contradicting[0]}"
        advice = "leave one of each out; are two levels of theory mixed?"
        return Finding("duplicates", "wrong", found, advice)
    if exact or survey.same:
        found = (
            f"{exact} frames are exact copies of others; {survey.same} of {of} have the same atoms as another"
        )
        return Finding("duplicates", "warning", found, "a validation frame may be a training frame, too")
    return Finding("duplicates", "ok", "none")


def _isolated_atoms(frames: Frames, survey: _Survey, of: str) -> Finding:
    single = int((frames.facts.atoms == 1).sum())
    singles = f"; {single} frames of one atom" if single else ""
    isolated = survey.isolated
    if not isolated:
        found = f"every atom of {of} has a neighbour within {ISOLATED:g} Å{singles}"
        return Finding("isolated atoms", "ok", found)
    found = f"in {len(isolated)} of {of} an atom has no neighbour within {ISOLATED:g} Å, e.g. {isolated[0]}{singles}"
    return Finding("isolated atoms", "note", found, "such an atom has its reference energy and no force")


def _lengths(survey: _Survey) -> Iterator[Finding]:
    if np.isfinite(survey.closest):
        ok = survey.closest > 0.5
        advice = "" if ok else "are positions in Å? fractions or nm are too small"
        found = f"the closest two atoms are {survey.closest:.3g} Å apart"
        yield Finding("distances", "ok" if ok else "warning", found, advice)
    if survey.volumes:
        volume = float(np.median(survey.volumes))
        ok = 3.0 < volume < 200.0
        advice = "is the cell in Å? in Bohr volumes are 6.7 times as large; vacuum makes them larger, too"
        found = f"{volume:.3g} Å³ per atom (median)"
        yield Finding("volumes", "ok" if ok else "note", found, "" if ok else advice)


def _energies_and_forces(frames: Frames) -> Finding:
    """Compare the differences of energies between nearby frames with the work of the forces."""
    name = "energies and forces"
    pairs = energy_pairs(frames)
    if len(pairs) < 3:
        return Finding(name, "note", "no frames are near enough to compare energies with forces")
    differences = np.array([energy_difference(a, b) for a, b in pairs])
    work = np.array([work_of_forces(a, b) for a, b in pairs])
    whole = float(np.square(differences).sum()) or 1.0
    left = [float(np.square(differences - factor * work).sum()) / whole for factor, _ in _FACTORS]
    best = int(np.argmin(left))
    if left[0] < _EXPLAINED and left[best] > 0.5 * left[0]:
        best = 0
    if left[best] > _EXPLAINED:
        found = f"undecided: in {len(pairs)} near pairs the forces do not explain the energies"
        return Finding(name, "note", found)
    if best:
        likely = [
            meaning
            for (_, meaning), rest in zip(_FACTORS, left, strict=True)
            if meaning and rest < 2 * left[best]
        ]
        found = f"{', or '.join(likely)} ({len(pairs)} near pairs)"
        return Finding(name, "wrong", found, "convert them to eV and eV/Å in the file")
    found = f"the work of forces explains {1 - left[0]:.1%} of energies in {len(pairs)} near pairs"
    return Finding(name, "ok", found)


def _largest(indices: np.ndarray, sizes: np.ndarray) -> list[int]:
    return sorted(indices.tolist(), key=lambda index: -sizes[index])[:_NAMED]
