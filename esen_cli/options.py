"""Options that several commands have."""

from pathlib import Path
from typing import Annotated, Literal

import typer

Device = Annotated[
    Literal["auto", "cpu", "cuda"], typer.Option(help="Where to compute; auto: a GPU if there is one.")
]
Dtype = Annotated[
    Literal["float32", "float64"] | None, typer.Option(help="Precision of weights.  [default: float64]")
]
CalculatorArgs = Annotated[
    list[str] | None,
    typer.Option(metavar="KEY=VALUE", help="An argument of emt, lj or the factory. Repeatable."),
]
NamedCalculatorArgs = Annotated[
    list[str] | None,
    typer.Option(
        metavar="[NAME:]KEY=VALUE",
        help="An argument of emt, lj or the factories, or of the one called NAME alone. Repeatable.",
    ),
]
Track = Annotated[bool, typer.Option("--track/--no-track", help="Keep the test in MLflow.")]
Also = Annotated[list[str] | None, typer.Option(metavar="POTENTIAL", help="One more potential. Repeatable.")]
Relax = Annotated[
    bool, typer.Option("--relax/--no-relax", help="Relax positions and cell first, as the protocol does.")
]
AllowDirect = Annotated[
    bool, typer.Option("--allow-direct", help="Run potentials whose forces are no gradient, too.")
]
BatchAtoms = Annotated[int, typer.Option(min=1, help="Displaced supercells that go together, in atoms.")]
Records = Annotated[
    Path | None,
    typer.Option(help="Folder of all files; what it holds is not computed again.  [default: new]"),
]
Retry = Annotated[bool, typer.Option("--retry", help="Compute anew what failed.")]
