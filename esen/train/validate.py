"""Errors on held-out frames during training."""

from collections.abc import Callable

from esen.graph.errors import Errors, ErrorSums
from esen.models.potential import EsenPotential
from esen.recipe.train import LossSpec
from esen.train.dataset import Batches
from esen.train.memory import must_fit


def validate(
    potential: EsenPotential, batches: Batches, loss: LossSpec, between: Callable[[], None] | None = None
) -> dict[str, float]:
    """Errors of all frames: `loss` as in training, and MAEs in meV/atom, meV/Å and meV/Å³ where there are labels.

    Args:
        potential: is in the mode it was in afterwards.
        batches: of the frames.
        loss: its weights.
        between: called after each batch; what it raises ends the validation.

    Raises:
        InputError: a batch does not fit in memory.
    """
    was_training = potential.training
    potential.eval()
    try:
        return _errors(potential, batches, loss, between)
    finally:
        potential.train(was_training)


def _errors(
    potential: EsenPotential, batches: Batches, loss: LossSpec, between: Callable[[], None] | None
) -> dict[str, float]:
    device = potential.scale.device
    sums = ErrorSums()
    for indices in batches.in_order():
        graph, labels = batches.load(indices)
        with must_fit(graph):
            graph, labels = graph.to(device), labels.to(device)
            sums.add(potential(graph), labels, graph)
        if between is not None:
            between()
    errors = sums.errors()
    named = {
        "energy_mae": errors.energy_mae,
        "forces_mae": errors.forces_mae,
        "stress_mae": errors.stress_mae,
    }
    total = _loss(errors, loss, 1e3 * float(potential.scale))
    return {"loss": total} | {key: value for key, value in named.items() if value is not None}


def _loss(errors: Errors, loss: LossSpec, unit: float) -> float:
    """The training loss of the whole set, whatever its batches; `unit` is the scale in thousandths."""
    forces = errors.forces_l2 or 0.0
    if loss.force_norm == "l2_squared":
        forces = (
            errors.forces_rmse or 0.0
        ) ** 2 / unit  # (1/3N) Σ ‖ΔF‖² is the mean square of the components
    energy, stress = errors.energy_mae or 0.0, errors.stress_mae or 0.0
    return (loss.energy * energy + loss.forces * forces + loss.stress * stress) / unit
