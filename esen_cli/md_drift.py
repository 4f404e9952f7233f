"""`esen md-drift`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from esen.errors import InputError
from esen_cli.options import Device, Dtype, NamedCalculatorArgs, Track
from esen_cli.output import print_paths, print_table, result_folder

_WORDS = ("potential", "system", "verdict", "floor")
"""Columns of the tables that are no numbers."""


def md_drift(  # noqa: PLR0913, PLR0917  # the options of a command are its arguments
    potentials: Annotated[
        list[str],
        typer.Argument(help="Each weights (.safetensors), a run's folder, emt, lj, or module:factory (ASE)."),
    ],
    structures: Annotated[
        list[str] | None, typer.Option(help="A file of structures to simulate. Repeatable.")
    ] = None,
    protocol: Annotated[
        Literal["quick", "tm23", "md22", "fair", "fair-tm23", "fair-md22", "lambench"] | None,
        typer.Option(help="A protocol with its systems.  [default: quick, without --structures]"),
    ] = None,
    data: Annotated[Path | None, typer.Option(help="Folder with the protocol's published files.")] = None,
    only: Annotated[str | None, typer.Option(help="Only these of the protocol, as in Cu,Al.")] = None,
    frames: Annotated[str, typer.Option(help="Frames of each file, a slice such as ::10.")] = ":1",
    supercell: Annotated[
        str | None, typer.Option(metavar="N,N,N", help="Repeat the structures of --structures.")
    ] = None,
    temperature: Annotated[
        float | None,
        typer.Option(metavar="K", help="Of the initial velocities.  [default: 300, or the protocol's]"),
    ] = None,
    timestep: Annotated[
        float | None, typer.Option(metavar="FS", help="[default: 1, or the protocol's]")
    ] = None,
    duration: Annotated[
        float | None, typer.Option(metavar="PS", help="[default: 10, or the protocol's]")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Of the velocities.  [default: 0]")] = None,
    relax: Annotated[
        bool | None,
        typer.Option("--relax/--no-relax", help="Relax positions first.  [default: as the protocol]"),
    ] = None,
    record_every: Annotated[
        int | None, typer.Option(min=1, metavar="STEPS", help="Between rows of energies.  [default: 10]")
    ] = None,
    max_drift: Annotated[
        float | None, typer.Option(metavar="MEV/ATOM/PS", help="Exit code 1 for a larger drift.")
    ] = None,
    order_test: Annotated[
        bool, typer.Option("--order-test", help="Also at Δt/2, Δt/4, Δt/8: does the fluctuation fall as Δt²?")
    ] = False,
    jacobian: Annotated[
        bool, typer.Option("--jacobian", help="Also λ, the asymmetry of ∂F/∂r, along the trajectory.")
    ] = False,
    trajectory: Annotated[
        Literal["extxyz", "traj"] | None, typer.Option(help="Keep frames.  [default: energies alone]")
    ] = None,
    frame_every: Annotated[
        int | None, typer.Option(min=1, metavar="STEPS", help="Between frames.  [default: 100 frames in all]")
    ] = None,
    calculator_args: NamedCalculatorArgs = None,
    dtype: Dtype = None,
    device: Device = "auto",
    batch_atoms: Annotated[
        int, typer.Option(min=1, help="Systems that go together, in atoms; not for ASE calculators.")
    ] = 1024,
    output: Annotated[Path | None, typer.Option(help="Folder of all files.  [default: new]")] = None,
    beside: Annotated[
        list[Path] | None,
        typer.Option("--with", help="Folder of an earlier test, to be shown beside this one. Repeatable."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the test in --output.")] = False,
    track: Track = True,
) -> None:
    """Whether potentials conserve energy in dynamics. Exit code 1: a trajectory broke off, or --max-drift."""
    if resume and output is None:
        raise InputError("--resume: of which test? Give its folder with --output")
    if structures and (protocol or data or only):
        raise InputError("--structures: has its own systems; leave out --protocol, --data and --only")
    names = None if only is None else [name.strip() for name in only.split(",") if name.strip()]
    if names == []:
        raise InputError(f"--only {only!r}: names no system; expected names such as Cu,Al")
    _refuse_idle(structures, protocol, data, frames, trajectory, frame_every)
    folder = result_folder(output, "md-drift")

    from esen.study.drift import DriftOptions, run_drift
    from esen.study.drift.systems import choose_runs
    from esen.track import make_tracker

    runs = choose_runs(
        structures or (),
        protocol or "quick",
        data=data,
        only=names,
        frames=frames,
        supercell=supercell,
        temperature_kelvin=temperature,
        changes={
            "timestep_fs": timestep,
            "duration_ps": duration,
            "record_every": record_every,
            "seed": seed,
            "relax": relax,
        },
    )
    options = DriftOptions(
        max_drift=max_drift,
        order_test=4 if order_test else 0,
        jacobian=5 if jacobian else 0,
        trajectory=trajectory,
        frame_every=frame_every,
        batch_atoms=batch_atoms,
    )
    with make_tracker(track, run_name=folder.name) as tracker:
        result = run_drift(
            potentials,
            runs,
            options,
            output=folder,
            resume=resume,
            tracker=tracker,
            beside=beside or (),
            calculator_args=calculator_args or (),
            dtype=dtype,
            device=device,
        )
    _print(result.rows, result.order_rows, result.lines)
    print_paths(result.paths)
    if result.failed:
        raise typer.Exit(1)


def _refuse_idle(
    structures: Sequence[str] | None,
    protocol: str | None,
    data: Path | None,
    frames: str,
    trajectory: str | None,
    frame_every: int | None,
) -> None:
    """Options that would change nothing are mistakes."""
    if not structures and frames != ":1":
        raise InputError("--frames: is for the files of --structures; a protocol takes the first of each")
    if data is not None and protocol in (None, "quick"):
        raise InputError("--data: quick makes its systems itself; name the --protocol that the data are of")
    if frame_every is not None and trajectory is None:
        raise InputError("--frame-every: no frames are kept; ask for them with --trajectory extxyz or traj")


def _print(rows: Sequence[Any], order_rows: Sequence[Any], lines: Sequence[str]) -> None:
    print_table(rows, words=_WORDS, styles={"drifts": "bold red", "stopped": "bold red"})
    typer.echo("drift in meV/atom/ps; wander, max |ΔE| in meV/atom; σ/√N in meV; drift/σ(K) in 1/ps\n")
    if order_rows:
        print_table(order_rows, words=_WORDS)
        typer.echo(
            "σ/√N in meV; order: exponent of the timestep, 2 for velocity Verlet on a smooth surface\n"
        )
    for line in lines:
        typer.echo(line)
    typer.echo("")
