"""What a comparison with labels found, as data. Quantities are keyed by the name of their `Target`."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Float64

from esen.data.targets import TARGETS
from esen.evaluate.trends import CompositionTrend, VolumeTrend
from esen.files import plain


@dataclass(frozen=True)
class Errors:
    """Mean absolute and root mean square error of `count` numbers; NaN if there are none."""

    mae: float
    rmse: float
    count: int


@dataclass(frozen=True)
class GroupErrors:
    """Errors of a group of structures, or of the atoms of one element.

    Attributes:
        structures: Number of structures in the group.
        errors: By target, in its `error_unit`: one number per structure for the energy, three per atom for the
            forces, nine per structure for the stress.
    """

    structures: int
    errors: dict[str, Errors]


@dataclass(frozen=True, eq=False)
class Parity:
    """Reference and predicted values, number by number, where both are finite."""

    reference: Float64[np.ndarray, " M"]
    predicted: Float64[np.ndarray, " M"]


@dataclass(frozen=True)
class FrameErrors:
    """Errors of one structure.

    Attributes:
        source: File and frame.
        group: Value of the key by which structures are grouped; empty if the structure has none.
        atoms: Number of atoms.
        energy_reference: Reference energy, in eV; NaN if there is none.
        energy_predicted: Predicted energy, in eV.
        energy_error: Predicted − reference, in meV/atom.
        mae: Mean absolute error by target, in its `error_unit`; NaN without a label or a finite prediction.
        largest: Largest absolute error of any component by target; NaN without a label, infinite where the
            prediction is not finite.
    """

    source: str
    group: str
    atoms: int
    energy_reference: float
    energy_predicted: float
    energy_error: float
    mae: dict[str, float]
    largest: dict[str, float]


@dataclass(frozen=True)
class LeftOut:
    """A structure that the potential cannot predict, and the reason."""

    source: str
    reason: str


@dataclass(frozen=True, eq=False)
class MaeReport:
    """Errors of a potential on a set of structures.

    Attributes:
        frames: Errors of each structure that was predicted, in the order given.
        atoms: Number of atoms in them.
        overall: Errors of all of them.
        elements: By chemical symbol: forces on the element's atoms; energy and stress of structures that contain it.
        groups: By the value of the key `group_by`, for structures that have one.
        missing: Number of structures without a label, by target.
        not_finite: Number of structures that have a label but a NaN or infinite prediction, by target. These numbers
            are in no mean, so a potential with such structures is worse than its errors say.
        not_predicted: Targets whose prediction is NaN wherever there is a label: the potential does not have them.
        parity: By target, in its `unit`, the energy per atom.
        group_by: Key of `Structure.info`.
        left_out: Structures that the potential cannot predict; they are in no mean.
        volume_trend: How the stress error depends on the volume; None if it does not.
        composition_trend: How the energy error depends on the composition; None if it does not.
    """

    frames: tuple[FrameErrors, ...]
    atoms: int
    overall: GroupErrors
    elements: dict[str, GroupErrors]
    groups: dict[str, GroupErrors]
    missing: dict[str, int]
    not_finite: dict[str, int]
    not_predicted: frozenset[str]
    parity: dict[str, Parity]
    group_by: str = "config_type"
    left_out: tuple[LeftOut, ...] = ()
    volume_trend: VolumeTrend | None = None
    composition_trend: CompositionTrend | None = None

    def to_json(self) -> dict[str, Any]:
        """Return everything but single frames and numbers as plain values, with null for NaN.

        `left_out` is there only if structures were left out, and a trend only if there is one.
        """
        groups = "config_types" if self.group_by == "config_type" else "groups"
        content = {
            "structures": len(self.frames),
            "atoms": self.atoms,
            "units": {target.name: target.error_unit for target in TARGETS},
            "overall": _plain(self.overall),
            "elements": {name: _plain(group) for name, group in self.elements.items()},
            groups: {name: _plain(group) for name, group in self.groups.items()},
            "missing": self.missing,
            "not_finite": self.not_finite,
        }
        if self.left_out:
            content["left_out"] = [asdict(one) for one in self.left_out]
        for name in ("volume_trend", "composition_trend"):
            trend: VolumeTrend | CompositionTrend | None = getattr(self, name)
            if trend is not None:
                content[name] = asdict(trend)
        return content


def _plain(group: GroupErrors) -> Any:
    return plain({name: asdict(errors) for name, errors in group.errors.items()})
