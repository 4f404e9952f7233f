"""Every potential on every crystal."""

import csv
import importlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import phonopy
import pytest

from esen.errors import InputError
from esen.evaluate.phonons.protocol import PROTOCOLS, PhononProtocol
from esen.models.checkpoint import Checkpoint, save_checkpoint
from esen.study.phonons.choose import choose_inputs
from esen.study.phonons.run import PhononOptions, PhononResult, run_phonons
from esen.track import NullTracker
from tests.evaluate.phonons.crystals import NACL
from tests.models.variants import ABLATIONS, VARIANTS, potential_of

QUICK = replace(PROTOCOLS["tight"], relax=None, mesh=(4, 4, 4), temperatures=(0.0, 300.0))


def phonons(
    potentials: Sequence[str],
    inputs: Sequence[str],
    protocol: PhononProtocol = QUICK,
    *,
    options: PhononOptions = PhononOptions(),  # noqa: B008  # frozen
    supercell: str | None = "2,2,2",
    **how: Any,
) -> PhononResult:
    return run_phonons(
        potentials,
        choose_inputs(inputs, protocol, supercell=supercell),
        protocol,
        options,
        output=Path("out"),
        tracker=NullTracker(),
        **how,
    )


def test_everything_is_kept() -> None:
    result = phonons(["emt"], ["cu.xyz"])
    assert not result.failed
    (record,) = result.records["emt"]
    assert (record.formula, record.atoms, record.supercell_atoms) == ("Cu", 1, 32)
    assert record.values["entropy"] == pytest.approx(31.95, abs=0.1)
    assert result.rows[0]["verdict"] == "stable"
    assert result.error_rows == []
    for path in ("out/emt/cu.json", "out/emt/cu.thermal.csv", "out/cu.bands.png", "out/manifest.json"):
        assert Path(path).stat().st_size > 50
    (row,) = csv.DictReader(Path("out/phonons.csv").read_text().splitlines())
    assert float(row["entropy (J/K/mol)"]) == record.values["entropy"]
    again = phonopy.load("out/emt/cu.phonopy.yaml", log_level=0)
    again.run_qpoints([[0.5, 0.5, 0.0]])
    assert again.force_constants is not None
    assert again.qpoints is not None
    highest = float(np.max(again.qpoints.frequencies)) * 47.9924307
    assert highest <= record.max_commensurate + 1e-3
    assert json.loads(Path("out/result.json").read_text())["protocol"]["displacement"] == 0.01


def test_the_reference_is_without_error() -> None:
    result = phonons(["reference", "emt"], [str(NACL)], supercell=None)
    record = result.records["reference"][0]
    assert [record.error(quantity) for quantity in record.values] == [0.0] * 4
    assert result.error_rows[0]["MAE(S) J/K/mol"] == "0"
    assert result.records["emt"][0].failure  # EMT knows neither Na nor Cl
    assert result.failed
    assert Path("out/NaCl.bands.png").exists()


@pytest.mark.usefixtures("no_plots")
def test_failures_are_recorded_and_the_rest_goes_on() -> None:
    result = phonons(["emt", "counted:Raising", "reference"], ["water.xyz", "u.xyz", "cu.xyz"])
    assert result.failed
    failures = {label: [record.failure for record in mine] for label, mine in result.records.items()}
    assert "phonons need a crystal" in failures["emt"][0]
    assert "the potential does not know U" in failures["emt"][1]
    assert failures["emt"][2] == ""
    assert "the calculator Raising raised RuntimeError: no neighbours" in failures["Raising"][2]
    assert "no force sets" in failures["reference"][2]
    assert sum("water" in line for line in result.lines) == 3
    kept = list(csv.DictReader(Path("out/phonons.csv").read_text().splitlines()))
    assert len(kept) == 9
    assert sum(bool(row["failure"]) for row in kept) == 8


def test_failed_relaxations_are_recorded() -> None:
    relaxing = replace(QUICK, relax="unit")
    options = PhononOptions(displacements=(0.01, 0.02))
    result = phonons(["counted:Raising"], ["cu.xyz"], relaxing, options=options)
    found = [record.failure for record in result.records["Raising"]]
    assert len(found) == 2
    assert all("relaxation ended by RuntimeError: no neighbours" in words for words in found)


