"""From the name of a protocol to what is to be run."""

import logging
from collections.abc import Collection, Sequence
from pathlib import Path

from esen.errors import InputError
from esen.md.protocols.lambench import lambench_systems
from esen.md.protocols.md22 import MD22
from esen.md.protocols.protocol import PROTOCOLS, Protocol
from esen.md.protocols.published import expected_files, has_data, published_systems
from esen.md.protocols.quick import quick_systems
from esen.md.protocols.tm23 import TM23
from esen.md.systems import System, choose_names

_log = logging.getLogger(__name__)

_FAIR = {"fair-tm23": TM23, "fair-md22": MD22}
_DATA = {"tm23": TM23, "md22": MD22, **_FAIR}


def protocol_systems(
    protocol: str, data: Path | None = None, only: Sequence[str] | None = None
) -> list[System]:
    """What a protocol simulates.

    Args:
        protocol: its name, one of `PROTOCOLS`.
        data: the user's folder with the published files, or for `lambench` with any structure files; `quick` needs
            none.
        only: names of the systems to take, upper and lower case being the same; None: all that are there.

    Raises:
        InputError: no such protocol or system, or its data are missing or cannot be read.
    """
    _check_name(protocol, PROTOCOLS)
    if protocol in _DATA:
        return published_systems(_DATA[protocol], data, only)
    return lambench_systems(data, only) if protocol == "lambench" else quick_systems(only)


def protocol_runs(
    name: str, data: Path | None = None, only: Sequence[str] | None = None
) -> list[tuple[Protocol, list[System]]]:
    """The protocols of a name with their systems: one; or two of `fair`, as far as their data are there.

    The two, `fair-tm23` and `fair-md22`, differ in time step, so that one run cannot hold both.

    Args:
        name: one of `PROTOCOLS`, or `fair`.
        data: as of `protocol_systems`.
        only: as of `protocol_systems`; of `fair`, systems of either set.

    Raises:
        InputError: as `protocol_systems`.
    """
    if name != "fair":
        _check_name(name, (*PROTOCOLS, "fair"))
        return [(PROTOCOLS[name], protocol_systems(name, data, only))]
    if not only:
        return _fair_runs(data)
    wanted = choose_names("fair", [system for each in _FAIR.values() for system in each.temperatures], only)
    chosen = {
        own: [system for system in each.temperatures if system in wanted] for own, each in _FAIR.items()
    }
    return [(PROTOCOLS[own], protocol_systems(own, data, names)) for own, names in chosen.items() if names]


def _fair_runs(data: Path | None) -> list[tuple[Protocol, list[System]]]:
    """All that is there of the two sets; one of them is enough."""
    there = [own for own, data_set in _FAIR.items() if has_data(data_set, data)]
    if not there:
        where = "fair: no data folder" if data is None else f"{data}: has no data of fair"
        files = " or ".join(expected_files(data_set) for data_set in _FAIR.values())
        raise InputError(f"{where}; give --data FOLDER with {files}")
    for own in _FAIR.keys() - there:
        _log.warning("%s left out: no data; it needs %s", own, expected_files(_FAIR[own]))
    return [(PROTOCOLS[own], protocol_systems(own, data)) for own in there]


def _check_name(name: str, expected: Collection[str]) -> None:
    if name not in expected:
        raise InputError(f"protocol: there is no {name!r}; expected {', '.join(expected)}")
