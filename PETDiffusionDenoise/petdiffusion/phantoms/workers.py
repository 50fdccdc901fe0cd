"""Processes that make patients: started afresh (never forked), stopped through one event, one thread each."""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, ProcessPoolExecutor, wait
from typing import Any

from ..errors import ResourceError
from ..parent import leave_with_parent
from ..progress import Run
from ..threads import share, shared_among

_PATIENCE_S = 0.3
MOST_ON_WINDOWS = 61
"""Processes that Python can wait for there."""
_stop: Any = None


def _start(stop: Any, threads: int) -> None:
    global _stop
    _stop = stop
    leave_with_parent(stop)
    import torch

    torch.set_num_threads(threads)


def _call(function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    return function(*arguments, Run(cancelled=_stop))


def _result(future: Future) -> Any:
    try:
        return future.result()
    except BrokenExecutor as error:
        raise ResourceError("A process that makes patients", "was ended from outside, probably for want of memory",
                            "Go on with fewer workers.") from error


class Pool:
    """Runs `function(*arguments, run)` in other processes; a cancel of `run` reaches them within a step of theirs."""

    def __init__(self, workers: int, run: Run) -> None:
        self.run, self.workers = run, max(int(workers), 1)
        if sys.platform == "win32":
            self.workers = min(self.workers, MOST_ON_WINDOWS)
        context = multiprocessing.get_context("spawn")
        self._stop = context.Event()
        self._executor = ProcessPoolExecutor(self.workers, context, _start, (self._stop, share(self.workers)))

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._stop.set()
        self._executor.shutdown(wait=True, cancel_futures=True)

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future:
        with shared_among(self.workers):  # a process may be started for it
            return self._executor.submit(_call, function, arguments)

    def result(self, future: Future) -> Any:
        """The result, as soon as it is there; a cancel ends the waiting."""
        while not wait([future], timeout=_PATIENCE_S).done:
            self.run.check()
        return _result(future)

    def unordered(self, function: Callable[..., Any], jobs: Sequence[tuple[Any, ...]]) -> Iterator[Any]:
        """Results in the order in which they come; no more jobs are under way than twice the workers."""
        waiting, under_way = list(jobs)[::-1], set()
        while waiting or under_way:
            while waiting and len(under_way) < 2 * self.workers:
                under_way.add(self.submit(function, *waiting.pop()))
            done, under_way = wait(under_way, timeout=_PATIENCE_S, return_when=FIRST_COMPLETED)
            self.run.check()
            for future in done:
                yield _result(future)
