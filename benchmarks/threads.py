"""Count the training steps of the quickstart with idle cores, with a busy core, and with a core that becomes busy.

    python benchmarks/threads.py [--seconds 45] [--rounds 2]

Each variant trains for the same time, in turns: threads chosen by `esen train`, all threads that PyTorch takes by
default (`--threads N`), and one thread. The other program is an endless loop in one process per busy core. The table
has the steps made, and their ratio to the best of the fixed numbers of threads in the same situation.
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RECIPE = Path(__file__).parents[1] / "recipes" / "quickstart.yaml"
LOOP = "while True: pass"
SITUATIONS = {"idle": None, "one core busy": 0.0, "busy after a third": 1 / 3}


def steps_made(threads: list[str], seconds: float, busy_from: float | None) -> int:
    """Return the steps that a training makes in a time, which includes its start.

    Args:
        threads: Options of `esen train`.
        seconds: Time of the training in seconds.
        busy_from: When another program starts, as a fraction of the time; None if there is none.
    """
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        command = [sys.executable, "-m", "esen_cli.app", "train", str(RECIPE), "--output", str(run), *threads]
        command += ["--set", "tracking.enabled=false", "--set", "train.seed=1", "--device", "cpu"]
        start = time.monotonic()
        other = subprocess.Popen([sys.executable, "-c", LOOP]) if busy_from == 0 else None
        free = {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"}
        log = (Path(folder) / "log").open("w")
        training = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=log, env=free)
        try:
            if busy_from:
                time.sleep(seconds * busy_from)
                other = subprocess.Popen([sys.executable, "-c", LOOP])
            time.sleep(start + seconds - time.monotonic())
            metrics = run / "metrics.jsonl"
            if training.poll() is not None or not metrics.exists():
                raise SystemExit((Path(folder) / "log").read_text())
            rows = [
                json.loads(line)
                for line in metrics.read_text().splitlines(keepends=True)
                if line.endswith("\n")
            ]
            return max(row["step"] for row in rows)
        finally:
            if other is not None:
                other.kill()
                other.wait()
            training.send_signal(signal.SIGKILL)
            training.wait()


def main() -> None:
    """Measure all situations and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=45)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    cores = len(os.sched_getaffinity(0))
    variants = {"chosen": [], f"{cores} threads": ["--threads", str(cores)], "1 thread": ["--threads", "1"]}
    print(f"{'':20}" + "".join(f"{name:>14}" for name in variants) + f"{'ratio':>10}")
    for situation, busy_from in SITUATIONS.items():
        made: dict[str, list[int]] = {name: [] for name in variants}
        for _ in range(options.rounds):
            for name, threads in variants.items():
                made[name].append(steps_made(threads, options.seconds, busy_from))
        middle = {name: statistics.median(counts) for name, counts in made.items()}
        chosen, *fixed = middle.values()
        print(
            f"{situation:20}"
            + "".join(f"{v:14.0f}" for v in middle.values())
            + f"{chosen / max(fixed):10.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
