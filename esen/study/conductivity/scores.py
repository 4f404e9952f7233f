"""Records against references, which may come later than they."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from esen.errors import InputError
from esen.evaluate.conductivity.compare import Score, Summary, failed, score, summarize
from esen.evaluate.conductivity.metrics import spectrum_distance
from esen.evaluate.conductivity.protocol import ConductivityProtocol
from esen.evaluate.conductivity.reference import ReferenceConductivity, read_reference
from esen.study.conductivity.modes import Modes
from esen.study.conductivity.record import Record
from esen.study.materials.words import first_few

FORCE_SETS = "the force sets of the input"


@dataclass(frozen=True, eq=False)
class References:
    """By material: those of a file, and those of force sets where the file has none.

    Attributes:
        found: what is compared with.
        sources: where each is from, in words.
        file: the file; None: there is none.
        count: how many materials it has.
    """

    found: dict[str, ReferenceConductivity]
    sources: dict[str, str]
    file: Path | None = None
    count: int = 0

    def of_file(self) -> "References":
        """Those of the file alone."""
        names = [name for name, source in self.sources.items() if source != FORCE_SETS]
        return replace(
            self,
            found={name: self.found[name] for name in names},
            sources={name: self.sources[name] for name in names},
        )

    def with_force_sets(self, more: Mapping[str, ReferenceConductivity]) -> "References":
        """Those of materials that have none yet, too."""
        new = {name: one for name, one in more.items() if name not in self.found}
        return replace(self, found=self.found | new, sources=self.sources | dict.fromkeys(new, FORCE_SETS))


def read_references(path: Path | None, names: Sequence[str], protocol: ConductivityProtocol) -> References:
    """Those of the materials of a run.

    Args:
        path: of the file; None: there is none.
        names: of the materials.
        protocol: of the run, whose temperatures are compared.

    Raises:
        InputError: the file cannot be used, has none of the materials, or is of a temperature that is not computed.
    """
    if path is None:
        return References({}, {})
    if not path.is_file():
        raise InputError(f"--reference {path}: no such file; expected conductivities such as kappas.json.gz")
    every = read_reference(path)
    found = {name: every[name] for name in names if name in every}
    if not found:
        raise InputError(
            f"--reference {path}: has none of the materials {first_few(names)}; it has {first_few(list(every))}"
        )
    found = {name: _at_common(path, name, one, protocol.temperatures) for name, one in found.items()}
    return References(found, dict.fromkeys(found, str(path)), path, len(every))


def _at_common(
    path: Path, name: str, one: ReferenceConductivity, computed: Sequence[float]
) -> ReferenceConductivity:
    """At the first of its temperatures that is computed."""
    for place, kelvin in enumerate(one.temperatures):
        if np.isclose(computed, kelvin).any():
            only = slice(place, place + 1)
            heat = None if one.heat_capacity is None else one.heat_capacity[only]
            return replace(
                one,
                temperatures=one.temperatures[only],
                kappa=one.kappa[only],
                modes=one.modes[only],
                heat_capacity=heat,
            )
    known, wanted = (", ".join(f"{value:g}" for value in values) for values in (one.temperatures, computed))
    raise InputError(
        f"--reference {path}: {name} is at {known} K, computed are {wanted} K; add it to --temperatures"
    )


def scored(record: Record, modes: Modes | None, references: References) -> Record:
    """The record with its score against its reference, or without one where there is none."""
    reference = references.found.get(record.name)
    if reference is None:
        return replace(record, **_NONE)
    one = _score(record, modes, reference)
    return replace(
        record,
        reference=references.sources[record.name],
        reference_kelvin=float(reference.temperatures[0]),
        reference_kappa=float(reference.kappa[0]),
        srme=one.srme,
        srd=one.srd,
        spectrum=float("nan") if one.spectrum is None else one.spectrum,
        score_reason=one.reason or "",
    )


def summary_of(records: Sequence[Record]) -> Summary | None:
    """Means over the records that have a reference; None: none has."""
    scores = [one for one in (record.score for record in records) if one is not None]
    return summarize(scores) if scores else None


def _score(record: Record, modes: Modes | None, reference: ReferenceConductivity) -> Score:
    if record.failure or modes is None:
        return failed(record.failure or "its modes are not kept")
    predicted = modes.as_reference(record.name, record.label, record.groups[-1])
    if predicted is not None:
        return score(predicted, reference)
    spectrum = None
    if reference.frequencies is not None and np.isfinite(modes.frequencies).all():
        spectrum = spectrum_distance(
            modes.frequencies, modes.weights, reference.frequencies, reference.weights
        )
    return failed(record.reason, record.imaginary > 0, spectrum)


_NONE = {
    key: getattr(Record(""), key)
    for key in (
        "reference",
        "reference_kelvin",
        "reference_kappa",
        "srme",
        "srd",
        "spectrum",
        "score_reason",
    )
}
