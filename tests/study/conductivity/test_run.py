"""Every potential on every material."""

import csv
import importlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from esen.errors import InputError
from esen.evaluate.conductivity.protocol import PROTOCOLS, ConductivityProtocol
from esen.evaluate.conductivity.reference import read_reference, write_reference
from esen.study.conductivity.choose import Wanted, choose_inputs
from esen.study.conductivity.run import ConductivityResult, run_conductivity
from esen.study.conductivity.work import ConductivityOptions
from esen.track import NullTracker
from tests.evaluate.conductivity.materials import SILICON

QUICK = replace(PROTOCOLS["tight"], relax=False)
QUIET = ConductivityOptions(plots=False, isolated=False)
SMALL = Wanted(fc2="3,3,3", fc3="2,2,2", mesh="3,3,3")


class Heard(NullTracker):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.values: dict[tuple[str, int], float] = {}

    def metrics(self, values: Any, step: int) -> None:
        self.values |= {(key, step): value for key, value in values.items()}


def conductivity(
    potentials: Sequence[str],
    inputs: Sequence[str],
    protocol: ConductivityProtocol = QUICK,
    *,
    options: ConductivityOptions = QUIET,
    wanted: Wanted = SMALL,
    tracker: Any = None,
) -> ConductivityResult:
    result = run_conductivity(
        potentials,
        choose_inputs(inputs, wanted),
        protocol,
        options,
        output=Path("out"),
        tracker=tracker or NullTracker(),
    )
    assert result is not None
    return result


def scaled(source: str, target: str, factor: float) -> Path:
    """A reference whose conductivities, mode by mode, are larger by a factor."""
    every = read_reference(Path(source)).values()
    larger = [replace(one, kappa=one.kappa * factor, modes=one.modes * factor) for one in every]
    write_reference(Path(target), larger)
    return Path(target)


def test_everything_is_kept() -> None:
    tracker = Heard()
    result = conductivity(
        ["emt"],
        ["al.xyz"],
        replace(QUICK, temperatures=(300.0, 600.0)),
        options=replace(QUIET, plots=True),
        tracker=tracker,
    )
    assert not result.failed
    (record,) = result.records["emt"]
    assert (record.formula, record.atoms, record.supercell_atoms) == ("Al", 1, (27, 8))
    assert (record.verdict, record.groups, record.displaced[0]) == ("ok", (225, 225), 1)
    assert record.kappas is not None
    assert record.tensors is not None
    particle, coherence = (np.array(record.kappas[name]) for name in ("particle", "coherence"))
    assert record.kappas["total"] == pytest.approx(particle + coherence, rel=1e-12)
    assert np.mean(record.tensors["total"][0][:3]) == pytest.approx(record.kappas["total"][0])
    assert [row["T (K)"] for row in result.rows] == ["300", "600"]
    assert result.summary_rows == []
    for path in ("emt/al.json", "emt/al.modes.npz", "al.modes.png", "manifest.json", "emt/kappas.json.gz"):
        assert Path("out", path).stat().st_size > 50
    rows = list(csv.DictReader(Path("out/conductivity.csv").read_text().splitlines()))
    assert [float(row["total (W/m/K)"]) for row in rows] == record.kappas["total"]
    assert [float(row["xx"]) for row in rows] == [one[0] for one in record.tensors["total"]]
    assert json.loads(Path("out/result.json").read_text())["protocol"]["displacement"] == 0.01
    heard = [tracker.values["emt/kappa/al", kelvin] for kelvin in (300, 600)]
    assert heard == record.kappas["total"]


