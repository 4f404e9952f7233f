import json
from typing import Any

import pytest
from pydantic import ValidationError

from esen.recipe.mistakes import find_mistakes, nearest
from esen.recipe.recipe import Recipe
from esen.recipe.schema import show_path

GOOD: dict[str, Any] = {"data": {"train": [{"path": "a.xyz"}]}, "train": {"stages": [{"epochs": 1}]}}


def _mistakes(**sections: Any) -> list[str]:
    data = GOOD | sections
    with pytest.raises(ValidationError) as caught:
        Recipe.model_validate_json(json.dumps(data), strict=True)
    return [f"{show_path(m.path)}: {m.text}" for m in find_mistakes(caught.value, data)]


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            {"nonlinearity": {"kind": "gird"}},
            "nonlinearity.kind: 'gird' is not a choice here; expected 'gate', 'grid' or 'grid_edges'; "
            "did you mean 'grid'?",
        ),
        (
            {"nonlinearity": {"kind": 3}},
            "nonlinearity.kind: given 3 (a whole number), expected 'gate', 'grid' or 'grid_edges'",
        ),
        (
            {"radial": {"kind": "besel"}},
            "radial.kind: 'besel' is not a choice here; expected 'gaussian' or 'bessel'; "
            "did you mean 'bessel'?",
        ),
        ({"radial": {"kind": 3}}, "radial.kind: given 3 (a whole number), expected 'gaussian' or 'bessel'"),
        ({"radial": {"kind": None}}, "radial.kind: given nothing (null), expected 'gaussian' or 'bessel'"),
        ({"radial": {"count": 3}}, "radial: `kind` is missing; expected 'gaussian' or 'bessel'"),
        (
            {"graph": {"kind": "knn", "backend": "torch-cluster"}},
            "graph.backend: 'torch-cluster' is not a choice here; expected 'vesin', 'torch_cluster' or 'nvalchemi'; "
            "did you mean 'torch_cluster'?",
        ),
        (
            {"radial": {"kind": "bessel", "width": 2}},
            "radial.width: no such key for kind 'bessel'; it belongs to kind 'gaussian'",
        ),
        (
            {"radial": {"kind": "bessel", "cuont": 2}},
            "radial.cuont: no such key; did you mean 'count'? (keys here: kind, count)",
        ),
        (
            {"radial": {"kind": "gaussian", "count": 1}},
            "radial.count: given 1 (a whole number), expected a whole number ≥ 2",
        ),
        (
            {"envelope": "none"},
            "envelope: given 'none' (text), expected a section with `kind`: 'polynomial', 'smooth' or 'none'; "
            "write {kind: none}",
        ),
        (
            {"nonlinearity": "grid6"},
            "nonlinearity: given 'grid6' (text), expected a section with `kind`: 'gate', 'grid' or 'grid_edges'; "
            "did you mean {kind: grid}?",
        ),
        (
            {"forces": {"kind": "direct", "stress": "nnoe"}},
            "forces.stress: given 'nnoe' (text), expected a section with `kind`: 'rank2', 'outer' or 'none'; "
            "did you mean {kind: none}?",
        ),
        (
            {"nonlinearity": {"kind": "grid", "resolution": 7}},
            "nonlinearity.resolution is 7, but must be even and, with lmax 2, at least 6; write 6 or 8",
        ),
        (
            {"nonlinearity": {"kind": "grid_edges", "resolution": 9}, "lmax": 3},
            "nonlinearity.resolution is 9, but must be even and, with lmax 3, at least 8; write 8 or 10",
        ),
        (
            {"nonlinearity": {"kind": "grid", "resolution": 5}},
            "nonlinearity.resolution is 5, but must be even and, with lmax 2, at least 6; write 6",
        ),
        (
            {"nonlinearity": {"kind": "grid", "resolution": -4}},
            "nonlinearity.resolution is -4, but must be even and, with lmax 2, at least 6; write 6",
        ),
        (
            {"nonlinearity": {"kind": "grid", "resolution": 8.0}},
            "nonlinearity.resolution: given 8.0 (a number), expected an even whole number ≥ 4 or null; "
            "write 8",
        ),
        (
            {"nonlinearity": {"kind": "grid", "resolution": 7.0}},
            "nonlinearity.resolution: given 7.0 (a number), expected an even whole number ≥ 4 or null",
        ),
        (
            {"lmax": "2"},
            "lmax: given '2' (text), expected a whole number ≥ 1, ≤ 8; write 2, without quotes",
        ),
        ({"lmax": 2.0}, "lmax: given 2.0 (a number), expected a whole number ≥ 1, ≤ 8; write 2"),
        ({"lmax": 2.5}, "lmax: given 2.5 (a number), expected a whole number ≥ 1, ≤ 8"),
        ({"lmax": True}, "lmax: given true (true or false), expected a whole number ≥ 1, ≤ 8"),
        ({"lmax": [2]}, "lmax: given a list of 1, expected a whole number ≥ 1, ≤ 8"),
        ({"cutoff": 0}, "cutoff: given 0 (a whole number), expected a number > 0"),
        ({"cutoff": float("nan")}, "cutoff: given nan (a number), expected a number > 0"),
        ({"cutoff": "6,0"}, "cutoff: given '6,0' (text), expected a number > 0"),
        (
            {"max_elements": "1_00"},
            "max_elements: given '1_00' (text), expected a whole number ≥ 2, ≤ 119; write 100, without quotes",
        ),
        ({"cutoff": "six"}, "cutoff: given 'six' (text), expected a number > 0"),
        ({"cutoff": {}}, "cutoff: given a section, expected a number > 0"),
        ({"lmax": 1, "mmax": 2}, "mmax is 2, but it cannot exceed lmax, which is 1"),
    ],
)
def test_a_mistake_in_the_model_is_one_line(model: dict[str, Any], message: str) -> None:
    said = _mistakes(model=model)
    assert said in ([f"model.{message}"], [f"model: {message}"])


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"data": {}}, "data.train: this key is missing; expected a list with at least one entry"),
        ({"data": {"train": []}}, "data.train: given an empty list, expected a list with at least one entry"),
        (
            {"data": {"train": "a.xyz"}},
            "data.train: given 'a.xyz' (text), expected a list with at least one entry; "
            "write a list, each entry on a line of its own that begins with '- '",
        ),
        (
            {"data": {"train": ["a.xyz"]}},
            "data.train[0]: given 'a.xyz' (text), expected a section (keys: path, format, frames, "
            "repeat, weight, energy_key, forces_key, stress_key, stress_convention); write {path: a.xyz}",
        ),
        (
            {"data": {"train": [{"path": 3}]}},
            "data.train[0].path: given 3 (a whole number), expected text; put quotes around it",
        ),
        (
            {"tracking": {"enabled": "on"}},
            "tracking.enabled: given 'on' (text), expected true or false; write true",
        ),
        (
            {"tracking": None},
            "tracking: given nothing (null), expected a section (keys: enabled, uri, experiment); "
            "give at least one key, or remove the line to have the defaults",
        ),
        ({"evaluate": {"mae": {"x": 1}}}, "evaluate.mae.x: no such key; (this section has no keys)"),
        (
            {"train": {"stages": [{"epochs": 1}], "lmax": 3}},
            "train.lmax: no such key here; 'lmax' belongs to model.lmax (keys here: batch, ",
        ),
        (
            {"train": {"stages": [{"epochs": 1}], "bacth": 3}},
            "train.bacth: no such key; did you mean 'batch'? (keys here: batch, ",
        ),
    ],
)
def test_a_mistake_elsewhere_is_one_line(sections: dict[str, Any], message: str) -> None:
    said = _mistakes(**sections)
    assert len(said) == 1
    assert said[0].startswith(message)


def test_a_section_that_may_be_null_is_written_with_its_kind() -> None:
    for given, remedy in (("direct", "write {kind: direct}"), ("driect", "did you mean {kind: direct}?")):
        (said,) = _mistakes(train={"stages": [{"epochs": 1, "forces": given}]})
        assert said.endswith(f"expected a section with `kind`: 'conservative' or 'direct' or null; {remedy}")


def test_a_number_beyond_the_bounds_is_not_called_a_mistake_of_type() -> None:
    (said,) = _mistakes(train={"stages": [{"epochs": 1}], "ema": 1})
    assert said == "train.ema: given 1 (a whole number), expected a number ≥ 0, < 1"


def test_a_long_value_is_cut() -> None:
    (said,) = _mistakes(model={"cutoff": "x" * 1000})
    assert len(said) < 150


def test_the_nearest_word() -> None:
    assert nearest("LMAX", ["lmax", "mmax"]) == "lmax"
    assert nearest("learning-rate", ["learning_rate", "beta1"]) == "learning_rate"
    assert nearest("xyz", ["lmax", "mmax"]) is None
