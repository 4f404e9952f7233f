"""A run over many materials: a folder that is its own, what is left to do, and how far it is."""

import json
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from esen.files import locked
from esen.study.materials.manifest import claim, refuse_another
from esen.study.materials.progress import shown
from esen.study.materials.share import Share
from esen.study.materials.worker import Job, Work, do_jobs


def run_materials(
    work: Work[Job],
    jobs: Sequence[Job],
    share: Share,
    *,
    output: Path,
    manifest: dict[str, dict[str, Any]],
    begun: Callable[[], None] = lambda: None,
    retried: Iterable[Path] = (),
    isolated: bool = True,
) -> None:
    """Do all jobs that are not recorded, with the other processes.

    Args:
        work: what is done with each.
        jobs: the same in all processes.
        share: of this process.
        output: folder of the run; made when the potentials are loaded, and locked while the run lasts.
        manifest: what the numbers depend on; see `claim`.
        begun: called by the first process when the folder is claimed.
        retried: records; those among them that are of failures are removed first, so that they are computed anew.
        isolated: see `do_jobs`.

    Raises:
        InputError: what is wrong with all jobs, or the folder has records of something else.
        Interrupted: by the user.
    """
    with ExitStack() as stack:

        def forget() -> str:
            refuse_another(output, manifest)
            for record in retried:
                _forget_failure(record)
            return "yes"

        def before() -> None:
            output.mkdir(parents=True, exist_ok=True)
            stack.enter_context(locked(output))
            claim(output, manifest)
            begun()

        share.first_says("forgotten", forget)
        progress = stack.enter_context(shown(len(jobs), visible=share.is_first))
        do_jobs(
            work,
            jobs,
            share,
            resumed_by=f"the same command and --output {output}",
            before=before,
            progress=progress,
            isolated=isolated,
        )


def _forget_failure(record: Path) -> None:
    try:
        failed = bool(json.loads(record.read_text())["failure"])
    except FileNotFoundError:
        return
    except (OSError, ValueError, KeyError, TypeError):  # damaged: said when it is read
        return
    if failed:
        record.unlink()
        record.with_suffix(".traceback.txt").unlink(missing_ok=True)