def test_a_run_is_the_reference_of_the_next_and_scores_what_is_recorded() -> None:
    conductivity(["counted:Counting"], ["al.xyz", "cu.xyz", "bcc.xyz"])
    counted = importlib.import_module("counted")
    calls = len(counted.calls)
    assert calls > 0
    kappas = "out/Counting/kappas.json.gz"
    itself = conductivity(
        ["counted:Counting"],
        ["al.xyz", "cu.xyz", "bcc.xyz"],
        options=replace(QUIET, reference=Path(kappas), plots=True),
    )
    al, cu, bcc = itself.records["Counting"]
    assert (al.srme, al.srd, al.spectrum, cu.srme) == (0.0, 0.0, 0.0, 0.0)
    assert bcc.verdict == "imaginary"
    assert bcc.score is None
    assert "no reference, and not in the means: bcc" in itself.lines
    assert not itself.failed
    (summary,) = itself.summary_rows
    assert (summary["materials"], summary["compared"], summary["κ_SRME"]) == ("3", "2", "0.000")
    assert summary["verdicts"] == "2 ok, 1 imaginary"
    assert Path("out/parity.png").exists()

    tracker = Heard()
    options = replace(QUIET, reference=scaled(kappas, "larger.json", 3.0))
    other = conductivity(["counted:Counting"], ["al.xyz"], options=options, tracker=tracker)
    (record,) = other.records["Counting"]
    assert record.srme == pytest.approx(1.0)  # 2 · |1 − 3| / (1 + 3)
    assert record.srd == pytest.approx(-1.0)
    assert record.reference_kappa == pytest.approx(3 * record.kappa("total", 300.0))
    assert "reference: 1 of the 2 materials of larger.json" in other.lines
    assert any("1 of them are not in this run" in line for line in other.lines)
    assert tracker.values["Counting/srme", 0] == pytest.approx(1.0)
    assert json.loads(Path("out/Counting/al.json").read_text())["srme"] == record.srme
    plain = conductivity(["counted:Counting"], ["al.xyz"])
    assert plain.records["Counting"][0].score is None
    assert len(counted.calls) == calls


def test_what_has_no_conductivity_scores_worst() -> None:
    conductivity(["emt"], ["al.xyz", "cu.xyz"])
    every = list(read_reference(Path("out/emt/kappas.json.gz")).values())
    fewer = replace(
        every[1],
        modes=every[1].modes[:, :1],
        weights=np.ones(1),
        frequencies=None,
        points=None,
        heat_capacity=None,
    )
    named = [replace(every[0], material=name) for name in ("bcc", "u")]
    write_reference(Path("wrong.json"), [*named, fewer])
    result = conductivity(
        ["emt"], ["bcc.xyz", "u.xyz", "cu.xyz"], options=replace(QUIET, reference=Path("wrong.json"))
    )
    bcc, u, cu = result.records["emt"]
    assert [(one.srme, one.verdict) for one in (bcc, u, cu)] == [(2, "imaginary"), (2, "failed"), (2, "ok")]
    assert bcc.spectrum > 0
    assert np.isnan(u.spectrum)
    assert "modes cannot be compared" in cu.score_reason
    assert any("counts as failed: modes cannot be compared" in line for line in result.lines)
    (summary,) = result.summary_rows
    assert (summary["κ_SRME"], summary["failure rate"]) == ("2.000", "100.0 %")
    assert (summary["imaginary rate"], summary["verdicts"]) == ("33.3 %", "1 ok, 1 imaginary, 1 failed")


def test_failures_are_recorded_and_the_rest_goes_on() -> None:
    result = conductivity(["emt", "counted:Raising"], ["water.xyz", "u.xyz", "al.xyz"])
    assert result.failed
    failures = {label: [record.failure for record in mine] for label, mine in result.records.items()}
    assert "conductivity needs a crystal" in failures["emt"][0]
    assert "the potential does not know U" in failures["emt"][1]
    assert failures["emt"][2] == ""
    assert "the calculator Raising raised RuntimeError: no neighbours" in failures["Raising"][2]
    rows = list(csv.DictReader(Path("out/conductivity.csv").read_text().splitlines()))
    assert [row["verdict"] for row in rows].count("failed") == 5
    assert rows[1]["formula"] == "U"
    Path("healed").touch()
    assert conductivity(["counted:Raising"], ["al.xyz"]).failed
    assert not conductivity(["counted:Raising"], ["al.xyz"], options=replace(QUIET, retry=True)).failed


def test_a_material_that_flies_apart_is_a_failure() -> None:
    result = conductivity(["counted:Pushing"], ["al.xyz"], replace(QUICK, relax=True))
    (record,) = result.records["Pushing"]
    assert (record.verdict, result.failed) == ("melted", True)
    assert "not the same crystal after relaxation: its volume" in record.failure


