"""Nothing in a file is run, and what is refused costs one line."""

import os
import pickle
import sys
from pathlib import Path, PosixPath
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from esen.errors import InputError
from esen.models.convert.read import read_published


class Hostile:
    """Makes a folder when it is unpickled the ordinary way."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_checkpoint_is_not_run(zipped: bool, tmp_path: Path) -> None:
    trap = tmp_path / "sprung"
    path = tmp_path / "hostile.pt"
    content = {"state_dict": {}, "config": Hostile(trap)}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(InputError, match=r"posix\.mkdir") as error:
        read_published(path)
    assert "\n" not in str(error.value)
    assert not trap.exists()
    torch.load(path, weights_only=False)
    assert trap.exists()  # the trap was a real one


def test_a_plain_pickle_is_refused(tmp_path: Path) -> None:
    trap = tmp_path / "sprung"
    (tmp_path / "plain.pt").write_bytes(pickle.dumps({"state_dict": Hostile(trap), "config": {}}))
    with pytest.raises(InputError, match=r"nothing .*run"):
        read_published(tmp_path / "plain.pt")
    assert not trap.exists()


def test_numbers_of_numpy_and_paths_are_read(tmp_path: Path) -> None:
    content = {
        "state_dict": {},
        "config": {"src": PosixPath("data/train.aselmdb")},
        "best_val_metric": np.float64(0.25),
        "step": np.int64(7),
    }
    torch.save(content, tmp_path / "numbers.pt")
    assert read_published(tmp_path / "numbers.pt") == content


def test_a_checkpoint_of_the_next_network_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("fairchem.core.units")
    module.Uma = type("Uma", (), {"__module__": module.__name__, "__qualname__": "Uma"})  # type: ignore[attr-defined]
    for name in ("fairchem", "fairchem.core", "fairchem.core.units"):
        monkeypatch.setitem(sys.modules, name, module)
    torch.save(module.Uma(), tmp_path / "uma.pt")
    with pytest.raises(InputError, match=r"fairchem 2 \(UMA\)"):
        read_published(tmp_path / "uma.pt")


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "PyTorch"), (b"hello\n", "PyTorch"), (None, "no such file")],
)
def test_no_checkpoint(content: bytes | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_published(path)


def test_a_file_cut_short_and_one_of_something_else(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    torch.save({"state_dict": {"w": torch.zeros(1000)}, "config": {}}, path)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(InputError, match="PyTorch"):
        read_published(path)
    torch.save({"weights": torch.zeros(3)}, path)
    with pytest.raises(InputError, match="weights"):
        read_published(path)
    torch.save({"state_dict": [], "config": {}}, path)
    with pytest.raises(InputError, match="state_dict"):
        read_published(path)


def test_a_flipped_bit_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    torch.save({"state_dict": {"w": torch.ones(1000)}, "config": {}}, path)
    content = bytearray(path.read_bytes())
    content[content.index(torch.ones(4).numpy().tobytes()) + 100] ^= 255
    path.write_bytes(content)
    with pytest.raises(InputError, match="checksum"):
        read_published(path)
