"""Processes share out what is to be done."""

import os
import subprocess
import sys
from pathlib import Path

from torch.distributed import TCPStore

from esen.study.processes import ALONE, torchrun_processes

SCRIPT = """
import sys, time
from pathlib import Path
from esen.study.processes import torchrun_processes

with torchrun_processes() as share:
    folder = Path(share.first_says("folder", lambda: sys.argv[1]))
    for number, job in share.take(range(7)):
        time.sleep(0.05)
        (folder / f"{job}-of-{share.rank}").write_text(str(number))
    share.wait_for_all()
    if share.is_first:
        (folder / "seen").write_text(str(len(list(folder.glob("*-of-*")))))
"""


def test_alone_everything_is_done_here() -> None:
    with torchrun_processes() as share:
        assert share is ALONE
        assert share.first_says("a", lambda: "b") == "b"
        assert list(share.take("xyz")) == [(0, "x"), (1, "y"), (2, "z")]
        share.wait_for_all()


def test_two_processes_do_each_job_once_also_when_torchrun_starts_them_again(tmp_path: Path) -> None:
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)  # torchrun keeps it
    for start in ("first", "again"):
        folder = tmp_path / start
        folder.mkdir()
        _run_two(folder, store.port)
        done = sorted(path.name for path in folder.glob("*-of-*"))
        assert [name[0] for name in done] == list("0123456")
        assert {name[-1] for name in done} == {"0", "1"}
        assert (folder / "seen").read_text() == "7"


def _run_two(folder: Path, port: int) -> None:
    (folder / "script.py").write_text(SCRIPT)
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    shared |= {"TORCHELASTIC_USE_AGENT_STORE": "True"}
    processes = [
        subprocess.Popen(
            [sys.executable, str(folder / "script.py"), str(folder) if rank == 0 else "elsewhere"],
            env=os.environ | shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in range(2)
    ]
    assert [process.wait(60) for process in processes] == [0, 0]
