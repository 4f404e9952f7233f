"""Run laws on structures."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from esen.data.structure import Structure
from esen.errors import InputError
from esen.evaluate.laws import (
    curl,
    derivatives,
    diatomics,
    interaction,
    noise,
    smoothness,
    symmetry,
)
from esen.evaluate.laws.law import Finding, Outcome, Scan, broken, not_applicable
from esen.evaluate.laws.moves import bare
from esen.evaluate.laws.subject import Case, NoPredictionError, Subject
from esen.recipe.mistakes import nearest

LAWS: dict[str, Callable[[Case], Outcome]] = {
    "rotation": symmetry.rotation,
    "reflection": symmetry.reflection,
    "translation": symmetry.translation,
    "permutation": symmetry.permutation,
    "cell": symmetry.cell,
    "supercell": symmetry.copies,
    "batch": symmetry.batch,
    "isolated": interaction.isolated,
    "forces": derivatives.forces,
    "stress": derivatives.stress,
    "curl": curl.curl,
    "pole": symmetry.no_pole,
    "smoothness": smoothness.smoothness,
    "determinism": symmetry.determinism,
    "noise": noise.noise,
    "diatomics": diatomics.diatomics,
}
"""The laws by the name that `--laws` takes."""
LAW_OF = {
    "choice of cell": "cell",
    "isolated atom": "isolated",
    "no pole": "pole",
    "force constants": "pole",
    "E is continuous": "smoothness",
    "F is continuous": "smoothness",
    "dF/dr is continuous": "smoothness",
    "equal calls": "noise",
    "float32": "noise",
    "diatomic forces": "diatomics",
    "diatomic curve": "diatomics",
}
"""The law of each row of the table that does not have the name of its law. `--laws` takes these names too."""
OF_ELEMENTS = ("isolated", "diatomics")
"""Laws that are measured once for the same elements."""
OF_OTHER_STRUCTURES = (*OF_ELEMENTS, "smoothness")
"""Laws that make structures of their own, in which atoms interact whatever the user's structure is."""


@dataclass(frozen=True, eq=False)
class Report:
    """The results of all laws, structure by structure.

    Attributes:
        findings: Findings of each structure, in the order of `LAWS`.
        scans: Curves along which laws were measured.
    """

    findings: list[Finding]
    scans: list[Scan]

    @property
    def holds(self) -> bool:
        """Whether no law is broken, and at least one could be tested."""
        verdicts = {finding.verdict for finding in self.findings}
        return "fail" not in verdicts and bool(verdicts & {"pass", "information"})


def choose_laws(names: Sequence[str] | None) -> list[str]:
    """Return the names of laws as in `LAWS`, each once.

    Args:
        names: Names of laws or of rows of the table, in any case; None for all laws.

    Raises:
        InputError: The list is empty, or a name is not known.

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
        subject: The potential.
        structures: At least one structure; their sources name them.
        laws: Names of laws, as in `choose_laws`.
        seed: Seed for random rotations, displacements and choices of atoms.
        progress: Called with the law and the structure before each measurement.

    Raises:
        InputError: The potential cannot compute a structure as it was given, or a law is not known.
    """
    chosen = choose_laws(laws)
    outcomes: list[Outcome] = []
    cases: list[Case] = []
    for structure in map(bare, structures):
        progress("first look", structure.source)
        try:
            case = make_case(subject, structure, seed)
        except NoPredictionError as error:
            if isinstance(error.__cause__, InputError):
                raise InputError(str(error)) from error
            outcomes.append(Outcome.of(broken("finite", structure.source, str(error))))
            continue
        earlier = tuple(frozenset(before.structure.numbers.tolist()) for before in cases)
        case = replace(case, earlier=earlier)
        cases.append(case)
        alone = interaction.nothing_interacts(case)
        for name in chosen:
            if name in OF_ELEMENTS and not case.new_among(structure.numbers.tolist()):
                continue
            progress(name, structure.source)
            outcomes.append(_examine(name, case, alone=alone and name not in OF_OTHER_STRUCTURES))
    silent = interaction.no_interaction(cases) if cases else None
    if silent is not None:
        outcomes.append(Outcome.of(silent))
    findings = [finding for outcome in outcomes for finding in outcome.findings]
    return Report(findings, [scan for outcome in outcomes for scan in outcome.scans])


def make_case(subject: Subject, structure: Structure, seed: int) -> Case:
    """Predict a structure and measure the noise of the prediction.

    Raises:
        NoPredictionError: The prediction is not finite, or the potential refuses the structure.
    """
    (prediction,) = subject.predict([structure])
    return Case(subject, structure, prediction, noise.measure_noise(subject, structure, seed), seed)


def _examine(name: str, case: Case, *, alone: bool) -> Outcome:
    """Measure a law; where no atom of the structure interacts with another, nothing that holds was tested."""
    try:
        outcome = LAWS[name](case)
    except NoPredictionError as error:
        return Outcome.of(broken(name, case.name, str(error)))
    if not alone:
        return outcome
    untested = "no atom interacts with another, so that it is fulfilled by any potential"
    return replace(
        outcome,
        findings=[
            not_applicable(f.law, f.about, untested) if f.verdict == "pass" else f for f in outcome.findings
        ],
    )
