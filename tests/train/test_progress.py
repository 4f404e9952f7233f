"""What a person sees: on a terminal, and in a log."""

import re
import time
from io import StringIO

import pytest
from rich.console import Console

from esen.files import StopSignal
from esen.train.progress import TrainDisplay
from tests.train.small import press_ctrl_c

ERRORS = {"loss": 1.25, "energy_mae": 0.5, "forces_mae": 25.0}


def show(terminal: bool, stages: tuple[int, ...] = (1, 2)) -> str:
    """What is written in three epochs of ten frames."""
    file = StringIO()
    console = Console(file=file, force_terminal=terminal, width=110)
    with TrainDisplay(console, stages, 10) as display:
        for stage, epochs in enumerate(stages):
            for epoch in range(epochs):
                display.epoch(stage, epoch, epochs, 5, 0)
                for batch in range(5):
                    display.step(2, 3.0 - batch / 10)
                display._bar.refresh()
                display.validating()
                display._bar.refresh()
                display.validation(epoch + 1, ERRORS, is_best=epoch == 0)
        display.stopping()
        display._bar.refresh()
    return file.getvalue()


def test_a_log_holds_lines_and_nothing_else() -> None:
    text = show(terminal=False)
    assert "\x1b" not in text
    assert "\r" not in text
    assert text.splitlines() == [
        " epoch      loss  E meV/atom   F meV/Å  σ meV/Å³   (validation)",
        "     1    1.2500       0.500    25.000         –  *",
        "     1    1.2500       0.500    25.000         –  *",
        "     2    1.2500       0.500    25.000         –",
        text.splitlines()[-1],
    ]
    assert "stopping" in text.splitlines()[-1]


def test_a_long_epoch_shows_a_sign_of_life_in_a_log(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("esen.train.progress._LOG_SECONDS", -1.0)
    lines = [line for line in show(terminal=False).splitlines() if "frames" in line]
    assert len(lines) == 15
    assert re.fullmatch(r"stage 1/2, epoch 1/1: 2/30 frames · .* · loss 3", lines[0])
    assert re.fullmatch(r"stage 2/2, epoch 2/2: 30/30 frames · .* · loss 2.6", lines[-1])


def test_a_terminal_shows_a_bar_that_goes_away() -> None:
    text = show(terminal=True)
    assert "stage 1/2, epoch 1/1" in text
    assert "stage 2/2, epoch 2/2, validating" in text
    assert "30/30" in text
    assert "loss 2.6" in text
    assert "stopping after this batch" in text
    assert "stage" not in text.rsplit("\x1b[2K", 1)[-1]


def test_one_stage_is_not_counted() -> None:
    assert "stage" not in show(terminal=True, stages=(2,))


def test_a_resumed_run_begins_where_it_was() -> None:
    file = StringIO()
    with TrainDisplay(Console(file=file, force_terminal=True, width=110), (4,), 10) as display:
        display.epoch(0, 2, 4, 5, 3)
        display._bar.refresh()
    assert "26/40" in file.getvalue()


def test_signals_before_the_first_epoch_and_no_epoch_at_all() -> None:
    file = StringIO()
    with TrainDisplay(Console(file=file), (1,), 10) as display:
        display.stopping()
        display.validating()
    assert len(file.getvalue().splitlines()) == 1


@pytest.mark.parametrize("terminal", [False, True])
def test_the_first_signal_is_shown_while_the_bar_goes_on(terminal: bool) -> None:
    file = StringIO()
    display = TrainDisplay(Console(file=file, force_terminal=terminal, width=110), (1,), 10)
    with StopSignal(display.stopping) as stop, display:
        display.epoch(0, 0, 1, 5, 0)
        press_ctrl_c()
        display.step(2, 3.0)
        end = time.monotonic() + 5
        while "stopping after this batch" not in file.getvalue() and time.monotonic() < end:
            time.sleep(0.001)
        display.validation(1, ERRORS, is_best=True)
    assert stop.raised
    assert file.getvalue().count("stopping after this batch") == 1
    assert "1.2500" in file.getvalue()
