"""The panels of the help, and the options that several commands have."""

from pathlib import Path
from typing import Annotated, Literal

import typer

POTENTIALS = "Potentials"
STRUCTURES = "Structures"
LABELS = "Labels"
PROTOCOL = "Protocol"
RELAXATION = "Relaxation"
DEVICE = "Device"
OUTPUT = "Output"
TRACKING = "Tracking"

POTENTIAL_HELP = "Weights (.safetensors), the folder of a run, emt, lj, or module:factory (an ASE calculator)"
"""What a command accepts as a potential; each command ends the sentence."""

Potential = Annotated[str, typer.Argument(metavar="POTENTIAL", help=f"{POTENTIAL_HELP}.")]
Potentials = Annotated[list[str], typer.Argument(metavar="POTENTIAL", help=f"{POTENTIAL_HELP}.")]
Also = Annotated[
    list[str] | None,
    typer.Option(
        metavar="POTENTIAL",
        help="Another potential, computed and shown beside the first. Repeatable.",
        rich_help_panel=POTENTIALS,
    ),
]
CalculatorArgs = Annotated[
    list[str] | None,
    typer.Option(
        metavar="KEY=VALUE",
        help="Pass an argument to emt, lj or the factory. Repeatable.",
        rich_help_panel=POTENTIALS,
    ),
]
NamedCalculatorArgs = Annotated[
    list[str] | None,
    typer.Option(
        metavar="[NAME:]KEY=VALUE",
        help="Pass an argument to emt, lj and the factories, or only to the potential NAME. Repeatable.",
        rich_help_panel=POTENTIALS,
    ),
]
AllowDirect = Annotated[
    bool,
    typer.Option(
        "--allow-direct",
        help="Also run potentials whose forces are not the gradient of their energy.",
        rich_help_panel=POTENTIALS,
    ),
]

Structures = Annotated[
    list[str],
    typer.Argument(metavar="FILE", help="Structures in any format that esen or ASE reads."),
]
Frames = Annotated[
    str,
    typer.Option(
        metavar="SLICE",
        help="Frames to take from each file, such as ::10.",
        rich_help_panel=STRUCTURES,
    ),
]
EnergyKey = Annotated[
    str,
    typer.Option(
        metavar="KEY",
        help="Name of the energy in the files; none: do not read it.",
        rich_help_panel=LABELS,
    ),
]
ForcesKey = Annotated[
    str,
    typer.Option(
        metavar="KEY",
        help="Name of the forces in the files; none: do not read them.",
        rich_help_panel=LABELS,
    ),
]
StressKey = Annotated[
    str,
    typer.Option(
        metavar="KEY",
        help="Name of the stress in the files; none: do not read it.",
        rich_help_panel=LABELS,
    ),
]
StressConvention = Annotated[
    Literal["ase", "vasp_kbar", "virial"],
    typer.Option(
        help="Sign and unit of the stress, where the format does not fix them: eV/Å³ of ASE, kbar of VASP,"
        " or virial in eV.",
        rich_help_panel=LABELS,
    ),
]

Relax = Annotated[
    bool,
    typer.Option(
        "--relax/--no-relax",
        help="Relax positions and cell first, as the protocol prescribes.",
        rich_help_panel=RELAXATION,
    ),
]

Device = Annotated[
    Literal["auto", "cpu", "cuda"],
    typer.Option(help="Where to compute; auto uses a GPU if there is one.", rich_help_panel=DEVICE),
]
Dtype = Annotated[
    Literal["float32", "float64"] | None,
    typer.Option(help="Precision of the weights.  [default: float64]", rich_help_panel=DEVICE),
]
BatchAtoms = Annotated[
    int,
    typer.Option(
        metavar="N",
        min=1,
        help="Largest number of atoms per batch of displaced supercells.",
        rich_help_panel=DEVICE,
    ),
]

Output = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER",
        help="Folder for all results.  [default: a new folder in runs/]",
        rich_help_panel=OUTPUT,
    ),
]
Records = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER",
        help="Folder for all results; results that it already holds are not computed again."
        "  [default: a new folder in runs/]",
        rich_help_panel=OUTPUT,
    ),
]
Retry = Annotated[
    bool, typer.Option("--retry", help="Compute failed items of --output again.", rich_help_panel=OUTPUT)
]
Track = Annotated[
    bool,
    typer.Option("--track/--no-track", help="Record the run in MLflow.", rich_help_panel=TRACKING),
]
