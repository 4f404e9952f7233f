"""Potentials as phonons and conductivities need them."""

from collections.abc import Collection, Sequence

from esen.errors import InputError
from esen.evaluate.model import Model
from esen.md.calculator import EsenCalculator
from esen.study.potentials import PotentialOptions, labelled, resolve_all

REFERENCE = "reference"
"""The potential that is the force sets of the input."""


def models_of(
    potentials: Sequence[str],
    how: PotentialOptions,
    *,
    wanted: Collection[str],
    exact: bool,
    allow_direct: bool,
    batch_atoms: int,
) -> dict[str, Model | None]:
    """All potentials by what they are called; `reference` has no model.

    Args:
        potentials: each as `resolve_potential` takes it, or `reference`.
        how: of `resolve_potential`.
        wanted: what those are called that have something to compute; the others are not loaded.
        exact: whether second derivatives are wanted.
        allow_direct: whether forces may be no gradient.
        batch_atoms: of the models.

    Raises:
        InputError: one cannot be had, or cannot do what is asked for.
    """
    models: dict[str, Model | None] = {}
    computed = [text for text in potentials if text != REFERENCE]
    for label, resolved in (resolve_all(computed, how, wanted) if computed else {}).items():
        if resolved.direct and not allow_direct:
            raise InputError(
                f"{resolved.text}: its forces are not the gradient of its energy, so that what they give are no"
                " phonons; --allow-direct runs it all the same"
            )
        differentiable = resolved.differentiable if exact and not resolved.direct else None
        if exact and differentiable is None:
            raise InputError(
                f"--method hessian: {resolved.text} has no exact second derivatives, as conservative potentials of"
                " esen have; leave it out"
            )
        models[label] = Model(
            potential=resolved.potential,
            calculator=resolved.calculator or EsenCalculator(resolved.potential, device=resolved.device),
            device=resolved.device,
            differentiable=differentiable,
            batch_atoms=batch_atoms,
            elements=resolved.possible_elements,
        )
    if REFERENCE in labelled(computed):
        raise InputError(
            f"{REFERENCE}: means the force sets of the input; give the potential's folder another name"
        )
    return models | ({REFERENCE: None} if REFERENCE in potentials else {})
