"""What the panel really starts: runs `petdiffusion ARGS` in this process and ends it when asked to, or with its parent.

    python child.py SCRATCH ARGS…

The parent keeps the other end of standard input. `cancel` on it is Ctrl-C; its end means that the parent is gone,
however it went: then the whole process tree ends and the scratch folder is removed, because nobody else can.
This file imports neither Slicer nor anything outside the standard library.
"""

from __future__ import annotations

import contextlib
import os
import runpy
import shutil
import signal
import subprocess
import sys
import threading

EXIT_PARENT_GONE = 131
SCRATCH_PREFIX = "PETDiffusion-"


def main(arguments: list[str]) -> None:
    scratch, sys.argv = arguments[0], ["petdiffusion", *arguments[1:]]
    parent = take_stdin()
    threading.Thread(target=watch, args=(parent, scratch), daemon=True).start()
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [place for place in sys.path if os.path.abspath(place or ".") != here]
    runpy.run_module("petdiffusion", run_name="__main__", alter_sys=True)


def take_stdin() -> int:
    """The parent's pipe for this module alone: the backend and its children get an empty standard input."""
    parent, empty = os.dup(0), os.open(os.devnull, os.O_RDONLY)
    os.dup2(empty, 0)
    os.close(empty)
    return parent


def watch(parent: int, scratch: str) -> None:
    """Reads the descriptor itself: a buffered reader would be locked, and abort Python, at its end."""
    with contextlib.suppress(OSError):
        while said := os.read(parent, 4096):
            if b"cancel" in said:
                interrupt()
    if os.path.basename(os.path.normpath(scratch)).startswith(SCRATCH_PREFIX):
        shutil.rmtree(scratch, ignore_errors=True)
    end_tree()


def interrupt() -> None:
    """Ctrl-C for the main thread; a real signal where there is one, because it also wakes a sleeping call."""
    if os.name == "posix":
        os.kill(os.getpid(), signal.SIGINT)
    else:
        import _thread

        _thread.interrupt_main()


def end_tree() -> None:
    if os.name == "nt":
        subprocess.run(["taskkill", "/F", "/T", "/PID", str(os.getpid())], capture_output=True, check=False)
    elif os.getpgrp() == os.getpid():
        os.killpg(os.getpid(), signal.SIGKILL)
    os._exit(EXIT_PARENT_GONE)


if __name__ == "__main__":
    main(sys.argv[1:])
