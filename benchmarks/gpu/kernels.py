"""Where the time of a prediction and of a training step goes: the longest kernels, and what waits for the GPU."""

import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from common import SPECS, attempt, graph_of, network, options, row, silicon, synchronize
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity

from esen.graph.batch import make_graph, make_labels
from esen.models.potential import make_potential
from esen.recipe.train import LossSpec
from esen.train.step import MicroBatch, Objective


def kernels(what: dict[str, object], call: Callable[[], object], device: str, most: int = 15) -> None:
    """Print the sum of the times of all kernels of a call, their number, and the longest."""
    for _ in range(2):
        call()
    synchronize(device)
    with torch.profiler.profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiler:
        call()
        synchronize(device)
    events = [
        e for e in profiler.key_averages() if e.device_type == DeviceType.CUDA
    ]  # kernels, not operations
    events = [e for e in events if e.self_device_time_total > 0]
    events.sort(key=lambda e: -e.self_device_time_total)
    total = sum(e.self_device_time_total for e in events) / 1000
    row(**what, kernels=sum(e.count for e in events), ms=round(total, 3))
    for e in events[:most]:
        share = e.self_device_time_total / 1000 / total
        row(
            **what,
            kernel=e.key[:90],
            count=e.count,
            ms=round(e.self_device_time_total / 1000, 3),
            share=round(share, 3),
        )


def waits(what: dict[str, object], call: Callable[[], object]) -> None:
    """Print from which lines a call waits for the GPU, and how often."""
    call()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            call()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    synchronizing = [w for w in caught if "called a synchronizing" in str(w.message)]
    places = Counter(f"{'/'.join(Path(w.filename).parts[-2:])}:{w.lineno}" for w in synchronizing)
    row(**what, waits=sum(places.values()), places=dict(places.most_common(12)))


def main() -> None:
    asked = options(__doc__)
    device = asked.device
    names, atoms = (["tiny"], 8) if asked.small else (["3.2M", "30M"], 216)
    for name in names:
        potential, graph = network(name, device), graph_of(atoms, SPECS[name].cutoff, device)
        trained = make_potential(SPECS[name], seed=0).to(device).train()
        frame = replace(silicon(atoms), forces=0 * silicon(atoms).positions)
        part = MicroBatch(make_graph(frame, trained.cutoff), make_labels(frame)).ready_for(
            torch.device(device)
        )
        calls: dict[str, Callable[[], object]] = {
            "prediction": lambda potential=potential, graph=graph: potential(graph),
            "training step": lambda trained=trained, part=part: Objective(LossSpec()).add_gradient(
                trained, [part]
            ),
        }
        for kind, call in calls.items():
            what = {"model": name, "atoms": atoms, "of": kind}
            attempt(what, lambda what=what, call=call: kernels(what, call, device) or {"done": "kernels"})
            if device.startswith("cuda"):
                attempt(what, lambda what=what, call=call: waits(what, call) or {"done": "waits"})


if __name__ == "__main__":
    main()
