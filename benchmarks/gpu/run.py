"""Check and measure esen on one GPU, in a few minutes: tests, inference, dynamics, training, commands.

    python benchmarks/gpu/run.py [--out FOLDER] [--only PART,…] [--device cuda] [--small] [--limit SECONDS]

Each part is a process with a time limit of its own, so that the failure of one does not end the others. Results are
printed as they come, and written to FOLDER/results.json and FOLDER/results.md. `--device cpu --small` rehearses
everything on a CPU. Neither mlflow nor phonopy nor pyarrow is needed.
"""

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
PYTEST = [sys.executable, "-m", "pytest", "-q", "-m", "not slow", "-p", "no:cacheprovider", "--tb=short"]
QUICK = ["tests/models", "tests/graph", "tests/md"]
CAPTURES = "tests/device/test_captured.py"
"""Runs in a process of its own, because nothing may work after a failed capture of a CUDA graph."""
TESTS = ("captures", "tests")
SECONDS = {
    "captures": 120,
    "tests": 150,
    "limits": 45,
    "inference": 120,
    "dynamics": 90,
    "training": 120,
    "kernels": 60,
    "commands": 90,
    "neighbours": 20,
}
"""Time limits of the parts."""


def commands(part: str, asked: argparse.Namespace) -> list[tuple[list[str], dict[str, str]]]:
    """Return the commands of a part, which run at the same time, and what each needs in its environment."""
    if part not in TESTS:
        small = ["--small"] if asked.small else []
        return [([sys.executable, str(HERE / f"{part}.py"), "--device", asked.device, *small], {})]
    on_device = {"ESEN_TEST_DEVICE": asked.device}
    if part == "captures":
        return [([*PYTEST, CAPTURES], on_device)]
    device = [*PYTEST, "tests/device", "--ignore", CAPTURES]
    if asked.small:
        return [(device, on_device)]
    workers = max((os.cpu_count() or 2) // 2 - 1, 1)
    return [
        ([*device, "-n", "4"], on_device),
        ([*PYTEST, "-n", str(workers), *QUICK], {"CUDA_VISIBLE_DEVICES": ""}),
    ]


def run_part(part: str, asked: argparse.Namespace, end: float) -> dict[str, Any]:
    """Run the commands of a part, print what they print, and return their rows."""
    begun = time.monotonic()
    limit = min(SECONDS[part], end - begun)
    print(f"== {part}", flush=True)
    if limit < 5:
        return {"rows": [], "error": "no time was left"}
    processes = []
    for number, (command, more) in enumerate(commands(part, asked)):
        log = asked.out / f"{part}-{number}.log"
        environment = os.environ | more | {"PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1"}
        environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
        with log.open("w") as file:
            process = subprocess.Popen(
                command, stdout=file, stderr=subprocess.STDOUT, cwd=ROOT, env=environment, process_group=0
            )
        processes.append((process, log))
    result: dict[str, Any] = {"rows": []}
    for process, log in processes:
        try:
            code: int | str = process.wait(timeout=max(limit - (time.monotonic() - begun), 1))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # also the processes that it has started
            process.wait()
            code = f"stopped after {limit:.0f} s"
        lines = log.read_text(errors="replace").splitlines()
        rows = [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]
        result["rows"] += rows
        if part in TESTS:
            result["rows"].append(
                {"command": " ".join(process.args[3:]), "result": lines[-1] if lines else ""}
            )
        for line in map(json.dumps, result["rows"][-len(rows) or None :] if rows else result["rows"][-1:]):
            print(line, flush=True)
        if code != 0:
            result["error"] = code if isinstance(code, str) else f"exit code {code}"
        if code != 0 or any("error" in row for row in rows):
            print("\n".join(line for line in lines if not line.startswith("{"))[-3000:], flush=True)
    result["seconds"] = round(time.monotonic() - begun, 1)
    return result


def table(results: dict[str, Any]) -> str:
    """Return all rows as Markdown, one table per part."""
    text = [f"{results['card']}, torch {results['torch']}, Python {results['python']}\n"]
    for part, result in results["parts"].items():
        text.append(f"\n## {part} ({result.get('seconds', 0):g} s)\n")
        if "error" in result:
            text.append(f"{result['error']}\n")
        names = list(dict.fromkeys(name for row in result["rows"] for name in row))
        if names:
            text.append("| " + " | ".join(names) + " |")
            text.append("|" + "---|" * len(names))
            text += [
                "| " + " | ".join(_cell(row.get(name)) for name in names) + " |" for row in result["rows"]
            ]
    return "\n".join(text) + "\n"


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.3g}" if isinstance(value, float) and abs(value) < 0.01 else str(value)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "gpu")
    parser.add_argument("--only", default=",".join(SECONDS))
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--limit", type=float, default=480)
    asked = parser.parse_args()
    parts = asked.only.split(",")
    if unknown := [part for part in parts if part not in SECONDS]:
        parser.error(f"--only {','.join(unknown)}: expected some of {', '.join(SECONDS)}")
    import torch

    if asked.device.startswith("cuda") and not torch.cuda.is_available():
        parser.error("there is no GPU; rehearse with --device cpu --small")
    card = torch.cuda.get_device_name() if asked.device.startswith("cuda") else platform.processor() or "CPU"
    asked.out.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + asked.limit
    results: dict[str, Any] = {
        "card": card,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "parts": {},
    }
    for part in parts:
        results["parts"][part] = run_part(part, asked, end)
        (asked.out / "results.json").write_text(json.dumps(results, indent=1))
        (asked.out / "results.md").write_text(table(results))
    failed = [part for part, result in results["parts"].items() if "error" in result]
    print(f"== failed: {', '.join(failed)}" if failed else "== all parts ran to their end")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
