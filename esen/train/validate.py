"""Errors on held-out frames during training."""

import math
from collections.abc import Callable

from esen.graph.errors import Errors, ErrorSums
from esen.models.potential import EsenPotential
from esen.recipe.train import LossSpec
from esen.train.dataset import Batches
from esen.train.distributed import ALONE, Team
from esen.train.memory import must_fit
from esen.train.prefetch import prefetched
from esen.train.step import Part


def validate(
    potential: EsenPotential,
    batches: Batches,
    loss: LossSpec,
    between: Callable[[], None] | None = None,
    team: Team = ALONE,
    prefetch: int = 0,
) -> dict[str, float]:
    """Errors of all frames: `loss` as in training, and MAEs in meV/atom, meV/Å and meV/Å³ where there are labels.

    Args:
        potential: is in the mode it was in afterwards.
        batches: of the frames.
        loss: its weights.
        between: called after each batch; what it raises ends the validation. Not called where processes share it.
        team: the processes that share the batches.
        prefetch: so many batches are made ready while one is predicted.

    Raises:
        InputError: a batch does not fit in memory.
        LostProcessError: another process is gone.
    """
    was_training = potential.training
    potential.eval()
    try:
        sums = _sums(potential, batches, between if team.size == 1 else None, team, prefetch)
    finally:
        potential.train(was_training)
    errors = ErrorSums.of_numbers(team.sums(sums.numbers())).errors() if team.size > 1 else sums.errors()
    named = {
        "energy_mae": errors.energy_mae,
        "forces_mae": errors.forces_mae,
        "stress_mae": errors.stress_mae,
    }
    if not loss.stress and named["stress_mae"] is not None and math.isnan(named["stress_mae"]):
        named["stress_mae"] = None  # a direct model without a head for it
    total = _loss(errors, loss, 1e3 * float(potential.scale))
    return {"loss": total} | {key: value for key, value in named.items() if value is not None}


def _sums(
    potential: EsenPotential,
    batches: Batches,
    between: Callable[[], None] | None,
    team: Team,
    prefetch: int,
) -> ErrorSums:
    """Over the batches that are this process's."""
    device = potential.scale.device

    def make(indices: list[int]) -> Part:
        return Part(*batches.load(indices)).ready_for(device)

    sums = ErrorSums()
    with prefetched(make, batches.in_order()[team.rank :: team.size], prefetch) as parts:
        for part in parts:
            with must_fit(part.graph):
                here = part.to(device)
                sums.add(potential(here.graph), here.labels, here.graph)
            if between is not None:
                between()
    return sums


def _loss(errors: Errors, loss: LossSpec, unit: float) -> float:
    """The training loss of the whole set, whatever its batches; `unit` is the scale in thousandths."""
    forces = errors.forces_l2 or 0.0
    if loss.force_norm == "l2_squared":
        forces = (
            errors.forces_rmse or 0.0
        ) ** 2 / unit  # (1/3N) Σ ‖ΔF‖² is the mean square of the components
    terms = (loss.energy, errors.energy_mae), (loss.forces, forces), (loss.stress, errors.stress_mae)
    return sum(weight * (error or 0.0) for weight, error in terms if weight) / unit
