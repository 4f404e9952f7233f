"""The systems of a protocol, by its name."""

import logging
from collections.abc import Collection, Sequence
from pathlib import Path

from esen.errors import InputError
from esen.md.protocols.data_sets import MD22, TM23, lambench_systems, published_systems
from esen.md.protocols.protocol import PROTOCOLS, Protocol
from esen.md.protocols.quick import quick_systems
from esen.md.systems import System, choose_names

_log = logging.getLogger(__name__)

_FAIR = {"fair-tm23": TM23, "fair-md22": MD22}
_DATA_SETS = {"tm23": TM23, "md22": MD22, **_FAIR}


def protocol_systems(
    protocol: str, data: Path | None = None, only: Sequence[str] | None = None
) -> list[System]:
    """Return the systems that a protocol simulates.

    Args:
        protocol: one of `PROTOCOLS`.
        data: the user's folder with the published files, or any structure files for `lambench`; `quick` needs none.
        only: names of the systems, in upper or lower case; None takes all that are there.

    Raises:
        InputError: there is no such protocol or system, or its data are missing or cannot be read.
    """
    _check_name(protocol, PROTOCOLS)
    if protocol in _DATA_SETS:
        return published_systems(_DATA_SETS[protocol], data, only)
    return lambench_systems(data, only) if protocol == "lambench" else quick_systems(only)


def protocol_runs(
    name: str, data: Path | None = None, only: Sequence[str] | None = None
) -> list[tuple[Protocol, list[System]]]:
    """Return the protocols of a name with their systems.

    `fair` stands for `fair-tm23` and `fair-md22`, as far as their data are there. They are two protocols, because their
    time steps differ.

    Args:
        name: one of `PROTOCOLS`, or `fair`.
        data: as in `protocol_systems`.
        only: as in `protocol_systems`; for `fair`, systems of either set.

    Raises:
        InputError: as `protocol_systems`.
    """
    if name != "fair":
        _check_name(name, (*PROTOCOLS, "fair"))
        return [(PROTOCOLS[name], protocol_systems(name, data, only))]
    if not only:
        return [(PROTOCOLS[part], protocol_systems(part, data)) for part in _fair_parts(data)]
    wanted = choose_names("fair", [system for each in _FAIR.values() for system in each.temperatures], only)
    chosen = {
        part: [system for system in each.temperatures if system in wanted] for part, each in _FAIR.items()
    }
    return [(PROTOCOLS[part], protocol_systems(part, data, names)) for part, names in chosen.items() if names]


def _fair_parts(data: Path | None) -> list[str]:
    """The parts of `fair` whose data are there; one is enough."""
    there = [part for part, each in _FAIR.items() if data is not None and data.is_dir() and each.find(data)]
    if not there:
        where = "fair: no data folder" if data is None else f"{data}: has no data of fair"
        files = " or ".join(each.expected_files for each in _FAIR.values())
        raise InputError(f"{where}; give --data FOLDER with {files}")
    for part in _FAIR.keys() - there:
        _log.warning("%s left out: no data; it needs %s", part, _FAIR[part].expected_files)
    return there


def _check_name(name: str, expected: Collection[str]) -> None:
    if name not in expected:
        raise InputError(f"protocol: there is no {name!r}; expected {', '.join(expected)}")
