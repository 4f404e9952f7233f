"""The files of a folder of results, as a report reads them. A damaged one is reported in one line."""

from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from esen.errors import InputError
from esen.files import read_json

M = TypeVar("M", bound=BaseModel)
CellKey = tuple[str, str, int | None, str]
"""System, variant, seed and test."""

REPORT = "report.html"
CURE = "run the command again, or move the file away"


class StoredColumn(BaseModel):
    """A column of a table in `result.json`."""

    name: str
    symbol: str = ""
    unit: str = ""
    better: Literal["less", "more"] | None = None


class ShownColumn(BaseModel):
    """A column of a table as a terminal shows it."""

    heading: str
    words: bool = False


class ShownTable(BaseModel):
    """A table as a terminal shows it, in texts."""

    columns: list[ShownColumn]
    rows: list[list[str | None]]


class StoredTable(BaseModel):
    """A table in `result.json`. Results of older versions lack `shown`."""

    columns: list[StoredColumn]
    rows: list[dict[str, Any]]
    shown: ShownTable | None = None


class StoredResult(StoredTable):
    """`result.json`. What only some commands have is in `model_extra`."""

    model_config = ConfigDict(extra="allow")

    command: str
    version: str = ""
    potentials: dict[str, dict[str, Any]] = Field(default_factory=dict)
    settings: dict[str, Any] = Field(default_factory=dict)
    environment: dict[str, Any] = Field(default_factory=dict)


class StoredCell(BaseModel):
    """`cell.json`: one training or test of a study."""

    study: str = ""
    system: str = ""
    variant: str
    seed: int | None = None
    test: str
    command: str = ""
    argv: list[str] = Field(default_factory=list)
    state: str
    failure: str | None = None
    seconds: float | None = None
    versions: list[str] = Field(default_factory=list)
    outdated: str | None = None

    @property
    def key(self) -> CellKey:
        """System, variant, seed and test."""
        return self.system, self.variant, self.seed, self.test

    @property
    def name(self) -> str:
        """What a reader sees of it."""
        return shown_cell(*self.key)


class StoredTest(BaseModel):
    """A test of a study."""

    command: str
    arguments: list[str] = Field(default_factory=list)


class StoredStudy(BaseModel):
    """`study.json`: what a study consists of."""

    study: str
    version: str = ""
    base: str | None = None
    variants: dict[str, Any]
    seeds: list[int]
    tests: dict[str, dict[str, StoredTest]] = Field(default_factory=dict)
    cells: dict[str, dict[str, list[str]]]
    """By system and variant, the names of the training and the tests."""

    @property
    def planned(self) -> list[CellKey]:
        """All trainings and tests, by system, variant and seed."""
        return [
            (system, variant, seed, test)
            for system, variants in self.cells.items()
            for variant, tests in variants.items()
            for seed in self.seeds
            for test in tests
        ]


class ComparedVariant(BaseModel):
    """A variant of a comparison."""

    system: str = ""
    variant: str = ""
    n: int


class StoredComparison(BaseModel):
    """`comparison.json`."""

    version: str = ""
    variants: list[ComparedVariant] = Field(default_factory=list)
    tables: dict[str, StoredTable]
    notes: list[str] = Field(default_factory=list)
    remarks: list[str] = Field(default_factory=list)


def shown_key(system: str, variant: str, *seeds: int | None) -> str:
    """Return what a potential, or those of several seeds, are called.

    >>> shown_key("mgo", "direct", 0, 1), shown_key("", "emt", None)
    ('mgo, direct, seeds 0, 1', 'emt')
    """
    known = [str(seed) for seed in seeds if seed is not None]
    words = [f"seed{'s' * (len(known) > 1)} {', '.join(known)}"] if known else []
    return ", ".join([*filter(None, (system, variant)), *words])


def shown_cell(system: str, variant: str, seed: int | None, test: str) -> str:
    """Return what a training or a test of a study is called."""
    return f"{shown_key(system, variant, seed)}, {test}"


def read_stored(path: Path, kind: type[M]) -> M:
    """Read a file of results.

    Raises:
        InputError: It is missing, damaged, or holds something else.
    """
    return parse_stored(path, read_json(path, CURE), kind)


def parse_stored(path: Path, value: Any, kind: type[M]) -> M:
    """Return a part of a file of results.

    Raises:
        InputError: It is something else.
    """
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "content"
        raise InputError(f"{path}: {where}: {first['msg']}; {CURE}") from None


def is_table(value: Any) -> bool:
    """Whether a part of a file of results is a table."""
    return isinstance(value, dict) and {"columns", "rows"} <= value.keys()
