"""Errors on held-out frames during training."""

import torch

from esen.graph.errors import ErrorSums
from esen.models.potential import EsenPotential
from esen.recipe.train import LossSpec
from esen.train.dataset import Batches
from esen.train.loss import training_loss


def validate(potential: EsenPotential, batches: Batches, loss: LossSpec) -> dict[str, float]:
    """Errors of all frames: `loss` as in training, and MAEs in meV/atom, meV/Å and meV/Å³ where there are labels."""
    was_training = potential.training
    potential.eval()
    device = potential.scale.device
    sums, total, count = ErrorSums(), 0.0, 0
    for indices in batches.in_order():
        graph, labels = (part.to(device) for part in batches.load(indices))
        prediction = potential(graph)
        sums.add(prediction, labels, graph)
        with torch.no_grad():
            terms = training_loss(loss, float(potential.scale), prediction, labels, graph)
        total += float(terms.total) * len(indices)
        count += len(indices)
    potential.train(was_training)
    errors = sums.errors()
    named = {
        "energy_mae": errors.energy_mae,
        "forces_mae": errors.forces_mae,
        "stress_mae": errors.stress_mae,
    }
    return {"loss": total / count} | {key: value for key, value in named.items() if value is not None}
