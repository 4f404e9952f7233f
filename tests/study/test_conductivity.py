"""Every potential on every material."""

import csv
import importlib
import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase.build import bulk, molecule
from ase.io import write

from esen.errors import InputError
from esen.evaluate.conductivity.protocol import PROTOCOLS, ConductivityProtocol
from esen.evaluate.conductivity.reference import read_reference, write_reference
from esen.study.campaign import CampaignOptions, CampaignResult, CampaignRun
from esen.study.conductivity import (
    ConductivityRecord,
    SizeOptions,
    choose_materials,
    parse_mesh,
    run_conductivity,
    summarize,
)
from esen.track import NullTracker, Tracker
from tests.evaluate.conductivity.materials import RELAXED, SILICON
from tests.evaluate.conductivity.test_inputs import FRAMES

FACTORIES = '''
"""Potentials of a user: EMT that counts its calls, and worse ones."""

import os
from pathlib import Path

from ase.calculators.emt import EMT

calls = []


class Counting(EMT):
    def calculate(self, *args, **kwargs):
        calls.append(1)
        super().calculate(*args, **kwargs)


class Pushing(EMT):
    """A pressure that no lattice withstands."""

    def calculate(self, *args, **kwargs):
        super().calculate(*args, **kwargs)
        self.results["stress"] = self.results["stress"] * 0 + [-5.0, -5.0, -5.0, 0.0, 0.0, 0.0]


class Raising(EMT):
    def calculate(self, *args, **kwargs):
        if not Path("healed").exists():
            raise RuntimeError("no neighbours\\nat all")
        super().calculate(*args, **kwargs)
'''


@pytest.fixture(autouse=True)
def _work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write("al.xyz", bulk("Al", a=RELAXED), format="extxyz")
    write("cu.xyz", bulk("Cu", a=3.59), format="extxyz")
    write("bcc.xyz", bulk("Cu", "bcc", a=2.85), format="extxyz")
    write("u.xyz", bulk("U", "fcc", a=4.5), format="extxyz")
    write("water.xyz", molecule("H2O"), format="extxyz")
    (tmp_path / "counted.py").write_text(FACTORIES)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "counted", raising=False)


