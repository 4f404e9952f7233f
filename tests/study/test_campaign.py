"""The engine of all campaigns: items, records, manifests, resuming and retrying."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase.build import bulk
from ase.io import write

from esen.errors import InputError
from esen.files import locked, write_json
from esen.study.campaign import (
    CampaignOptions,
    CampaignRun,
    Item,
    Property,
    Task,
    claim,
    earlier_manifest,
    protocol_lines,
    read_record,
    reason_of,
    run_campaign,
    structure_items,
)
from esen.track import NullTracker


@dataclass(frozen=True)
class Kept:
    name: str
    value: float = float("nan")
    groups: tuple[int, ...] | None = None
    matrix: list[list[float]] | None = None


@pytest.mark.parametrize(
    "record", [Kept("a", 1.5, (1, 2), [[1.0]]), Kept("é", 2.0), Kept("b", float("inf")), Kept("c")]
)
def test_round_trip(record: Kept, tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", asdict(record))
    found = read_record(tmp_path / "a.json", Kept)
    assert (found.name, found.groups, found.matrix) == (record.name, record.groups, record.matrix)
    assert found.value == record.value or (np.isnan(found.value) and not np.isfinite(record.value))


@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", "{}", "null"),
        *('{"name": "a", "colour": 1}', '{"name": "a", "value": "x"}', '{"name": "a", "groups": 3}'),
    ],
)
def test_damage_is_one_line(text: str, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"a\.json"):
        read_record(path, Kept)


def test_reasons(tmp_path: Path) -> None:
    kept = tmp_path / "out" / "a.traceback.txt"
    assert reason_of(InputError("no uranium"), kept) == "no uranium"
    assert not kept.exists()
    assert reason_of(ValueError("two\nlines"), kept) == "ValueError: two (traceback in a.traceback.txt)"
    assert "ValueError: two" in kept.read_text()


def test_more_may_come_but_nothing_else(tmp_path: Path) -> None:
    output = tmp_path / "out"
    assert earlier_manifest(output, {}) == {}
    claim(output, {"settings": {"mesh": (2, 2)}, "crystals": {"a": "a.cif"}})
    claim(output, {"settings": {"mesh": np.array([2, 2])}, "crystals": {"b": "b.cif"}})
    kept = json.loads((output / "manifest.json").read_text())
    assert kept == {"settings": {"mesh": [2, 2]}, "crystals": {"a": "a.cif", "b": "b.cif"}}
    with pytest.raises(InputError, match=r"settings: mesh \[2, 2\].*\[3, 3\]"):
        claim(output, {"settings": {"mesh": (3, 3)}, "crystals": {}})
    (output / "manifest.json").write_text("[]")
    with pytest.raises(InputError, match=r"manifest\.json"):
        earlier_manifest(output, {"settings": {}})


@dataclass(frozen=True)
class Protocol:
    name: str = "theirs"
    source: str = "they"
    fmax: float = 0.1


def test_changes_of_a_published_protocol_are_said() -> None:
    published = {"theirs": Protocol()}
    assert protocol_lines(Protocol(), published) == ["protocol theirs: they"]
    changed = protocol_lines(replace(Protocol(), fmax=0.2), published)
    assert changed == ["protocol theirs: they", "theirs, NOT the protocol as published: fmax 0.2 eV/Å"]
    assert protocol_lines(Protocol("mine", "me"), published) == ["protocol mine: me"]


@pytest.fixture
def _files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write("cu.cif", bulk("Cu", cubic=True))
    write("metals.xyz", [bulk("Cu"), bulk("Ag"), bulk("Al")], format="extxyz")


@pytest.mark.usefixtures("_files")
def test_structures_are_named_after_their_files() -> None:
    Path("other").mkdir()
    Path("other/cu.cif").write_bytes(Path("cu.cif").read_bytes())
    found = structure_items(["metals.xyz", "cu.cif", "other/cu.cif"])
    assert [one.name for one in found] == ["metals#0", "metals#1", "metals#2", "cu", "cu-2"]
    assert [len(one.read()) for one in found] == [1, 1, 1, 4, 4]
    assert [one.name for one in structure_items(["metals.xyz"], "1:")] == ["metals#1", "metals#2"]
    assert [one.name for one in structure_items(["metals.xyz"], "-1:")] == ["metals"]


@pytest.mark.usefixtures("_files")
def test_a_structure_is_known_by_its_geometry() -> None:
    (first,) = structure_items(["cu.cif"])
    Path("cu.cif").write_text(Path("cu.cif").read_text().replace("3.61", "3.62"))
    (second,) = structure_items(["cu.cif"])
    assert first.described.startswith("cu.cif, frame 0 (sha256 ")
    assert first.described != second.described


@pytest.mark.usefixtures("_files")
def test_files_that_cannot_be_used() -> None:
    Path("empty.xyz").touch()
    for file, frames in (("none.xyz", ":"), ("empty.xyz", ":"), ("cu.cif", "2:")):
        with pytest.raises(InputError, match=file):
            structure_items([file], frames)


@dataclass(frozen=True)
class Length:
    name: str
    letters: int = 0
    failure: str = ""
    potential: str = ""


class Words(Property[Item[str], Length]):
    """The length of a word, computed by potentials that it never calls. `bad` has none."""

    command = "words"
    record = Length
    items = "words"

    def compute(self, task: Task[Item[str]], content: str, model: Any, progress: Any) -> Length:
        assert model is not None
        if content == "bad":
            raise InputError("a bad word")
        if content == "defect":
            raise ValueError("of ours")
        return Length(task.item.name, len(content))


def word(text: str, log: Path) -> Item[str]:
    return Item(name=text, source="a book", read=partial(spell, text, log), hashed=partial(str, text))


def spell(text: str, log: Path) -> str:
    with log.open("a") as file:
        file.write(text + "\n")
    return text


def lengths(
    texts: Sequence[str],
    log: Path,
    options: CampaignOptions = CampaignOptions(isolated=False),  # noqa: B008  # frozen
    **settings: Any,
) -> dict[str, list[Length]]:
    run = CampaignRun(["emt", "lj"], log.parent / "out", NullTracker(), options)
    found = run_campaign(Words.of(run), [word(text, log) for text in texts], settings, run)
    assert found is not None
    return found


@pytest.mark.parametrize("isolated", [True, False])
def test_each_item_is_read_once_for_all_potentials(isolated: bool, tmp_path: Path) -> None:
    log = tmp_path / "log"
    texts = [f"word{'s' * number}" for number in range(20)]
    found = lengths(texts, log, CampaignOptions(isolated=isolated))
    assert [[r.letters for r in found[label]] for label in ("emt", "lj")] == [[len(t) for t in texts]] * 2
    assert {r.potential for r in found["lj"]} == {"lj"}
    assert log.read_text().split() == texts
    assert lengths(texts, log) == found
    assert log.read_text().split() == texts  # nothing is read again


def test_failures_are_recorded_and_retried_if_the_user_asks(tmp_path: Path) -> None:
    log = tmp_path / "log"
    found = lengths(["good", "bad", "defect"], log)["emt"]
    assert [record.failure for record in found][:2] == ["", "a bad word"]
    assert "of ours" in (tmp_path / "out/emt/defect.traceback.txt").read_text()
    path = tmp_path / "out" / "lj" / "bad.json"
    path.write_text(path.read_text().replace("a bad word", "another reason"))
    assert lengths(["good", "bad"], log)["lj"][1].failure == "another reason"
    again = lengths(["good", "bad"], log, CampaignOptions(retry=True, isolated=False))
    assert again["lj"][1].failure == "a bad word"


def test_nothing_is_deleted_before_the_folder_is_locked(tmp_path: Path) -> None:
    log = tmp_path / "log"
    lengths(["bad"], log)
    retry = CampaignOptions(retry=True, isolated=False)
    with locked(tmp_path / "out"), pytest.raises(InputError, match="another process"):
        lengths(["bad"], log, retry)
    assert (tmp_path / "out/emt/bad.json").exists()


def test_records_of_other_settings_are_refused_and_kept(tmp_path: Path) -> None:
    log = tmp_path / "log"
    lengths(["bad"], log, size=1)
    retry = CampaignOptions(retry=True, isolated=False)
    with pytest.raises(InputError, match=r"size 1.*2"):
        lengths(["bad"], log, retry, size=2)
    assert (tmp_path / "out/emt/bad.json").exists()
    assert json.loads((tmp_path / "out/manifest.json").read_text())["settings"] == {"size": 1}


class Letters(Words):
    """The same for another command."""

    command = "letters"


def test_the_folder_of_another_command_is_refused(tmp_path: Path) -> None:
    log = tmp_path / "log"
    lengths(["good"], log)
    run = CampaignRun(["emt"], tmp_path / "out", NullTracker(), CampaignOptions(isolated=False))
    with pytest.raises(InputError, match="esen words, now esen letters"):
        run_campaign(Letters.of(run), [word("good", log)], {}, run)


def test_a_property_without_references_refuses_reference(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="reference"):
        Words.of(CampaignRun(["emt", "reference"], tmp_path, NullTracker()))


def test_the_same_content_from_another_folder_is_the_same(tmp_path: Path) -> None:
    first = {"potentials": {"mgo": "runs/mgo (float64, sha256 0123)"}}
    claim(tmp_path, first)
    claim(tmp_path, {"potentials": {"mgo": "../runs/mgo/ (float64, sha256 0123)"}})
    with pytest.raises(InputError, match="sha256 0124"):
        claim(tmp_path, {"potentials": {"mgo": "runs/mgo (float64, sha256 0124)"}})


def test_a_damaged_record_is_retried(tmp_path: Path) -> None:
    log = tmp_path / "log"
    lengths(["good"], log)
    path = tmp_path / "out" / "emt" / "good.json"
    path.write_text("")
    with pytest.raises(InputError, match=r"good\.json.*--retry"):
        lengths(["good"], log)
    again = lengths(["good"], log, CampaignOptions(retry=True, isolated=False))
    assert again["emt"][0].letters == 4


@pytest.mark.parametrize("isolated", [True, False])
def test_a_folder_that_cannot_be_written_ends_the_run(isolated: bool, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "emt").touch()  # a file where the folder of the records should be
    with pytest.raises(OSError, match="emt"):
        lengths(["good", "fine"], tmp_path / "log", CampaignOptions(isolated=isolated))


def test_long_names_fit_into_a_file_system(tmp_path: Path) -> None:
    log, name = tmp_path / "log", "x" * 250
    assert lengths([name], log)["emt"][0].letters == 250
    assert len(lengths([name, name[:-1]], log)["emt"]) == 2
