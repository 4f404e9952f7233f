"""`esen mae`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from esen_cli.options import Device
from esen_cli.output import fresh_folder, not_a_run, print_result

_RECIPE_DEFAULT = "[default: as in recipes]"


def mae(  # noqa: PLR0913, PLR0917  # the options of a command are its arguments
    potential: Annotated[str, typer.Argument(help="Weights (.safetensors), or the folder of a run.")],
    data: Annotated[list[str], typer.Argument(help="Files, folders or glob patterns of extxyz frames.")],
    output: Annotated[
        Path | None, typer.Option(help="Folder for the tables and plots.  [default: new]")
    ] = None,
    energy_key: Annotated[str | None, typer.Option(help=f"Name of the energy.  {_RECIPE_DEFAULT}")] = None,
    forces_key: Annotated[str | None, typer.Option(help=f"Name of the forces.  {_RECIPE_DEFAULT}")] = None,
    stress_key: Annotated[str | None, typer.Option(help=f"Name of the stress.  {_RECIPE_DEFAULT}")] = None,
    stress_convention: Annotated[
        Literal["ase", "vasp_kbar", "virial"] | None, typer.Option(help=f"Sign and unit.  {_RECIPE_DEFAULT}")
    ] = None,
    frames: Annotated[str | None, typer.Option(help="Frames of each file, a slice such as ::10.")] = None,
    batch_atoms: Annotated[int, typer.Option(min=1, help="Atoms computed at once.")] = 256,
    dtype: Annotated[
        Literal["float32", "float64"] | None, typer.Option(help="Precision.  [default: that of the weights]")
    ] = None,
    memory: Annotated[
        Literal["auto", "lean", "fast"], typer.Option(help="Lean: less memory, half as much time again.")
    ] = "auto",
    device: Device = "auto",
) -> None:
    """Errors of energies, forces and stresses on labelled frames."""
    from esen.recipe import DataSpec, SourceSpec

    chosen = {
        "energy_key": energy_key,
        "forces_key": forces_key,
        "stress_key": stress_key,
        "stress_convention": stress_convention,
    }
    sources = [
        SourceSpec(path=path) if frames is None else SourceSpec(path=path, frames=frames) for path in data
    ]
    reading = DataSpec(train=tuple(sources)).model_copy(
        update={k: v for k, v in chosen.items() if v is not None}
    )
    weights = Path(potential)
    name = f"{weights.parent.name}-{weights.stem}".strip("-") if weights.is_file() else weights.name
    folder = not_a_run(output) if output is not None else fresh_folder(f"mae-{name}")

    from esen.study.mae import run_mae

    result = run_mae(
        potential,
        sources,
        energy_key=reading.energy_key,
        forces_key=reading.forces_key,
        stress_key=reading.stress_key,
        stress_convention=reading.stress_convention,
        output=folder,
        dtype=dtype,
        device=device,
        memory=memory,
        batch_atoms=batch_atoms,
    )
    print_result(result.rows, result.paths)