HEADINGS = [
    *("potential", "material", "label", "formula", "atoms", "mesh", "group before", "group after"),
    *("temperature (K)", "diagonal (W/m/K)", "particle (W/m/K)", "coherence (W/m/K)", "total (W/m/K)"),
    *("xx", "yy", "zz", "yz", "xz", "xy", "reference (W/m/K)", "SRD", "SRE", "SRME"),
    *(
        "spectrum distance (THz)",
        "imaginary",
        "lowest (THz)",
        "lowest at",
        "fc2 supercells",
        "fc3 supercells",
    ),
    *("converged", "verdict", "reason", "notes", "failure"),
]
QUICK = replace(PROTOCOLS["tight"], relax=False)
QUIET = CampaignOptions(plots=False, isolated=False)
DRAWING = CampaignOptions(isolated=False)
SMALL = SizeOptions(fc2="3,3,3", fc3="2,2,2", mesh="3,3,3")


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
    options: CampaignOptions = QUIET,
    wanted: SizeOptions = SMALL,
    reference: Path | None = None,
    tracker: Tracker | None = None,
) -> CampaignResult:
    run = CampaignRun(potentials, Path("out"), tracker or NullTracker(), options)
    result = run_conductivity(run, choose_materials(inputs, wanted), protocol, reference)
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
        options=DRAWING,
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
    (table,) = result.tables
    assert [row["T (K)"] for row in table.texts()] == ["300", "600"]
    for path in ("emt/al.json", "emt/al.modes.npz", "al.modes.png", "manifest.json", "emt/kappas.json.gz"):
        assert Path("out", path).stat().st_size > 50
    rows = list(csv.DictReader(Path("out/conductivity.csv").read_text().splitlines()))
    assert [float(row["total (W/m/K)"]) for row in rows] == record.kappas["total"]
    assert [float(row["xx"]) for row in rows] == [one[0] for one in record.tensors["total"]]
    assert list(rows[0]) == HEADINGS
    assert json.loads(Path("out/result.json").read_text())["settings"]["displacement"] == 0.01
    heard = [tracker.values["kappa_W_per_m_per_K", kelvin] for kelvin in (300, 600)]
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
        options=DRAWING,
        reference=Path(kappas),
    )
    al, cu, bcc = itself.records["Counting"]
    assert (al.srme, al.srd, al.spectrum, cu.srme) == (0.0, 0.0, 0.0, 0.0)
    assert bcc.verdict == "imaginary"
    assert not bcc.compared
    assert "no reference, and not in the means: bcc" in itself.lines
    assert not itself.failed
    (summary,) = itself.tables[1].texts()
    assert (summary["materials"], summary["compared"], summary["κ_SRME"]) == ("3", "2", "0.000")
    assert summary["verdicts"] == "2 ok, 1 imaginary"
    assert Path("out/parity.png").exists()

    tracker = Heard()
    larger = scaled(kappas, "larger.json", 3.0)
    other = conductivity(["counted:Counting"], ["al.xyz"], reference=larger, tracker=tracker)
    (record,) = other.records["Counting"]
    assert record.srme == pytest.approx(1.0)  # 2 · |1 − 3| / (1 + 3)
    assert record.srd == pytest.approx(-1.0)
    assert record.reference_kappa == pytest.approx(3 * record.kappa("total", 300.0))
    assert "reference: 1 of the 2 materials of larger.json" in other.lines
    assert any("1 of them are not in this run" in line for line in other.lines)
    assert tracker.values["mean_SRME", 0] == tracker.values["SRME", 300] == pytest.approx(1.0)
    assert json.loads(Path("out/result.json").read_text())["summary"]["Counting"]["srme"] == record.srme
    assert json.loads(Path("out/Counting/al.json").read_text())["srme"] == record.srme
    plain = conductivity(["counted:Counting"], ["al.xyz"])
    assert not plain.records["Counting"][0].compared
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
    result = conductivity(["emt"], ["bcc.xyz", "u.xyz", "cu.xyz"], reference=Path("wrong.json"))
    bcc, u, cu = result.records["emt"]
    assert [(one.srme, one.verdict) for one in (bcc, u, cu)] == [(2, "imaginary"), (2, "failed"), (2, "ok")]
    assert bcc.spectrum > 0
    assert np.isnan(u.spectrum)
    assert "modes cannot be compared" in cu.score_reason
    assert any("counts as failed: modes cannot be compared" in line for line in result.lines)
    (summary,) = result.tables[1].texts()
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


def test_force_sets_are_the_reference_of_the_others() -> None:
    wanted = SizeOptions(mesh="3,3,3")
    alone = conductivity(["emt"], [str(SILICON)], wanted=wanted)  # EMT knows no silicon
    assert any("--also reference compares with them" in line for line in alone.lines)
    result = conductivity(["emt", "reference"], [str(SILICON)], wanted=wanted, options=DRAWING)
    emt, reference = result.records["emt"][0], result.records["reference"][0]
    assert (reference.verdict, reference.displaced, reference.compared) == ("ok", (0, 0), False)
    assert emt.reference == "the force sets of the input"
    assert emt.reference_kappa == reference.kappa("total", 300.0) > 0
    assert (emt.srme, emt.srd) == (2.0, -2.0)
    assert Path("out/silicon.modes.png").exists()
    without = conductivity(["reference"], ["al.xyz"])
    assert "has no force sets" in without.records["reference"][0].failure


