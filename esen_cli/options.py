"""The panels of the help, and the options that several commands have."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

POTENTIALS = "Potentials"
STRUCTURES = "Structures"
LABELS = "Labels"
PROTOCOL = "Protocol"
RELAXATION = "Relaxation"
DEVICE = "Device"
OUTPUT = "Output"
TRACKING = "Tracking"


def in_panel(panel: str) -> Callable[..., Any]:
    """Return `typer.Option` with the panel of the help in which the option is listed."""

    def option(*names: str, **settings: Any) -> Any:
        return typer.Option(*names, rich_help_panel=panel, **settings)

    return option


potentials_option = in_panel(POTENTIALS)
structures_option = in_panel(STRUCTURES)
labels_option = in_panel(LABELS)
protocol_option = in_panel(PROTOCOL)
relaxation_option = in_panel(RELAXATION)
device_option = in_panel(DEVICE)
output_option = in_panel(OUTPUT)
tracking_option = in_panel(TRACKING)

POTENTIAL_HELP = "Weights (.safetensors), the folder of a run, emt, lj, or module:factory (an ASE calculator)"
"""What a command accepts as a potential; each command ends the sentence."""

Potential = Annotated[str, typer.Argument(metavar="POTENTIAL", help=f"{POTENTIAL_HELP}.")]
Potentials = Annotated[list[str], typer.Argument(metavar="POTENTIAL", help=f"{POTENTIAL_HELP}.")]
Also = Annotated[
    list[str] | None,
    potentials_option(
        metavar="POTENTIAL", help="Another potential, computed and shown beside the first. Repeatable."
    ),
]
CalculatorArgs = Annotated[
    list[str] | None,
    potentials_option(metavar="KEY=VALUE", help="Pass an argument to emt, lj or the factory. Repeatable."),
]
NamedCalculatorArgs = Annotated[
    list[str] | None,
    potentials_option(
        metavar="[NAME:]KEY=VALUE",
        help="Pass an argument to emt, lj and the factories, or only to the potential NAME. Repeatable.",
    ),
]
AllowDirect = Annotated[
    bool,
    potentials_option(
        "--allow-direct", help="Also run potentials whose forces are not the gradient of their energy."
    ),
]

Structures = Annotated[
    list[str],
    typer.Argument(metavar="FILE", help="Structures in any format that esen or ASE reads."),
]
Frames = Annotated[
    str, structures_option(metavar="SLICE", help="Frames to take from each file, such as ::10.")
]
MaxAtoms = Annotated[
    int,
    structures_option(
        metavar="N", min=1, help="Refuse supercells of more atoms, unless they are given by an option."
    ),
]
EnergyKey = Annotated[
    str, labels_option(metavar="KEY", help="Name of the energy in the files; none: do not read it.")
]
ForcesKey = Annotated[
    str, labels_option(metavar="KEY", help="Name of the forces in the files; none: do not read them.")
]
StressKey = Annotated[
    str, labels_option(metavar="KEY", help="Name of the stress in the files; none: do not read it.")
]
StressConvention = Annotated[
    Literal["ase", "vasp_kbar", "virial"],
    labels_option(
        help="Sign and unit of the stress, where the format does not fix them: eV/Å³ of ASE, kbar of VASP,"
        " or virial in eV."
    ),
]

Displacement = Annotated[
    float | None, protocol_option(metavar="Å", help="Displacement of the atoms.  [default: 0.01]")
]
Relax = Annotated[
    bool,
    relaxation_option(
        "--relax/--no-relax", help="Relax positions and cell first, as the protocol prescribes."
    ),
]

Device = Annotated[
    Literal["auto", "cpu", "cuda"], device_option(help="Where to compute; auto uses a GPU if there is one.")
]
Dtype = Annotated[
    Literal["float32", "float64"] | None, device_option(help="Precision of the weights.  [default: float64]")
]
BatchAtoms = Annotated[
    int, device_option(metavar="N", min=1, help="Largest number of atoms in a batch of structures.")
]

Output = Annotated[
    Path | None,
    output_option(metavar="FOLDER", help="Folder for all results.  [default: a new folder in runs/]"),
]
Records = Annotated[
    Path | None,
    output_option(
        metavar="FOLDER",
        help="Folder for all results; results that it already holds are not computed again."
        "  [default: a new folder in runs/]",
    ),
]
Plots = Annotated[bool, output_option("--plots/--no-plots", help="Draw figures.")]
Retry = Annotated[bool, output_option("--retry", help="Compute failed items of --output again.")]
Track = Annotated[bool, tracking_option("--track/--no-track", help="Record the run in MLflow.")]
