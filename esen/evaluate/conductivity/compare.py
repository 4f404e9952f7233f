"""A conductivity against its reference, and the means over materials that a benchmark states."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from esen.errors import InputError
from esen.evaluate.conductivity.metrics import WORST, spectrum_distance, srd, srme
from esen.evaluate.conductivity.reference import ReferenceConductivity, reference_of
from esen.evaluate.conductivity.run import Conductivity


@dataclass(frozen=True)
class Score:
    """Of one material.

    Attributes:
        srme: mode by mode, from 0 to 2; 2 where there is no conductivity.
        srd: in total, from −2 to 2; −2 where there is no conductivity.
        spectrum: Wasserstein-1 distance of the frequencies in THz; None: not known.
        imaginary: whether there are imaginary modes.
        reason: why there is no conductivity or none that can be compared; None: there is.
    """

    srme: float
    srd: float
    spectrum: float | None = None
    imaginary: bool = False
    reason: str | None = None

    @property
    def sre(self) -> float:
        """|SRD|, from 0 to 2."""
        return abs(self.srd)


@dataclass(frozen=True)
class Summary:
    """Means over all materials, those without a conductivity too.

    Attributes:
        materials: how many.
        srme: κ_SRME.
        sre: κ_SRE.
        srd: κ_SRD.
        failure_rate: of materials without a conductivity that could be compared.
        imaginary_rate: of materials with imaginary modes.
        spectrum: over materials whose spectra are known, in THz; None: over none.
    """

    materials: int
    srme: float
    sre: float
    srd: float
    failure_rate: float
    imaginary_rate: float
    spectrum: float | None


def compare(found: Conductivity, reference: ReferenceConductivity) -> Score:
    """What was computed with its reference, at the first temperature of that one.

    Raises:
        InputError: it was not computed at this temperature.
    """
    spectrum = None
    if reference.frequencies is not None:
        spectrum = spectrum_distance(
            found.harmonic.frequencies, found.harmonic.weights, reference.frequencies, reference.weights
        )
    if found.transport is None:
        return failed(found.reason or "not computed", found.harmonic.imaginary > 0, spectrum)
    return score(reference_of(found), reference)


def score(predicted: ReferenceConductivity, reference: ReferenceConductivity) -> Score:
    """Two conductivities, at the first temperature of the reference.

    Where the modes are not the same ones, as after another mesh or with another primitive cell, there is no SRME: the
    material counts as failed, as in Matbench Discovery, and the reason is said.

    Raises:
        InputError: the prediction is of other temperatures.
    """
    kelvin = float(reference.temperatures[0])
    (places,) = np.nonzero(np.isclose(predicted.temperatures, kelvin))
    if not len(places):
        raise InputError(
            f"{predicted.material}: its reference is at {kelvin:g} K; it was computed at "
            f"{', '.join(f'{t:g}' for t in predicted.temperatures)} K"
        )
    totals = float(predicted.kappa[places[0]]), float(reference.kappa[0])
    spectrum = None
    if predicted.frequencies is not None and reference.frequencies is not None:
        spectrum = spectrum_distance(
            predicted.frequencies, predicted.weights, reference.frequencies, reference.weights
        )
    if not np.isfinite(totals[0]) or totals[0] < 0:
        return failed(f"a conductivity of {totals[0]:g} W/m/K", spectrum=spectrum)
    if None not in (predicted.mesh, reference.mesh) and predicted.mesh != reference.mesh:
        words = f"a mesh of {_size(predicted.mesh)}, {_size(reference.mesh)} of the reference: give --mesh"
        return Score(WORST, srd(*totals), spectrum, reason=words)
    try:
        microscopic = srme(predicted.modes[places[0]], reference.modes[0], predicted.weights, totals)
    except InputError as error:
        return Score(WORST, srd(*totals), spectrum, reason=str(error))
    if microscopic > WORST:  # single modes may be negative by coherence, and cancel in the total
        return Score(
            WORST, srd(*totals), spectrum, reason=f"an SRME of {microscopic:.3g}, above its bound of 2"
        )
    return Score(microscopic, srd(*totals), spectrum)


def _size(mesh: tuple[int, int, int] | None) -> str:
    return "×".join(map(str, mesh or ()))


def failed(reason: str, imaginary: bool = False, spectrum: float | None = None) -> Score:
    """The score of a material that has no conductivity."""
    return Score(WORST, -WORST, spectrum, imaginary, reason)


def summarize(scores: Sequence[Score]) -> Summary:
    """Means over materials.

    Raises:
        InputError: there is none.
    """
    if not scores:
        raise InputError("conductivity: there is no material that has a reference")
    spectra = [one.spectrum for one in scores if one.spectrum is not None]
    return Summary(
        materials=len(scores),
        srme=float(np.mean([one.srme for one in scores])),
        sre=float(np.mean([one.sre for one in scores])),
        srd=float(np.mean([one.srd for one in scores])),
        failure_rate=float(np.mean([one.reason is not None for one in scores])),
        imaginary_rate=float(np.mean([one.imaginary for one in scores])),
        spectrum=float(np.mean(spectra)) if spectra else None,
    )
