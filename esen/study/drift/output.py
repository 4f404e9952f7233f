"""The files of a test."""

import csv
import io
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from esen.errors import InputError
from esen.files import write_atomically
from esen.md.drift import Drift
from esen.study.drift.plots import energy_plot, order_plot
from esen.study.drift.result import OrderTest, Trajectory, mean_drift, plain

UNITS = {
    "slope": "meV/atom/ps",
    "slope_error": "meV/atom/ps, half of the 95 % interval",
    "wander": "meV/atom",
    "fair": "meV/atom/ps",
    "lambench": "as LAMBench prints it: 10.18 × eV/atom/ps",
    "largest": "meV/atom",
    "fluctuation": "meV/√atom",
    "relative": "1/ps",
    "temperature": "K",
    "temperature_end": "K",
    "duration_ps": "ps",
}


def write_results(
    output: Path,
    manifest: Mapping[str, Any],
    threshold: float,
    trajectories: Sequence[Trajectory],
    orders: Sequence[OrderTest],
) -> dict[str, Path]:
    """Write `result.json`, `drift.csv` and the plots, each whole or not at all.

    Raises:
        InputError: the folder cannot be written.
    """
    paths = {"all numbers": output / "result.json", "drifts": output / "drift.csv"}
    content = {
        **manifest,
        "threshold_meV_per_atom_ps": threshold,
        "units": UNITS,
        "mean_abs_drift": {
            label: mean_drift([t for t in trajectories if t.potential == label])
            for label in dict.fromkeys(t.potential for t in trajectories)
        },
        "trajectories": [{**t.to_json(), "energies": os.path.relpath(t.path, output)} for t in trajectories],
        "order_tests": [test.to_json() for test in orders],
    }
    try:
        text = json.dumps(plain(content), indent=1, ensure_ascii=False, allow_nan=False)
        write_atomically(paths["all numbers"], text.encode() + b"\n")
        write_atomically(paths["drifts"], _csv(trajectories))
        for protocol in dict.fromkeys(t.protocol.name for t in trajectories if t.series is not None):
            mine = [t for t in trajectories if t.protocol.name == protocol and t.series is not None]
            several = len({t.protocol.name for t in trajectories}) > 1
            name = f"energy-{protocol}.png" if several else "energy.png"
            paths[f"energy against time{f', {protocol}' if several else ''}"] = output / name
            energy_plot(mine, output / name)
        if orders:
            paths["order of the integrator"] = output / "order.png"
            order_plot(orders, output / "order.png")
    except OSError as error:
        raise InputError(f"{output}: cannot be written ({error.strerror or error})") from error
    return paths | {"energies, row by row": output}


def _csv(trajectories: Sequence[Trajectory]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    names = [field.name for field in fields(Drift)]
    head = ["potential", "protocol", "system", "formula", "atoms", "start_temperature_K", "verdict"]
    writer.writerow([*head, *names, "lambda_max", "stopped_at_step", "reason"])
    for t in trajectories:
        numbers = [""] * len(names) if t.drift is None else [f"{v:.9g}" for v in asdict(t.drift).values()]
        stopped = ("", "") if t.failure is None else (t.failure.step, t.failure.reason)
        asymmetry = f"{max(t.asymmetry):.9g}" if t.asymmetry else ""
        about = [t.potential, t.protocol.name, t.system, t.formula, t.atoms, t.temperature_kelvin, t.verdict]
        writer.writerow([*about, *numbers, asymmetry, *stopped])
    return text.getvalue().encode()
