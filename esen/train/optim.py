"""Optimiser, schedule, and moving average of the weights."""

from math import cos, pi

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from esen.models.norm import EquivariantRMSNorm
from esen.models.potential import EsenPotential
from esen.recipe.train import OptimizerSpec, ScheduleSpec

_NOT_DECAYED = (nn.Embedding, nn.LayerNorm, EquivariantRMSNorm)


Tensors = tuple[Tensor, ...] | list[Tensor]


def make_optimizer(potential: EsenPotential, spec: OptimizerSpec) -> torch.optim.AdamW:
    """AdamW that decays matrices, and neither biases, norms, embeddings nor Bessel frequencies; of what is trained."""
    decayed: list[nn.Parameter] = []
    free: list[nn.Parameter] = []
    for module in potential.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if not parameter.requires_grad:
                continue
            is_vector = parameter.ndim == 1 or name == "bias"
            (free if is_vector or isinstance(module, _NOT_DECAYED) else decayed).append(parameter)
    groups = [
        {"params": decayed, "weight_decay": spec.weight_decay},
        {"params": free, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=spec.learning_rate, betas=(spec.beta1, spec.beta2))


def learning_rate_factor(spec: ScheduleSpec, epoch: float, epochs: int) -> float:
    """What multiplies the learning rate `epoch` epochs, whole and part, after the start of a stage.

    Linear from `warmup_factor` to 1 in the first `warmup_epochs`, then ½(1 + cos) down to `final_factor` at the end.

    >>> spec = ScheduleSpec(warmup_epochs=1, warmup_factor=0.2, final_factor=0.0)
    >>> [round(learning_rate_factor(spec, e, 3), 3) for e in (0, 0.5, 1, 2, 3)]
    [0.2, 0.6, 1.0, 0.5, 0.0]
    """
    if epoch < spec.warmup_epochs:
        return spec.warmup_factor + (1 - spec.warmup_factor) * epoch / spec.warmup_epochs
    done = min((epoch - spec.warmup_epochs) / max(epochs - spec.warmup_epochs, 1e-9), 1.0)
    return spec.final_factor + (1 - spec.final_factor) * 0.5 * (1 + cos(pi * done))


def set_learning_rate(optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
    """The same for all groups."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate


def make_average(potential: EsenPotential, decay: float) -> AveragedModel:
    """The exponential moving average w̄ ← d · w̄ + (1 − d) · w, with d = min(decay, (1 + n) / (10 + n)) at update n.

    It begins as w. The smaller d of the first steps makes a short training forget its random start.
    """

    def update(averaged: Tensors, current: Tensors, count: Tensor | int) -> None:
        n = int(count)
        torch._foreach_lerp_(averaged, current, 1 - min(decay, (1 + n) / (10 + n)))

    return AveragedModel(potential, multi_avg_fn=update)
