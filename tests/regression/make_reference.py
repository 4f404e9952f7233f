"""Write the reference numbers: `OMP_NUM_THREADS=1 python -m tests.regression.make_reference [NAME...]`.

`reference/*.json` were made by this script from the code as it stood before the commands were merged into one engine
(commit f38f027; torch 2.13.0, CPU, one thread). They are made again only where a number is meant to change, and the
commit says why.

`tiny.safetensors` is a network of one layer and l ≤ 1, trained with `esen train` for 40 epochs of 120 frames of B2 AlPd
(8 or 16 atoms; cells strained by up to 5 %, atoms displaced by 0.08 Å, standard deviation) that ASE's EMT labelled;
`frames.xyz` are the first six. `crystal.xyz` is that crystal near its equilibrium, `stretched.xyz` at a volume where
the network has no imaginary modes, `rattled.xyz` and `metals.xyz` are strained and displaced.
"""

import json
import os
import sys
import tempfile
from pathlib import Path

from tests.regression.results import COMMANDS, HERE, copy_inputs


def main(names: list[str]) -> None:
    """Run the commands of these names, or all of them."""
    start = Path.cwd()
    for name in names or list(COMMANDS):
        with tempfile.TemporaryDirectory() as folder:
            copy_inputs(Path(folder))
            os.chdir(folder)
            numbers = COMMANDS[name].run(Path(folder))
            os.chdir(start)
        target = HERE / "reference" / f"{name}.json"
        target.parent.mkdir(exist_ok=True)
        lines = (f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in numbers.items())
        target.write_text("{\n" + ",\n".join(lines) + "\n}\n")
        print(f"{target}: {len(numbers)}")  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1:])
