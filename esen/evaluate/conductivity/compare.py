"""Score of a conductivity against its reference, as a benchmark states it."""

from dataclasses import dataclass

import numpy as np

from esen.errors import InputError
from esen.evaluate.conductivity.metrics import WORST, spectrum_distance, srd, srme
from esen.evaluate.conductivity.reference import ReferenceConductivity


@dataclass(frozen=True)
class Score:
    """Errors of the conductivity of one material.

    Attributes:
        srme: error mode by mode, from 0 to 2; 2 if there is no conductivity.
        srd: difference in total, from −2 to 2; −2 if there is no conductivity.
        spectrum: Wasserstein-1 distance of the frequencies in THz; NaN if either is not known.
        reason: why there is no conductivity or none that can be compared; empty if there is one.
    """

    srme: float = WORST
    srd: float = -WORST
    spectrum: float = float("nan")
    reason: str = ""


def score(predicted: ReferenceConductivity, reference: ReferenceConductivity) -> Score:
    """Compare two conductivities at the first temperature of the reference.

    Where the modes are not the same ones, as with another mesh or another primitive cell, there is no SRME: the
    material counts as failed, as in Matbench Discovery, and the reason is given.

    Raises:
        InputError: the prediction is at other temperatures.
    """
    kelvin = float(reference.temperatures[0])
    (places,) = np.nonzero(np.isclose(predicted.temperatures, kelvin))
    if not len(places):
        raise InputError(
            f"{predicted.material}: its reference is at {kelvin:g} K; it was computed at "
            f"{', '.join(f'{t:g}' for t in predicted.temperatures)} K"
        )
    totals = float(predicted.kappa[places[0]]), float(reference.kappa[0])
    spectrum = float("nan")
    if predicted.frequencies is not None and reference.frequencies is not None:
        spectrum = spectrum_distance(
            predicted.frequencies, predicted.weights, reference.frequencies, reference.weights
        )
    if not np.isfinite(totals[0]) or totals[0] < 0:
        return Score(spectrum=spectrum, reason=f"a conductivity of {totals[0]:g} W/m/K")
    found, reason = WORST, ""
    if None not in (predicted.mesh, reference.mesh) and predicted.mesh != reference.mesh:
        reason = f"a mesh of {_size(predicted.mesh)}, {_size(reference.mesh)} of the reference: give --mesh"
    else:
        try:
            found = srme(predicted.modes[places[0]], reference.modes[0], predicted.weights, totals)
        except InputError as error:
            reason = str(error)
    if found > WORST:  # contributions of coherence may be negative, and cancel in the total
        found, reason = WORST, f"an SRME of {found:.3g}, above its bound of 2"
    return Score(found, srd(*totals), spectrum, reason)


def _size(mesh: tuple[int, int, int] | None) -> str:
    return "×".join(map(str, mesh or ()))
