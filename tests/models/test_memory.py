"""When edges are computed twice to save memory."""

import psutil
import pytest
import torch

from esen.errors import InputError
from esen.models.memory import free_bytes, is_lean, kept_per_edge, memory_mode
from esen.recipe.model import ModelSpec
from esen.recipe.train import MemoryMode
from tests.models.variants import VARIANTS

SPEC = VARIANTS["default"]
CPU = torch.device("cpu")


def lean(
    mode: MemoryMode, edges: int = 1000, *, training: bool = False, dtype: torch.dtype = torch.float32
) -> bool:
    return is_lean(mode, SPEC, edges, dtype=dtype, device=CPU, training=training)


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A machine with half of its memory needed by 2000 edges in float32 without training."""
    size = 2 * 2000 * 4 * kept_per_edge(SPEC, training=False)
    monkeypatch.setattr("esen.models.memory.free_bytes", lambda device: size)
    return monkeypatch


def test_a_mode_that_is_asked_for_is_taken(free: pytest.MonkeyPatch) -> None:
    for edges in (1, 10**9):
        assert lean("lean", edges)
        assert not lean("fast", edges)


def test_by_itself_it_is_lean_where_all_would_take_more_than_half_of_the_memory(
    free: pytest.MonkeyPatch,
) -> None:
    assert [lean("auto", edges) for edges in (0, 1999, 2000, 2001)] == [False, False, False, True]
    assert lean("auto", 1001, dtype=torch.float64)
    assert not lean("auto", 999, dtype=torch.float64)
    ratio = kept_per_edge(SPEC, training=True) / kept_per_edge(SPEC, training=False)
    assert ratio > 1  # derivatives of derivatives keep more
    assert lean("auto", int(2000 / ratio) + 1, training=True)
    assert not lean("auto", int(2000 / ratio) + 1)


@pytest.mark.parametrize("mode", ["fast", "lean", "auto"])
def test_where_nothing_is_differentiated_nothing_is_kept(mode: MemoryMode, free: pytest.MonkeyPatch) -> None:
    with torch.no_grad():
        assert not lean(mode, 10**9)


def test_the_memory_of_a_machine() -> None:
    assert 0 < free_bytes(CPU) <= psutil.virtual_memory().total


def test_an_unknown_mode_is_one_line() -> None:
    assert [memory_mode(name) for name in ("fast", "lean", "auto")] == ["fast", "lean", "auto"]
    for name, words in (("slim", "'slim'"), ("leen", "'leen'.*'lean'"), ("", "''")):
        with pytest.raises(InputError, match=words):
            memory_mode(name)


def test_the_estimate_of_the_default_network() -> None:
    """10,000 edges in float32 keep 1.4 GB for forces, by measurement."""
    assert 10_000 * 4 * kept_per_edge(ModelSpec(), training=False) == pytest.approx(1.4e9, rel=0.2)
