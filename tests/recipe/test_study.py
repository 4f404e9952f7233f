"""Studies: what they make of a base, and one line per mistake."""

from pathlib import Path

import pytest

from esen.errors import InputError
from esen.recipe.study import Study, load_study, study_schema

BASE = "base: quickstart\n"


def load(text: str, folder: Path) -> Study:
    path = folder / "my-study.yaml"
    path.write_text(text, encoding="utf-8")
    return load_study(path)


def mistakes(text: str, folder: Path) -> tuple[str, ...]:
    with pytest.raises(InputError) as caught:
        load(text, folder)
    return caught.value.args


def test_every_variant_has_a_checked_recipe_for_every_seed(tmp_path: Path) -> None:
    text = f"{BASE}variants:\n  default: {{}}\n  direct: {{model.forces.kind: direct}}\nseeds: [3, 5]\n"
    study = load(text, tmp_path)
    assert study.base == "default"
    default, direct = study.variants
    assert direct.settings(5) == ("model.forces.kind=direct", "train.seed=5")
    assert direct.seeds[5].model.forces.kind == "direct"
    assert direct.seeds[5].train.seed == 5
    assert default.seeds[3].model.forces.kind == "conservative"


def test_nested_and_dotted_keys_mean_the_same(tmp_path: Path) -> None:
    nested = load(f"{BASE}variants: {{a: {{model: {{radial: {{kind: bessel, count: 7}}}}}}}}", tmp_path)
    dotted = load(f"{BASE}variants: {{a: {{model.radial.kind: bessel, model.radial.count: 7}}}}", tmp_path)
    assert nested.variants[0].settings(0) == dotted.variants[0].settings(0)
    assert nested.variants[0].seeds[0] == dotted.variants[0].seeds[0]


def test_vary_makes_every_combination(tmp_path: Path) -> None:
    study = load(f"{BASE}vary: {{model.lmax: [2, 3], model.radial.count: [10, 512]}}", tmp_path)
    assert [variant.name for variant in study.variants] == [
        "lmax=2 radial.count=10",
        "lmax=2 radial.count=512",
        "lmax=3 radial.count=10",
        "lmax=3 radial.count=512",
    ]
    found = [(v.seeds[0].model.lmax, v.settings(0)[1]) for v in study.variants]
    assert found[3] == (3, "model.radial.count=512")


def test_vary_keeps_the_variants_of_a_system(tmp_path: Path) -> None:
    text = (
        "systems: {a: {base: quickstart, variants: {wide: {model.cutoff: 5}}}}\nvary: {model.lmax: [2, 3]}\n"
    )
    study = load(text, tmp_path)
    found = [(v.seeds[0].model.cutoff == 5, v.seeds[0].model.lmax) for v in study.variants]
    assert found == [(False, 2), (False, 3), (True, 2), (True, 3)]
    assert len({v.name for v in study.variants}) == 4


def test_an_entry_of_a_list_is_named_as_by_set(tmp_path: Path) -> None:
    study = load(f"{BASE}variants: {{a: {{'train.stages[0].epochs': 3}}}}", tmp_path)
    assert study.variants[0].seeds[0].train.stages[0].epochs == 3


def test_a_system_may_have_variants_and_a_test_only_some(tmp_path: Path) -> None:
    text = """
systems:
  a: {base: quickstart, variants: {wide: {model.cutoff: 5}}}
  b: {base: quickstart, tests: {check: {variants: [default]}}}
"""
    study = load(text, tmp_path)
    assert [(v.system, v.name) for v in study.variants] == [("a", "default"), ("a", "wide"), ("b", "default")]
    assert study.tests[0].variants == ("default",)
    assert (
        "did you mean 'wide'"
        in mistakes(
            text.replace(
                "{base: quickstart, variants", "{base: quickstart, tests: {mae: {variants: wid}}, variants"
            ),
            tmp_path,
        )[0]
    )