def test_a_killed_process_takes_no_other_material_along() -> None:
    options = replace(QUIET, isolated=True)
    result = conductivity(["counted:Dying"], ["bcc.xyz", "al.xyz"], options=options)
    bcc, al = result.records["Dying"]
    assert al.failure == "its process ended with exit code 9"
    assert (bcc.failure, bcc.verdict) == ("", "imaginary")


def test_force_sets_are_the_reference_of_the_others() -> None:
    wanted = Wanted(mesh="3,3,3")
    alone = conductivity(["emt"], [str(SILICON)], wanted=wanted)  # EMT knows no silicon
    assert any("--also reference compares with them" in line for line in alone.lines)
    result = conductivity(
        ["emt", "reference"], [str(SILICON)], wanted=wanted, options=replace(QUIET, plots=True)
    )
    emt, reference = result.records["emt"][0], result.records["reference"][0]
    assert (reference.verdict, reference.displaced, reference.score) == ("ok", (0, 0), None)
    assert emt.reference == "the force sets of the input"
    assert emt.reference_kappa == reference.kappa("total", 300.0) > 0
    assert (emt.srme, emt.srd) == (2.0, -2.0)
    assert Path("out/silicon.modes.png").exists()
    without = conductivity(["reference"], ["al.xyz"])
    assert "has no force sets" in without.records["reference"][0].failure


def test_removed_modes_are_computed_anew() -> None:
    first = conductivity(["emt"], ["al.xyz"])
    Path("out/emt/al.modes.npz").unlink()
    assert conductivity(["emt"], ["al.xyz"]).rows == first.rows
    assert Path("out/emt/al.modes.npz").exists()


def test_another_protocol_wants_another_folder() -> None:
    conductivity(["emt"], ["bcc.xyz"])
    with pytest.raises(InputError, match=r"--output out: was computed with settings: displacement 0\.01"):
        conductivity(["emt"], ["bcc.xyz"], replace(QUICK, displacement=0.02))
    with pytest.raises(InputError, match="was computed with materials: bcc"):
        conductivity(["emt"], ["bcc.xyz"], wanted=replace(SMALL, mesh="4,4,4"))


def test_references_that_do_not_fit_are_refused_before_anything_is_computed() -> None:
    conductivity(["emt"], ["al.xyz"])
    kappas = Path("out/emt/kappas.json.gz")
    Path("damaged.json.gz").write_bytes(kappas.read_bytes()[:100])
    for path, protocol, name, message in (
        (Path("none.json"), QUICK, "cu.xyz", r"--reference none\.json: no such file"),
        (Path("damaged.json.gz"), QUICK, "al.xyz", r"damaged\.json\.gz: cannot be read as JSON"),
        (kappas, QUICK, "cu.xyz", "has none of the materials cu; it has al"),
        (kappas, replace(QUICK, temperatures=(200.0,)), "al.xyz", "al is at 300 K, computed are 200 K"),
    ):
        with pytest.raises(InputError, match=message):
            conductivity(["emt"], [name], protocol, options=replace(QUIET, reference=path))
    assert not Path("out/emt/cu.json").exists()


def test_modes_that_nothing_scatters_are_noted() -> None:
    result = conductivity(["emt"], ["al.xyz"])  # 3 × 3 × 3 points find too few partners
    note = result.records["emt"][0].notes[-1]
    assert "of κ is carried by modes that nothing but the boundary scatters" in note
    assert any("nothing but the boundary scatters" in line for line in result.lines)


def test_a_reference_of_several_temperatures_is_compared_at_a_common_one() -> None:
    several = replace(QUICK, temperatures=(200.0, 300.0))
    conductivity(["emt"], ["al.xyz"], several)
    Path("out").rename("first")
    options = replace(QUIET, reference=Path("first/emt/kappas.json.gz"))
    result = conductivity(["emt"], ["al.xyz"], options=options)
    assert result.records["emt"][0].srme == pytest.approx(0.0, abs=1e-9)
    other = replace(QUICK, temperatures=(250.0,))
    with pytest.raises(InputError, match="al is at 200, 300 K, computed are 250 K"):
        conductivity(["emt"], ["al.xyz"], other, options=options)
