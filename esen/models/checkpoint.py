"""Checkpoints: a `.safetensors` file with everything but the tensors as JSON in its header. Nothing is unpickled.

The header also has the SHA-256 digest of all tensors and of that JSON, so that a damaged file is not used.
The names of tensors have a prefix: `weights/` for weights in training, `average/` for their moving average and, in a
file from which training can be resumed, `optimizer/`. A file is written under another name and then renamed, so that
the last checkpoint survives a full disk or a killed process.
"""

import hashlib
import json
import logging
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from esen import __version__
from esen.errors import InputError
from esen.files import parse_json, write_atomically
from esen.graph.backends import usable_backend
from esen.models.potential import EsenPotential
from esen.recipe.model import ModelSpec
from esen.recipe.train import MemoryMode

FORMAT = 1
_KEY, _DIGEST = "esen", "sha256"
_IN_HEADER = ("versions", "recipe", "elements", "metrics", "progress", "origin")
logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """The content of a checkpoint file.

    Attributes:
        recipe: the whole recipe as plain data, with every default filled in.
        elements: atomic numbers that the potential was trained on; empty if unknown.
        metrics: validation errors at the time of writing.
        tensors: tensors by name with prefix.
        progress: progress of training: stage, epoch, batch, step, best error.
        versions: versions of esen and torch that wrote the file.
        origin: for imported weights, the original file and its licence.
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
        """Return the tensors whose names start with `prefix/`, by the rest of their names."""
        return {
            name.removeprefix(prefix + "/"): tensor
            for name, tensor in self.tensors.items()
            if name.startswith(prefix + "/")
        }


def with_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return copies of the tensors on the CPU, named `prefix/…`."""
    return {f"{prefix}/{name}": tensor.detach().cpu().clone() for name, tensor in tensors.items()}


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint atomically.

    Raises:
        OSError: as `write_atomically`.
    """
    header = json.dumps({"format": FORMAT, **{name: getattr(checkpoint, name) for name in _IN_HEADER}})
    metadata = {_KEY: header, _DIGEST: _digest(header, checkpoint.tensors)}
    write_atomically(path, save(checkpoint.tensors, metadata=metadata))


def _digest(header: str, tensors: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 digest of the header and of each tensor's name, type, shape and bytes."""

    def one(name: str) -> str:
        tensor = tensors[name]
        content = tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data
        return f"{name} {tensor.dtype} {tuple(tensor.shape)} {hashlib.sha256(content).hexdigest()}"

    with ThreadPoolExecutor() as pool:  # hashing releases the interpreter's lock
        lines = [header, *pool.map(one, sorted(tensors))]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


@cache
def _note_without_digest(path: Path) -> None:
    logger.warning(
        "%s: was written without a digest by an earlier esen; damage to it would not be noticed", path
    )


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint.

    Raises:
        InputError: the file does not exist, is not a checkpoint of esen, is damaged, or is of a later version.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such checkpoint" if not path.exists() else f"{path}: not a file")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # not a mapping
    except (SafetensorError, OSError, RuntimeError, ValueError, TypeError, LookupError) as error:
        raise InputError(f"{path}: not a complete safetensors file ({error}); was it truncated?") from error
    header, digest = metadata.get(_KEY), metadata.get(_DIGEST)
    if header is None:
        raise InputError(
            f"{path}: a safetensors file, but not a checkpoint of esen (its header has no '{_KEY}')"
        )
    if digest is not None and digest != _digest(header, tensors):
        raise InputError(
            f"{path}: damaged, its content does not have its digest; copy it again or train anew"
        )
    try:
        content = parse_json(header)
        if content["format"] > FORMAT:
            raise InputError(
                f"{path}: checkpoint format {content['format']}, written by esen {content['versions']['esen']};"
                f" this esen {__version__} reads up to {FORMAT}: upgrade esen"
            )
        content = {"origin": {}, **content, "elements": tuple(content["elements"])}
        if digest is None:
            _note_without_digest(path)
        return Checkpoint(tensors=tensors, **{name: content[name] for name in _IN_HEADER})
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: the header of esen is damaged ({error!r})") from error


def precision_of(weights: Mapping[str, Tensor]) -> torch.dtype:
    """Return float64 if the network has weights in it, else float32. Weights in half precision are only stored in it.

    Args:
        weights: weights by their names in `EsenPotential`.
    """
    double = any(t.dtype == torch.float64 for name, t in weights.items() if name.startswith("network."))
    return torch.float64 if double else torch.float32


def restore_potential(checkpoint: Checkpoint, where: str) -> EsenPotential:
    """Return the potential of a checkpoint, with averaged weights if there are any, in `precision_of` them.

    Args:
        checkpoint: the content of the file.
        where: name of the file for error messages.

    Raises:
        InputError: this version does not understand the recipe, or the weights do not match it.
    """
    try:
        spec = ModelSpec.model_validate(checkpoint.recipe.get("model"))
    except ValidationError as error:
        problem = error.errors()[0]
        place = ".".join(map(str, ("model", *problem["loc"])))
        raise InputError(f"{where}: its recipe is not valid: {place}: {problem['msg']}") from error
    potential = EsenPotential(spec, checkpoint.elements or None)
    weights = checkpoint.part("average") or checkpoint.part("weights")
    potential.to(precision_of(weights))
    try:
        potential.load_state_dict(weights)
    except RuntimeError as error:
        last_line = str(error).splitlines()[-1].strip()
        raise InputError(f"{where}: its weights do not match its recipe: {last_line}") from error
    return potential


def load_potential(
    path: Path, *, dtype: torch.dtype | None = None, device: str = "cpu", memory: MemoryMode = "auto"
) -> EsenPotential:
    """Load a trained potential for predictions.

    If the neighbour backend of its recipe is not installed, a warning is logged and vesin finds the same edges.

    Args:
        path: `best.safetensors` or `last.safetensors` of a run.
        dtype: precision of the network; None for that of training, which is float32 for weights in half precision.
        device: device of the potential.
        memory: `fast`, `lean`, or `auto`, which depends on the free memory.

    Raises:
        InputError: as `read_checkpoint` and `restore_potential`.
    """
    potential = restore_potential(read_checkpoint(path), str(path)).to(device).use_memory(memory)
    potential.backend = usable_backend(potential.backend, str(path))
    return (potential if dtype is None else potential.to(dtype)).eval().requires_grad_(False)
