from typing import Any

import pytest

from esen.errors import InputError
from esen.recipe.overrides import apply_override, parse_override


def _apply(data: dict[str, Any], *texts: str) -> dict[str, Any]:
    for text in texts:
        apply_override(data, parse_override(text))
    return data


@pytest.mark.parametrize("text", ["model.lmax", "=3", "model..lmax=3", ".lmax=3", "", "model.=3"])
def test_a_setting_is_a_key_and_a_value(text: str) -> None:
    with pytest.raises(InputError, match=r"KEY=VALUE"):
        parse_override(text)


def test_the_value_may_hold_equal_signs() -> None:
    assert parse_override("tracking.uri=http://x?a=b").value == "http://x?a=b"


def test_lists_are_indexed_and_extended_by_one() -> None:
    data = {"train": {"stages": [{"epochs": 1}]}}
    assert _apply(data, "train.stages.0.epochs=3")["train"]["stages"] == [{"epochs": 3}]
    assert _apply(data, "train.stages[1].epochs=4")["train"]["stages"] == [{"epochs": 3}, {"epochs": 4}]
    assert _apply({}, "data.test.0.path=a.xyz") == {"data": {"test": [{"path": "a.xyz"}]}}


def test_a_section_that_is_not_there_has_its_default_kind() -> None:
    assert _apply({}, "model.radial.count=64") == {"model": {"radial": {"kind": "gaussian", "count": 64}}}
    assert _apply({"model": None}, "model.lmax=1") == {"model": {"lmax": 1}}


def test_another_kind_drops_the_keys_that_only_the_old_one_has() -> None:
    data = {"model": {"radial": {"kind": "gaussian", "count": 12, "width": 2, "typo": 1}}}
    _apply(data, "model.radial.kind=bessel")
    assert data["model"]["radial"] == {"kind": "bessel", "count": 12, "typo": 1}


def test_an_unknown_kind_drops_nothing() -> None:
    data = {"model": {"radial": {"kind": "gaussian", "width": 2}}}
    assert _apply(data, "model.radial.kind=besel")["model"]["radial"] == {"kind": "besel", "width": 2}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "train.seed.x=1",
            "--set train.seed.x=1: train.seed is a value, not a section, so it has no key 'x'",
        ),
        ("train.stages.x=1", "train.stages is a list; expected a number after it, such as train.stages.0"),
        ("train.stages.2.epochs=1", "train.stages has 1 entry, counted from 0; there is no entry 2"),
        ("train.stages.99999999999=1", "there is no entry 99999999999"),
        ("train.stages.-1=1", "expected a number after it"),
    ],
)
def test_a_path_must_lead_through_sections_and_lists(text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        _apply({"train": {"seed": 3, "stages": [{"epochs": 1}]}}, text)
    assert message in str(caught.value)


def test_a_value_that_is_no_yaml_has_no_line_number() -> None:
    text = "model.forces={kind: direct, stress: none"
    with pytest.raises(InputError) as caught:
        parse_override(text)
    assert str(caught.value).startswith(f"--set {text}: not valid YAML: while parsing a flow mapping")
