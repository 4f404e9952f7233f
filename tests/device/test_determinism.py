"""Two predictions of one graph on the device."""

from collections.abc import Callable, Iterator

import pytest
import torch

from tests.device.small import batch, on_cpu, potential_on, predictions_apart

each_variant = pytest.mark.parametrize("variant", ["default", "grid 6", "direct"])


@each_variant
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
def test_two_predictions(
    variant: str, dtype: torch.dtype, device: str, record_property: Callable[[str, object], None]
) -> None:
    """Sums over edges may be made in any order, and differ by rounding alone."""
    potential, graph = potential_on(device, variant, dtype), batch(device)
    first = on_cpu(potential(graph))
    largest = max(predictions_apart(on_cpu(potential(graph)), first) for _ in range(3))
    record_property("largest_relative_difference", largest)
    assert largest <= (1e-12 if dtype == torch.float64 else 1e-5)


@pytest.fixture
def deterministic(device: str) -> Iterator[None]:
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@each_variant
@pytest.mark.usefixtures("deterministic")
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
def test_the_same_bits_where_torch_is_told_to_be_deterministic(
    variant: str, dtype: torch.dtype, device: str
) -> None:
    potential, graph = potential_on(device, variant, dtype), batch(device)
    first, second = on_cpu(potential(graph)), on_cpu(potential(graph))
    for name, value in vars(first).items():
        assert torch.equal(value.nan_to_num(), getattr(second, name).nan_to_num()), name


@pytest.mark.usefixtures("deterministic")
@pytest.mark.parametrize("variant", ["default", "direct"])
def test_the_same_bits_of_the_gradient_of_a_step(variant: str, device: str) -> None:
    graph, found = batch(device), []
    for _ in range(2):
        potential = potential_on(device, variant).train()
        prediction = potential(graph)
        (prediction.energy.sum() + prediction.forces.square().sum()).backward()
        found.append([p.grad for p in potential.parameters() if p.grad is not None])
    assert len(found[0]) > 20
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))
