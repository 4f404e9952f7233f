"""Kill trainings, campaigns and conversions at random moments, resume them, and compare with what was never killed.

`python -m tests.kills FOLDER N` makes N kills of each kind, in processes that are forked, so that none imports anew.
"""

import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from ase.build import bulk
from ase.io import write

from esen.data.convert import Settings, convert
from esen.data.readers import Files, Reading
from esen.data.training_set import MappedFrames
from esen.evaluate.relax import RelaxSpec
from esen.models.checkpoint import read_checkpoint
from esen.study.campaign import CampaignOptions, CampaignRun, structure_items
from esen.study.relax import run_relax
from esen.study.train import run_training
from esen.track import NullTracker
from esen.train.run_files import read_metrics
from tests.train.small import crystals, recipe_of, write_frames


def train(folder: Path) -> None:
    recipe = recipe_of(folder.parent / "train.xyz", train__stages=[{"epochs": 12}])
    begun = any((folder / name).exists() for name in ("last.safetensors", "recipe.yaml"))
    run_training(recipe, folder, resume=begun, device="cpu")


def trained(folder: Path) -> Any:
    checkpoint = read_checkpoint(folder / "last.safetensors")
    tensors = {name: tensor.numpy().tobytes() for name, tensor in checkpoint.tensors.items()}
    best = read_checkpoint(folder / "best.safetensors").tensors
    rows = [
        {k: v for k, v in row.items() if "second" not in k} for row in read_metrics(folder / "metrics.jsonl")
    ]
    return tensors, {name: tensor.numpy().tobytes() for name, tensor in best.items()}, rows


def relax(folder: Path) -> None:
    items = structure_items([str(folder.parent / "metals.xyz")])
    run = CampaignRun(["emt"], folder, NullTracker(), CampaignOptions(isolated=False, batch_atoms=1))
    run_relax(run, items, RelaxSpec())


def relaxed(folder: Path) -> Any:
    records = {path.name: path.read_bytes() for path in sorted((folder / "emt").glob("*.json"))}
    return (
        records,
        (folder / "relax.csv").read_bytes(),
        json.loads((folder / "result.json").read_bytes())["rows"],
    )


def converted_to(folder: Path) -> None:
    convert([Files(str(folder.parent / "train.xyz"))], folder, Settings(Reading(), 3.0, frames_per_shard=2))


def converted(folder: Path) -> Any:
    assert len(list(MappedFrames(folder))) == len(MappedFrames(folder))
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


KINDS: dict[str, tuple[Callable[[Path], None], Callable[[Path], Any]]] = {
    "train": (train, trained),
    "relax": (relax, relaxed),
    "convert": (converted_to, converted),
}


def started(work: Callable[[Path], None], folder: Path) -> int:
    """Start work in a forked process, which says on stderr what went wrong."""
    process = os.fork()
    if process == 0:
        try:
            work(folder)
        except BaseException as error:
            os.write(2, f"{folder}: {type(error).__name__}: {error}\n".encode())
            os._exit(1)
        os._exit(0)
    return process


def finish(work: Callable[[Path], None], folder: Path) -> float:
    start = time.monotonic()
    _, status = os.waitpid(started(work, folder), 0)
    if status:
        raise SystemExit(f"{folder}: could not be finished")
    return time.monotonic() - start


def kill_often(kind: str, folder: Path, kills: int) -> None:
    work, content = KINDS[kind]
    seconds = finish(work, folder / f"{kind}-whole")
    expected = content(folder / f"{kind}-whole")
    generator, done, number = random.Random(kind), 0, 0
    while done < kills:
        number += 1
        killed = folder / f"{kind}-{number}"
        for _ in range(generator.randint(1, 5)):
            process = started(work, killed)
            time.sleep(generator.uniform(0, seconds))
            os.kill(process, signal.SIGKILL)
            _, status = os.waitpid(process, 0)
            done += 1
            if not os.WIFSIGNALED(status):
                if status:
                    raise SystemExit(f"{killed}: failed after {done} kills")
                break
        finish(work, killed)
        if content(killed) != expected:
            raise SystemExit(f"{killed}: differs after {done} kills")
        finish(work, killed)  # what is finished stays as it is
        if content(killed) != expected:
            raise SystemExit(f"{killed}: differs when it is resumed although it was finished")
    os.write(1, f"{kind}: {done} kills of {number} runs, one takes {seconds:.2f} s\n".encode())


if __name__ == "__main__":
    torch.set_num_threads(1)
    place = Path(sys.argv[1])
    write_frames(place / "train.xyz", crystals(24))
    write(place / "metals.xyz", [bulk(name).repeat(2) for name in ("Cu", "Al", "Ag", "Au", "Ni", "Pd", "Pt")])
    for kind in KINDS:
        kill_often(kind, place, int(sys.argv[2]))
