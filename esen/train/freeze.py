"""Parts of the network that are not trained."""

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from torch import nn

from esen.errors import InputError

_PREFIXES = ("network.backbone.", "network.")


def freeze(potential: nn.Module, patterns: Sequence[str]) -> None:
    """Exclude the weights that a pattern names from training; all others are trained."""
    for name, parameter in potential.named_parameters():
        parameter.requires_grad_(not any(matches(pattern, name) for pattern in patterns))


def matches(pattern: str, name: str) -> bool:
    """Whether the parts of a pattern stand one after another in a weight's name. Each may hold `*` and `?`.

    >>> matches("blocks.0", "network.backbone.blocks.0.norm1.weight"), matches("species", "network.sender_species")
    (True, False)
    """
    wanted, parts = pattern.split("."), name.split(".")
    starts = range(len(parts) - len(wanted) + 1)
    return any(all(map(fnmatchcase, parts[start:], wanted)) for start in starts)


def check_patterns(patterns: Iterable[str], names: Sequence[str]) -> None:
    """Refuse patterns that name nothing, and patterns that leave nothing to train.

    Args:
        patterns: of the recipe.
        names: of all weights, of all stages.

    Raises:
        InputError: naming the pattern, and what there is.
    """
    patterns = list(patterns)
    for pattern in patterns:
        if not any(matches(pattern, name) for name in names):
            raise InputError(
                f"train.freeze: {pattern!r} names no part of the network; there are {', '.join(parts_of(names))}"
            )
    if all(any(matches(pattern, name) for pattern in patterns) for name in names):
        raise InputError(f"train.freeze: [{', '.join(patterns)}] leaves nothing to train")


def parts_of(names: Iterable[str]) -> list[str]:
    """The parts of a network as `freeze` may name them.

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
