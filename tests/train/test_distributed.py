"""Processes that share a batch."""

import multiprocessing
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.multiprocessing as mp
from hypothesis import given
from hypothesis import strategies as st

from esen.errors import InputError
from esen.models.checkpoint import read_checkpoint
from esen.recipe import Recipe
from esen.train.distributed import LostProcessError, Processes, torchrun_processes
from esen.train.run_files import read_metrics
from tests.train.small import Recorder, crystals, molecule, recipe_of, train, write_frames


@given(costs=st.lists(st.integers(1, 300), max_size=40), size=st.integers(1, 5))
def test_shares_are_a_partition_and_balanced(costs: list[int], size: int) -> None:
    indices = [100 + place for place in range(len(costs))]
    shares = [Processes(rank, size).share(indices, costs) for rank in range(size)]
    assert sorted(index for share in shares for index in share) == indices
    assert all(share == sorted(share) for share in shares)
    loads = [sum(costs[index - 100] for index in share) for share in shares]
    best = max(sum(costs) / size, max(costs, default=0))
    assert max(loads) <= best * 4 / 3 + max(costs, default=0) / 3


def test_alone_nothing_is_exchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with torchrun_processes("cpu") as processes:
        assert (processes.rank, processes.size, processes.is_first) == (0, 1, True)
        tensor = torch.tensor([1.0, 2.0])
        processes.add_up([tensor])
        assert tensor.tolist() == [1.0, 2.0]
        assert processes.sums([3.0]) == [3.0]
        assert processes.any(True)
        assert processes.first_says("here") == "here"


def two_processes(work: Callable[[int, Path], None], folder: Path) -> None:
    """Two of them, found by each other as torchrun arranges it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    multiprocessing.set_forkserver_preload(
        ["esen.train.fit", "esen.train.data"]
    )  # imported once for all tests
    mp.start_processes(_begin, (work, folder, port), nprocs=2, start_method="forkserver")  # type: ignore[no-untyped-call]


def _begin(rank: int, work: Callable[[int, Path], None], folder: Path, port: int) -> None:
    os.environ |= {
        "RANK": str(rank),
        "WORLD_SIZE": "2",
        "LOCAL_RANK": str(rank),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    torch.set_num_threads(1)
    work(rank, folder)


def _exchange(rank: int, folder: Path) -> None:
    with torchrun_processes("cpu") as processes:
        assert (processes.rank, processes.size) == (rank, 2)
        single, double = torch.full((2, 3), float(rank + 1)), torch.tensor(10.0 * rank, dtype=torch.float64)
        processes.add_up([single, double])
        assert single.tolist() == [[3.0] * 3] * 2
        assert float(double) == 10.0
        assert processes.sums([rank, 1.0]) == [1.0, 2.0]
        assert processes.any(rank == 1)
        assert not processes.any(False)
        assert processes.first_says(f"said by {rank}") == "said by 0"
    (folder / str(rank)).touch()


def test_two_processes_exchange(tmp_path: Path) -> None:
    two_processes(_exchange, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "1"]


def two_stage_recipe(folder: Path) -> Recipe:
    """Direct forces with denoising, then conservative; frames of several sizes, one without a stress."""
    frames = [*crystals(12), molecule(8, 12, 8, 12, 12)]
    stages = [{"epochs": 2, "forces": {"kind": "direct"}, "dens": {"probability": 0.5}}, {"epochs": 2}]
    path = folder / "frames.xyz"
    if not path.exists():  # written before the processes begin, so that none reads what another is writing
        write_frames(path, frames)
    return recipe_of(path, model__lmax=2, train__stages=stages, train__precision="float64")


def _train(rank: int, folder: Path) -> None:
    with torchrun_processes("cpu") as processes:
        train(two_stage_recipe(folder), folder / f"rank{rank}", processes=processes)


@pytest.fixture(scope="module")
def shared_training(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a whole training by two processes, `rank0` and `rank1`."""
    folder = tmp_path_factory.mktemp("shared")
    two_stage_recipe(folder)
    two_processes(_train, folder)
    return folder


