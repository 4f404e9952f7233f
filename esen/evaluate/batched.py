"""Concurrent procedures whose calls of one potential are evaluated in batches.

A procedure is a function that calls a potential repeatedly, such as a relaxation by ASE. Each runs in a thread of its
own and does not know of the others, but only one thread runs at a time. The composition of the batches therefore
depends only on the procedures and not on time, and the code that they use need not be thread-safe.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Thread
from typing import Any, Generic, TypeVar

from esen.graph.batch import collate, separate
from esen.graph.types import Graph, Potential, Prediction

R = TypeVar("R")

_PATIENCE_SECONDS = 5.0
"""Longest wait for a procedure that has been told to end, which it does when it next calls the potential."""


class Stopped(BaseException):  # as KeyboardInterrupt: no `except Exception` may swallow it
    """Raised in a procedure that calls the potential after all procedures have been told to end."""


@dataclass(frozen=True, eq=False)
class _Ended(Generic[R]):
    outcome: R | BaseException


class _BatchedPotential:
    """The potential that a procedure calls: each call waits until a batch has been evaluated."""

    def __init__(self, potential: Potential) -> None:
        self.cutoff, self.backend = potential.cutoff, potential.backend
        self.calls: SimpleQueue[Graph | _Ended[Any]] = SimpleQueue()
        self.answers: SimpleQueue[Prediction | BaseException] = SimpleQueue()

    def __call__(self, graph: Graph) -> Prediction:
        self.calls.put(graph)
        answer = self.answers.get()
        if isinstance(answer, BaseException):
            raise answer
        return answer


class _Procedure(Generic[R]):
    """A procedure in its thread; `state` is the graph whose prediction it waits for, or its outcome."""

    def __init__(self, function: Callable[[Potential], R], potential: Potential) -> None:
        self._function, self._potential = function, _BatchedPotential(potential)
        self._thread = Thread(target=self._run, daemon=True)
        self.state: Graph | _Ended[R] | None = None

    def begin(self) -> None:
        """Run it until its first call of the potential, or its end."""
        self._thread.start()
        self.state = self._potential.calls.get()

    def go_on(self, answer: Prediction | BaseException) -> None:
        """Answer its call and run it until the next one, or its end."""
        self._potential.answers.put(answer)
        self.state = self._potential.calls.get()

    def stop(self) -> None:
        """Make its current call of the potential raise `Stopped`."""
        self._potential.answers.put(Stopped())

    def join(self) -> None:
        """Wait until it has ended."""
        if self._thread.is_alive():
            self._thread.join(_PATIENCE_SECONDS)

    def _run(self) -> None:
        try:
            outcome: R | BaseException = self._function(self._potential)
        except BaseException as error:  # the main thread waits for any outcome
            outcome = error
        self._potential.calls.put(_Ended(outcome))


def run_batched(
    procedures: Sequence[Callable[[Potential], R]],
    potential: Potential,
    *,
    sizes: Sequence[int],
    budget: int,
    device: str = "cpu",
    ended: Callable[[int, R | Exception], None] = lambda index, outcome: None,
) -> list[R | Exception]:
    """Run all procedures, and evaluate the calls of those that are running in one batch.

    They start in order, each as soon as there is room, and their graphs have the same order in a batch. If the
    evaluation of a batch raises, the batch is halved repeatedly until only the graphs that cause the error are left,
    and the exception is raised only in their procedures. `warnings.catch_warnings` acts on all threads, so a procedure
    must not be inside it when it calls the potential.

    Args:
        procedures: functions of a potential, which they call with graphs of one structure on the CPU.
        potential: the potential, which is called in this thread with the gradient mode of this thread.
        sizes: number of atoms of the structure of each procedure.
        budget: largest total number of atoms of the running procedures; a larger structure runs alone.
        device: device of the potential.
        ended: function of the index and the outcome of a procedure, called in this thread as soon as it ends.

    Returns:
        The result of each procedure, or the exception that it raised, in order.
    """
    outcomes: dict[int, R | Exception] = {}
    running: dict[int, _Procedure[R]] = {}
    begun = 0
    try:
        while len(outcomes) < len(procedures):
            used = sum(sizes[index] for index in running)
            while begun < len(procedures) and (not running or used + sizes[begun] <= budget):
                running[begun] = _Procedure(procedures[begun], potential)
                running[begun].begin()
                used += sizes[begun]
                begun += 1
            over = {i: p.state.outcome for i, p in running.items() if isinstance(p.state, _Ended)}
            for index, outcome in over.items():
                del running[index]
                if isinstance(outcome, BaseException) and not isinstance(outcome, Exception):
                    raise outcome
                outcomes[index] = outcome
                ended(index, outcome)
            if over:
                continue  # there may be room for more
            graphs = [p.state for p in running.values() if isinstance(p.state, Graph)]
            for procedure, answer in zip(
                running.values(), _predictions(potential, graphs, device), strict=True
            ):
                procedure.go_on(answer)
    finally:
        for procedure in running.values():
            procedure.stop()
        for procedure in running.values():
            procedure.join()
    return [outcomes[index] for index in range(len(procedures))]


def _predictions(potential: Potential, graphs: Sequence[Graph], device: str) -> list[Prediction | Exception]:
    """Return the prediction for each graph, or the exception that its evaluation raises."""
    try:
        batch = collate(graphs)
        prediction = potential(batch.to(device)).to("cpu")
        return list(separate(prediction, batch))
    except Exception as error:  # of any kind; it is that of one graph, which is found by halving
        if len(graphs) == 1:
            return [error]
    # Not within `except`, because the exception keeps the tensors of the failed evaluation in memory.
    half = len(graphs) // 2
    return _predictions(potential, graphs[:half], device) + _predictions(potential, graphs[half:], device)
