"""Errors on held-out frames during training."""

from collections.abc import Callable

import torch

from esen.graph.errors import ErrorSums
from esen.models.potential import EsenPotential
from esen.recipe.train import LossSpec
from esen.train.dataset import Batches
from esen.train.loss import training_loss
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
    sums, total, count = ErrorSums(), 0.0, 0
    for indices in batches.in_order():
        graph, labels = batches.load(indices)
        with must_fit(graph):
            graph, labels = graph.to(device), labels.to(device)
            prediction = potential(graph)
            sums.add(prediction, labels, graph)
            with torch.no_grad():
                terms = training_loss(loss, float(potential.scale), prediction, labels, graph)
        total += float(terms.total) * len(indices)
        count += len(indices)
        if between is not None:
            between()
    errors = sums.errors()
    named = {
        "energy_mae": errors.energy_mae,
        "forces_mae": errors.forces_mae,
        "stress_mae": errors.stress_mae,
    }
    return {"loss": total / count} | {key: value for key, value in named.items() if value is not None}
