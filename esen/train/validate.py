"""Errors on held-out frames during training."""

import math
from collections.abc import Callable

import torch

from esen.data.targets import TARGETS
from esen.graph.edges import count_of
from esen.models.potential import EsenPotential
from esen.recipe.train import LossSpec
from esen.train.batches import Batches, prefetched
from esen.train.distributed import ALONE, Processes
from esen.train.memory import must_fit
from esen.train.step import MicroBatch
from esen.train.targets import training_loss


def validate(
    potential: EsenPotential,
    batches: Batches,
    loss: LossSpec,
    between: Callable[[], None] | None = None,
    processes: Processes = ALONE,
    prefetch: int = 0,
) -> dict[str, float]:
    """Return `loss`, as in training, and the mean absolute error of each target that has labels, as `{name}_mae`.

    Errors are in the `error_unit` of the target (meV/atom, meV/Å, meV/Å³); forces and stress are compared by component.
    A target of weight 0 whose predictions are NaN, as the stress of direct models without it, is left out.

    Args:
        potential: Is in the same mode (training or evaluation) afterwards.
        batches: The frames.
        loss: Weights of the loss.
        between: Called after each batch; what it raises ends the validation. Not called where processes share it.
        processes: The processes that share the batches.
        prefetch: Number of batches made ready while one is predicted.

    Raises:
        InputError: A batch does not fit in memory.
        LostProcessError: Another process ended.
    """
    was_training = potential.training
    potential.eval()
    try:
        sums = _sums(potential, batches, loss, between, processes, prefetch)
    finally:
        potential.train(was_training)
    total, *errors = processes.sums(sums.tolist())
    facts, found = batches.structures.facts, {"loss": total}
    for target, error in zip(TARGETS, errors, strict=True):
        if values := facts.label_count(target) * math.prod(target.components):
            found[f"{target.name}_mae"] = 1e3 * error / values
    kept = {"loss"} | {f"{target.name}_mae" for target in TARGETS if target.of(loss)}
    return {key: value for key, value in found.items() if key in kept or math.isfinite(value)}


def _sums(
    potential: EsenPotential,
    batches: Batches,
    loss: LossSpec,
    between: Callable[[], None] | None,
    processes: Processes,
    prefetch: int,
) -> torch.Tensor:
    """Return the loss and the sums of absolute errors over the batches of this process."""
    device, facts = potential.scale.device, batches.structures.facts
    counts = {target.name: facts.label_count(target) for target in TARGETS}

    def make(indices: list[int]) -> MicroBatch:
        return MicroBatch(*batches.load(indices)).ready_for(device)

    sums = torch.zeros(1 + len(TARGETS), dtype=torch.float64)
    with prefetched(make, batches.in_order()[processes.rank :: processes.size], prefetch) as parts:
        for part in parts:
            with must_fit(part.graph):
                here = part.to(device)
                prediction, labels, graph = potential(here.graph), here.labels, here.graph
            share = training_loss(loss, float(potential.scale), prediction, labels, graph, counts=counts)
            atoms = count_of(graph.structure, graph.num_structures)
            errors = [
                target.error(target.of(prediction), target.of(labels), atoms)[labels.known(target)]
                .abs()
                .sum()
                for target in TARGETS
            ]
            sums += torch.stack([share.total, *errors]).detach().cpu()
            if between is not None and processes.size == 1:
                between()
    return sums
