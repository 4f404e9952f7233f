"""However often a trajectory is interrupted, killed or resumed, its files are those of an uninterrupted one."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.emt import EMT

from esen.errors import InputError
from esen.files import read_arrays
from esen.md.ase_nve import AseNve
from esen.md.engine import Engine, Start
from esen.md.files import SystemFiles, read_series
from esen.md.nve import BatchNve
from esen.md.simulate import Plan, StoppedError, simulate
from tests.md.small import FailsLater, overlapping, rattled, shapes, start_of
from tests.toys import lennard_jones

PLAN = Plan(timestep_fs=2.0, steps=45, record_every=4, frame_every=7)
"""Neither the rows nor the frames fall on the last step."""

BATCH = [start_of(shapes()[name], seed=i) for i, name in enumerate(("crystal", "molecule", "one atom"))]
COPPER = [start_of(rattled(bulk("Cu", cubic=True)), 2000.0)]


def in_batch(starts: Sequence[Start]) -> Engine:
    return BatchNve(lennard_jones(), starts, PLAN.timestep_fs)


def failing(starts: Sequence[Start]) -> Engine:
    """The crystal, of four atoms as the molecule, goes on to step 16; so does the molecule."""
    return BatchNve(FailsLater(lennard_jones(), 17, 3), starts, PLAN.timestep_fs)


def by_ase(starts: Sequence[Start]) -> Engine:
    return AseNve(EMT(), starts[0], PLAN.timestep_fs)


class Run:
    """A trajectory in a folder."""

    def __init__(
        self, folder: Path, make: Callable[[Sequence[Start]], Engine], starts: Sequence[Start], kind: Any
    ) -> None:
        self.folder, self.make, self.starts, self.kind = folder, make, starts, kind
        folder.mkdir()
        self.state = folder / "state.npz"

    def go(self, plan: Plan = PLAN, *, resume: bool = False, **how: Any) -> Engine:
        engine = self.make(self.starts)
        fresh = not (resume and self.state.exists())
        files = [SystemFiles(self.folder / f"s{i}", self.kind, fresh=fresh) for i in range(len(self.starts))]
        simulate(engine, self.starts, plan, files, self.state, resume=resume, **how)
        return engine

    def content(self) -> dict[str, Any]:
        """Bytes of what is text; of frames in ASE's format, all that they hold."""
        found: dict[str, Any] = {p.name: p.read_bytes() for p in self.folder.glob("s[0-9]*[vz]")}
        for path in self.folder.glob("*.traj"):
            frames = ase.io.read(path, index=":")
            found[path.name] = [
                [
                    a.info,
                    float(a.get_potential_energy()),
                    *(x.tobytes() for x in (a.positions, a.get_momenta(), a.get_forces(), a.cell.array)),
                ]
                for a in frames
            ]
        return found


def stop_at(*steps: int) -> Callable[[], bool]:
    """Stops when it is asked for these times."""
    asked = iter(range(10**6))
    return lambda: next(asked) in steps


def test_rows_and_frames_are_where_they_should_be(tmp_path: Path) -> None:
    run = Run(tmp_path / "a", in_batch, BATCH, "extxyz")
    told: list[int] = []
    engine = run.go(progress=told.append)
    assert told == list(range(1, 46))
    assert engine.step == 45
    for number, start in enumerate(BATCH):
        series = read_series(run.folder / f"s{number}.csv", len(start.structure))
        assert series.step.tolist() == list(range(0, 45, 4))
        assert series.time_ps.tolist() == [step * 2.0 / 1000 for step in range(0, 45, 4)]
        frames = ase.io.read(run.folder / f"s{number}.extxyz", index=":")
        assert [a.info["step"] for a in frames] == list(range(0, 45, 7))
        assert np.allclose(frames[0].positions, start.structure.positions, atol=1e-7)
        table = np.loadtxt(run.folder / f"s{number}.csv", delimiter=",", skiprows=1)
        assert np.array_equal(table[:, 2], table[:, 3] + table[:, 4])
        assert np.allclose(table[:, 5] * 1.5 * units.kB * len(start.structure), table[:, 4])
        row = table[table[:, 0] == 28][0]
        assert row[3] == pytest.approx(frames[4].get_potential_energy(), abs=1e-7)
        assert row[4] == pytest.approx(frames[4].get_kinetic_energy(), abs=1e-7)


