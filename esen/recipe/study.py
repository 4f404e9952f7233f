"""Studies: variants of a recipe × seeds × tests, as checked data (`esen ablate`)."""

import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from esen.errors import InputError
from esen.recipe.base import Spec
from esen.recipe.document import Document, KeyPath, parse_document, plain_scalar
from esen.recipe.load import load_recipe, read_text, resolve_paths
from esen.recipe.mistakes import find_mistakes, nearest
from esen.recipe.overrides import Override, parts_of
from esen.recipe.recipe import Recipe
from esen.recipe.schema import show_path
from esen.recipe.shipped import find_recipe, no_such_recipe

TRAIN = "train"
"""Name of the training among the tests of a variant."""
Options = dict[str, Any]
"""Options of a command by name, as a user writes them without dashes."""
Changes = dict[str, Any]
"""Keys of a recipe, dotted or nested, and their values."""
Tests = dict[str, Options | None]
_DEFAULT = "default"
_SEED = ("train", "seed")


def _only_the_base() -> dict[str, Changes]:
    return {_DEFAULT: {}}


class LocalSpec(Spec):
    """Cells run on this machine, each in a process of its own."""

    kind: Literal["local"] = "local"
    """Which of the choices this section is."""
    jobs: Annotated[int, Field(ge=1)] | Literal["auto"] = "auto"
    """Cells at a time; auto: one per visible GPU, or else as many as cores and memory allow."""
    threads: Annotated[int, Field(ge=1, le=1024)] = 1
    """CPU threads per cell. A fixed number, so that results do not depend on how many cells run at a time."""


class SlurmSpec(Spec):
    """One job of a Slurm array per variant and seed, submitted by submitit (`pip install "esen[slurm]"`)."""

    kind: Literal["slurm"]
    """Which of the choices this section is."""
    partition: str | None = None
    """Partition; null: the cluster's default."""
    account: str | None = None
    """Account that is charged; null: the user's default."""
    qos: str | None = None
    """Quality of service; null: the default."""
    constraint: str | None = None
    """Features that the nodes must have; null: none."""
    gpus_per_node: Annotated[int, Field(ge=0)] = 1
    """GPUs of a job."""
    cpus_per_task: Annotated[int, Field(ge=1)] = 8
    """CPU cores of a job, and its number of threads."""
    memory: str | None = None
    """Memory of a node, such as 64GB; null: the cluster's default."""
    timeout_minutes: Annotated[int, Field(ge=1)] = 1440
    """Longest time of a job in minutes. A job that needs longer is queued again, and resumes."""
    array_parallelism: Annotated[int, Field(ge=1)] = 16
    """Jobs of the array that run at a time."""
    requeues: Annotated[int, Field(ge=0)] = 10
    """How often a job that was stopped by its time limit is queued again."""
    setup: tuple[str, ...] = ()
    """Shell commands before the work, such as `module load cuda`."""


LaunchSpec = Annotated[LocalSpec | SlurmSpec, Field(discriminator="kind")]


class SystemSpec(Spec):
    """A recipe to vary, and how its variants are tested."""

    base: str
    """Recipe that the variants change, by path or by the name of a shipped one."""
    variants: dict[str, Changes] = Field(default_factory=dict)
    """Variants of this system alone; in addition to those of the whole study."""
    structures: tuple[str, ...] = ()
    """Structure files of the tests that name none."""
    tests: Tests = Field(default_factory=dict)
    """Tests of every variant: commands by name, with their options; in addition to those of the whole study."""


class StudySpec(Spec):
    """Variants × seeds, trained and tested."""

    base: str | None = None
    """Recipe that the variants change, by path or by the name of a shipped one."""
    systems: dict[str, SystemSpec] = Field(default_factory=dict)
    """Several recipes instead of one `base`, by a name of yours; each gets all variants."""
    variants: Annotated[dict[str, Changes], Field(min_length=1)] = Field(default_factory=_only_the_base)
    """What differs from the base, by the name of the variant: keys of the recipe and values. {}: the base itself."""
    vary: dict[str, Annotated[list[Any], Field(min_length=1)]] = Field(default_factory=dict)
    """Keys of the recipe, each with a list of values: every combination is a variant."""
    seeds: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)] = (0,)
    """Values of `train.seed`; every variant is trained with each."""
    structures: tuple[str, ...] = ()
    """Structure files of the tests that name none."""
    tests: Tests = Field(default_factory=dict)
    """Tests of every variant: commands by name, with their options. `command` names the command of a test with another
    name; `variants` lists the only variants that have the test."""
    launch: LaunchSpec = LocalSpec()
    """Where the cells run."""

    @model_validator(mode="after")
    def _one_kind_of_base(self) -> "StudySpec":
        if (self.base is None) == (not self.systems):
            raise ValueError("base: expected the recipe to vary, or `systems` with a base each, but not both")
        if repeated := sorted({seed for seed in self.seeds if self.seeds.count(seed) > 1}):
            raise ValueError(f"seeds has {repeated[0]} twice; every seed is trained once")
        for key in ("systems", "variants", "tests"):
            if any(not name.strip() for name in getattr(self, key)):
                raise ValueError(f"{key} has an entry without a name; expected a name of yours")
        return self


