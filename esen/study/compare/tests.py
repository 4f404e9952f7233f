"""Which results belong to the same test, and what tests are called where a command was run as several.

In a study a test has a name. Elsewhere it is known by its settings, and by the precision of the weights. A result from
elsewhere with the settings of a test of a study belongs to that test.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

from esen.study.compare.records import Record
from esen.study.potentials import distinct
from esen.text import printable

Fingerprint = tuple[tuple[str, str], ...]
"""Settings, and the precision if it counts."""
_Test = tuple[str, Fingerprint]
"""Name in a study, and the settings where the name does not suffice."""

_PRECISION = "dtype"
_LONGEST_VALUE = 24
_MOST_DIFFERENCES = 2


def with_tests(records: Sequence[Record]) -> list[Record]:
    """Return the records with the names of their tests; the name is empty if a command was run as one test only.

    A record from outside of a study that belongs to a test of one system of it gets that system.
    """
    by_command: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        by_command[record.command].append(record)
    return [named for mine in by_command.values() for named in _named(mine)]


def _named(records: Sequence[Record]) -> list[Record]:
    prints = _fingerprints(records)
    systems: dict[tuple[str, str], set[Fingerprint]] = defaultdict(set)
    places: dict[Fingerprint, set[tuple[str, str]]] = defaultdict(set)
    for record, one in zip(records, prints, strict=True):
        if record.test:
            systems[record.test, record.who.system].add(one)
            places[one].add((record.test, record.who.system))
    ambiguous = {test for (test, _), mine in systems.items() if len(mine) > 1}
    tests: list[_Test] = []
    placed: list[Record] = []
    for record, one in zip(records, prints, strict=True):
        test, who = record.test, record.who
        if not test and len({name for name, _ in places[one]}) == 1:
            test = next(iter(places[one]))[0]
            if len(places[one]) == 1 and not who.system:
                who = replace(who, system=next(iter(places[one]))[1])
        tests.append((test, () if test and test not in ambiguous else one))
        placed.append(replace(record, who=who))
    names = _names(tests, placed)
    return [replace(record, test=names[test]) for record, test in zip(placed, tests, strict=True)]


def _fingerprints(records: Sequence[Record]) -> list[Fingerprint]:
    """Return what tells the tests of one command apart.

    `esen mae` evaluates weights in the precision in which they were trained, so that the precision of a variant is no
    setting of the test, unless one potential was evaluated in several. A potential that is no checkpoint has a
    precision of its own, and goes with the others if they all have the same.
    """
    settings = [tuple(sorted(record.settings.items())) for record in records]
    of_potential: dict[tuple[Fingerprint, str], set[str]] = defaultdict(set)
    of_test: dict[Fingerprint, set[str]] = defaultdict(set)
    for record, one in zip(records, settings, strict=True):
        if record.dtype is not None:
            of_potential[one, record.content].add(record.dtype)
            of_test[one].add(record.dtype)
    several = any(len(kinds) > 1 for kinds in of_potential.values())
    if records[0].command in {"mae", "train"} and not several:
        return settings
    found = []
    for record, one in zip(records, settings, strict=True):
        only = next(iter(of_test[one])) if len(of_test[one]) == 1 else "its own"
        found.append((*one, (_PRECISION, record.dtype or only)))
    return found


def _names(tests: Sequence[_Test], records: Sequence[Record]) -> dict[_Test, str]:
    """Return short names of tests: that in the study, else the settings in which they differ, else the folder."""
    different = list(dict.fromkeys(tests))
    if len(different) == 1:
        return {different[0]: ""}
    found: dict[_Test, str] = {}
    for name in dict.fromkeys(name for name, _ in different):
        group = [test for test in different if test[0] == name]
        words = _differences([dict(settings) for _, settings in group])
        for test, difference in zip(group, words, strict=True):
            folder = records[tests.index(test)].source.parent.name
            found[test] = (
                f"{name}, {difference or folder}" if name and len(group) > 1 else name or difference or folder
            )
    return {test: printable(name) for test, name in zip(found, distinct(list(found.values())), strict=True)}


def _differences(settings: Sequence[Mapping[str, str]]) -> list[str]:
    """Return in which settings each test differs from the others, in a few words; empty if it takes many."""
    keys = [key for key in settings[0] if len({one.get(key) for one in settings}) > 1]
    keys += [key for one in settings[1:] for key in one if key not in settings[0] and key not in keys]
    texts = [" ".join(_setting(key, one.get(key, "–")) for key in keys) for one in settings]
    short = len(keys) <= _MOST_DIFFERENCES and all(len(text) <= _LONGEST_VALUE for text in texts)
    return texts if short and keys else [""] * len(settings)


def _setting(key: str, value: str) -> str:
    """Return a setting without the sections that it is in, and a text without its quotes."""
    text = value.strip('"')
    return f"{key.rpartition('.')[2]}={text}"
