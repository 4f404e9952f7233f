"""What is shared out: crystals with potentials, some of them together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from esen.study.materials.models import REFERENCE
from esen.study.phonons.choose import Input
from esen.study.potentials import is_checkpoint


@dataclass(frozen=True)
class PhononOptions:
    """What the user chooses, beside potentials, crystals and protocol.

    Attributes:
        displacements: in Å; more than one: a study of convergence.
        allow_direct: whether potentials whose forces are no gradient are run.
        batch_atoms: displaced supercells go together up to so many atoms.
        plots: whether bands are drawn.
        retry: whether crystals that failed are computed anew.
        isolated: whether several crystals are computed by a process of its own, so that one that kills it takes no
            other along.
    """

    displacements: tuple[float, ...] = ()
    allow_direct: bool = False
    batch_atoms: int = 512
    plots: bool = True
    retry: bool = False
    isolated: bool = True


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