def test_means_are_over_all_materials_with_a_reference() -> None:
    bare = ConductivityRecord("a")
    records = [
        replace(bare, srme=0.5, srd=-0.25, spectrum=0.1),
        replace(bare, srme=0.3, srd=0.25),
        replace(bare, srme=2.0, srd=-2.0, failure="it melted", score_reason="it melted"),
        replace(bare, srme=2.0, srd=-2.0, spectrum=0.5, imaginary=3, score_reason="imaginary"),
        replace(bare, failure="not compared"),
    ]
    found = summarize("emt", records)
    assert (found.materials, found.compared) == (5, 4)
    assert (found.srme, found.sre) == (pytest.approx(4.8 / 4), pytest.approx(4.5 / 4))
    assert found.srd == pytest.approx(-4 / 4)
    assert (found.failure_rate, found.imaginary_rate, found.spectrum) == (0.5, 0.25, pytest.approx(0.3))
    assert np.isnan(summarize("emt", records[1:3]).spectrum)
    assert summarize("emt", [bare, records[-1]]).failure_rate == 0.5


def test_metrics_of_several_potentials_have_the_same_keys() -> None:
    class Children(Heard):
        def of(self, potential: str) -> Heard:
            return children.setdefault(potential, Heard())

    children: dict[str, Heard] = {}
    conductivity(["emt", "counted:Counting"], ["al.xyz", "bcc.xyz"], tracker=Children())
    assert list(children) == ["emt", "Counting"]
    assert children["emt"].values == children["Counting"].values
    assert children["emt"].values["imaginary_rate", 0] == 0.5
    assert ("kappa_W_per_m_per_K/al", 300) in children["emt"].values


def test_removed_modes_are_computed_anew() -> None:
    first = conductivity(["emt"], ["al.xyz"])
    Path("out/emt/al.modes.npz").unlink()
    assert conductivity(["emt"], ["al.xyz"]).tables[0].texts() == first.tables[0].texts()
    assert Path("out/emt/al.modes.npz").exists()


def test_another_protocol_wants_another_folder() -> None:
    conductivity(["emt"], ["bcc.xyz"])
    with pytest.raises(InputError, match=r"--output out: .*displacement 0\.01"):
        conductivity(["emt"], ["bcc.xyz"], replace(QUICK, displacement=0.02))
    with pytest.raises(InputError, match="materials: bcc"):
        conductivity(["emt"], ["bcc.xyz"], wanted=replace(SMALL, mesh="4,4,4"))


def test_references_that_do_not_fit_are_refused_before_anything_is_computed() -> None:
    conductivity(["emt"], ["al.xyz"])
    kappas = Path("out/emt/kappas.json.gz")
    Path("damaged.json.gz").write_bytes(kappas.read_bytes()[:100])
    for path, protocol, name, message in (
        (Path("none.json"), QUICK, "cu.xyz", r"--reference none\.json"),
        (Path("damaged.json.gz"), QUICK, "al.xyz", r"damaged\.json\.gz: "),
        (kappas, QUICK, "cu.xyz", "cu; .*al"),
        (kappas, replace(QUICK, temperatures=(200.0,)), "al.xyz", "al .*300 K.*200 K"),
    ):
        with pytest.raises(InputError, match=message):
            conductivity(["emt"], [name], protocol, reference=path)
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
    several_of_them = Path("first/emt/kappas.json.gz")
    result = conductivity(["emt"], ["al.xyz"], reference=several_of_them)
    assert result.records["emt"][0].srme == pytest.approx(0.0, abs=1e-9)
    other = replace(QUICK, temperatures=(250.0,))
    with pytest.raises(InputError, match=r"al .*200, 300 K.*250 K"):
        conductivity(["emt"], ["al.xyz"], other, reference=several_of_them)


def test_files_in_their_order() -> None:
    Path("phonondb.extxyz").write_text(FRAMES)
    found = choose_materials(["al.xyz", "phonondb.extxyz", str(SILICON), "al.xyz"])
    assert [one.name for one in found] == ["al", "mp-1", "mp-2", "silicon", "al-2"]
    assert [one.of_benchmark for one in found] == [False, True, True, False, False]
    first = found[1].read()
    assert (first.name, first.mesh) == ("mp-1", (19, 19, 15))


