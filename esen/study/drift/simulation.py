"""Systems of one potential, through time, with files that a later run can go on from."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from esen.files import Interrupted, StopSignal, read_arrays
from esen.graph.batch import pack_batches
from esen.md.ase_nve import AseNve
from esen.md.engine import Engine, Failure, Start, progress_of
from esen.md.files import SystemFiles
from esen.md.nve import BatchNve
from esen.md.protocols import Protocol
from esen.md.simulate import Plan, StoppedError, simulate
from esen.md.systems import System
from esen.study.drift.options import FRAMES, DriftOptions
from esen.study.drift.progress import DriftDisplay
from esen.study.potentials import Resolved, file_name

Begun = Sequence[tuple[System, Start]]


@dataclass(frozen=True, eq=False)
class Simulation:
    """What the trajectories of a test share.

    Attributes:
        output: folder of the test, for messages.
        options: of the test.
        resume: go on from saved states.
        display: progress.
        stop: whether the user wants to stop.
    """

    output: Path
    options: DriftOptions
    resume: bool
    display: DriftDisplay
    stop: StopSignal

    def without_frames(self) -> "Simulation":
        """The same, keeping energies alone."""
        return replace(self, options=replace(self.options, trajectory=None, jacobian=0))

    def run(
        self, label: str, potential: Resolved, protocol: Protocol, begun: Begun, folder: Path
    ) -> dict[str, Failure]:
        """Simulate all systems to the end, in groups, each from where it was saved.

        Returns:
            Why systems were stopped, by name.

        Raises:
            Interrupted: the user asked for it; all is saved.
            InputError: what was saved does not fit.
        """
        frame_every = self.options.frame_every or max(1, protocol.steps // FRAMES)
        plan = Plan(protocol.timestep_fs, protocol.steps, protocol.record_every, frame_every)
        budget = 1 if potential.calculator is not None else self.options.batch_atoms
        failures: dict[str, Failure] = {}
        sizes = [len(start.masses) for _, start in begun]
        for group in pack_batches(sizes, atoms=budget, structures=None, order=range(len(sizes))):
            mine = [begun[number] for number in group]
            found = self._group(label, potential, plan, mine, folder)
            failures |= {mine[number][0].name: failure for number, failure in found.items()}
        return failures

    def interrupted(self, where: str) -> Interrupted:
        """What is raised where the user asked to stop; says how to go on."""
        return Interrupted(
            f"interrupted {where}, all is saved; go on with the same command, --output {self.output} and --resume"
        )

    def _group(
        self, label: str, potential: Resolved, plan: Plan, begun: Begun, folder: Path
    ) -> dict[int, Failure]:
        state = folder / f"{file_name(begun[0][0].name)}.state.npz"
        going_on = self.resume and state.exists()
        if going_on:
            saved = read_arrays(state)
            if int(saved["step"]) >= plan.steps or not len(saved["live"]):
                return progress_of(saved)[2]
        trajectory = self.options.trajectory or ("extxyz" if self.options.jacobian else None)
        names = [system.name for system, _ in begun]
        starts = [start for _, start in begun]
        files = [SystemFiles(folder / file_name(name), trajectory, fresh=not going_on) for name in names]
        engine = self._engine(potential, starts, plan.timestep_fs)
        self.display.begin(label, names, plan)
        try:
            simulate(
                engine,
                starts,
                plan,
                files,
                state,
                resume=going_on,
                should_stop=lambda: self.stop.raised,
                progress=self.display.step,
            )
        except StoppedError:
            where = f"at step {engine.step} of {plan.steps} ({label}, {', '.join(names)})"
            raise self.interrupted(where) from None
        return engine.failures

    def _engine(self, potential: Resolved, starts: Sequence[Start], timestep_fs: float) -> Engine:
        if potential.calculator is not None:
            return AseNve(potential.calculator, starts[0], timestep_fs)
        return BatchNve(
            potential.potential, starts, timestep_fs, device=potential.device, skin=self.options.skin
        )
