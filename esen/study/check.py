"""`esen check`: the laws of physics on the user's potential and structures, as a table and as files."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Unpack

from rich.progress import BarColumn, MofNCompleteColumn, TimeElapsedColumn

from esen import __version__
from esen.data.structure import Structure
from esen.errors import InputError
from esen.evaluate.laws.law import Finding, Scan
from esen.evaluate.laws.run import Report, check_laws, choose_laws
from esen.evaluate.laws.subject import Subject
from esen.files import RESULT, csv_text, write_atomically, write_json
from esen.study.check_plots import diatomics_plot, smoothness_plot
from esen.study.check_structures import default_structures, given_structures
from esen.study.potentials import (
    PotentialOptions,
    Resolved,
    is_checkpoint,
    potential_sources,
    resolve_potential,
)
from esen.study.report import finish
from esen.study.table import Column, Table, write_result
from esen.terminal import progress_bar
from esen.track import Tracker

_VERDICTS = {"pass": "pass", "fail": "FAIL", "information": "info", "not applicable": "–"}
_NO_GRADIENT = "forces are not the gradient of the energy: do not use it for NVE dynamics or phonons"
_MEANING = {
    **dict.fromkeys(("curl", "forces", "diatomic forces"), _NO_GRADIENT),
    "stress": "the stress is not the derivative of its energy: do not relax cells or run NPT with it",
    "rotation": "results depend on the orientation of the structure",
    "no pole": "results depend on the orientation of the structure",
    "force constants": "force constants depend on the orientation of the structure",
    "E is continuous": "the energy jumps: NVE dynamics will drift",
    "F is continuous": "the forces jump: the drift of NVE dynamics will not vanish with the time step",
    "dF/dr is continuous": "force constants jump: phonons depend on the displacement",
    "determinism": "the same structure does not give the same answer: energies of NVE dynamics walk, and force"
    " constants scatter the more, the smaller the displacement",
    "supercell": "energies are not extensive",
    "choice of cell": "results depend on how the cell of the same crystal is written",
    "batch": "results depend on what else is in the batch",
    "finite": "it gives NaN or infinity",
    "interaction": "the potential has no forces: nothing was tested, and the laws that hold say nothing",
}
"""The consequence of a broken law for a user of the potential."""


_VERDICT_ORDER = ("not applicable", "information", "pass", "fail")

COLUMNS: tuple[Column[Finding], ...] = (
    Column("law", wraps=True),
    Column("value", format=".1e"),
    Column("tolerance", format=".1e"),
    Column("unit"),
    Column("verdict", format=_VERDICTS.__getitem__),
    Column("says", symbol="what was found", wraps=True),
)


@dataclass(frozen=True, eq=False)
class CheckResult:
    """The result of `esen check`.

    Attributes:
        structures: Names of the structures.
        table: One row per law.
        verdict: How many laws hold, and the consequences of the broken ones.
        paths: Description and path of each file that was written.
        report: All findings and curves.
    """

    structures: list[str]
    table: Table[Finding]
    verdict: str
    paths: dict[str, Path]
    report: Report


def run_check(
    potential: str,
    structures: Sequence[str] = (),
    *,
    output: Path,
    frames: str = ":1",
    laws: Sequence[str] | None = None,
    seed: int = 0,
    tracker: Tracker | None = None,
    **options: Unpack[PotentialOptions],
) -> CheckResult:
    """Test the laws, and write `result.json`, `check.json`, and the curves as CSV and as plots.

    Args:
        potential: As in `resolve_potential`.
        structures: Files; small structures of elements that the potential knows if there are none.
        output: Folder of the files; made if it does not exist.
        frames: Frames of each file, as a Python slice.
        laws: As in `choose_laws`.
        seed: Seed for random rotations, displacements and choices of atoms.
        tracker: Of the test.
        **options: Options of `resolve_potential`; a checkpoint is loaded in float64 by default.

    Raises:
        InputError: The potential or a structure cannot be read, the potential cannot compute a structure, or a law is
            not known.
        OSError: A file cannot be written.
    """
    examined = choose_laws(laws)
    given = given_structures(structures, frames)
    if options.get("dtype") is None and is_checkpoint(potential):
        options["dtype"] = "float64"
    resolved = resolve_potential(potential, **options)
    chosen = given or default_structures(resolved.elements, seed, molecules=resolved.calculator is None)
    try:
        report = _check_with_progress(resolved, chosen, examined, seed)
    except InputError as error:
        if given:
            raise
        knows = "" if resolved.elements is not None else "; which elements the potential knows cannot be told"
        raise InputError(
            f"{error} (no structure was given, so esen made this one{knows}: "
            f"give a file, as in esen check {potential} my.xyz)"
        ) from error
    names = [structure.source for structure in chosen]
    worst = worst_findings(report)
    table, verdict = Table(COLUMNS, [_located(finding, names) for finding in worst]), verdict_of(worst)
    described = [{"name": s.source, "atoms": len(s), "pbc": s.pbc} for s in chosen]
    settings = {
        "dtype": resolved.precision,
        "device": resolved.device,
        "cutoff": resolved.potential.cutoff or None,
        "seed": seed,
    }
    outcome = {"structures": described, "holds": report.holds, "verdict": verdict}
    sources = potential_sources([potential], options)
    write_result(
        output, "check", potentials=sources, settings=settings | {"laws": examined}, table=table, **outcome
    )
    all_there_is = {"esen": __version__, "potential": resolved.text, **settings, **outcome}
    paths = write_check(all_there_is, report, potential, output)
    if tracker is not None:
        judged = {f.law: f.value for f in worst if f.verdict in ("pass", "fail") and math.isfinite(f.value)}
        broken = {"broken_laws": sum(finding.verdict == "fail" for finding in worst)}
        tracker.params({"structures": names} | settings)
        found = {f"check/{law}": value for law, value in (broken | judged).items()}
        tracker.of(next(iter(sources))).metrics(found, 0)
    paths = finish(output, paths, tracker)
    return CheckResult(names, table, verdict, paths, report)


def _check_with_progress(
    resolved: Resolved, structures: Sequence[Structure], laws: Sequence[str], seed: int
) -> Report:
    total = len(structures) * (1 + len(laws))
    subject = Subject(
        resolved.potential,
        resolved.device,
        differentiable=resolved.differentiable,
        rounded=resolved.rounded,
        stateful=resolved.stateful,
    )
    with progress_bar("{task.description}", BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()) as bar:
        task, begun = bar.add_task("", total=total), iter(range(total))

        def progress(law: str, structure: str) -> None:
            bar.update(task, completed=next(begun), description=f"{law}: {structure}")

        return check_laws(subject, structures, laws, seed=seed, progress=progress)


def worst_findings(report: Report) -> list[Finding]:
    """Return one finding per law: that of the structure which breaks it most, or comes closest to breaking it."""
    by_law: dict[str, list[Finding]] = {}
    for finding in report.findings:
        by_law.setdefault(finding.law, []).append(finding)
    return [
        max(findings, key=lambda f: (_VERDICT_ORDER.index(f.verdict), f.ratio))
        for findings in by_law.values()
    ]


def _located(finding: Finding, structures: Sequence[str]) -> Finding:
    """Add to the text of a finding what it is about: the number of the structure if there are several."""
    where = f"{finding.about}: "
    if finding.about in structures:
        where = f"[{structures.index(finding.about) + 1}] " if len(structures) > 1 else ""
    return replace(finding, says=where + finding.says)


def verdict_of(worst: Sequence[Finding]) -> str:
    """Return how many laws hold, what was not tested, and then one line per consequence of the broken ones."""
    judged = [finding for finding in worst if finding.verdict in ("pass", "fail")]
    failed = [finding for finding in judged if finding.verdict == "fail"]
    count = f"{len(judged) - len(failed)} of {len(judged)} laws hold"
    untested = ", ".join(finding.law for finding in worst if finding.verdict == "not applicable")
    count += f"; not tested: {untested}" if untested else ""
    if not failed:
        return f"{count}."
    named = ", ".join(_with_value(finding) for finding in failed)
    meanings = dict.fromkeys(_MEANING[finding.law] for finding in failed if finding.law in _MEANING)
    return f"{count}. Broken: {named}." + "".join(f"\n- {meaning}" for meaning in meanings)


def write_check(content: dict[str, object], report: Report, name: str, output: Path) -> dict[str, Path]:
    """Write `check.json` with all findings and curves, and each kind of curves as CSV and as a plot.

    Raises:
        OSError: A file cannot be written.
    """
    paths = {"summary": output / RESULT, "all findings": output / "check.json"}
    curves = [vars(scan) | {"slope": scan.slope} for scan in report.scans]
    write_json(
        paths["all findings"], content | {"findings": list(map(vars, report.findings)), "curves": curves}
    )
    lines = [scan for scan in report.scans if scan.kind != "diatomic"]
    pairs = [scan for scan in report.scans if scan.kind == "diatomic"]
    for scans, stem, plot in ((lines, "smoothness", smoothness_plot), (pairs, "diatomics", diatomics_plot)):
        if scans:
            paths[stem] = output / f"{stem}.csv"
            paths[f"{stem}, plot"] = output / f"{stem}.png"
            write_atomically(paths[stem], _csv(scans))
            plot(scans, name, paths[f"{stem}, plot"])
    return paths


def _with_value(finding: Finding) -> str:
    value = f"{finding.value:.2g} {finding.unit}".strip()
    return finding.law if math.isnan(finding.value) else f"{finding.law} ({value})"


def _csv(scans: Sequence[Scan]) -> str:
    rows = [
        (scan.about, *(f"{value:.12g}" for value in row))
        for scan in scans
        for row in zip(scan.distance, scan.energy, scan.force, scan.slope, strict=True)
    ]
    return csv_text(["curve", "distance (Å)", "energy (eV)", "force (eV/Å)", "dF/dr (eV/Å²)"], rows)