def test_two_processes_train_as_one(shared_training: Path, tmp_path: Path) -> None:
    train(two_stage_recipe(tmp_path), tmp_path / "alone")
    alone, shared = (
        read_metrics(folder / "metrics.jsonl") for folder in (tmp_path / "alone", shared_training / "rank0")
    )
    assert len(alone) == len(shared) > 15
    assert any("train/denoising_loss" in row for row in alone)
    for one, other in zip(alone, shared, strict=True):
        assert one.keys() == other.keys()
        for key, value in one.items():
            assert other[key] == pytest.approx(value, rel=1e-9, abs=1e-12), key
    assert (shared_training / "rank0" / "best.safetensors").exists()
    assert not (shared_training / "rank1" / "last.safetensors").exists()  # the first process alone writes


def _lose_one(rank: int, folder: Path) -> None:
    with torchrun_processes("cpu") as processes:
        recorder = Recorder(at_step=5, call=(lambda: os._exit(0)) if rank == 1 else None)
        with pytest.raises(InputError, match=r"2 processes .*step 5 .*--resume"):
            train(two_stage_recipe(folder), folder / f"rank{rank}", recorder, processes=processes)


def test_lack_of_memory_is_not_taken_for_a_lost_process(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: torch.Tensor) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(torch.distributed, "all_reduce", full)
    with pytest.raises(InputError, match="out of memory") as error:
        Processes(0, 2).add_up([torch.ones(3)])
    assert not isinstance(error.value, LostProcessError)


def _lose_the_first(rank: int, folder: Path) -> None:
    with torchrun_processes("cpu") as processes:
        recorder = Recorder(at_step=5, call=(lambda: os._exit(0)) if rank == 0 else None)
        with pytest.raises(InputError, match=r"2 processes .*--resume") as error:
            train(two_stage_recipe(folder), folder / f"rank{rank}", recorder, processes=processes)
        assert "saves nothing" in str(error.value)
        assert "is saved" not in str(error.value)
    (folder / "told").touch()


def test_where_the_first_process_is_lost_no_other_says_that_it_saved(tmp_path: Path) -> None:
    two_stage_recipe(tmp_path)
    two_processes(_lose_the_first, tmp_path)
    assert (tmp_path / "told").exists()
    assert read_checkpoint(tmp_path / "rank0" / "last.safetensors").progress["step"] == 4  # of the last epoch
    assert not (tmp_path / "rank1" / "last.safetensors").exists()


def _go_on(rank: int, folder: Path) -> None:
    with torchrun_processes("cpu") as processes:
        resumed = read_checkpoint(folder / "rank0" / "last.safetensors")
        train(two_stage_recipe(folder), folder / f"rank{rank}", resumed=resumed, processes=processes)


def test_what_was_done_is_saved_when_a_process_is_lost(shared_training: Path, tmp_path: Path) -> None:
    two_stage_recipe(tmp_path)
    two_processes(_lose_one, tmp_path)
    stopped = read_checkpoint(tmp_path / "rank0" / "last.safetensors")
    assert stopped.progress["step"] == 5
    two_processes(_go_on, tmp_path)
    resumed, whole = (
        read_checkpoint(folder / "rank0" / "last.safetensors").tensors
        for folder in (tmp_path, shared_training)
    )
    assert resumed.keys() == whole.keys()
    for name, tensor in whole.items():
        assert torch.equal(resumed[name], tensor), name


def _one_dies(rank: int, folder: Path) -> None:
    with torchrun_processes("cpu") as processes:
        processes.sums([1.0])
        if rank == 1:
            os._exit(0)  # without a word to the other
        start = time.monotonic()
        with pytest.raises(LostProcessError):
            for _ in range(3):
                processes.sums([1.0])
        assert time.monotonic() - start < 20
    (folder / "noticed").touch()


def test_the_loss_of_a_process_is_noticed_at_once(tmp_path: Path) -> None:
    two_processes(_one_dies, tmp_path)
    assert (tmp_path / "noticed").exists()