@pytest.mark.usefixtures("no_plots")
def test_a_second_call_computes_nothing_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    first = phonons(["counted:Counting"], ["cu.xyz", "water.xyz"])
    counted = importlib.import_module("counted")
    calls = len(counted.calls)
    assert calls > 0
    second = phonons(["counted:Counting"], ["cu.xyz", "water.xyz"])
    assert len(counted.calls) == calls
    assert second.rows == first.rows
    assert second.lines == first.lines
    Path("out/Counting/cu.json").unlink()
    assert phonons(["counted:Counting"], ["cu.xyz", "water.xyz"]).rows == first.rows
    assert len(counted.calls) > calls


@pytest.mark.usefixtures("no_plots")
def test_another_protocol_wants_another_folder() -> None:
    phonons(["emt"], ["cu.xyz"])
    with pytest.raises(InputError, match=r"--output out: was computed with settings: displacement 0\.01"):
        phonons(["emt"], ["cu.xyz"], replace(QUICK, displacement=0.02))
    with pytest.raises(InputError, match="was computed with crystals: cu"):
        phonons(["emt"], ["cu.xyz"], supercell="1,1,1")
    assert len(phonons(["emt", "counted:Counting"], ["cu.xyz"]).rows) == 2  # more may come
    Path("out/manifest.json").write_text("[]")
    with pytest.raises(InputError, match="not a manifest"):
        phonons(["emt"], ["cu.xyz"])


@pytest.mark.usefixtures("no_plots")
def test_several_displacements() -> None:
    result = phonons(["emt"], ["cu.xyz"], options=PhononOptions(displacements=(0.001, 0.01, 0.1)))
    names = [record.name for record in result.records["emt"]]
    assert names == ["cu@0.001 Å", "cu@0.01 Å", "cu@0.1 Å"]
    entropies = [record.values["entropy"] for record in result.records["emt"]]
    assert abs(entropies[0] - entropies[1]) < 0.01 < abs(entropies[1] - entropies[2])


def saved(name: str) -> str:
    potential, path = potential_of(name), f"{name}.safetensors"
    recipe = {"model": (VARIANTS | ABLATIONS)[name].model_dump()}
    tensors = {f"weights/{key}": value for key, value in potential.state_dict().items()}
    save_checkpoint(Path(path), Checkpoint(recipe=recipe, elements=(), metrics={}, tensors=tensors))
    return path


@pytest.mark.usefixtures("no_plots")
def test_direct_forces_are_refused_unless_allowed() -> None:
    weights = saved("direct")
    with pytest.raises(InputError, match=r"not the gradient of its energy.*--allow-direct"):
        phonons([weights], ["cu.xyz"], supercell="1,1,1", device="cpu")
    allowed = PhononOptions(allow_direct=True)
    with pytest.raises(InputError, match="--method hessian: direct"):
        phonons([weights], ["cu.xyz"], replace(QUICK, method="hessian"), options=allowed, device="cpu")
    result = phonons([weights], ["cu.xyz"], options=allowed, supercell="1,1,1", device="cpu")
    assert result.records["direct"][0].failure == ""


@pytest.mark.usefixtures("no_plots")
def test_exact_derivatives_of_a_checkpoint() -> None:
    weights = saved("default")
    result = phonons([weights], ["cu.xyz"], replace(QUICK, method="hessian"), supercell="1,1,1", device="cpu")
    (exact,) = result.records["default"]
    assert (exact.failure, exact.supercell_atoms) == ("", 4)
    unknown = phonons([weights], ["u.xyz"], replace(QUICK, method="hessian"), supercell="1,1,1", device="cpu")
    assert "u.xyz, frame 0: the potential does not know U" in unknown.records["default"][0].failure
    with pytest.raises(InputError, match="--method hessian: emt has no exact second derivatives"):
        phonons(["emt"], ["cu.xyz"], replace(QUICK, method="hessian"))


def test_reference_is_no_name_of_a_potential() -> None:
    Path("reference.safetensors").write_bytes(Path(saved("default")).read_bytes())
    with pytest.raises(InputError, match="reference: means the force sets"):
        phonons(["reference.safetensors"], ["cu.xyz"], device="cpu")
