"""What is seen in frames one by one: what is impossible, twice there, alone, or of a strange size."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from esen.data.frames import Frames
from esen.data.neighbours import neighbour_list
from esen.data.structure import Structure
from esen.errors import InputError

Verdict = Literal["ok", "note", "warning", "wrong"]

LONE = 6.0
"""An atom without a neighbour up to here, in Å, has no edges in most networks."""
_NET_FORCE = 0.02
"""In eV/Å an atom: what forces may sum up to."""


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Attributes:
        check: what was looked at.
        verdict: `ok`; `note`: worth knowing; `warning`: probably not intended; `wrong`: cannot be trained on as it is.
        found: in plain words.
        advice: what to do; may be empty.
    """

    check: str
    verdict: Verdict
    found: str
    advice: str = ""


@dataclass
class Seen:
    """What was gathered frame by frame."""

    geometries: dict[bytes, tuple[float | None, str]] = field(default_factory=dict)
    same: int = 0
    contradicting: list[str] = field(default_factory=list)
    lone: list[str] = field(default_factory=list)
    net: list[float] = field(default_factory=list)
    closest: float = np.inf
    volumes: list[float] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)


def look(s: Structure, seen: Seen, check: Callable[[Structure], None]) -> None:
    """Look at one frame."""
    try:
        check(s)
    except InputError as error:
        seen.broken.append(str(error))
        return
    key = (
        b"".join(np.round(a * 1e4).astype(np.int64).tobytes() for a in (s.positions, s.cell))
        + s.numbers.tobytes()
    )
    before = seen.geometries.setdefault(key, (s.energy, s.source))
    if before[1] != s.source:
        seen.same += 1
        if before[0] is not None and s.energy is not None and abs(before[0] - s.energy) > 1e-3 * len(s):
            seen.contradicting.append(f"{before[1]} and {s.source}")
    sender, receiver, shift = neighbour_list(s.positions, s.cell, s.pbc, LONE)
    if len(s) > 1 and len(np.unique(receiver)) < len(s):
        seen.lone.append(s.source)
    if len(sender):
        cell = np.where(s.pbc[:, None], s.cell, 0.0)
        apart = s.positions[sender] - s.positions[receiver] + shift @ cell
        seen.closest = min(seen.closest, float(np.sqrt(np.square(apart).sum(axis=1).min())))
    if s.forces is not None and len(s) > 1:
        seen.net.append(float(np.abs(s.forces.sum(axis=0)).max() / len(s)))
    if s.pbc.all():
        seen.volumes.append(s.volume / len(s))


def impossible(seen: Seen, of: str) -> Finding:
    """Frames that a training would refuse."""
    if not seen.broken:
        return Finding("frames", "ok", f"nothing impossible in {of}")
    return Finding(
        "frames", "wrong", f"{len(seen.broken)} of {of} cannot be: {seen.broken[0]}", "leave them out"
    )


def net_force(seen: Seen) -> Iterator[Finding]:
    """Forces whose sum is not zero."""
    if not seen.net:
        return
    net = np.array(seen.net)
    share = float((net > _NET_FORCE).mean())
    found = f"their sum is at most {net.max():.2g} eV/Å an atom"
    if share > 0.01:
        words = (
            f"in {share:.0%} of frames their sum is above {_NET_FORCE} eV/Å an atom, which no conservative"
        )
        yield Finding(
            "net force", "warning", f"{words} model can fit", "are columns swapped, or atoms held fixed?"
        )
    else:
        yield Finding("net force", "ok", found)


def duplicates(frames: Frames, seen: Seen, of: str) -> Finding:
    """Frames that are there twice."""
    digests = frames.facts.digests
    exact = len(digests) - len(np.unique(digests, axis=0))
    if seen.contradicting:
        words = f"{len(seen.contradicting)} geometries have two energies, e.g. {seen.contradicting[0]}"
        return Finding("duplicates", "wrong", words, "leave one of each out; are two levels of theory mixed?")
    if exact or seen.same:
        words = (
            f"{exact} frames are exact copies of others; {seen.same} of {of} have the same atoms as another"
        )
        return Finding("duplicates", "warning", words, "a validation frame may be a training frame, too")
    return Finding("duplicates", "ok", "none")


def lone_atoms(frames: Frames, seen: Seen, of: str) -> Finding:
    """Atoms without a neighbour."""
    single = int((frames.facts.atoms == 1).sum())
    singles = f"; {single} frames of one atom" if single else ""
    if not seen.lone:
        return Finding(
            "isolated atoms", "ok", f"every atom of {of} has a neighbour up to {LONE:g} Å{singles}"
        )
    words = (
        f"in {len(seen.lone)} of {of} an atom has no neighbour up to {LONE:g} Å, e.g. {seen.lone[0]}{singles}"
    )
    return Finding("isolated atoms", "note", words, "such an atom has its reference energy and no force")


def geometry(seen: Seen) -> Iterator[Finding]:
    """Lengths that are not in Å."""
    if np.isfinite(seen.closest):
        ok = seen.closest > 0.5
        yield Finding(
            "distances",
            "ok" if ok else "warning",
            f"the closest two atoms are {seen.closest:.3g} Å apart",
            "" if ok else "are positions in Å? fractions or nm are too small",
        )
    if seen.volumes:
        volume = float(np.median(seen.volumes))
        ok = 3.0 < volume < 200.0
        yield Finding(
            "volumes",
            "ok" if ok else "note",
            f"{volume:.3g} Å³ an atom (median)",
            ""
            if ok
            else "is the cell in Å? in Bohr volumes are 6.7 times as large; vacuum makes them larger, too",
        )