def test_sizes_are_for_what_has_none() -> None:
    wanted = SizeOptions(fc2="3,3,3", fc3_width=5.0, mesh="4,5,6")
    al, silicon = (one.read() for one in choose_materials(["al.xyz", str(SILICON)], wanted))
    assert al.fc2_supercell.tolist() == np.diag([3, 3, 3]).tolist()
    assert al.fc3_supercell.tolist() == np.diag([3, 3, 3]).tolist()  # 5 Å of layers 2.31 Å apart
    assert al.mesh == silicon.mesh == (4, 5, 6)
    assert silicon.fc3_supercell.tolist() == np.diag([2, 2, 2]).tolist()


def test_a_file_of_another_content_is_another_material(tmp_path: Path) -> None:
    def described(*files: str) -> list[str]:
        return [one.described for one in choose_materials(files)]

    Path("phonondb.extxyz").write_text(FRAMES)
    shutil.copytree(SILICON.parent, "folder")
    yaml = f"folder/{SILICON.name}"
    before = described("al.xyz", "phonondb.extxyz", yaml)
    assert before == described("al.xyz", "phonondb.extxyz", yaml)
    write("al.xyz", bulk("Al", a=4.1), format="extxyz")
    Path("phonondb.extxyz").write_text(FRAMES.replace("19", "11"))
    Path("folder/FORCES_FC3").write_text("other forces")
    after = described("al.xyz", "phonondb.extxyz", yaml)
    assert all(old != new for old, new in zip(before, after, strict=True))


def test_the_first_frame_unless_more_are_asked_for() -> None:
    write("two.xyz", [bulk("Cu"), bulk("Cu", a=3.7)], format="extxyz")
    assert [one.name for one in choose_materials(["two.xyz"])] == ["two"]
    assert [one.name for one in choose_materials(["two.xyz"], frames=":")] == ["two#0", "two#1"]
    Path("phonondb.extxyz").write_text(FRAMES)
    assert [one.name for one in choose_materials(["phonondb.extxyz"], frames="1:")] == ["mp-2"]


def test_one_crystal_is_enough() -> None:
    water, _ = choose_materials(["water.xyz", "al.xyz"])
    with pytest.raises(InputError, match="crystal"):
        water.read()
    with pytest.raises(InputError, match="crystal"):
        choose_materials(["water.xyz"])


def test_mistakes() -> None:
    Path("phonondb.extxyz").write_text(FRAMES)
    Path("half.extxyz").write_text(FRAMES.replace("fc2_supercell=", "other="))
    Path("phonopy.yaml").write_text("phonopy:\n  version: 2\n")
    Path("folder").mkdir()
    for inputs, wanted, frames, message in (
        (["none.cif"], SizeOptions(), None, r"none\.cif: "),
        (["folder"], SizeOptions(), None, "folder: "),
        (["phonopy.yaml"], SizeOptions(), None, "phonopy.yaml"),
        (["half.extxyz"], SizeOptions(), None, "fc2_supercell"),
        (["al.xyz"], SizeOptions(fc2="2"), None, "--fc2 '2'"),
        (["al.xyz"], SizeOptions(fc3="0,1,1"), None, "--fc3 '0,1,1'"),
        (["al.xyz"], SizeOptions(fc3="2,2,2", fc3_width=8.0), None, "--fc3-width: "),
        (["al.xyz"], SizeOptions(fc2_width=-1.0), None, "--fc2-width -1"),
        (["al.xyz"], SizeOptions(fc2_width=float("nan")), None, "--fc2-width nan"),
        (["phonondb.extxyz"], SizeOptions(fc2="2,2,2"), None, "--fc2: "),
        (
            ["phonondb.extxyz"],
            SizeOptions(mesh="2,2,2"),
            None,
            "--mesh: ",
        ),
        ([str(SILICON)], SizeOptions(fc3_width=9.0), None, "--fc3-width: "),
        ([str(SILICON)], SizeOptions(), ":", "--frames: "),
    ):
        with pytest.raises(InputError, match=message):
            choose_materials(inputs, wanted, frames=frames)


@pytest.mark.parametrize("text", ["0", "-5", "nan", "inf", "1,2", "1,2,0", "1.5,2,2", "a", ""])
def test_meshes_that_are_none(text: str) -> None:
    with pytest.raises(InputError, match=f"--mesh {text}: "):
        parse_mesh(text)
