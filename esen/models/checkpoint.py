"""Checkpoints: one `.safetensors` file whose header carries the rest as JSON. Nothing is ever unpickled.

Tensors stand under a prefix: `weights/` as they are trained, `average/` their moving average, and, in a file to go on
from, `optimizer/`. A file is written beside its place and renamed into it, so that what stands there is whole: the
last checkpoint survives a full disk or a killed process.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from esen import __version__
from esen.errors import InputError
from esen.files import write_atomically
from esen.graph.backends import usable_backend
from esen.models.potential import EsenPotential
from esen.recipe.model import ModelSpec
from esen.recipe.train import MemoryMode

FORMAT = 1
_KEY = "esen"


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """What a file holds.

    Attributes:
        recipe: the whole recipe, as plain data, every default filled in.
        elements: atomic numbers that the potential was trained on; empty: not known.
        metrics: validation errors when it was written.
        progress: where training stood: stage, epoch, batch, step, best error.
        tensors: by prefixed name.
        versions: of esen and torch that wrote it.
        origin: of imported weights: the file they came from, and their licence.
    """

    recipe: dict[str, Any]
    elements: tuple[int, ...]
    metrics: dict[str, float]
    tensors: dict[str, Tensor]
    progress: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(
        default_factory=lambda: {"esen": __version__, "torch": torch.__version__}
    )
    origin: dict[str, Any] = field(default_factory=dict)

    def part(self, prefix: str) -> dict[str, Tensor]:
        """The tensors under `prefix/`, without it."""
        return {
            name.removeprefix(prefix + "/"): tensor
            for name, tensor in self.tensors.items()
            if name.startswith(prefix + "/")
        }


def with_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors, named `prefix/…`, apart from the originals and on the CPU."""
    return {f"{prefix}/{name}": tensor.detach().cpu().clone() for name, tensor in tensors.items()}


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint, whole or not at all.

    Raises:
        OSError: as `write_atomically`.
    """
    header = {
        "format": FORMAT,
        "versions": checkpoint.versions,
        "recipe": checkpoint.recipe,
        "elements": list(checkpoint.elements),
        "metrics": checkpoint.metrics,
        "progress": checkpoint.progress,
        "origin": checkpoint.origin,
    }
    write_atomically(path, save(checkpoint.tensors, metadata={_KEY: json.dumps(header)}))


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint.

    Raises:
        InputError: no such file, not a checkpoint of ours, truncated, or from a later version.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such checkpoint" if not path.exists() else f"{path}: not a file")
    try:
        with safe_open(path, framework="pt") as file:
            header = (file.metadata() or {}).get(_KEY)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # not a mapping
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path}: not a whole safetensors file ({error}); was it cut short?") from error
    if header is None:
        raise InputError(
            f"{path}: a safetensors file, but not a checkpoint of esen (no '{_KEY}' in its header)"
        )
    try:
        content = json.loads(header)
        if content["format"] > FORMAT:
            raise InputError(
                f"{path}: checkpoint format {content['format']}, written by esen {content['versions']['esen']};"
                f" this esen {__version__} reads up to {FORMAT}: upgrade esen"
            )
        return Checkpoint(
            recipe=content["recipe"],
            elements=tuple(content["elements"]),
            metrics=content["metrics"],
            progress=content["progress"],
            versions=content["versions"],
            origin=content.get("origin", {}),
            tensors=tensors,
        )
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: what esen wrote in its header is damaged ({error!r})") from error


def precision_of(weights: Mapping[str, Tensor]) -> torch.dtype:
    """float64 where the network is in it, else float32: half precision may store weights, but is no way to compute.

    Args:
        weights: by their names in `EsenPotential`.
    """
    double = any(t.dtype == torch.float64 for name, t in weights.items() if name.startswith("network."))
    return torch.float64 if double else torch.float32


def restore_potential(checkpoint: Checkpoint, where: str) -> EsenPotential:
    """The potential of a checkpoint: its averaged weights where it has them, in `precision_of` them.

    Raises:
        InputError: the recipe or the weights do not fit this version; `where` names the file.
    """
    try:
        spec = ModelSpec.model_validate(checkpoint.recipe.get("model"))
    except ValidationError as error:
        problem = error.errors()[0]
        place = ".".join(map(str, ("model", *problem["loc"])))
        raise InputError(f"{where}: its recipe does not fit: {place}: {problem['msg']}") from error
    potential = EsenPotential(spec, checkpoint.elements or None)
    weights = checkpoint.part("average") or checkpoint.part("weights")
    potential.to(precision_of(weights))
    try:
        potential.load_state_dict(weights)
    except RuntimeError as error:
        raise InputError(
            f"{where}: its weights do not fit its recipe: {str(error).splitlines()[-1].strip()}"
        ) from error
    return potential


def load_potential(
    path: Path, *, dtype: torch.dtype | None = None, device: str = "cpu", memory: MemoryMode = "auto"
) -> EsenPotential:
    """A trained potential, ready to predict.

    Where the backend of its recipe's graph is not installed here, there is a warning, and vesin finds the same edges.

    Args:
        path: `best.safetensors` or `last.safetensors` of a run.
        dtype: precision of the network; None: that of training, and float32 for weights in half precision.
        device: where to put it.
        memory: `fast`, `lean`, or by the memory that is free.

    Raises:
        InputError: as `read_checkpoint` and `restore_potential`.
    """
    potential = restore_potential(read_checkpoint(path), str(path)).to(device).use_memory(memory)
    potential.backend = usable_backend(potential.backend, str(path))
    return (potential if dtype is None else potential.to(dtype)).eval().requires_grad_(False)
