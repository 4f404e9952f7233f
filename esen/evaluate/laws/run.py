"""All laws on all structures."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from esen.data.structure import Structure
from esen.errors import InputError
from esen.evaluate.laws.curl import curl
from esen.evaluate.laws.derivatives import forces, stress
from esen.evaluate.laws.diatomics import diatomics
from esen.evaluate.laws.interaction import no_interaction
from esen.evaluate.laws.isolated import isolated
from esen.evaluate.laws.law import Finding, Outcome, Scan, broken
from esen.evaluate.laws.moves import bare
from esen.evaluate.laws.noise import measure_noise, noise
from esen.evaluate.laws.orientation import no_pole
from esen.evaluate.laws.repeat import determinism
from esen.evaluate.laws.smoothness import smoothness
from esen.evaluate.laws.subject import Case, NoPredictionError, Subject
from esen.evaluate.laws.symmetry import batch, cell, copies, permutation, reflection, rotation, translation
from esen.recipe.mistakes import nearest

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
LAW_OF = {
    "choice of cell": "cell",
    "isolated atom": "isolated",
    "no pole": "pole",
    "force constants": "pole",
    "E is continuous": "smoothness",
    "F is continuous": "smoothness",
    "dF/dr is continuous": "smoothness",
    "float32": "noise",
    "diatomic forces": "diatomics",
    "diatomic curve": "diatomics",
}
"""What a row of the table is called, where that is not the name of its law: `--laws` takes these too."""
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


def choose_laws(names: Sequence[str] | None) -> list[str]:
    """Names in `LAWS`, each once.

    Args:
        names: of laws, or of rows of the table, whatever their case; None: all laws.

    Raises:
        InputError: there is none, or one is not known.

    >>> choose_laws(["curl", "E is continuous", "F is continuous"])
    ['curl', 'smoothness']
    """
    if names is None:
        return list(LAWS)
    known = {name.lower(): name for name in LAWS} | {row.lower(): law for row, law in LAW_OF.items()}
    expected = f"expected some of {', '.join(LAWS)}"
    if not names:
        raise InputError(f"--laws: no law is named; {expected}")
    for name in names:
        if name.lower() not in known:
            near = nearest(name, list(known))
            hint = f"; did you mean {known[near]!r}?" if near else ""
            raise InputError(f"--laws: there is no law {name!r}; {expected}{hint}")
    return list(dict.fromkeys(known[name.lower()] for name in names))


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
        laws: as `choose_laws` takes them.
        seed: of rotations, directions and choices.
        progress: told law and structure before each.

    Raises:
        InputError: the potential cannot compute a structure as it was given, or a law is not known.
    """
    chosen = choose_laws(laws)
    outcomes: list[Outcome] = []
    cases: list[Case] = []
    seen: list[frozenset[int]] = []
    for structure in map(bare, structures):
        progress("first look", structure.source)
        try:
            case = replace(make_case(subject, structure, seed), earlier=tuple(seen))
            seen.append(frozenset(structure.numbers.tolist()))
            cases.append(case)
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
    silent = no_interaction(cases) if cases else None
    if silent is not None:
        outcomes.append(Outcome.of(silent))
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
