"""Which weights are trained and how: frozen parts, optimiser, schedule, and the moving average of the weights."""

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from math import cos, pi
from typing import Any, assert_never

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from esen.errors import InputError
from esen.models.norm import EquivariantRMSNorm
from esen.models.potential import EsenPotential
from esen.recipe import Recipe, at_stage
from esen.recipe.train import OptimizerSpec, ScheduleSpec

_NOT_DECAYED = (nn.Embedding, nn.LayerNorm, EquivariantRMSNorm)
_PREFIXES = ("network.backbone.", "network.")

Tensors = tuple[Tensor, ...] | list[Tensor]


def freeze(potential: nn.Module, patterns: Sequence[str]) -> None:
    """Exclude the weights that match any pattern from training; all others are trained."""
    for name, parameter in potential.named_parameters():
        parameter.requires_grad_(not any(matches(pattern, name) for pattern in patterns))


def matches(pattern: str, name: str) -> bool:
    """Tell whether the parts of a pattern occur one after another in a weight's name. Parts may hold `*` and `?`.

    >>> matches("blocks.0", "network.backbone.blocks.0.norm1.weight"), matches("species", "network.sender_species")
    (True, False)
    """
    wanted, parts = pattern.split("."), name.split(".")
    starts = range(len(parts) - len(wanted) + 1)
    return any(all(map(fnmatchcase, parts[start:], wanted)) for start in starts)


def check_freezing(recipe: Recipe) -> None:
    """Check that each pattern of `train.freeze` names something in its stage and leaves something to train.

    Raises:
        InputError: It does not.
    """
    for index in range(len(recipe.train.stages)):
        here = at_stage(recipe, index)
        if here.train.freeze:
            with torch.device("meta"):  # names only, no weights
                names = [name for name, _ in EsenPotential(here.model).named_parameters()]
            check_patterns(here.train.freeze, names)


def check_patterns(patterns: Sequence[str], names: Sequence[str]) -> None:
    """Refuse patterns that name nothing, and patterns that leave nothing to train.

    Args:
        patterns: Patterns of the recipe.
        names: Names of all weights.

    Raises:
        InputError: Says which pattern, and which names there are.
    """
    for pattern in patterns:
        if not any(matches(pattern, name) for name in names):
            raise InputError(
                f"train.freeze: {pattern!r} names no part of the network; there are {', '.join(parts_of(names))}"
            )
    if all(any(matches(pattern, name) for pattern in patterns) for name in names):
        raise InputError(f"train.freeze: [{', '.join(patterns)}] leaves nothing to train")


def parts_of(names: Iterable[str]) -> list[str]:
    """Return the parts of a network as `train.freeze` may name them.

    >>> parts_of(["network.backbone.species.weight", "network.backbone.blocks.0.norm1.weight", "network.head.0.bias"])
    ['species', 'blocks.0', 'head']
    """
    parts = []
    for name in names:
        for prefix in _PREFIXES:
            name = name.removeprefix(prefix)  # noqa: PLW2901  # what is left of it
        words = name.split(".")
        parts.append(".".join(words[:2]) if words[0] in ("blocks", "direct") else words[0])
    return list(dict.fromkeys(parts))


class Muon(torch.optim.AdamW):
    """AdamW whose groups with `momentum` are stepped by Muon: their weights are matrices, or stacks of matrices.

    With the gradient g and the momentum μ,

        b ← μ b + g,    w ← (1 − ηλ) w − 0.2 η √max(rows, columns) · O(g + μ b),

    where O(x) is close to the orthogonal matrix U Vᵀ of the singular value decomposition x = U S Vᵀ. The factor gives
    the steps the size of those of AdamW, so that both have the same learning rate η and decay λ. Each matrix of a stack
    is stepped by itself. PyTorch's Muon refuses stacks and computes O in bfloat16.

    Source: Jordan et al., "Muon" (2024); factor: Liu et al., "Muon is scalable for LLM training" (2025).
    """

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # steps here have no closure
        """Make one step with the gradients of the weights."""
        groups = self.param_groups
        try:
            self.param_groups = [group for group in groups if "momentum" not in group]
            super().step()
        finally:
            self.param_groups = groups
        for group in groups:
            if "momentum" not in group:
                continue
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                buffer = self.state[weight].setdefault("momentum_buffer", torch.zeros_like(weight))
                buffer.mul_(group["momentum"]).add_(weight.grad)
                direction = orthogonal(weight.grad.add(buffer, alpha=group["momentum"]))
                weight.mul_(1 - group["lr"] * group["weight_decay"])
                weight.add_(direction, alpha=-0.2 * group["lr"] * max(weight.shape[-2:]) ** 0.5)


