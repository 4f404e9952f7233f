"""`esen data check`: is the data right?"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Unpack

import numpy as np
from ase.data import chemical_symbols
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from esen.data.cache import MappedFrames
from esen.data.checks import check_structure
from esen.data.doctor import examine
from esen.data.doctor_look import Finding
from esen.data.frames import Frames
from esen.data.readers import Files, Reading
from esen.data.stress_test import judge_by_energies, judge_by_stresses, strained_pairs
from esen.data.structure import Structure
from esen.errors import InputError
from esen.files import write_json
from esen.graph.batch import make_graph
from esen.study.data import DataResult, Row, read_frames
from esen.study.potentials import PotentialOptions, Resolved, resolve_potential

_LARGEST = 64
"""Atoms of frames that a reference potential computes."""
_LOOKED_AT, _JUDGED = 64, 12
"""Frames among which those are chosen that it computes, and how many."""
_STRAIN = 4e-3
"""Large enough for energies in float32."""
_COMPONENTS = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))


@dataclass(frozen=True, eq=False)
class CheckResult(DataResult):
    """What `esen data check` found.

    Attributes:
        holds: nothing is wrong.
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
    """Judge data: labels, outliers, duplicates, lone atoms, units, and unit, sign and order of the stress.

    Args:
        paths: files or training sets.
        reading: names of the labels in the files.
        potential: whose energies the stresses are compared with; None: those of the data, of strained copies.
        output: of a JSON with the findings; None: none.
        most: frames that are looked into.
        **options: of the potential.

    Raises:
        InputError: data or potential cannot be read.
    """
    frames = read_frames(paths, reading)
    with _looking(len(frames)) as bar:
        task = bar.add_task("", total=min(most, len(frames)))
        findings = examine(
            frames,
            most=most,
            check=lambda structure: check_structure(structure, len(chemical_symbols)),
            progress=lambda done, of: bar.update(task, completed=done, total=of),
        )
    findings += _shards_are_whole(frames)
    findings.append(_judge_stress(frames, potential, options))
    rows: list[Row] = [{"check": f.check, "verdict": f.verdict, "what was found": f.found} for f in findings]
    advice = tuple(f"{f.check}: {f.advice}" for f in findings if f.advice)
    written = {}
    if output is not None:
        content = {"frames": len(frames), "findings": [asdict(finding) for finding in findings]}
        write_json(output, content)
        written["findings"] = output
    return CheckResult([rows], written, advice, holds=all(f.verdict != "wrong" for f in findings))


def _judge_stress(frames: Frames, potential: str | None, options: PotentialOptions) -> Finding:
    facts = frames.facts
    if not facts.stressed.any():
        return Finding("stress", "ok", "there is none to judge")
    verdict = judge_by_energies(strained_pairs(frames)) if potential is None else None
    if potential is not None:
        given, known = _reference_stresses(frames, potential, options)
        verdict = judge_by_stresses(given, known, f"the finite differences of {potential}")
    assert verdict is not None
    words = f"{verdict.words} ({verdict.count} {'pairs' if potential is None else 'frames'})"
    match verdict.verdict:
        case "ok":
            return Finding("stress", "ok", words)
        case "wrong":
            cure = f"write {verdict.cure}" if verdict.cure.startswith("data.") else verdict.cure
            return Finding("stress", "wrong", words, cure)
    hint = "" if potential else "give --potential: emt, a checkpoint, or module:factory of a pretrained model"
    return Finding("stress", "note", f"undecided: {verdict.words}", hint)


def _reference_stresses(
    frames: Frames, potential: str, options: PotentialOptions
) -> tuple[list[Structure], list[np.ndarray]]:
    """Small frames with shear stresses whose elements the potential knows, and (1/V) dE/dε of its energies."""
    resolved = resolve_potential(potential, **options)
    facts = frames.facts
    usable = facts.stressed & (facts.atoms <= _LARGEST)
    if resolved.elements is not None:
        usable &= facts.within(resolved.elements)
    if not usable.any():
        raise InputError(
            f"--potential {potential}: no frame with a stress has at most {_LARGEST} atoms, all of elements it knows"
        )
    some = np.flatnonzero(usable)[:: max(int(usable.sum()) // _LOOKED_AT, 1)]
    structures = [frames[int(index)] for index in some]
    structures.sort(key=_shear, reverse=True)
    # the largest may be of frames that the potential was not made for
    first = max(len(structures) // 4 - _JUDGED // 2, 0)
    given = structures[first : first + _JUDGED]
    return given, [_stress_by_energies(resolved, structure) for structure in given]


def _shear(structure: Structure) -> float:
    """How much of a stress shows the order of its components."""
    stress = np.zeros((3, 3)) if structure.stress is None else structure.stress
    return float(np.linalg.norm(stress - np.diag(np.diag(stress))))


def _stress_by_energies(resolved: Resolved, structure: Structure) -> np.ndarray:
    """(1/V) dE/dε by central differences, symmetric, in eV/Å³."""
    strained = []
    for a, b in _COMPONENTS:
        for step in (_STRAIN, -_STRAIN):
            strain = np.zeros((3, 3))
            strain[a, b] += step / 2
            strain[b, a] += step / 2
            deformed = np.eye(3) + strain
            strained.append(
                replace(structure, positions=structure.positions @ deformed, cell=structure.cell @ deformed)
            )
    potential = resolved.potential
    energies = [
        float(potential(make_graph(s, potential.cutoff, potential.backend).to(resolved.device)).energy[0])
        for s in strained
    ]
    stress = np.zeros((3, 3))
    for (a, b), up, down in zip(_COMPONENTS, energies[::2], energies[1::2], strict=True):
        stress[a, b] = stress[b, a] = (up - down) / (2 * _STRAIN * structure.volume)
    return stress


def _shards_are_whole(frames: Frames) -> list[Finding]:
    """The files of a training set are as they were written."""
    if not isinstance(frames, MappedFrames):
        return []
    bad = frames.damaged()
    if bad:
        return [
            Finding("files", "wrong", f"{len(bad)} are not as written: {bad[0]}", "convert again: --restart")
        ]
    return [Finding("files", "ok", f"all {len(frames.manifest['shards'])} have their checksum")]


@contextmanager
def _looking(total: int) -> Iterator[Progress]:
    console = Console(stderr=True)
    columns = (TextColumn("looking"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        yield bar
