"""Jobs here or in other processes, with one interface."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from ..progress import Run


class Workers(Protocol):
    def unordered(self, function: Callable[..., Any], jobs: Sequence[tuple[Any, ...]]) -> Iterator[Any]: ...


class Here:
    """In this process, one after the other."""

    def __init__(self, run: Run) -> None:
        self.run = run

    def unordered(self, function: Callable[..., Any], jobs: Sequence[tuple[Any, ...]]) -> Iterator[Any]:
        for job in jobs:
            self.run.check()
            yield function(*job, Run(device=self.run.device, cancelled=self.run.cancelled))


@contextmanager
def workers(count: int, run: Run) -> Iterator[Workers]:
    """`count` processes that share the cores evenly; with 1 or fewer all is done here."""
    if count <= 1:
        yield Here(run)
        return
    from ..phantoms.workers import Pool

    with Pool(count, run) as pool:
        yield pool


def usual() -> int:
    """A process per core: most of the work is single-threaded."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def gathered(pool: Workers, function: Callable[..., Any], jobs: Sequence[tuple[Any, ...]], run: Run) -> list[Any]:
    """All results, with progress and time left."""
    found = []
    for result in pool.unordered(function, jobs):
        found.append(result)
        run.progress(len(found) / len(jobs))
    return found