_QUINTIC = (3.4445, -4.7750, 2.0315)
"""Coefficients (a, b, c) of Jordan et al.: five steps bring singular values between about 0.01 and 1 to 0.7 … 1.2."""


def orthogonal(matrices: Tensor) -> Tensor:
    """Return matrices with the same singular vectors and singular values near 1 (0.7 to 1.2), except very small ones.

    Five Newton–Schulz steps x ← a x + b (x xᵀ) x + c (x xᵀ)² x, from x divided by its Frobenius norm.

    Args:
        matrices: one or a stack, (…, rows, columns).
    """
    a, b, c = _QUINTIC
    x = matrices / (torch.linalg.matrix_norm(matrices, keepdim=True) + torch.finfo(matrices.dtype).tiny)
    tall = x.shape[-2] > x.shape[-1]
    x = x.mT if tall else x
    for _ in range(5):
        square = x @ x.mT
        x = a * x + (b * square + c * square @ square) @ x
    result: Tensor = x.mT if tall else x
    return result


def make_optimizer(potential: EsenPotential, spec: OptimizerSpec) -> torch.optim.AdamW:
    """Return the optimiser of the trained weights. Biases, norms, embeddings and Bessel frequencies are not decayed."""
    decayed: list[nn.Parameter] = []
    free: list[nn.Parameter] = []
    for module in potential.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if not parameter.requires_grad:
                continue
            is_vector = parameter.ndim < 2 or name == "bias"
            (free if is_vector or isinstance(module, _NOT_DECAYED) else decayed).append(parameter)
    betas, decay = (spec.beta1, spec.beta2), {"weight_decay": spec.weight_decay}
    groups: list[dict[str, Any]]
    match spec.kind:
        case "adamw":
            groups = [{"params": decayed} | decay, {"params": free, "weight_decay": 0.0}]
            return torch.optim.AdamW(groups, lr=spec.learning_rate, betas=betas)
        case "muon":
            # a single row, as in the last layer of a head, has no directions to make orthogonal
            rows = [weight for weight in decayed if min(weight.shape[-2:]) == 1]
            matrices = [weight for weight in decayed if min(weight.shape[-2:]) > 1]
            groups = [{"params": matrices, "momentum": spec.momentum} | decay]
            groups += [{"params": rows} | decay, {"params": free, "weight_decay": 0.0}]
            return Muon(groups, lr=spec.learning_rate, betas=betas)
        case _:
            assert_never(spec.kind)


def learning_rate_factor(spec: ScheduleSpec, epoch: float, epochs: int) -> float:
    """Return the factor on the learning rate `epoch` epochs (whole and part) after the start of a stage.

    It rises linearly from `warmup_factor` to 1 in the first `warmup_epochs`, and then falls as ½(1 + cos) to
    `final_factor` at the end.

    >>> spec = ScheduleSpec(warmup_epochs=1, warmup_factor=0.2, final_factor=0.0)
    >>> [round(learning_rate_factor(spec, e, 3), 3) for e in (0, 0.5, 1, 2, 3)]
    [0.2, 0.6, 1.0, 0.5, 0.0]
    """
    if epoch < spec.warmup_epochs:
        return spec.warmup_factor + (1 - spec.warmup_factor) * epoch / spec.warmup_epochs
    done = min((epoch - spec.warmup_epochs) / max(epochs - spec.warmup_epochs, 1e-9), 1.0)
    return spec.final_factor + (1 - spec.final_factor) * 0.5 * (1 + cos(pi * done))


def make_average(potential: EsenPotential, decay: float) -> AveragedModel:
    """Return the exponential moving average w̄ ← d · w̄ + (1 − d) · w, d = min(decay, (1 + n) / (10 + n)) at update n.

    It begins as w. The smaller d of the first steps lets a short training forget its random start.
    """

    def update(averaged: Tensors, current: Tensors, count: Tensor | int) -> None:
        n = int(count)
        torch._foreach_lerp_(averaged, current, 1 - min(decay, (1 + n) / (10 + n)))

    return AveragedModel(potential, multi_avg_fn=update)
