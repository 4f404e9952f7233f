"""`esen data check`: find mistakes in data."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Unpack

import numpy as np
from ase.calculators.fd import calculate_numerical_stress
from ase.data import chemical_symbols
from rich.progress import BarColumn, TaskProgressColumn, TimeRemainingColumn

from esen.data.atoms import to_atoms
from esen.data.checks import check_structure
from esen.data.examine import Finding, examine
from esen.data.frames import Frames
from esen.data.readers import Files, Reading
from esen.data.readers.sources import states_units
from esen.data.stress_inference import judge_by_energies, judge_by_stresses, strained_pairs
from esen.data.structure import Structure
from esen.data.training_set import MappedFrames
from esen.errors import InputError
from esen.files import write_json
from esen.md.calculator import EsenCalculator
from esen.study.data import DataResult, TableRow, read_frames
from esen.study.potentials import PotentialOptions, Resolved, resolve_potential
from esen.terminal import progress_bar

_LARGEST = 64
"""Largest number of atoms of a frame that a reference potential computes."""
_CANDIDATES, _JUDGED = 64, 12
"""Number of frames among which those with shear stress are chosen, and number of frames that are computed."""
_STRAIN = 4e-3
"""Large enough for energies in float32."""


@dataclass(frozen=True, eq=False)
class CheckResult(DataResult):
    """The result of `esen data check`.

    Attributes:
        holds: whether nothing is wrong.
    """

    holds: bool = True


def run_check(
    paths: Sequence[Files],
    reading: Reading,
    *,
    potential: str | None = None,
    output: Path | None = None,
    most: int = 20_000,
    **options: Unpack[PotentialOptions],
) -> CheckResult:
    """Check labels, outliers, duplicates, isolated atoms, units, and unit, sign and order of the stress.

    Args:
        paths: files or training sets.
        reading: names of the labels in the files.
        potential: stresses are compared with derivatives of its energies; None: with the energies of the data.
        output: JSON file for the findings; None: none.
        most: largest number of frames whose structures are checked.
        **options: options of the potential.

    Raises:
        InputError: data or potential cannot be read.
    """
    frames = read_frames(paths, reading)
    findings = _damaged_files(frames)
    if all(finding.verdict == "ok" for finding in findings):  # else frames cannot be read
        stress = _judge_stress(frames, potential, options)
        if stress.verdict == "note" and all(states_units(source, Path()) for source in paths):
            stress = Finding(
                "stress", "ok", "converted from the unit and sign that the format of the files has"
            )
        findings = [*_examined(frames, most), *findings, stress]
    rows: list[TableRow] = [
        {"check": f.check, "verdict": f.verdict, "what was found": f.found} for f in findings
    ]
    advice = tuple(f"{f.check}: {f.advice}" for f in findings if f.advice)
    written = {}
    if output is not None:
        content = {"frames": len(frames), "findings": [asdict(finding) for finding in findings]}
        write_json(output, content)
        written["findings"] = output
    return CheckResult([rows], written, advice, holds=all(f.verdict != "wrong" for f in findings))


def _examined(frames: Frames, most: int) -> list[Finding]:
    with progress_bar("checking", BarColumn(), TaskProgressColumn(), TimeRemainingColumn()) as bar:
        task = bar.add_task("", total=min(most, len(frames)))
        return examine(
            frames,
            most=most,
            check=lambda structure: check_structure(structure, len(chemical_symbols)),
            progress=lambda done, of: bar.update(task, completed=done, total=of),
        )


def _judge_stress(frames: Frames, potential: str | None, options: PotentialOptions) -> Finding:
    facts = frames.facts
    if not facts.stressed.any():
        return Finding("stress", "ok", "there is none to judge")
    if potential is None:
        verdict = judge_by_energies(strained_pairs(frames))
    else:
        given, known = _reference_stresses(frames, potential, options)
        verdict = judge_by_stresses(given, known, f"the finite differences of {potential}")
    words = f"{verdict.words} ({verdict.count} {'pairs' if potential is None else 'frames'})"
    if verdict.verdict == "ok":
        return Finding("stress", "ok", words)
    if verdict.verdict == "wrong":
        cure = f"write {verdict.cure}" if verdict.cure.startswith("data.") else verdict.cure
        return Finding("stress", "wrong", words, cure)
    hint = "" if potential else "give --potential: emt, a checkpoint, or module:factory of a pretrained model"
    return Finding("stress", "note", f"undecided: {verdict.words}", hint)


def _reference_stresses(
    frames: Frames, potential: str, options: PotentialOptions
) -> tuple[list[Structure], list[np.ndarray]]:
    """Return small frames with shear stresses whose elements the potential knows, and (1/V) dE/dε of its energies."""
    resolved = resolve_potential(potential, **options)
    facts = frames.facts
    usable = facts.stressed & (facts.atoms <= _LARGEST)
    if resolved.elements is not None:
        usable &= facts.within(resolved.elements)
    if not usable.any():
        raise InputError(
            f"--potential {potential}: no frame with a stress has at most {_LARGEST} atoms, all of elements it knows"
        )
    some = np.flatnonzero(usable)[:: max(int(usable.sum()) // _CANDIDATES, 1)]
    structures = [frames[int(index)] for index in some]
    structures.sort(key=_shear, reverse=True)
    # The largest stresses may be of frames outside the domain of the potential.
    first = max(len(structures) // 4 - _JUDGED // 2, 0)
    given = structures[first : first + _JUDGED]
    return given, [_stress_by_energies(resolved, structure) for structure in given]


def _shear(structure: Structure) -> float:
    """Return the norm of the shear components, which show the order of the components."""
    stress = np.zeros((3, 3)) if structure.stress is None else structure.stress
    return float(np.linalg.norm(stress - np.diag(np.diag(stress))))


def _stress_by_energies(resolved: Resolved, structure: Structure) -> np.ndarray:
    """Return (1/V) dE/dε by central differences, in eV/Å³."""
    atoms = to_atoms(structure)
    atoms.calc = EsenCalculator(resolved.potential)
    return np.asarray(calculate_numerical_stress(atoms, eps=_STRAIN, voigt=False))


def _damaged_files(frames: Frames) -> list[Finding]:
    """Report files of a training set that are not as they were written."""
    if not isinstance(frames, MappedFrames):
        return []
    bad = frames.damaged()
    if not bad:
        return [Finding("files", "ok", f"all {len(frames.manifest['shards'])} have their checksum")]
    return [Finding("files", "wrong", f"{len(bad)} are not as written: {bad[0]}", "convert again: --restart")]
