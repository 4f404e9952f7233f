"""The commands as a user calls them: train on the frames of MgO that come with esen, test, integrate, relax, check."""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common import attempt, options

ROOT = Path(__file__).parent.parent.parent


def main() -> None:
    asked = options(__doc__)
    epochs = "1" if asked.small else "2"
    with tempfile.TemporaryDirectory() as folder:
        run = str(Path(folder) / "run")
        cell = str(ROOT / "recipes" / "data" / "mgo" / "mgo.cif")
        device = ["--device", asked.device]
        small = (
            ["--set", "model.sphere_channels=8", "--set", "model.hidden_channels=8"] if asked.small else []
        )
        epochs_of = ["--set", f"train.stages=[{{epochs: {epochs}}}]", "--set", "tracking.enabled=false"]
        commands = {
            "train": ["train", "quickstart", "--output", run, *epochs_of, *small, *device],
            "md-drift": [
                "md-drift",
                run,
                "--structures",
                cell,
                "--duration",
                "0.02" if asked.small else "1",
                *device,
            ],
            "relax": ["relax", run, cell, *device],
            "check": ["check", run, *device],
        }
        for name, command in commands.items():

            def measure(command: list[str] = command) -> dict[str, object]:
                begun = time.perf_counter()
                call = [sys.executable, "-c", "from esen_cli.app import main; main()", *command]
                done = subprocess.run(call, check=False, cwd=folder, capture_output=True, text=True)
                seconds = round(time.perf_counter() - begun, 1)
                result: dict[str, object] = {"seconds": seconds, "exit_code": done.returncode}
                if done.returncode:
                    result["error"] = done.stderr.strip()[-2000:]
                return result | {"lines": (done.stdout or done.stderr).strip().splitlines()[:12]}

            attempt({"command": name}, measure)


if __name__ == "__main__":
    main()
