import pytest
import torch

from esen.errors import InputError
from esen.graph.batch import make_graph
from esen.train.memory import must_fit
from tests.train.small import crystals

CPU = RuntimeError(
    "[enforce fail at alloc_cpu.cpp:117] . DefaultCPUAllocator: can't allocate memory: you tried …"
)


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), CPU, MemoryError()])
def test_a_batch_that_does_not_fit_is_named_with_the_remedy(error: Exception) -> None:
    graph = make_graph(crystals(3), 3.5)
    expected = (
        f"3 structures, 6 atoms and {graph.num_edges} edges does not fit.*"
        r"write train\.micro_batch_atoms: 3"
    )
    with pytest.raises(InputError, match=expected), must_fit(graph):
        raise error


def test_one_structure_cannot_be_divided() -> None:
    with pytest.raises(InputError, match="smaller"), must_fit(make_graph(crystals(1), 3.5)):
        raise torch.OutOfMemoryError


def test_any_other_error_passes() -> None:
    with pytest.raises(RuntimeError, match="shapes"), must_fit(make_graph(crystals(1), 3.5)):
        raise RuntimeError("shapes do not match")
