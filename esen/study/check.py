"""`esen check`: the laws of physics on the user's potential and structures, as a table and as files."""

import csv
import io
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from esen import __version__
from esen.data.structure import Structure
from esen.errors import InputError
from esen.evaluate.laws.law import Finding, Scan
from esen.evaluate.laws.run import Report, check_laws, choose_laws
from esen.evaluate.laws.subject import Subject
from esen.files import write_atomically
from esen.study.check_plots import diatomics_plot, smoothness_plot
from esen.study.check_structures import default_structures, given_structures
from esen.study.potentials import PotentialOptions, Resolved, is_checkpoint, resolve_potential

Row = dict[str, str | None]

_SHOWN = {"pass": "pass", "fail": "FAIL", "information": "info", "not applicable": "–"}
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
    "determinism": "the same structure does not give the same answer",
    "supercell": "energies are not extensive",
    "choice of cell": "results depend on how the cell of the same crystal is written",
    "batch": "results depend on what else is in the batch",
    "finite": "it gives NaN or infinity",
    "interaction": "the potential has no forces: nothing was tested, and the laws that hold say nothing",
}
"""What a broken law means to who would use the potential."""


@dataclass(frozen=True, eq=False)
class CheckResult:
    """The structures, the table, the verdict below it, the files that were written, and all there is to know."""

    structures: list[str]
    rows: list[Row]
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
    **options: Unpack[PotentialOptions],
) -> CheckResult:
    """Measure every law; write `check.json`, the curves as CSV, and plots of them.

    Args:
        potential: as `resolve_potential` takes it.
        structures: files; none: small ones of elements that the potential knows.
        output: folder of the files; made if it is not there.
        frames: of each file, a Python slice.
        laws: as `choose_laws` takes them.
        seed: of rotations, directions and choices.
        **options: of `resolve_potential`; a checkpoint's dtype is float64 if none is given.

    Raises:
        InputError: the potential or a structure cannot be read, the potential cannot compute a structure, a law is not
            known, or the files cannot be written.
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
    verdict = verdict_of(report)
    content = _content(resolved, chosen, report, verdict, seed)
    names = [structure.source for structure in chosen]
    paths = write_check(content, report, potential, output)
    return CheckResult(names, check_rows(report, names), verdict, paths, report)


def _check_with_progress(
    resolved: Resolved, structures: Sequence[Structure], laws: Sequence[str], seed: int
) -> Report:
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    total = len(structures) * (1 + len(laws))
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task, begun = bar.add_task("", total=total), iter(range(total))
        return check_laws(
            Subject(
                resolved.potential,
                resolved.device,
                differentiable=resolved.differentiable,
                rounded=resolved.rounded,
                stateful=resolved.calculator is not None,
            ),
            structures,
            laws,
            seed=seed,
            progress=lambda law, about: bar.update(
                task, completed=next(begun), description=f"{law}: {about}"
            ),
        )


def check_rows(report: Report, structures: Sequence[str]) -> list[Row]:
    """A row a law: of several structures, told by their numbers, the one where it is broken most, or held least."""
    rows: list[Row] = []
    for findings in _by_law(report).values():
        worst = _worst(findings)
        where = ""
        if worst.about not in structures:
            where = f"{worst.about}: "
        elif len(structures) > 1:
            where = f"[{structures.index(worst.about) + 1}] "
        rows.append(
            {
                "law": worst.law,
                "value": _number(worst.value),
                "tolerance": _number(worst.tolerance),
                "unit": worst.unit or None,
                "verdict": _SHOWN[worst.verdict],
                "what was found": where + worst.says,
            }
        )
    return rows


def verdict_of(report: Report) -> str:
    """One line: how many laws hold, and what the broken ones mean."""
    worst = [_worst(findings) for findings in _by_law(report).values()]
    judged = [finding for finding in worst if finding.verdict in ("pass", "fail")]
    failed = [finding for finding in judged if finding.verdict == "fail"]
    count = f"{len(judged) - len(failed)} of {len(judged)} laws hold"
    if not failed:
        return f"{count}."
    named = ", ".join(_with_value(finding) for finding in failed)
    meanings = dict.fromkeys(_MEANING[finding.law] for finding in failed if finding.law in _MEANING)
    return f"{count}. Broken: {named}." + "".join(f"\n- {meaning}" for meaning in meanings)


def write_check(content: dict[str, Any], report: Report, name: str, output: Path) -> dict[str, Path]:
    """Write `check.json`, and CSV and PNG of the curves that there are, each whole or not at all.

    Raises:
        InputError: the folder cannot be written.
    """
    paths = {"all that was found": output / "check.json"}
    lines = [scan for scan in report.scans if scan.kind != "diatomic"]
    curves = [scan for scan in report.scans if scan.kind == "diatomic"]
    try:
        output.mkdir(parents=True, exist_ok=True)
        text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
        write_atomically(paths["all that was found"], text.encode() + b"\n")
        for scans, stem, plot in (
            (lines, "smoothness", smoothness_plot),
            (curves, "diatomics", diatomics_plot),
        ):
            if scans:
                paths[stem] = output / f"{stem}.csv"
                write_atomically(paths[stem], _csv(scans))
                paths[f"{stem}, plot"] = output / f"{stem}.png"
                plot(scans, name, paths[f"{stem}, plot"])
    except OSError as error:
        raise InputError(f"{output}: cannot be written ({error.strerror or error})") from error
    return paths


def _content(
    resolved: Resolved, structures: Sequence[Structure], report: Report, verdict: str, seed: int
) -> dict[str, Any]:
    return {
        "esen": __version__,
        "potential": resolved.text,
        "dtype": resolved.precision,
        "device": resolved.device,
        "cutoff": resolved.potential.cutoff or None,
        "seed": seed,
        "structures": [{"name": s.source, "atoms": len(s), "pbc": s.pbc.tolist()} for s in structures],
        "holds": report.holds,
        "verdict": verdict,
        "findings": [finding.to_json() for finding in report.findings],
        "curves": [scan.to_json() for scan in report.scans],
    }


def _by_law(report: Report) -> dict[str, list[Finding]]:
    grouped: dict[str, list[Finding]] = {}
    for finding in report.findings:
        grouped.setdefault(finding.law, []).append(finding)
    return grouped


def _worst(findings: Sequence[Finding]) -> Finding:
    order = ("not applicable", "information", "pass", "fail")

    def badness(finding: Finding) -> tuple[int, float]:
        if math.isnan(finding.value):
            return order.index(finding.verdict), math.inf
        limit = finding.tolerance if finding.tolerance > 0 else 1e-300
        return order.index(finding.verdict), finding.value / limit

    return max(findings, key=badness)


def _with_value(finding: Finding) -> str:
    return (
        finding.law
        if math.isnan(finding.value)
        else f"{finding.law} ({finding.value:.2g} {finding.unit})".replace(" )", ")")
    )


def _number(value: float) -> str | None:
    return None if math.isnan(value) else f"{value:.1e}"


def _csv(scans: Sequence[Scan]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(["curve", "distance (Å)", "energy (eV)", "force (eV/Å)", "dF/dr (eV/Å²)"])
    for scan in scans:
        for row in zip(scan.distance, scan.energy, scan.force, scan.slope, strict=True):
            writer.writerow([scan.about, *(f"{value:.12g}" for value in row)])
    return text.getvalue().encode()
