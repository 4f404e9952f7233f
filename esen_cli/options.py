"""Options that several commands have."""

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
