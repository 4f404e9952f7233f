"""Dataclasses of arrays in files."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from esen.errors import InputError
from esen.study.materials.arrays import read_arrays, write_arrays


@dataclass(frozen=True, eq=False)
class Pair:
    one: np.ndarray
    names: np.ndarray


def test_what_is_written_is_read(tmp_path: Path) -> None:
    write_arrays(tmp_path / "a.npz", Pair(np.zeros((0, 3)), np.array(["Γ", "X"])))
    again = read_arrays(tmp_path / "a.npz", Pair)
    assert again.one.shape == (0, 3)
    assert again.names.tolist() == ["Γ", "X"]
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]


def test_two_may_write_the_same_at_once(tmp_path: Path) -> None:
    pair = Pair(np.random.default_rng(0).normal(size=(2000, 3)), np.array(["X"]))
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: write_arrays(tmp_path / "a.npz", pair), range(24)))
    assert np.array_equal(read_arrays(tmp_path / "a.npz", Pair).one, pair.one)
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]


@pytest.mark.parametrize("content", [b"", b"PK", b"PK\x03\x04 and no more", b"\x93NUMPY"])
def test_damage_is_told(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.npz: damaged .* remove it to compute it anew"):
        read_arrays(tmp_path / "a.npz", Pair)


def test_something_else_is_told(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", other=np.zeros(1))
    with pytest.raises(InputError, match="damaged"):
        read_arrays(tmp_path / "a.npz", Pair)