@dataclass(frozen=True, eq=False)
class Variant:
    """One variant of one system.

    Attributes:
        system: name of the system; empty in a study of one.
        name: of the variant.
        recipe: path of the base.
        overrides: changes of the variant.
        seeds: by seed, the recipe that is trained, with absolute paths.
    """

    system: str
    name: str
    recipe: Path
    overrides: tuple[Override, ...]
    seeds: Mapping[int, Recipe]

    @property
    def changes(self) -> dict[str, Any]:
        """What differs from the base, by dotted key."""
        return {".".join(change.parts): change.value for change in self.overrides}

    def settings(self, seed: int) -> tuple[str, ...]:
        """The changes and the seed as `--set` takes them."""
        every = {**self.changes, ".".join(_SEED): seed}
        return tuple(f"{key}={_written(value)}" for key, value in every.items())


@dataclass(frozen=True, eq=False)
class Test:
    """A test of all variants of a system.

    Attributes:
        system: name of the system.
        name: of the test.
        command: of esen.
        options: of the command, by name.
        structures: structure files for a test that names none.
        where: the line of the study, for messages.
        variants: names of the variants that have the test; None: all.
    """

    __test__ = False

    system: str
    name: str
    command: str
    options: Mapping[str, Any]
    structures: tuple[str, ...]
    where: str
    variants: tuple[str, ...] | None = None


@dataclass(frozen=True, eq=False)
class Study:
    """A study whose recipes were checked.

    Attributes:
        path: of the file.
        text: its content.
        spec: the same as data.
        variants: of all systems.
        tests: of all systems.
    """

    path: Path
    text: str
    spec: StudySpec
    variants: tuple[Variant, ...]
    tests: tuple[Test, ...]

    @property
    def name(self) -> str:
        """The name of the file."""
        return self.path.stem

    def tests_of(self, system: str, variant: str) -> list["Test"]:
        """The tests of a variant."""
        return [
            test
            for test in self.tests
            if test.system == system and (test.variants is None or variant in test.variants)
        ]

    @property
    def base(self) -> str:
        """Name of the variant that changes nothing; the first one if there is none."""
        names = [variant.name for variant in self.variants if not variant.overrides]
        return names[0] if names else self.variants[0].name


def load_study(path: Path) -> Study:
    """Read a study and check it with all recipes that it makes.

    Raises:
        InputError: the file cannot be read, is not a study, or a variant is no recipe; one line per mistake.
    """
    text = read_text(path, "study")
    document = parse_document(text, str(path))
    data = document.value
    if not isinstance(data, dict):
        raise InputError(f"{path}: expected a study, keys such as `base` and `variants`, but this is not one")
    if "model" in data or "train" in data:
        raise InputError(f"{path}: this is a recipe; train it with: esen train {path}")
    if isinstance(data.get("launch"), dict):
        data["launch"].setdefault("kind", "local")
    try:
        spec = StudySpec.model_validate_json(json.dumps(data), strict=True)
    except ValidationError as error:
        found = find_mistakes(error, data, StudySpec)
        placed = sorted((document.position(one.at), show_path(one.path), one.text) for one in found)
        lines = [f"{path}:{line}: {f'{key}: ' if key else ''}{text}" for (line, _), key, text in placed]
        raise InputError(*lines) from None
    reader = _Reader(path, document, spec)
    return Study(path, text, spec, tuple(reader.variants()), tuple(reader.tests()))


