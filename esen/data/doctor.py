"""What is wrong with a set of frames, or may be: labels, outliers, duplicates, lone atoms, units."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from ase.data import chemical_symbols
from jaxtyping import Float64

from esen.data.doctor_look import (
    Finding,
    Seen,
    Verdict,
    duplicates,
    geometry,
    impossible,
    lone_atoms,
    look,
    net_force,
)
from esen.data.frames import Frames
from esen.data.references import References, fit_references
from esen.data.stress_test import energy_pairs, work_of_forces
from esen.data.structure import Structure

_STRAY = 12.0
"""An energy is an outlier if it is so many robust standard deviations away, and also more than `_STRAY_LEAST`."""
_STRAY_LEAST = 0.5
_STRONG = 50.0
"""In eV/Å. Forces beyond are seldom of use, and dominate a loss."""
_NAMED = 3

_RATIOS: tuple[tuple[float, str], ...] = (
    (1.0, ""),
    (-1.0, "the forces have the wrong sign: they are gradients"),
    (0.0433641, "the forces are in kcal/mol/Å where the energies are in eV"),
    (23.0605, "the energies are in kcal/mol where the forces are in eV/Å"),
    (51.4221, "the forces are in Hartree/Bohr where the energies are in eV"),
    (0.0367493, "the energies are in Hartree where the forces are in eV/Å"),
    (1.889726, "positions or forces are by Bohr where they should be by Å"),
    (0.529177, "positions are in Bohr, or forces in eV/Bohr"),
)


def examine(
    frames: Frames,
    *,
    most: int = 20_000,
    check: Callable[[Structure], None] = lambda structure: None,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> list[Finding]:
    """Look at all facts, and into at most so many frames, evenly spread.

    Args:
        frames: with or without labels.
        most: frames that are looked into.
        check: raises InputError for a frame that cannot be.
        progress: told how many frames of how many were looked into.
    """
    chosen = np.unique(np.linspace(0, len(frames) - 1, min(most, len(frames))).round().astype(np.int64))
    seen = Seen()
    for done, index in enumerate(chosen.tolist(), start=1):
        look(frames[index], seen, check)
        progress(done, len(chosen))
    of = (
        f"{len(chosen):,} frames"
        if len(chosen) == len(frames)
        else f"{len(chosen):,} of {len(frames):,} frames"
    )
    return [
        *_coverage(frames),
        impossible(seen, of),
        *_energies(frames),
        *_forces(frames),
        *net_force(seen),
        duplicates(frames, seen, of),
        lone_atoms(frames, seen, of),
        *geometry(seen),
        _energies_and_forces(frames),
    ]


def _coverage(frames: Frames) -> Iterator[Finding]:
    facts = frames.facts
    total, periodic = len(frames), int(facts.periodic.sum())
    for name, count, of in (
        ("energy", int(np.isfinite(facts.energies).sum()), total),
        ("forces", int(facts.labelled.sum()), total),
        ("stress", int(facts.stressed.sum()), periodic),
    ):
        if not of:
            yield Finding(f"labels: {name}", "ok", "no frame is periodic in three directions: none is needed")
        elif count == of:
            yield Finding(
                f"labels: {name}", "ok", f"all {of:,}{' periodic' if name == 'stress' else ''} frames"
            )
        else:
            where = "" if name == "stress" and not count else f", not e.g. {_example(frames, name)}"
            advice = (
                f"train with train.loss.{name}: 0, or name the label: data.{name}_key" if not count else ""
            )
            verdict: Verdict = "note" if name == "stress" else "warning"
            yield Finding(f"labels: {name}", verdict, f"{count:,} of {of:,} frames{where}", advice)


def _example(frames: Frames, name: str) -> str:
    facts = frames.facts
    missing = {
        "energy": np.isnan(facts.energies),
        "forces": ~facts.labelled,
        "stress": facts.periodic & ~facts.stressed,
    }[name]
    return frames[int(np.flatnonzero(missing)[0])].source


def energies_left(frames: Frames, references: References) -> Float64[np.ndarray, " F"]:
    """(E − Σ E0) / N of every frame, in eV; NaN where there is no energy."""
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
    stray = np.flatnonzero(away > max(_STRAY * spread, _STRAY_LEAST))
    found = f"without reference energies {1e3 * spread:.3g} meV an atom (robust standard deviation)"
    if not len(stray):
        yield Finding("energies", "ok", f"{found}, none far off")
    else:
        named = ", ".join(
            f"{frames[int(i)].source} ({left[i] - middle:+.2f} eV an atom)" for i in _worst(stray, away)
        )
        yield Finding(
            "energies",
            "warning",
            f"{found}; {len(stray)} frames far off: {named}",
            "look at them, or leave them out",
        )
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
        named = ", ".join(f"{frames[int(i)].source} ({largest[i]:.0f} eV/Å)" for i in _worst(strong, largest))
        yield Finding(
            "forces", "warning", f"{len(strong)} frames above {_STRONG:g} eV/Å: {named}", "leave them out?"
        )
    else:
        yield Finding("forces", "ok", f"at most {largest.max():.3g} eV/Å")


def _energies_and_forces(frames: Frames) -> Finding:
    """From one frame to a near one, the energy changes by the work of the forces."""
    name = "energies and forces"
    pairs = energy_pairs(frames)
    if len(pairs) < 3:
        return Finding(
            name, "note", "no frames are near enough to each other to compare energies with forces"
        )
    differences = np.array([(b.energy or 0.0) - (a.energy or 0.0) for a, b in pairs])
    work = np.array([work_of_forces(a, b) for a, b in pairs])
    whole = float(np.square(differences).sum()) or 1.0
    left = [float(np.square(differences - ratio * work).sum()) / whole for ratio, _ in _RATIOS]
    best = int(np.argmin(left))
    if left[0] < 0.35 and left[best] > 0.5 * left[0]:
        best = 0
    if left[best] > 0.35:
        return Finding(
            name, "note", f"undecided: in {len(pairs)} near pairs the forces do not explain the energies"
        )
    if best:
        likely = [
            words for (_, words), rest in zip(_RATIOS, left, strict=True) if words and rest < 2 * left[best]
        ]
        words = f"{', or '.join(likely)} ({len(pairs)} near pairs)"
        return Finding(name, "wrong", words, "convert them to eV and eV/Å in the file")
    return Finding(
        name, "ok", f"the work of forces explains {1 - left[0]:.1%} of energies in {len(pairs)} near pairs"
    )


def _worst(indices: Sequence[int] | np.ndarray, sizes: np.ndarray) -> list[int]:
    return sorted((int(i) for i in indices), key=lambda i: -sizes[i])[:_NAMED]
