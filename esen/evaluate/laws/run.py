"""All laws on all structures."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from esen.data.structure import Structure
from esen.errors import InputError
from esen.evaluate.laws.curl import curl
from esen.evaluate.laws.derivatives import forces, stress
from esen.evaluate.laws.diatomics import diatomics
from esen.evaluate.laws.isolated import isolated
from esen.evaluate.laws.law import Finding, Outcome, Scan, broken
from esen.evaluate.laws.moves import bare
from esen.evaluate.laws.noise import measure_noise, noise
from esen.evaluate.laws.orientation import no_pole
from esen.evaluate.laws.repeat import determinism
from esen.evaluate.laws.smoothness import smoothness
from esen.evaluate.laws.subject import Case, NoPredictionError, Subject
from esen.evaluate.laws.symmetry import batch, cell, copies, permutation, reflection, rotation, translation

LAWS: dict[str, Callable[[Case], Outcome]] = {
    "rotation": rotation,
    "reflection": reflection,
    "translation": translation,
    "permutation": permutation,
    "cell": cell,
    "supercell": copies,
    "batch": batch,
    "isolated": isolated,
    "forces": forces,
    "stress": stress,
    "curl": curl,
    "pole": no_pole,
    "smoothness": smoothness,
    "determinism": determinism,
    "noise": noise,
    "diatomics": diatomics,
}
"""By the name that `--laws` takes."""
OF_ELEMENTS = ("isolated", "diatomics")
"""Measured once for the same elements."""


@dataclass(frozen=True, eq=False)
class Report:
    """What all laws found, structure by structure.

    Attributes:
        findings: in the order of `LAWS`.
        scans: the curves that were drawn.
    """

    findings: list[Finding]
    scans: list[Scan]

    @property
    def holds(self) -> bool:
        """No law is broken."""
        return all(finding.verdict != "fail" for finding in self.findings)


def check_laws(
    subject: Subject,
    structures: Sequence[Structure],
    laws: Sequence[str] | None = None,
    *,
    seed: int = 0,
    progress: Callable[[str, str], None] = lambda law, structure: None,
) -> Report:
    """Measure every law on every structure.

    Args:
        subject: the potential.
        structures: at least one, with sources that name them.
        laws: names in `LAWS`; None: all.
        seed: of rotations, directions and choices.
        progress: told law and structure before each.

    Raises:
        InputError: the potential cannot compute a structure as it was given, or a law is not known.
    """
    chosen = list(LAWS if laws is None else laws)
    unknown = [name for name in chosen if name not in LAWS]
    if unknown:
        raise InputError(f"--laws: {unknown[0]!r} is no law; expected some of {', '.join(LAWS)}")
    outcomes: list[Outcome] = []
    seen: list[set[int]] = []
    for structure in map(bare, structures):
        progress("first look", structure.source)
        try:
            case = make_case(subject, structure, seed)
            elements = set(structure.numbers.tolist())
            case = replace(case, new_elements=not any(elements <= earlier for earlier in seen))
            seen.append(elements)
        except NoPredictionError as error:
            if isinstance(error.__cause__, InputError):
                raise InputError(str(error)) from error
            outcomes.append(Outcome.of(broken("finite", structure.source, str(error))))
            continue
        for name in chosen:
            if name in OF_ELEMENTS and not case.new_elements:
                continue
            progress(name, structure.source)
            outcomes.append(_examine(name, case))
    findings = [finding for outcome in outcomes for finding in outcome.findings]
    return Report(findings, [scan for outcome in outcomes for scan in outcome.scans])


def make_case(subject: Subject, structure: Structure, seed: int) -> Case:
    """The first look: prediction and noise.

    Raises:
        NoPredictionError: the prediction is not finite, or refused.
    """
    (prediction,) = subject.predict([structure])
    return Case(subject, structure, prediction, measure_noise(subject, structure, seed), seed)


def _examine(name: str, case: Case) -> Outcome:
    try:
        return LAWS[name](case)
    except NoPredictionError as error:
        return Outcome.of(broken(name, case.name, str(error)))
