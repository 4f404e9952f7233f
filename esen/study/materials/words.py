"""What is said beneath a table."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

_SHOWN = 3


def protocol_lines(protocol: Any, published: Mapping[str, Any]) -> list[str]:
    """Whose protocol it was, and what of it was changed.

    Args:
        protocol: a dataclass with `name` and `source`.
        published: those that can be cited, by name.
    """
    lines = [f"protocol {protocol.name}: {protocol.source}"]
    original = asdict(published.get(protocol.name, protocol))
    changed = [f"{key} {value}" for key, value in asdict(protocol).items() if value != original[key]]
    if changed:
        lines.append(f"{protocol.name}: NOT the protocol as it is: {', '.join(changed)}")
    return lines


def remark_lines(label: str, remarks: Iterable[tuple[str, str]]) -> list[str]:
    """A line for all materials of which the same is said.

    Args:
        label: of the potential.
        remarks: names of materials, with what is said of them.

    >>> remark_lines("emt", [("Al", "soft"), ("Au", "heavy"), ("Pb", "soft")])
    ['emt, Al, Pb: soft', 'emt, Au: heavy']
    """
    said: dict[str, list[str]] = {}
    for name, words in remarks:
        said.setdefault(words, []).append(name)
    return [f"{label}, {first_few(names)}: {words}" for words, names in said.items()]


def first_few(names: Sequence[str]) -> str:
    """Names, or the first of them and how many more there are.

    >>> first_few(["a", "b", "c", "d", "e"])
    'a, b, c and 2 more'
    """
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
