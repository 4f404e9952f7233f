"""What potentials and files are called."""

from pathlib import Path

import pytest

from esen.study.names import distinct, file_name, labelled


def test_short_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "mgo").mkdir(parents=True)
    given = ["runs/mgo", "emt", "mace.calculators:mace_mp", "my.pot:Thing", "w/small.safetensors"]
    assert labelled(given) == dict(zip(["mgo", "emt", "mace_mp", "Thing", "small"], given, strict=True))
    assert list(labelled(["a/best.safetensors", "a/last.safetensors", "b/best.safetensors"])) == [
        "a",
        "a-last",
        "b",
    ]


def test_no_two_labels_are_one_folder() -> None:
    texts = ["m:a b", "n:a_b", "o:A_B", "m:a b", "emt", "x:emt-2", "emt"]
    labels = labelled(texts)
    assert list(labels.values()) == texts
    assert list(labels) == ["a b", "a_b-2", "A_B-3", "a b-4", "emt", "emt-2", "emt-3"]
    assert len({file_name(label).casefold() for label in labels}) == len(texts)


def test_distinct_leaves_what_is_distinct() -> None:
    assert distinct(["MgO#0", "MgO#1", "MgO"]) == ["MgO#0", "MgO#1", "MgO"]
    assert distinct(["a/b", "a_b", "a b", "a_b-2"]) == ["a/b", "a_b-2", "a b-3", "a_b-2-2"]
    assert distinct([]) == []


@pytest.mark.parametrize("text", ["../../etc", "a/b", ".", "..", "", "C:\\x", "a\nb", "~", "*?", "Å-1 {x}"])
def test_every_name_is_a_file_in_its_folder(text: str, tmp_path: Path) -> None:
    path = tmp_path / f"{file_name(text)}.csv"
    path.write_text("")
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    assert not path.name.startswith(".")
