import json
import os
import random
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from esen.errors import InputError
from esen.files import (
    Interrupted,
    StopSignal,
    csv_text,
    locked,
    parse_json,
    plain,
    read_arrays,
    read_json,
    replacing,
    signals_interrupt,
    write_arrays,
    write_atomically,
    write_json,
)

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.fixture(autouse=True)
def _handlers_are_restored() -> Iterator[None]:
    before = [signal.getsignal(number) for number in SIGNALS]
    yield
    assert [signal.getsignal(number) for number in SIGNALS] == before


def send(number: int) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", SIGNALS)
def test_the_first_signal_raises_a_flag_and_the_second_interrupts(number: int) -> None:
    told: list[bool] = []
    with StopSignal(lambda: told.append(True)) as stop:
        assert not stop.raised
        send(number)
        assert stop.raised
        with pytest.raises(KeyboardInterrupt):
            send(number)
    assert told == [True]


def test_nobody_needs_to_be_told() -> None:
    with StopSignal() as stop:
        send(signal.SIGTERM)
    assert stop.raised


@pytest.mark.parametrize("number", SIGNALS)
def test_all_signals_interrupt(number: int) -> None:
    with pytest.raises(KeyboardInterrupt), signals_interrupt():
        send(number)


def test_within_a_stop_signal_the_outer_handler_rests() -> None:
    with signals_interrupt():
        with StopSignal() as stop:
            send(signal.SIGTERM)
        assert stop.raised
        with pytest.raises(KeyboardInterrupt):
            send(signal.SIGTERM)


def test_an_ignored_signal_stays_ignored() -> None:
    """As `nohup` has it."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with signals_interrupt(), StopSignal() as stop:
            send(signal.SIGHUP)
            assert not stop.raised
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_another_thread_hears_no_signals() -> None:
    raised: list[bool] = []

    def work() -> None:
        with signals_interrupt(), StopSignal() as stop:
            raised.append(stop.raised)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert raised == [False]


def test_interrupted_is_a_keyboard_interrupt() -> None:
    """So that no `except Exception` on the way takes it for an error."""
    assert issubclass(Interrupted, KeyboardInterrupt)


def test_a_handler_leaves_the_printing_to_a_thread() -> None:
    threads: list[threading.Thread] = []
    with StopSignal(lambda: threads.append(threading.current_thread())):
        send(signal.SIGTERM)
    assert threads
    assert threads[0] is not threading.main_thread()


def test_a_folder_is_locked_once(tmp_path: Path) -> None:
    with locked(tmp_path), pytest.raises(InputError, match="another process"), locked(tmp_path):
        pass
    with locked(tmp_path):
        pass


def test_an_error_unlocks(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="x"), locked(tmp_path):
        raise ValueError("x")
    with locked(tmp_path):
        pass


def test_the_lock_removes_what_killed_processes_left(tmp_path: Path) -> None:
    (tmp_path / "emt").mkdir()
    (left := tmp_path / "emt" / ".Cu.json.01234567.partial").write_text("half")
    (kept := tmp_path / "emt" / "Cu.json").write_text("{}")
    with locked(tmp_path):
        assert not left.exists()
        assert kept.exists()


def test_a_write_that_fails_leaves_the_earlier_file(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    write_atomically(path, "whole")

    def fail() -> None:
        with replacing(path) as partial:
            partial.write_text("half")
            raise ValueError("stopped")

    with pytest.raises(ValueError, match="stopped"):
        fail()
    assert path.read_text() == "whole"
    assert list(tmp_path.iterdir()) == [path]


def test_folders_are_made(tmp_path: Path) -> None:
    write_json(tmp_path / "a" / "b.json", {"x": 1})
    assert (tmp_path / "a" / "b.json").read_text() == '{\n "x": 1\n}\n'


def test_json_has_no_nan_and_csv_an_empty_cell() -> None:
    assert plain({"a": np.array([1.0, np.nan]), 2: (np.inf, np.float64(1.5))}) == {
        "a": [1.0, None],
        "2": [None, 1.5],
    }
    assert csv_text(["a", "b"], [[1.5, float("nan")], [None, "x,y"]]) == 'a,b\r\n1.5,\r\n,"x,y"\r\n'


def test_arrays_come_back_and_damage_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "bands.npz"
    write_arrays(path, {"x": np.arange(3.0)})
    assert read_arrays(path)["x"].tolist() == [0, 1, 2]
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(InputError, match=r"bands\.npz"):
        read_arrays(path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"7",
        b"null",
        b'{"a": 1',
        b"\x00" * 9,
        b"[" * 99_999,
        b"\xff\xfe{\x00",
        b'{"a": 1}{}',
        b"\x80",
    ],
    ids=lambda content: str(content[:8]),
)
def test_damaged_json_is_one_line(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"a\.json: .*; mend it$") as error:
        read_json(path, "mend it")
    assert len(str(error.value).splitlines()) == 1


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, tmp_path / "none", Path("/dev/zero")):
        with pytest.raises(InputError, match=str(path)):
            read_json(path, "mend it")


def test_names_that_are_not_utf8_come_back(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"file": "caf\udce9.cif", "unit": "Å"})
    assert read_json(tmp_path / "a.json", "") == {"file": "caf\udce9.cif", "unit": "Å"}
    assert "Å" in (tmp_path / "a.json").read_text(encoding="utf-8")


@pytest.mark.parametrize("count", [60, pytest.param(2000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("compressed", [True, False])
def test_a_bit_of_an_array_that_flipped_is_noticed(compressed: bool, count: int, tmp_path: Path) -> None:
    path, arrays = tmp_path / "a.npz", {"x": np.arange(7.0), "marks": np.arange(3)}
    write_arrays(path, arrays, compressed=compressed)
    sound, generator = path.read_bytes(), random.Random(2)
    for _ in range(count):
        damaged = bytearray(sound)
        damaged[generator.randrange(len(sound))] ^= 1 << generator.randrange(8)
        path.write_bytes(damaged)
        try:
            found = read_arrays(path)
        except InputError as error:
            assert len(str(error).splitlines()) == 1
        else:  # in a date or another fact of the archive that is not used
            assert {name: array.tolist() for name, array in found.items()} == {
                name: array.tolist() for name, array in arrays.items()
            }


@pytest.mark.parametrize("content", [b"[" * 99_999, b'{"a":' * 99_999, b"[]" * 99 + b"[[{" * 99_999])
def test_nesting_is_refused_whatever_the_recursion_limit(content: bytes) -> None:
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(1_000_000)  # as libraries do on import
    try:
        for text in (content, content.decode()):
            with pytest.raises(ValueError, match="nested"):
                parse_json(text)
    finally:
        sys.setrecursionlimit(before)


def test_usual_nesting_is_read() -> None:
    wide = [[[i], {"a": [i]}] for i in range(1000)]
    assert parse_json(json.dumps(wide)) == wide
    assert parse_json("[" * 100 + "]" * 100)
    with pytest.raises(ValueError, match="levels"):
        parse_json("[" * 101 + "]" * 101)
