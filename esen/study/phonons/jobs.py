"""What is shared out: crystals with potentials, some of them together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from esen.study.materials.models import REFERENCE
from esen.study.materials.options import MaterialOptions
from esen.study.phonons.choose import Input
from esen.study.potentials import is_checkpoint


@dataclass(frozen=True)
class PhononOptions(MaterialOptions):
    """What the user chooses, beside potentials, crystals and protocol.

    Attributes:
        displacements: in Å; more than one: a study of convergence.
    """

    displacements: tuple[float, ...] = ()


@dataclass(frozen=True, eq=False)
class Part:
    """A crystal with a potential.

    Attributes:
        label: of the potential.
        crystal: to be read.
    """

    label: str
    crystal: Input


Job = tuple[Part, ...]
"""Crystals that are relaxed together by the same potential."""

TOGETHER = 32
"""Crystals at most that are relaxed together: with two or ten atoms each they make a batch."""
_JOBS = 4
"""A process at least, so that none waits long for the others."""


def make_jobs(inputs: Sequence[Input], potentials: Mapping[str, str], processes: int) -> list[Job]:
    """Crystal by crystal with all potentials; some crystals together where the potential takes batches.

    Args:
        inputs: all crystals.
        potentials: by label, as the user gave them.
        processes: that share the jobs.
    """
    count = max(1, min(TOGETHER, len(inputs) // (_JOBS * processes)))
    jobs: list[Job] = []
    for start in range(0, len(inputs), count):
        block = inputs[start : start + count]
        for label, text in potentials.items():
            parts = [Part(label, one) for one in block]
            batched = text != REFERENCE and is_checkpoint(text)
            jobs += [tuple(parts)] if batched else [(part,) for part in parts]
    return jobs
