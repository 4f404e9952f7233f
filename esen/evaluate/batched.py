"""Many procedures at once, whose calls of one potential are answered in batches.

A procedure is a function that calls a potential again and again, such as one of ASE's relaxations. Each has a thread of
its own, so that it needs no knowledge of the others; but only one of them runs at a time. What goes together in a batch
therefore depends on the procedures alone, not on time, and what they use need not be safe for threads.
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
"""For a procedure that is to end; it does so when it next calls the potential."""


class Stopped(BaseException):  # as KeyboardInterrupt: no `except Exception` may swallow it
    """All procedures are to end; raised where one calls the potential."""


@dataclass(frozen=True, eq=False)
class _Ended(Generic[R]):
    outcome: R | BaseException


class _Shared:
    """The potential as a procedure sees it: a call waits until the batch is evaluated."""

    def __init__(self, potential: Potential) -> None:
        self.cutoff, self.backend = potential.cutoff, potential.backend
        self.asked: SimpleQueue[Graph | _Ended[Any]] = SimpleQueue()
        self.answers: SimpleQueue[Prediction | BaseException] = SimpleQueue()

    def __call__(self, graph: Graph) -> Prediction:
        self.asked.put(graph)
        answer = self.answers.get()
        if isinstance(answer, BaseException):
            raise answer
        return answer


class _Procedure(Generic[R]):
    """One of them; `said` is the graph that it waits for, or how it ended."""

    def __init__(self, function: Callable[[Potential], R], potential: Potential) -> None:
        self._function, self._shared = function, _Shared(potential)
        self._thread = Thread(target=self._run, daemon=True)
        self.said: Graph | _Ended[R] | None = None

    def begin(self) -> None:
        """Let it run until it asks for the first time, or ends."""
        self._thread.start()
        self.said = self._shared.asked.get()

    def go_on(self, answer: Prediction | BaseException) -> None:
        """Let it run until it asks again, or ends."""
        self._shared.answers.put(answer)
        self.said = self._shared.asked.get()

    def stop(self) -> None:
        """Let it end when it next asks."""
        self._shared.answers.put(Stopped())

    def join(self) -> None:
        """Wait for its end."""
        if self._thread.is_alive():
            self._thread.join(_PATIENCE_SECONDS)

    def _run(self) -> None:
        try:
            outcome: R | BaseException = self._function(self._shared)
        except BaseException as error:  # whatever it is, somebody waits for it
            outcome = error
        self._shared.asked.put(_Ended(outcome))


def run_batched(
    procedures: Sequence[Callable[[Potential], R]],
    potential: Potential,
    *,
    sizes: Sequence[int],
    budget: int,
    device: str = "cpu",
    ended: Callable[[int, R | Exception], None] = lambda index, outcome: None,
) -> list[R | Exception]:
    """Run all procedures, and evaluate in one batch what those that are running wait for.

    They begin in order, the next as soon as there is room. A batch has their graphs in the same order. Where its
    evaluation raises, it is halved, down to the graphs that raise by themselves: only their procedures get the
    exception. `warnings.catch_warnings` concerns all threads: a procedure may not hold it while it calls the potential.

    Args:
        procedures: each is called with a potential like `potential`, of graphs of one structure on the CPU.
        potential: called in this thread, under its own mode of gradients.
        sizes: atoms of each procedure's structure.
        budget: those that are running have so many atoms together at most; a larger one runs alone.
        device: where the potential is.
        ended: called in this thread with index and outcome of each procedure as soon as it ends.

    Returns:
        In order, what each returned, or the exception that it raised.
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
            over = {i: p.said.outcome for i, p in running.items() if isinstance(p.said, _Ended)}
            for index, outcome in over.items():
                del running[index]
                if isinstance(outcome, BaseException) and not isinstance(outcome, Exception):
                    raise outcome
                outcomes[index] = outcome
                ended(index, outcome)
            if over:
                continue  # there may be room for more
            graphs = [p.said for p in running.values() if isinstance(p.said, Graph)]
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
    """Of each graph; where only some of them cannot be evaluated, of the others."""
    try:
        batch = collate(graphs)
        prediction = potential(batch.to(device)).to("cpu")
        return list(separate(prediction, batch))
    except Exception as error:
        if len(graphs) == 1:
            return [error]
    # Not within `except`: the exception holds the memory of what failed.
    half = len(graphs) // 2
    return _predictions(potential, graphs[:half], device) + _predictions(potential, graphs[half:], device)
