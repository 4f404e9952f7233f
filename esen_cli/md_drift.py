"""`esen md-drift`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from esen.errors import InputError
from esen_cli import options as opt
from esen_cli.output import open_test, print_campaign, result_folder

_STYLES = {"drifts": "bold red", "walks": "bold red", "stopped": "bold red"}
_tests_option = opt.in_panel("Tests")


def md_drift(  # noqa: PLR0913, PLR0917  # the options of a command are its arguments
    potentials: opt.Potentials,
    structures: Annotated[
        list[str] | None,
        opt.structures_option(
            metavar="FILE",
            help="Simulate the structures of a file instead of a protocol's systems. Repeatable.",
        ),
    ] = None,
    frames: Annotated[
        str,
        opt.structures_option(
            metavar="SLICE", help="Frames to take from each file of --structures, such as ::10."
        ),
    ] = ":1",
    supercell: Annotated[
        str | None,
        opt.structures_option(
            metavar="N,N,N", help="Repeat the structures of --structures, for example 2,2,2 or 2x2x2."
        ),
    ] = None,
    protocol: Annotated[
        Literal["quick", "tm23", "md22", "fair", "fair-tm23", "fair-md22", "lambench"] | None,
        opt.protocol_option(
            help="Protocol with its systems (docs/protocols.md).  [default: quick, without --structures]"
        ),
    ] = None,
    data: Annotated[
        Path | None,
        opt.protocol_option(metavar="FOLDER", help="Folder with the published files of the protocol."),
    ] = None,
    only: Annotated[
        str | None,
        opt.protocol_option(
            metavar="NAME,…", help="Simulate only these systems of the protocol, for example Cu,Al."
        ),
    ] = None,
    temperature: Annotated[
        float | None,
        opt.protocol_option(
            metavar="K", help="Temperature of the initial velocities.  [default: 300, or the protocol's]"
        ),
    ] = None,
    timestep: Annotated[
        float | None, opt.protocol_option(metavar="FS", help="Time step.  [default: 1, or the protocol's]")
    ] = None,
    duration: Annotated[
        float | None,
        opt.protocol_option(
            metavar="PS", help="Duration of each trajectory.  [default: 10, or the protocol's]"
        ),
    ] = None,
    seed: Annotated[
        int | None,
        opt.protocol_option(metavar="N", min=0, help="Seed for the initial velocities.  [default: 0]"),
    ] = None,
    relax: Annotated[
        bool | None,
        opt.protocol_option(
            "--relax/--no-relax", help="Relax the positions first.  [default: as the protocol prescribes]"
        ),
    ] = None,
    record_every: Annotated[
        int | None,
        opt.protocol_option(
            metavar="STEPS",
            min=1,
            help="Number of steps between two rows of energies.  [default: 10, or the protocol's]",
        ),
    ] = None,
    max_drift: Annotated[
        float | None,
        _tests_option(
            metavar="MEV/ATOM/PS",
            help="Threshold of the verdicts; exit with code 1 unless every trajectory is `conserved`."
            "  [default: 0.01, without the exit code]",
        ),
    ] = None,
    order_test: Annotated[
        bool,
        _tests_option(
            "--order-test",
            help="Repeat the first picosecond with Δt/2, Δt/4 and Δt/8: the fluctuation should fall as Δt².",
        ),
    ] = False,
    jacobian: Annotated[
        bool,
        _tests_option(
            "--jacobian", help="Measure λ, the asymmetry of ∂F/∂r, at five frames of each trajectory."
        ),
    ] = False,
    calculator_args: opt.NamedCalculatorArgs = None,
    dtype: opt.Dtype = None,
    device: opt.Device = "auto",
    batch_atoms: Annotated[
        int,
        opt.device_option(
            metavar="N",
            min=1,
            help="Largest number of atoms that are simulated in one batch; ASE calculators take one system.",
        ),
    ] = 1024,
    output: opt.Output = None,
    trajectory: Annotated[
        Literal["extxyz", "traj"] | None,
        opt.output_option(help="Keep frames in this format.  [default: only energies]"),
    ] = None,
    frame_every: Annotated[
        int | None,
        opt.output_option(
            metavar="STEPS",
            min=1,
            help="Number of steps between two frames.  [default: a hundredth of the trajectory]",
        ),
    ] = None,
    plots: Annotated[bool, opt.output_option("--plots/--no-plots", help="Draw the figures.")] = True,
    beside: Annotated[
        list[Path] | None,
        opt.output_option(
            "--with",
            metavar="FOLDER",
            help="Show the results of an earlier test beside the new ones. Repeatable.",
        ),
    ] = None,
    resume: Annotated[
        bool,
        opt.output_option(
            "--resume", help="Resume the interrupted test in --output, or extend it with a longer --duration."
        ),
    ] = False,
    track: opt.Track = True,
) -> None:
    """Test whether potentials conserve energy in molecular dynamics.

    Exit code 1: a trajectory ended early, or is not shown to drift by at most --max-drift.

    Example: esen md-drift emt runs/mgo --structures MgO.cif --supercell 2,2,2 --temperature 600
    """
    if resume and output is None:
        raise InputError("--resume: of which test? Give its folder with --output")
    if structures and (protocol or data or only):
        raise InputError("--structures: has its own systems; leave out --protocol, --data and --only")
    names = None if only is None else [name.strip() for name in only.split(",") if name.strip()]
    if names == []:
        raise InputError(f"--only {only!r}: names no system; expected names such as Cu,Al")
    _refuse_without_effect(structures, protocol, data, frames, trajectory, frame_every)
    folder = result_folder(output, "md-drift")

    from esen.study.drift import DriftOptions, choose_runs, run_drift

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
        plots=plots,
    )
    with open_test("md-drift", potentials, folder, device=device, track=track) as tracker:
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
    print_campaign(result, tracker.links, styles=_STYLES)


def _refuse_without_effect(
    structures: Sequence[str] | None,
    protocol: str | None,
    data: Path | None,
    frames: str,
    trajectory: str | None,
    frame_every: int | None,
) -> None:
    """Refuse options that would have no effect."""
    if not structures and frames != ":1":
        raise InputError("--frames: is for the files of --structures; a protocol takes the first of each")
    if data is not None and protocol in (None, "quick"):
        raise InputError("--data: quick needs no files; name the --protocol that the data belong to")
    if frame_every is not None and trajectory is None:
        raise InputError("--frame-every: no frames are kept; ask for them with --trajectory extxyz or traj")