@pytest.mark.parametrize("kind", ["extxyz", "traj"])
@pytest.mark.parametrize(
    ("make", "starts"), [(in_batch, BATCH), (failing, BATCH), (by_ase, COPPER)], ids=["batch", "fails", "ase"]
)
def test_interrupted_and_resumed_it_leaves_the_same(
    tmp_path: Path, make: Callable[[Sequence[Start]], Engine], starts: Sequence[Start], kind: Any
) -> None:
    whole = Run(tmp_path / "whole", make, starts, kind)
    expected = whole.go()
    generator = np.random.default_rng(5)
    parts = Run(tmp_path / "parts", make, starts, kind)
    calls = 0
    for first in (0, int(generator.integers(1, 15)), 1, int(generator.integers(2, 25)), 0):
        if make is failing:  # its potential counts calls: the one at step 0, and the steps made before
            parts.make = lambda s, made=calls: BatchNve(
                FailsLater(lennard_jones(), 17 - made, 3), s, PLAN.timestep_fs
            )
        with pytest.raises(StoppedError):
            parts.go(resume=calls > 0 or parts.state.exists(), should_stop=stop_at(first))
        calls += first
    if make is failing:
        parts.make = lambda s, made=calls: BatchNve(
            FailsLater(lennard_jones(), 17 - made, 3), s, PLAN.timestep_fs
        )
    found = parts.go(resume=True)
    assert parts.content() == whole.content()
    assert found.failures == expected.failures
    assert len(found.failures) == (2 if make is failing else 0)
    for name, array in read_arrays(parts.state).items():
        assert name == "seconds" or np.array_equal(array, read_arrays(whole.state)[name]), name


@pytest.mark.parametrize("kind", ["extxyz", "traj"])
def test_killed_after_rows_were_written_and_before_they_were_saved(tmp_path: Path, kind: Any) -> None:
    plan = replace(PLAN, waiting_rows=1)
    whole = Run(tmp_path / "whole", in_batch, BATCH, kind)
    whole.go(plan)
    killed = Run(tmp_path / "killed", in_batch, BATCH, kind)
    with pytest.raises(StoppedError):
        killed.go(plan, should_stop=stop_at(10))

    def kill(step: int) -> None:
        if step == 33:
            raise KeyboardInterrupt

    for _ in range(2):
        saved = killed.state.read_bytes()
        with pytest.raises(KeyboardInterrupt):
            killed.go(plan, resume=True, progress=kill)
        assert killed.state.read_bytes() == saved
        assert len(read_series(killed.folder / "s0.csv", 4)) == 9
    killed.go(plan, resume=True)
    assert killed.content() == whole.content()


def test_killed_before_anything_was_saved(tmp_path: Path) -> None:
    plan = replace(PLAN, waiting_rows=1)
    whole = Run(tmp_path / "whole", in_batch, BATCH, "traj")
    whole.go(plan)
    killed = Run(tmp_path / "killed", in_batch, BATCH, "traj")

    def kill(step: int) -> None:
        if step == 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        killed.go(plan, progress=kill)
    assert not killed.state.exists()
    killed.go(plan, resume=True)
    assert killed.content() == whole.content()


def test_a_longer_plan_goes_on_where_the_shorter_one_ended(tmp_path: Path) -> None:
    whole = Run(tmp_path / "whole", in_batch, BATCH, "extxyz")
    whole.go(replace(PLAN, steps=60))
    twice = Run(tmp_path / "twice", in_batch, BATCH, "extxyz")
    twice.go()
    twice.go(replace(PLAN, steps=60), resume=True)
    assert twice.content() == whole.content()
    assert twice.go(replace(PLAN, steps=60), resume=True).step == 60
    assert twice.content() == whole.content()


def test_less_than_a_row(tmp_path: Path) -> None:
    run = Run(tmp_path / "a", in_batch, BATCH[:1], None)
    assert run.go(replace(PLAN, steps=3)).step == 3
    assert read_series(run.folder / "s0.csv", 4).step.tolist() == [0.0]


def test_it_is_saved_now_and_then(tmp_path: Path) -> None:
    run = Run(tmp_path / "a", in_batch, BATCH[:1], None)
    seen = []

    def look(step: int) -> None:
        if step in (20, 21):
            seen.append((int(read_arrays(run.state)["step"]), len(read_series(run.folder / "s0.csv", 4))))

    run.go(replace(PLAN, save_seconds=-1.0), progress=look)
    assert seen == [(19, 5), (20, 6)]


def test_rows_do_not_wait_for_the_end(tmp_path: Path) -> None:
    run = Run(tmp_path / "a", in_batch, BATCH[:1], None)
    lengths: list[int] = []
    plan = replace(PLAN, waiting_rows=3)
    run.go(plan, progress=lambda step: lengths.append(len(read_series(run.folder / "s0.csv", 4))))
    assert sorted(set(lengths)) == [0, 3, 6, 9, 12]


