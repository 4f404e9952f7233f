import os
import signal
import threading
from collections.abc import Iterator

import pytest

from esen.train.interrupt import Interrupted, StopSignal, signals_interrupt

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