def study_schema() -> dict[str, Any]:
    """The JSON Schema of a study's file."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | StudySpec.model_json_schema()


@dataclass(frozen=True, eq=False)
class _Reader:
    """Makes the variants and tests of a study. A mistake is reported with its line."""

    path: Path
    document: Document
    spec: StudySpec

    def variants(self) -> Iterator[Variant]:
        """The variants of all systems.

        Raises:
            InputError: of all mistakes in the variants, one line each.
        """
        mistakes: dict[str, None] = {}
        made: list[Variant] = []
        for system, one, at in self._systems():
            base = find_recipe(one.base, self.path.parent)
            if not base.is_file():
                raise InputError(f"{self._where((*at, 'base'))}: {no_such_recipe(base)}")
            for name, overrides in self._combinations(one, at).items():
                try:
                    seeds = {seed: self._recipe(base, overrides, seed) for seed in self.spec.seeds}
                except InputError as error:
                    mistakes |= dict.fromkeys(error.args)
                else:
                    made.append(Variant(system, name, base, overrides, seeds))
        if mistakes:
            raise InputError(*mistakes)
        return iter(made)

    def tests(self) -> Iterator[Test]:
        """The tests of all systems.

        Raises:
            InputError: two tests have the same name, or a test has that of the training.
        """
        for system, one, at in self._systems():
            found: list[tuple[KeyPath, str, Options | None]] = [
                (("tests", name), name, options) for name, options in self.spec.tests.items()
            ]
            if at:
                found += [((*at, "tests", name), name, options) for name, options in one.tests.items()]
            structures = one.structures or self.spec.structures
            for path, name, options in found:
                where = f"{self._where(path)}: {show_path(path)}"
                if name == TRAIN:
                    raise InputError(
                        f"{where}: every variant is trained; expected a test, such as mae or md-drift"
                    )
                if [other for _, other, _ in found].count(name) > 1:
                    raise InputError(
                        f"{where}: the study has this test as well; give one of them another name, with"
                        f" command: {name}"
                    )
                given = dict(options or {})
                command = str(given.pop("command", name))
                chosen = self._chosen(given.pop("variants", None), one, at, where)
                yield Test(system, name, command, given, structures, where, chosen)

    def _chosen(self, names: Any, system: SystemSpec, place: KeyPath, where: str) -> tuple[str, ...] | None:
        """The variants that have a test."""
        if names is None:
            return None
        known = list(self._combinations(system, place))
        listed = names if isinstance(names, list) else [names]
        if not listed:
            raise InputError(f"{where}.variants: names no variant (variants: {', '.join(known)})")
        for name in listed:
            if name not in known:
                near = nearest(str(name), known)
                hint = f"did you mean {near!r}? " if near else ""
                raise InputError(
                    f"{where}.variants: no variant {name!r}; {hint}(variants: {', '.join(known)})"
                )
        return tuple(map(str, listed))

    def _systems(self) -> Iterator[tuple[str, SystemSpec, KeyPath]]:
        if self.spec.base is not None:
            yield "", SystemSpec(base=self.spec.base), ()
        for name, system in self.spec.systems.items():
            yield name, system, ("systems", name)

    def _combinations(self, system: SystemSpec, place: KeyPath) -> dict[str, tuple[Override, ...]]:
        """The changes of every variant of a system, with every combination of `vary`, by name."""
        grid = [[(key, value) for value in values] for key, values in self.spec.vary.items()]
        found: dict[str, tuple[Override, ...]] = {}
        every = {("variants", name): changes for name, changes in self.spec.variants.items()}
        own_ones = {(*place, "variants", name): changes for name, changes in system.variants.items()}
        for at, changes in (every | own_ones).items():
            name = str(at[-1])
            if at in own_ones and name in self.spec.variants:
                raise InputError(f"{self._where(at)}: {show_path(at)}: the study has this variant as well")
            for point in itertools.product(*grid):
                words = [f"{_short(key)}={_written(value)}" for key, value in point]
                known = [name] if len(every | own_ones) > 1 or changes or not words else []
                own = tuple(self._overrides(changes, (), at))
                varied = tuple(
                    override
                    for key, value in point
                    for override in self._overrides({key: value}, (), ("vary", key))
                )
                full = " ".join(known + words)
                if full in found:
                    raise InputError(f"{self._where(('vary',))}: vary: makes the variant {full!r} twice")
                found[full] = own + varied
        return found

    def _overrides(
        self, changes: Mapping[str, Any], parts: tuple[str, ...], at: KeyPath
    ) -> Iterator[Override]:
        for key, value in changes.items():
            path = (*parts, *parts_of(key))
            if isinstance(value, dict) and value:
                yield from self._overrides(value, path, (*at, key))
            else:
                yield Override(f"{self._where((*at, key))}: {show_path(at)}: {'.'.join(path)}", path, value)

    def _recipe(self, base: Path, overrides: tuple[Override, ...], seed: int) -> Recipe:
        seeded = Override(f"{self._where(('seeds',))}: seeds", _SEED, seed)
        if clash := next((one for one in overrides if one.parts == _SEED), None):
            raise InputError(f"{clash.label}: the seeds of a study are listed in `seeds`")
        return resolve_paths(load_recipe(base, (*overrides, seeded)), base.parent)

    def _where(self, path: KeyPath) -> str:
        return f"{self.path}:{self.document.position(path)[0]}"


def _written(value: Any) -> str:
    """A value as `--set` reads it."""
    plain = isinstance(value, str) and value[:1] not in {"[", "{", '"', "'"} and plain_scalar(value) == value
    return value if plain else json.dumps(value, ensure_ascii=False)


def _short(key: str) -> str:
    """The end of a key that tells what it is: `radial.count` of `model.radial.count`."""
    return key.partition(".")[2] or key