def test_a_system_that_fails_ends_alone(tmp_path: Path) -> None:
    healthy = Run(tmp_path / "healthy", in_batch, BATCH, "extxyz")
    healthy.go()
    run = Run(tmp_path / "a", failing, BATCH, "extxyz")
    engine = run.go()
    assert {number: failure.step for number, failure in engine.failures.items()} == {0: 17, 1: 17}
    assert read_series(run.folder / "s0.csv", 4).step.tolist() == [0, 4, 8, 12, 16]
    for name in ("s2.csv", "s2.extxyz"):
        assert run.content()[name] == healthy.content()[name]
    for name in ("s0.csv", "s1.csv", "s0.extxyz"):
        assert healthy.content()[name].startswith(run.content()[name])


def test_no_frame_is_written_of_forces_that_are_none(tmp_path: Path) -> None:
    """Step 7 has a frame and no row."""
    run = Run(tmp_path / "a", lambda s: BatchNve(FailsLater(lennard_jones(), 7, 3), s, 2.0), BATCH, "extxyz")
    run.go()
    frames = ase.io.read(run.folder / "s0.extxyz", index=":")
    assert [a.info["step"] for a in frames] == [0]
    assert len(ase.io.read(run.folder / "s2.extxyz", index=":")) == 7


def test_all_fail_at_once(tmp_path: Path) -> None:
    run = Run(tmp_path / "a", in_batch, [start_of(overlapping(0.0))], "traj")
    engine = run.go()
    assert [failure.step for failure in engine.failures.values()] == [0]
    assert len(read_series(run.folder / "s0.csv", 4)) == 0
    assert run.go(resume=True).failures == engine.failures


def stopped(folder: Path, kind: Any = "extxyz") -> Run:
    run = Run(folder, in_batch, BATCH, kind)
    with pytest.raises(StoppedError):
        run.go(should_stop=stop_at(20))
    return run


@pytest.mark.parametrize("name", ["s0.csv", "s2.csv", "s1.extxyz"])
@pytest.mark.parametrize("left", [0.5, None])
def test_a_file_that_lost_its_end_is_one_line(tmp_path: Path, name: str, left: float | None) -> None:
    run = stopped(tmp_path / "a")
    path = run.folder / name
    if left is None:
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[: int(left * path.stat().st_size)])
    with pytest.raises(InputError) as error:
        run.go(resume=True)
    assert str(error.value).startswith(f"{path}: shorter")


def damage(content: bytes) -> dict[str, bytes]:
    flipped = bytearray(content)
    flipped[(content.find(b"NUMPY") + 130) % len(content)] ^= 0x01  # a number of the first array
    return {
        "half": content[: len(content) // 2],
        "nothing": b"",
        "text": b"state",
        "one array": b"\x93NUMPY\x01\x00v\x00{'descr': '<f8', 'fortran_order': False, 'shape': (1,), }",
        "pickle": b"\x80\x04\x95.",
        "flipped": bytes(flipped),
    }


@pytest.mark.parametrize("how", damage(b"0123456789"))
def test_a_damaged_state_is_one_line(tmp_path: Path, how: str) -> None:
    run = stopped(tmp_path / "a")
    before = run.content()
    run.state.write_bytes(damage(run.state.read_bytes())[how])
    with pytest.raises(InputError) as error:
        run.go(resume=True)
    assert str(run.state) in str(error.value)
    assert "\n" not in str(error.value)
    assert run.content() == before


def test_a_state_of_something_else_is_one_line(tmp_path: Path) -> None:
    run = stopped(tmp_path / "a")
    run.kind = None
    with pytest.raises(InputError, match="files of frames"):
        run.go(resume=True)
    arrays = read_arrays(run.state)
    for missing in ("marks", "positions", "live"):
        np.savez(run.state, **{k: v for k, v in arrays.items() if k != missing})
        run.kind = "extxyz"
        with pytest.raises(InputError, match=f"'{missing}'"):
            run.go(resume=True)


def test_a_state_of_other_systems_is_one_line(tmp_path: Path) -> None:
    run = stopped(tmp_path / "a", None)
    other = Run(tmp_path / "b", in_batch, [start_of(Atoms("Al2", [[0, 0, 0], [2.6, 0, 0]]))] * 3, None)
    with pytest.raises(StoppedError):
        other.go(should_stop=stop_at(2))
    other.state.write_bytes(run.state.read_bytes())
    with pytest.raises(InputError, match="other systems"):
        other.go(resume=True)
