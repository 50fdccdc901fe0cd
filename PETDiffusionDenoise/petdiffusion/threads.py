"""Work on parts of an image in several threads: NumPy and SciPy let go of the interpreter inside their loops."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from .progress import Run

MOST_WORKERS = 8
READ_AT_START = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS")
"""Libraries read these when a process loads them, and not again."""
Part = TypeVar("Part")
Done = TypeVar("Done")


def workers() -> int:
    """Cores this process may use, or what OMP_NUM_THREADS says, as for every numerical library."""
    said = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    if said.isdigit() and int(said) > 0:
        return int(said)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, MOST_WORKERS)


def in_order(work: Callable[[Part], Done], parts: Sequence[Part], run: Run, start: float = 0.0,
             end: float = 1.0) -> Iterator[tuple[Part, Done]]:
    """Each part with its result, in the order of the parts: sums over them do not depend on the threads.

    `work` calls `run.check()` itself, so a cancel ends all threads; progress goes from `start` to `end`.
    """
    count = min(workers(), len(parts))
    if count < 2:
        for i, part in enumerate(parts):
            run.progress(start + (end - start) * i / len(parts))
            yield part, work(part)
        return
    run.progress(start)
    with ThreadPoolExecutor(count) as pool:
        waiting = [pool.submit(work, part) for part in parts]
        try:
            for i, part in enumerate(parts):
                yield part, waiting[i].result()
                waiting[i] = None  # its memory can go
                run.progress(start + (end - start) * (i + 1) / len(parts))
        finally:
            pool.shutdown(cancel_futures=True)


def at_once(work: Callable[[Part], Done], parts: Sequence[Part]) -> list[Done]:
    """Each part's result, for work too short for progress and cancel."""
    count = min(workers(), len(parts))
    if count < 2:
        return [work(part) for part in parts]
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(work, parts))


def share(processes: int) -> int:
    """Threads for each of so many processes: together they use the cores and not more."""
    return max(1, (os.cpu_count() or 1) // max(processes, 1))


@contextmanager
def shared_among(processes: int) -> Iterator[None]:
    """Processes that are started meanwhile keep to their share. Two whose BLAS takes every core for each small product
    wait for one another most of the time: texture took seven times as long."""
    before = {name: os.environ.get(name) for name in READ_AT_START}
    os.environ.update(dict.fromkeys(READ_AT_START, str(share(processes))))
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


@contextmanager
def one_thread_each() -> Iterator[None]:
    """For parts that work with torch: its own threads would wait for one another at every operation."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