def test_systems_share_variants_and_add_tests(tmp_path: Path) -> None:
    text = """
systems:
  a: {base: quickstart, tests: {relax: {structures: [x.cif]}}}
  b: {base: quickstart, structures: [y.cif]}
tests: {check: }
"""
    study = load(text, tmp_path)
    assert [(v.system, v.name) for v in study.variants] == [("a", "default"), ("b", "default")]
    assert [(t.system, t.name) for t in study.tests] == [("a", "check"), ("a", "relax"), ("b", "check")]
    assert study.tests[2].structures == ("y.cif",)


@pytest.mark.parametrize(
    "text, line, words",
    [
        (
            f"{BASE}variants:\n  a: {{model.envelop.kind: none}}\n",
            3,
            ["variants.a", "did you mean 'envelope'"],
        ),
        (f"{BASE}variants:\n  a: {{model.lmax: two}}\n", 3, ["model.lmax", "'two'", "whole number"]),
        (f"{BASE}varaints: {{}}\n", 2, ["varaints", "did you mean 'variants'"]),
        (f"{BASE}seeds: [1, 1]\n", 2, ["seeds", "twice"]),
        (f"{BASE}seeds: []\n", 2, ["seeds", "at least one"]),
        (f"{BASE}variants: {{a: {{train.seed: 1}}}}\n", 2, ["train.seed", "`seeds`"]),
        (f"{BASE}tests:\n  train: {{}}\n", 3, ["tests.train", "every variant is trained"]),
        (f"{BASE}launch: {{jobs: 0}}\n", 2, ["launch.jobs", "≥ 1"]),
        (f"{BASE}launch: {{kind: pbs}}\n", 2, ["launch.kind", "'local' or 'slurm'"]),
        ("base: quikstart\n", 1, ["did you mean quickstart?"]),
        ("variants: {a: {}}\n", 1, ["base"]),
        (f"{BASE}systems: {{a: {{base: quickstart}}}}\n", 1, ["base", "not both"]),
        (f"{BASE}variants: {{'': {{}}}}\n", 2, ["variants", "without a name"]),
        (f"{BASE}vary: {{model.lmax: [2, 2]}}\n", 2, ["vary", "lmax=2", "twice"]),
        (f"{BASE}tests: {{check: {{variants: []}}}}\n", 2, ["tests.check.variants", "no variant"]),
    ],
)
def test_a_mistake_is_one_line_with_its_place(text: str, line: int, words: list[str], tmp_path: Path) -> None:
    (found,) = mistakes(text, tmp_path)
    assert found.startswith(f"{tmp_path / 'my-study.yaml'}:{line}: ")
    for word in words:
        assert word in found


def test_all_mistakes_of_the_variants_are_reported(tmp_path: Path) -> None:
    found = mistakes(
        f"{BASE}variants:\n  a: {{model.lmx: 1}}\n  b: {{model.mmx: 1}}\nseeds: [1, 2]\n", tmp_path
    )
    assert [":3:" in found[0], ":4:" in found[1], len(found)] == [True, True, 2]


def test_a_recipe_is_no_study_and_a_study_no_recipe(tmp_path: Path) -> None:
    assert "esen train" in mistakes("model: {lmax: 2}\ntrain: {}\n", tmp_path)[0]
    from esen.recipe import load_recipe

    path = tmp_path / "study.yaml"
    path.write_text(f"{BASE}variants: {{a: {{}}}}\n", encoding="utf-8")
    with pytest.raises(InputError, match="esen ablate"):
        load_recipe(path)


def test_the_schema_describes_every_key() -> None:
    schema = study_schema()
    sections = [schema, *schema["$defs"].values()]
    assert {"base", "systems", "variants", "vary", "seeds", "tests", "launch"} <= set(schema["properties"])
    for section in sections:
        for key, value in section["properties"].items():
            assert value.get("description"), key
