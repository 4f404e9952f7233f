"""`esen md-drift` from potentials and structures to files."""

import csv
import itertools
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase.io import read, write

from esen.errors import InputError
from esen.files import Interrupted, StopSignal, locked, read_arrays, write_arrays
from esen.md.files import read_series
from esen.study.drift import DriftOptions, choose_runs, run_drift
from esen.track import NullTracker, Tracker
from tests.study.drift.small import drift_of


def strict(text: str) -> Any:
    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    return json.loads(text, parse_constant=refuse)


def test_two_potentials_in_one_table(work: Path) -> None:
    result = drift_of(["emt", "mine:swirling"], work / "out", plots=True)
    assert [(t.potential, t.system) for t in result.trajectories] == [
        ("emt", "cu"),
        ("emt", "al"),
        ("swirling", "cu"),
        ("swirling", "al"),
    ]
    assert not result.result.failed
    assert [row["system"] for row in result.rows] == ["cu", "al", "cu", "al"]
    content = strict((work / "out" / "result.json").read_text())
    assert content["command"] == "md-drift"
    assert content["settings"]["threshold_meV_per_atom_per_ps"] == 0.01
    assert list(content["potentials"]) == list(content["mean_abs_drift"]) == ["emt", "swirling"]
    for trajectory, row, kept in zip(result.trajectories, result.rows, content["rows"], strict=True):
        assert (
            kept["verdict"] == trajectory.verdict == row["verdict"] == "undecided"
        )  # a tenth of a picosecond
        if trajectory.atoms > 1:
            assert kept["slope"] == trajectory.drift.slope
            shown = float((row["drift ± 95 % (meV/atom/ps)"] or "").split()[0])
            assert shown == pytest.approx(kept["slope"], abs=max(0.1 * kept["slope_error"], 1e-9))
        else:
            assert kept["slope"] is None
            assert kept["reason"].startswith("nothing moves")
        assert row["T (K)"] == f"{kept['temperature']:.0f}"
        assert kept["wander"] is None  # shorter than 2 ps
        assert row["wander (meV/atom)"] is None
        series = read_series(work / "out" / kept["energies"], kept["atoms"])
        assert len(series) == kept["rows"] == 26
        change = np.abs(series.total - series.total[0]).max() * 1000 / kept["atoms"]
        assert change == pytest.approx(kept["largest"])
    with (work / "out" / "drift.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["potential"] for row in rows] == ["emt", "emt", "swirling", "swirling"]
    kept = [float(row["slope (meV/atom/ps)"]) for row in rows if row["system"] == "cu"]
    assert kept == [t.drift.slope for t in result.trajectories if t.system == "cu"]
    paths, lines = result.result.paths, result.result.lines
    assert (work / "out" / "energy.png").read_bytes().startswith(b"\x89PNG")
    assert paths["energy against time"] == work / "out" / "energy.png"
    assert sum(line.startswith(("emt: ", "swirling: ")) for line in lines) == 2


def test_no_figures_unless_they_are_wanted(work: Path) -> None:
    result = drift_of(["emt"], work / "out", "cu.xyz", options=DriftOptions(order_test=2), plots=False)
    assert not list((work / "out").glob("*.png"))
    assert all(path.exists() for path in result.result.paths.values())


def test_a_batch_of_our_own_equals_single_runs(work: Path) -> None:
    both = drift_of(["mine:pairs"], work / "both")
    alone = drift_of(["mine:pairs"], work / "alone", options=DriftOptions(batch_atoms=1))
    for a, b in zip(both.trajectories, alone.trajectories, strict=True):
        assert np.abs(a.series.total - b.series.total).max() < 1e-9
    assert [p.name for p in sorted((work / "both" / "pairs" / "structures").glob("*.state.npz"))] == [
        "cu.state.npz"
    ]


@pytest.mark.parametrize("how", ["raise", "nan"])
def test_one_that_fails_in_the_middle(work: Path, how: str) -> None:
    given = ["fails_at=20", f"how={how}"]
    result = drift_of(["mine:Springs"], work / "out", calculator_args=given, plots=True)
    cu, al = result.trajectories
    assert result.result.failed
    assert cu.failure is not None
    assert (cu.failure.step, al.failure and al.failure.step) == (20, 0)  # it goes on failing
    assert cu.series.step.tolist() == list(range(0, 20, 2))
    words = "the potential raised RuntimeError: no neighbours" if how == "raise" else "not finite"
    assert words in cu.failure.reason
    assert [row["verdict"] for row in result.rows] == ["stopped at 0.04 ps", "stopped at 0 ps"]
    content = strict((work / "out" / "result.json").read_text())
    first, second = content["rows"]
    assert [first[f"failure_{key}"] for key in ("step", "reason", "time")] == [20, cu.failure.reason, 0.04]
    assert second["slope"] is None
    assert (work / "out" / "energy.png").stat().st_size > 1000
    again = drift_of(["mine:Springs"], work / "out", calculator_args=given, resume=True)
    assert [t.failure for t in again.trajectories] == [cu.failure, al.failure]


def test_nothing_but_failures(work: Path) -> None:
    options = DriftOptions(jacobian=2)
    given = ["fails_at=0"]
    result = drift_of(["mine:Springs"], work / "out", options=options, calculator_args=given, plots=True)
    assert result.result.failed
    assert [row["drift ± 95 % (meV/atom/ps)"] for row in result.rows] == [None, None]
    assert [t.asymmetry for t in result.trajectories] == [(), ()]
    assert strict((work / "out" / "result.json").read_text())["mean_abs_drift"] == {"Springs": None}


def test_elements_that_are_not_known(work: Path) -> None:
    result = drift_of(["emt", "mine:Springs"], work / "out", "cu.xyz", "u.xyz")
    assert [(t.potential, t.system) for t in result.trajectories] == [
        ("emt", "cu"),
        ("Springs", "cu"),
        ("Springs", "u"),
    ]
    assert any(line.startswith("emt: left out u, ") and line.endswith("(U)") for line in result.result.lines)
    with pytest.raises(InputError, match="emt: "):
        drift_of(["mine:Springs", "emt"], work / "none", "u.xyz")
    assert not (work / "none").exists()


def interrupt(monkeypatch: pytest.MonkeyPatch, asked: int) -> None:
    """Ctrl-C at the moment when it is looked for so many times."""
    calls = iter(range(10**6))
    monkeypatch.setattr(
        StopSignal,
        "raised",
        property(lambda self: next(calls) >= asked, lambda self, value: None),
        raising=False,
    )


def content_of(folder: Path) -> dict[str, Any]:
    """All files without the times of a step."""
    found: dict[str, Any] = {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.suffix in (".csv", ".extxyz", ".json")
    }
    for name in ("result.json", "drift.csv"):
        if name in found:
            text = found[name].decode()
            rows = (
                json.loads(text)["rows"] if name == "result.json" else list(csv.DictReader(text.splitlines()))
            )
            for row in rows:
                for key in [key for key in row if "ms_per_step" in key]:
                    text = text.replace(str(row[key]), "time")
            found[name] = text
    return found


@pytest.mark.parametrize("potential", ["emt", "mine:pairs"])
def test_interrupted_and_resumed_it_leaves_the_same(
    work: Path, monkeypatch: pytest.MonkeyPatch, potential: str
) -> None:
    options = DriftOptions(trajectory="extxyz", frame_every=7)
    how: Any = {"options": options, "changes": {"relax": True}}
    whole = drift_of([potential], work / "whole", **how)
    interrupt(monkeypatch, 1)
    with pytest.raises(Interrupted, match=r"relaxed .*--output .*parts .*--resume"):
        drift_of([potential], work / "parts", **how)
    monkeypatch.undo()
    monkeypatch.chdir(work)
    interrupt(monkeypatch, 22)
    with pytest.raises(Interrupted, match=r"step \d+ of 50 .*--output .*parts .*--resume"):
        drift_of([potential], work / "parts", resume=True, **how)
    assert not (work / "parts" / "result.json").exists()
    for asked in (0, 20):
        monkeypatch.undo()
        monkeypatch.chdir(work)
        interrupt(monkeypatch, asked)
        with pytest.raises(Interrupted):
            drift_of([potential], work / "parts", resume=True, **how)
    monkeypatch.undo()
    monkeypatch.chdir(work)
    parts = drift_of([potential], work / "parts", resume=True, **how)
    assert content_of(work / "parts") == content_of(work / "whole")
    assert parts.rows == whole.rows


def test_the_time_of_a_step_counts_all_steps_also_of_a_resumed_run(
    work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With clocks on which a second passes by whenever someone looks."""
    seconds = itertools.count()
    monkeypatch.setattr("esen.md.simulate._clocks", lambda: np.full(2, float(next(seconds))))
    first = drift_of(["emt"], work / "out", "cu.xyz", changes={"duration_ps": 0.1})
    (row,) = strict((work / "out" / "result.json").read_text())["rows"]
    assert row["ms_per_step"] == row["cpu_ms_per_step"] == 1000 / 50
    assert row["device"] == "cpu"
    assert first.rows[0]["system"] == row["system"]
    drift_of(["emt"], work / "out", "cu.xyz", changes={"duration_ps": 0.2}, resume=True)
    (row,) = strict((work / "out" / "result.json").read_text())["rows"]
    assert row["ms_per_step"] == 2000 / 100
    drift_of(["emt"], work / "out", "cu.xyz", changes={"duration_ps": 0.2}, resume=True)
    (row,) = strict((work / "out" / "result.json").read_text())["rows"]
    assert row["ms_per_step"] == 2000 / 100


def test_systems_of_a_batch_share_the_time_of_a_step_by_their_atoms(
    work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = itertools.count()
    monkeypatch.setattr("esen.md.simulate._clocks", lambda: np.full(2, float(next(seconds))))
    drift_of(["mine:pairs"], work / "out", "cu.xyz", "al.xyz", changes={"duration_ps": 0.1})
    rows = strict((work / "out" / "result.json").read_text())["rows"]
    assert sum(row["ms_per_step"] for row in rows) == pytest.approx(20)
    for row in rows:
        assert row["ms_per_step"] == pytest.approx(20 * row["atoms"] / sum(row["atoms"] for row in rows))


def test_a_finished_test_can_be_shown_again_and_made_longer(work: Path) -> None:
    drift_of(["emt"], work / "out", "cu.xyz")
    before = content_of(work / "out")
    drift_of(["emt"], work / "out", "cu.xyz", resume=True)
    assert content_of(work / "out") == before
    drift_of(["emt"], work / "out", "cu.xyz", resume=True, changes={"duration_ps": 0.13})
    with pytest.raises(InputError, match=r"--duration 0\.05"):
        drift_of(["emt"], work / "out", "cu.xyz", resume=True, changes={"duration_ps": 0.05})
    whole = drift_of(["emt"], work / "whole", "cu.xyz", changes={"duration_ps": 0.13})
    assert content_of(work / "out") == content_of(work / "whole")
    assert whole.trajectories[0].drift.duration_ps == pytest.approx(0.128)  # the last row


@pytest.mark.parametrize("potential", ["emt", "lj"])
def test_a_test_of_an_earlier_version_is_continued_with_its_columns(work: Path, potential: str) -> None:
    drift_of([potential], work / "out", "cu.xyz")
    folder = work / "out" / potential / "structures"
    old = "".join(
        ",".join(line.split(",")[:6]) + "\n" for line in (folder / "cu.csv").read_text().splitlines()
    )
    (folder / "cu.csv").write_text(old)
    arrays = {n: a for n, a in read_arrays(folder / "cu.state.npz").items() if "_before" not in n}
    write_arrays(folder / "cu.state.npz", arrays | {"marks": np.array([len(old)])}, compressed=False)
    drift_of([potential], work / "out", "cu.xyz", resume=True, changes={"duration_ps": 0.13})
    drift_of([potential], work / "whole", "cu.xyz", changes={"duration_ps": 0.13})
    found = read_series(folder / "cu.csv", 4)
    expected = read_series(work / "whole" / potential / "structures" / "cu.csv", 4)
    assert np.array_equal(found.total, expected.total)
    assert found.shadow is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"changes": {"timestep_fs": 1.0}}, r"timestep_fs .*2\.0.*1\.0"),
        ({"changes": {"seed": 3}}, r"seed .*0.*3"),
        ({"options": DriftOptions(order_test=2)}, r"options\.order_test .*0.*2"),
        ({"options": DriftOptions(frame_every=2)}, r"options\.frame_every .*None.*2"),
        ({"potentials": ["mine:swirling"]}, r"potentials.emt"),
        ({"potentials": ["emt", "mine:swirling"]}, r"potentials.swirling"),
        ({"calculator_args": ["asap_cutoff=true"]}, r"potentials.emt.arguments"),
        ({"structures": ("al.xyz",)}, r"systems.structures/cu"),
        ({"structures": ("cu.xyz", "al.xyz")}, r"systems.structures/al"),
    ],
)
def test_what_is_another_test_is_not_resumed(work: Path, change: dict[str, Any], words: str) -> None:
    drift_of(["emt"], work / "out", "cu.xyz")
    before = content_of(work / "out")
    given = {"potentials": ["emt"], "structures": ("cu.xyz",)} | change
    with pytest.raises(InputError, match=words) as error:
        drift_of(given.pop("potentials"), work / "out", *given.pop("structures"), resume=True, **given)
    assert "\n" not in str(error.value)
    assert content_of(work / "out") == before


def test_atoms_that_moved_in_the_file_are_another_test(work: Path) -> None:
    drift_of(["emt"], work / "out", "cu.xyz")
    atoms = read("cu.xyz")
    atoms.positions[0, 0] += 1e-6
    write("cu.xyz", atoms, format="extxyz")
    with pytest.raises(InputError, match=r"systems\.structures/cu\.structure "):
        drift_of(["emt"], work / "out", "cu.xyz", resume=True)


def test_folders_that_cannot_be_used(work: Path) -> None:
    with pytest.raises(InputError, match="--resume"):
        drift_of(["emt"], work / "out", "cu.xyz", resume=True)
    drift_of(["emt"], work / "out", "cu.xyz")
    with pytest.raises(InputError, match="--resume"):
        drift_of(["emt"], work / "out", "cu.xyz")
    for text in ("{", "[]"):
        (work / "out" / "manifest.json").write_text(text)
        with pytest.raises(InputError, match=r"manifest.json"):
            drift_of(["emt"], work / "out", "cu.xyz", resume=True)


def test_energies_that_are_gone_are_not_an_explosion(work: Path) -> None:
    drift_of(["emt"], work / "out", "cu.xyz")
    (work / "out" / "emt" / "structures" / "cu.csv").unlink()
    with pytest.raises(InputError, match=r"cu.csv"):
        drift_of(["emt"], work / "out", "cu.xyz", resume=True)


def test_a_limit(work: Path) -> None:
    (calm,) = drift_of(["emt"], work / "a", "cu.xyz", changes={"duration_ps": 1.0}).trajectories
    bound = abs(calm.drift.slope) + calm.drift.slope_error
    for factor, failed in ((1.01, False), (0.99, True)):
        result = drift_of(
            ["emt"],
            work / f"limit {failed}",
            "cu.xyz",
            options=DriftOptions(max_drift=factor * bound),
            changes={"duration_ps": 1.0},
        )
        assert result.result.failed is failed
        assert any(line.startswith("--max-drift") for line in result.result.lines) is failed


@pytest.mark.parametrize(
    ("file", "changes", "word"),
    [
        ("cu.xyz", {"record_every": 1000}, "--record-every"),
        ("cu.xyz", {"duration_ps": 0.9}, "--duration"),
        ("cu.xyz", {"duration_ps": 1.0, "record_every": 50}, "too few"),
        ("al.xyz", {"duration_ps": 1.0}, "--supercell"),
        ("u.xyz", {"duration_ps": 1.0}, "nothing moves"),
    ],
)
def test_a_limit_does_not_pass_what_was_not_tested(
    work: Path, file: str, changes: dict[str, Any], word: str
) -> None:
    short = drift_of(["lj"], work / "out", file, options=DriftOptions(max_drift=1e9), changes=changes)
    assert short.result.failed
    (trajectory,) = short.trajectories
    assert (trajectory.verdict, word in (trajectory.reason or "")) == ("undecided", True)
    (row,) = strict((work / "out" / "result.json").read_text())["rows"]
    assert (row["verdict"], row["reason"]) == ("undecided", trajectory.reason)


def test_potentials_are_compared_on_systems_that_all_know(
    work: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def names_of(potentials: list[str], only: list[str] | None, folder: str) -> list[tuple[str, str]]:
        runs = choose_runs([], "quick", only=only, changes={"duration_ps": 0.01})
        result = run_drift(
            potentials,
            runs,
            DriftOptions(plots=False),
            output=work / folder,
            resume=False,
            tracker=NullTracker(),
        )
        return [(t.potential, t.system) for mine in result.records.values() for t in mine]

    both = [("emt", "Cu"), ("lj", "Ar")]
    assert names_of(["emt", "lj"], ["Cu", "Ar"], "none") == both
    assert "no system is known to all potentials" in caplog.text
    remarks = strict((work / "none" / "result.json").read_text())["remarks"]
    assert remarks[0].startswith("no system is known to all potentials")
    knows_al_and_pd = str(Path(__file__).parents[2] / "regression" / "tiny.safetensors")
    runs = names_of(["emt", knows_al_and_pd], ["Al", "Ni", "Pd"], "common")
    assert [system for _, system in runs] == ["Al", "Pd"] * 2


@pytest.mark.parametrize(
    ("potential", "timestep", "arguments"),
    [("emt", 4.0, ()), ("lj", 4.0, ("sigma=2.2", "rc=4.0"))],
)
def test_order_of_the_integrator(
    work: Path, potential: str, timestep: float, arguments: tuple[str, ...]
) -> None:
    options = DriftOptions(order_test=3)
    result = drift_of(
        [potential],
        work / "out",
        "cu.xyz",
        options=options,
        plots=True,
        changes={"timestep_fs": timestep, "duration_ps": 0.2, "record_every": 1},
        calculator_args=arguments,
    )
    (test,) = result.orders
    assert test.order == pytest.approx(2.0, abs=0.05)
    assert test.timesteps == (timestep, timestep / 2, timestep / 4)
    assert test.duration == pytest.approx(0.2)
    (row,) = result.result.tables[1].texts()
    assert row["order"] == f"{test.order:.3f}"
    assert row["floor"] == f"none down to {timestep / 4:g} fs"
    assert (work / "out" / "order.png").read_bytes().startswith(b"\x89PNG")
    kept = strict((work / "out" / "result.json").read_text())["order_tests"]["rows"]
    assert [entry["order"] for entry in kept] == [test.order]


def test_an_order_test_of_what_fails(work: Path) -> None:
    result = drift_of(
        ["mine:Springs"],
        work / "out",
        "cu.xyz",
        options=DriftOptions(order_test=2),
        calculator_args=["fails_at=70"],
    )
    (test,) = result.orders
    assert math.isnan(test.order)
    assert result.result.tables[1].texts()[0]["order"] is None
    strict((work / "out" / "result.json").read_text())


def test_asymmetry_of_the_jacobian(work: Path) -> None:
    result = drift_of(["emt", "mine:swirling"], work / "out", "cu.xyz", options=DriftOptions(jacobian=2))
    conservative, swirling = result.trajectories
    assert len(conservative.asymmetry) == len(swirling.asymmetry) == 2
    assert max(conservative.asymmetry) < 1e-6
    assert min(swirling.asymmetry) > 1e-3
    assert result.rows[1]["λ"] is not None
    kept = strict((work / "out" / "result.json").read_text())["rows"]
    assert kept[1]["asymmetry"] == list(swirling.asymmetry)


def test_names_that_would_be_one_file(work: Path) -> None:
    for name in ("a b.xyz", "a_b.xyz", "A_B.xyz"):
        atoms = read("cu.xyz")
        atoms.rattle(0.01, seed=len(list(work.iterdir())))
        write(name, atoms, format="extxyz")
    result = drift_of(["emt", "emt"], work / "out", "a b.xyz", "a_b.xyz", "A_B.xyz")
    assert [(t.potential, t.system) for t in result.trajectories] == [
        (label, name) for label in ("emt", "emt-2") for name in ("a b", "a_b-2", "A_B-3")
    ]
    paths = [str(t.path).casefold() for t in result.trajectories]
    assert len(set(paths)) == 6
    energies = [float(t.series.total[0]) for t in result.trajectories]
    assert len(set(energies)) == 3


def test_options_for_nothing_are_refused(work: Path) -> None:
    with pytest.raises(InputError, match="--dtype float32"):
        drift_of(["emt"], work / "out", "cu.xyz", dtype="float32")
    (work / "w.safetensors").write_bytes(b"")
    with pytest.raises(InputError, match="--calculator-args"):
        drift_of(["w.safetensors"], work / "out", "cu.xyz", calculator_args=["a=1"])


def test_relaxed_first(work: Path) -> None:
    plain = drift_of(["emt"], work / "plain", "cu.xyz")
    result = drift_of(["emt"], work / "out", "cu.xyz", changes={"relax": True})
    first, relaxed = plain.trajectories[0], result.trajectories[0]
    assert relaxed.series.potential[0] < first.series.potential[0] - 0.01
    assert relaxed.series.kinetic[0] == first.series.kinetic[0]


def test_a_relaxation_that_fails_is_that_systems_end(work: Path) -> None:
    result = drift_of(["mine:Springs"], work / "out", changes={"relax": True}, calculator_args=["fails_at=0"])
    for t, name in zip(result.trajectories, ("cu.xyz", "al.xyz"), strict=True):
        assert t.failure is not None
        assert t.failure.reason.startswith("relaxation: ")
        assert name in t.failure.reason
        assert "RuntimeError: no neighbours" in t.failure.reason
    assert result.result.failed
    assert [len(t.series) for t in result.trajectories] == [0, 0]


def test_a_signal_interrupts_a_relaxation_at_once(work: Path) -> None:
    how: Any = {"changes": {"relax": True}}
    with pytest.raises(Interrupted, match="--resume"):
        drift_of(["mine:Springs"], work / "out", calculator_args=["fails_at=1", "how=signal"], **how)
    assert not list((work / "out").rglob("*.csv"))


class Kept(Tracker):
    """A tracker that remembers."""

    def __init__(self) -> None:
        self.parts: dict[str, Kept] = {}
        self.seen: list[tuple[dict[str, float], int]] = []
        self.files: list[str] = []
        self.given: dict[str, Any] = {}

    def params(self, values: Any) -> None:
        self.given = dict(values)

    def metrics(self, values: Any, step: int) -> None:
        self.seen.append((dict(values), step))

    def artifact(self, path: Path, folder: str = "") -> None:
        self.files.append(path.name)

    def of(self, potential: str) -> "Kept":
        return self.parts.setdefault(potential, Kept())


def test_the_curve_is_tracked(work: Path) -> None:
    tracker = Kept()
    result = drift_of(["emt"], work / "out", "cu.xyz", tracker=tracker, plots=True)
    (trajectory,) = result.trajectories
    curve = [(v["energy_change_meV_per_atom/cu"], s) for v, s in tracker.parts["emt"].seen[:-1]]
    assert [step for _, step in curve] == list(range(0, 51, 2))
    change = 1000 * (trajectory.series.total - trajectory.series.total[0]) / 4
    assert [value for value, _ in curve] == pytest.approx(change.tolist())
    assert tracker.parts["emt"].seen[-1] == (
        {
            "slope_meV_per_atom_per_ps/cu": trajectory.drift.slope,
            "slope_error_meV_per_atom_per_ps/cu": trajectory.drift.slope_error,
            "growth/cu": trajectory.drift.growth,
            "growth_error/cu": trajectory.drift.growth_error,
            "diffusion_meV2_per_atom_per_ps/cu": trajectory.drift.diffusion,
        },
        0,
    )
    assert {"result.json", "drift.csv", "energy.png"} <= set(tracker.files)
    assert "structures/cu" in tracker.given["settings"]["systems"]


def test_a_threshold_of_ones_own(work: Path) -> None:
    result = drift_of(
        ["emt"], work / "out", "cu.xyz", options=DriftOptions(max_drift=1e6), changes={"duration_ps": 1.0}
    )
    assert result.trajectories[0].verdict == "conserved"
    assert "(threshold 1e+06 meV/atom/ps)" in result.result.lines[0]
    assert replace(DriftOptions(), max_drift=2.0).threshold == 2.0


def test_two_processes_do_not_share_a_folder(work: Path) -> None:
    drift_of(["emt"], work / "out", "cu.xyz")
    with locked(work / "out"), pytest.raises(InputError, match="another process"):
        drift_of(["emt"], work / "out", "cu.xyz", resume=True)
