"""`esen check` from potential and files to table and files."""

import csv
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ase.build import bulk
from ase.io import write

from esen.errors import InputError
from esen.evaluate.laws.law import broken, information, judged, not_applicable
from esen.evaluate.laws.quantities import Deviation
from esen.evaluate.laws.run import Report
from esen.study.check import CheckResult, run_check, verdict_of, worst_findings
from esen.study.potentials import Resolved, resolve_potential
from tests.evaluate.laws.known import Changed, smooth, swirling
from tests.toys import PairPotential

QUICK = ("rotation", "forces", "stress", "curl", "determinism")


@pytest.fixture
def argon(tmp_path: Path) -> str:
    """Two frames of rattled argon."""
    frames = [bulk("Ar", "fcc", a=a, cubic=True) for a in (4.0, 4.2)]
    for atoms in frames:
        atoms.rattle(0.05, seed=1)
    path = tmp_path / "argon.xyz"
    write(path, frames, format="extxyz")
    return str(path)


@pytest.fixture
def stands_for(monkeypatch: pytest.MonkeyPatch) -> Any:
    """What `run_check` takes for the potential of any name."""

    def use(potential: Any) -> None:
        monkeypatch.setattr(
            "esen.study.check.resolve_potential",
            lambda text, **_: Resolved(text, potential, "cpu", "its own", (18,)),
        )

    return use


def test_all_laws_and_all_files(argon: str, tmp_path: Path, stands_for: Any) -> None:
    stands_for(smooth())
    result = run_check("toy", [argon], output=tmp_path / "new" / "out")
    assert result.report.holds, result.verdict
    assert (
        result.verdict == f"{sum(row['verdict'] == 'pass' for row in result.table.texts())} of 17 laws hold."
    )
    written = {path.name for path in (tmp_path / "new" / "out").iterdir()}
    assert written == {
        "result.json",
        "report.html",
        "check.json",
        "smoothness.csv",
        "smoothness.png",
        "diatomics.csv",
        "diatomics.png",
    }
    assert set(result.paths.values()) == set((tmp_path / "new" / "out").iterdir())
    values = json.loads((tmp_path / "new" / "out" / "check.json").read_text())
    assert values["structures"] == [{"name": f"{argon}, frame 0", "atoms": 4, "pbc": [True] * 3}]
    assert (values["potential"], values["dtype"], values["cutoff"], values["seed"]) == (
        "toy",
        "its own",
        5.0,
        0,
    )
    assert (values["holds"], values["verdict"]) == (True, result.verdict)
    assert {finding["law"] for finding in values["findings"]} == {row["law"] for row in result.table.texts()}
    assert {curve["kind"] for curve in values["curves"]} == {"pair", "in the structure", "diatomic"}
    for name in ("smoothness", "diatomics"):
        assert (tmp_path / "new" / "out" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    with (tmp_path / "new" / "out" / "diatomics.csv").open() as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["curve", "distance (Å)", "energy (eV)", "force (eV/Å)", "dF/dr (eV/Å²)"]
    assert len(rows) == 1 + 119


def test_the_summary_has_the_schema_of_all_commands(argon: str, tmp_path: Path, stands_for: Any) -> None:
    stands_for(swirling(0.3))
    run_check("toy", [argon], output=tmp_path, laws=["curl", "batch"], seed=2)
    values = json.loads((tmp_path / "result.json").read_text())
    assert (values["command"], values["potentials"]["toy"]["given"]) == ("check", "toy")
    assert (values["settings"]["seed"], values["settings"]["laws"]) == (2, ["curl", "batch"])
    assert [(row["law"], row["verdict"]) for row in values["rows"]] == [("curl", "fail"), ("batch", "pass")]
    findings = json.loads((tmp_path / "check.json").read_text())["findings"]
    assert values["rows"][0]["value"] == findings[0]["value"]


def test_a_subset_writes_only_what_there_is(argon: str, tmp_path: Path, stands_for: Any) -> None:
    stands_for(swirling(0.3))
    result = run_check("toy", [argon], output=tmp_path / "out", frames=":", laws=QUICK)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "result.json",
        "check.json",
        "report.html",
    }
    assert [row["law"] for row in result.table.texts()] == list(QUICK)
    verdicts = {row["law"]: row["verdict"] for row in result.table.texts()}
    assert verdicts["curl"] == verdicts["forces"] == verdicts["rotation"] == "FAIL"
    assert verdicts["determinism"] == "pass"
    assert not result.report.holds
    assert "do not use it for NVE dynamics or phonons" in result.verdict
    assert len(result.structures) == 2
    assert all((row["what was found"] or "").startswith(("[1] ", "[2] ")) for row in result.table.texts())


def test_the_same_seed_gives_the_same_report(argon: str, tmp_path: Path, stands_for: Any) -> None:
    stands_for(swirling(0.3))

    def run(name: str, seed: int) -> CheckResult:
        return run_check("toy", [argon], output=tmp_path / name, laws=["rotation", "forces"], seed=seed)

    a, b, c = run("a", 1), run("b", 1), run("c", 2)
    assert a.table.texts() == b.table.texts()
    assert a.table.texts() != c.table.texts()


def test_defaults_are_named(tmp_path: Path, stands_for: Any) -> None:
    stands_for(smooth())
    result = run_check("toy", output=tmp_path / "out", laws=["translation"])
    assert result.structures == ["Ar8 (fcc, 2×2×2, rattled by 0.05 Å)"]


