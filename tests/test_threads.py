"""The number of threads follows the cores that other programs leave free."""

from collections.abc import Iterator

import pytest
import torch

import esen.threads
from esen.threads import SharedCores, thread_choice, use_threads


class Machine:
    """Cores on which other programs use `others` cores, and this process as many as it has threads."""

    def __init__(self) -> None:
        self.time, self.busy, self.own, self.others = 0.0, 0.0, 0.0, 0.0
        self.lines: list[str] = []

    def run(self, cores: SharedCores, seconds: float, step: float = 0.15) -> None:
        """Make steps for a time; `update` is called after each."""
        end = self.time + seconds
        while self.time < end:
            self.time += step
            self.own += step * torch.get_num_threads()
            self.busy += step * (torch.get_num_threads() + self.others)
            cores.update()

    def shared(self) -> SharedCores:
        return SharedCores(self.lines.append, usage=lambda: (self.busy, self.own), clock=lambda: self.time)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    """A machine of 8 cores, all of which PyTorch takes by default."""
    threads = torch.get_num_threads()
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(esen.threads, "_cores", lambda: list(range(8)))
    torch.set_num_threads(8)
    esen.threads._usual_threads.cache_clear()
    yield Machine()
    torch.set_num_threads(threads)
    esen.threads._usual_threads.cache_clear()


def test_idle_cores_are_all_used(machine: Machine) -> None:
    machine.others = 0.2
    machine.run(machine.shared(), 30)
    assert torch.get_num_threads() == 8
    assert not machine.lines


@pytest.mark.parametrize(("others", "left"), [(0.3, 7), (1.0, 7), (2.6, 5), (7.0, 1), (8.0, 1), (40.0, 1)])
def test_cores_of_other_programs_are_left_to_them(machine: Machine, others: float, left: int) -> None:
    cores = machine.shared()
    machine.run(cores, 2)
    machine.others = others
    machine.run(cores, 0.5)
    assert torch.get_num_threads() == left
    assert len(machine.lines) == 1
    assert "--threads" in machine.lines[0]


def test_start_goes_by_the_load_before_it(machine: Machine) -> None:
    cores = machine.shared()
    machine.time, machine.busy = 2.0, 8.0
    cores.start()
    assert torch.get_num_threads() == 4


def test_a_slow_step_is_followed_by_one_that_fits(machine: Machine) -> None:
    cores = machine.shared()
    machine.others = 1.0
    machine.run(cores, 4.5, step=4.5)
    assert torch.get_num_threads() == 7


def test_free_cores_are_taken_after_two_seconds(machine: Machine) -> None:
    cores = machine.shared()
    machine.others = 4.0
    machine.run(cores, 10)
    machine.others = 0.0
    machine.run(cores, 1.5)
    assert torch.get_num_threads() == 4
    machine.run(cores, 1.0)
    assert torch.get_num_threads() == 8


def test_changing_load_is_followed_less_and_less_often(machine: Machine) -> None:
    cores = machine.shared()
    for _ in range(100):
        machine.others = 4.0
        machine.run(cores, 5)
        machine.others = 0.0
        machine.run(cores, 5)
    assert 4 <= len(machine.lines) < 30
    machine.run(cores, 150)
    assert torch.get_num_threads() == 8


def test_the_number_of_the_user_is_fixed(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # restored after the test
    assert "--threads" not in thread_choice("cpu")
    use_threads(3)
    machine.others = 7.0
    cores = machine.shared()
    cores.start()
    machine.run(cores, 10)
    assert torch.get_num_threads() == 3
    assert not machine.lines


def test_a_second_object_takes_back_what_the_first_gave_up(machine: Machine) -> None:
    first = machine.shared()
    machine.others = 7.0
    machine.run(first, 1)
    second = machine.shared()
    assert torch.get_num_threads() == 1
    machine.others = 0.0
    machine.run(second, 3)
    assert torch.get_num_threads() == 8


def test_load_of_this_machine_is_measured() -> None:
    before = esen.threads._usage()
    total = sum(i * i for i in range(2_000_000))
    after = esen.threads._usage()
    assert total > 0
    assert after[1] > before[1]
    assert after[0] >= before[0]