def test_a_default_structure_that_the_potential_does_not_know_is_named(
    tmp_path: Path, monkeypatch: Any
) -> None:
    """A calculator does not say which elements it knows."""

    def resolve(text: str, **_: Any) -> Resolved:
        made = resolve_potential("emt")
        return Resolved(text, made.potential, "cpu", "its own", None, made.calculator)

    monkeypatch.setattr("esen.study.check.resolve_potential", resolve)
    with pytest.raises(InputError, match=r"^Mg4O4 .*my:factory my\.xyz"):
        run_check("my:factory", output=tmp_path / "out", laws=["rotation"])
    iron = tmp_path / "iron.xyz"
    write(iron, bulk("Fe"), format="extxyz")
    with pytest.raises(InputError) as caught:
        run_check("my:factory", [str(iron)], output=tmp_path / "out", laws=["rotation"])
    assert "no structure was given" not in str(caught.value)


def test_a_potential_without_forces_tests_nothing(argon: str, tmp_path: Path, stands_for: Any) -> None:
    stands_for(PairPotential(lambda r: 0 * r, 5.0))
    result = run_check("zero", [argon], output=tmp_path / "out", laws=["rotation", "batch"])
    assert not result.report.holds
    assert result.verdict == (
        "0 of 1 laws hold; not tested: rotation, batch. Broken: interaction.\n"
        "- the potential has no forces: nothing was tested, and the laws that hold say nothing"
    )
    assert (
        result.table.texts()[-1]["what was found"]
        == "no forces, not on displaced atoms and not between two atoms"
    )


def test_rows_may_be_asked_for(argon: str, tmp_path: Path, stands_for: Any) -> None:
    stands_for(smooth())
    result = run_check("toy", [argon], output=tmp_path / "out", laws=["choice of cell", "isolated atom"])
    assert [row["law"] for row in result.table.texts()] == ["choice of cell", "isolated atom"]


def test_a_missing_stress_is_no_failure(argon: str, tmp_path: Path, stands_for: Any) -> None:
    stands_for(Changed(smooth(), lambda g, p: replace(p, stress=p.stress * math.nan)))
    result = run_check("toy", [argon], output=tmp_path / "out", laws=["stress", "rotation"])
    assert [row["verdict"] for row in result.table.texts()] == ["–", "pass"]
    assert result.verdict == "1 of 1 laws hold; not tested: stress."


def test_checkpoints_are_checked_in_float64_unless_told(
    argon: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, Any]] = []

    def resolve(text: str, **options: Any) -> Resolved:
        asked.append(options)
        return Resolved(text, smooth(), "cpu", "float64", (18,))

    monkeypatch.setattr("esen.study.check.resolve_potential", resolve)
    run_check("runs/a", [argon], output=tmp_path, laws=["batch"], device="cpu", dtype=None)
    run_check("runs/a", [argon], output=tmp_path, laws=["batch"], dtype="float32")
    run_check("emt", [argon], output=tmp_path, laws=["batch"], calculator_args=["a=1"])
    assert asked == [
        {"device": "cpu", "dtype": "float64"},
        {"dtype": "float32"},
        {"calculator_args": ["a=1"]},
    ]


def test_mistakes_come_before_the_work(argon: str, tmp_path: Path, stands_for: Any) -> None:
    stands_for(smooth())
    with pytest.raises(InputError, match="curls"):
        run_check("toy", [argon], output=tmp_path / "out", laws=["curls"])
    with pytest.raises(InputError, match="none"):
        run_check("toy", ["none.xyz"], output=tmp_path / "out")
    assert not (tmp_path / "out").exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        run_check("toy", [argon], output=tmp_path / "file" / "out", laws=["batch"])


def test_an_element_that_emt_does_not_know(tmp_path: Path) -> None:
    path = tmp_path / "iron.xyz"
    write(path, bulk("Fe"), format="extxyz")
    with pytest.raises(InputError, match=r"iron\.xyz, frame 0") as caught:
        run_check("emt", [str(path)], output=tmp_path / "out")
    assert "\n" not in str(caught.value)


FINDINGS = [
    judged("curl", "a", Deviation(0.31, 1e-9, ""), "how"),
    judged("curl", "b", Deviation(0.5, 1.0, ""), "held"),
    judged("forces", "a", Deviation(1e-10, 1e-9, "eV/Å"), "how"),
    judged("forces", "b", Deviation(5e-10, 1e-9, "eV/Å"), "nearly"),
    not_applicable("stress", "a", "no periods"),
    information("noise", "a", 1e-14, "eV/Å", "tiny"),
    broken("supercell", "b", "b: the energy is nan"),
]


def test_a_row_is_where_a_law_is_worst() -> None:
    worst = {finding.law: finding for finding in worst_findings(Report(FINDINGS, []))}
    assert (worst["curl"].about, worst["curl"].value) == ("a", 0.31)  # held less on b, but broken on a
    assert worst["forces"].about == "b"
    assert worst["stress"].verdict == "not applicable"
    assert worst["supercell"].verdict == "fail"


def test_the_verdict_counts_laws_and_says_what_it_means() -> None:
    first, *meanings = verdict_of(worst_findings(Report(FINDINGS, []))).splitlines()
    assert first == "1 of 3 laws hold; not tested: stress. Broken: curl (0.31), supercell."
    assert meanings == [
        "- forces are not the gradient of the energy: do not use it for NVE dynamics or phonons",
        "- energies are not extensive",
    ]
    assert verdict_of(worst_findings(Report(FINDINGS[2:4], []))) == "1 of 1 laws hold."
