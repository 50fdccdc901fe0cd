"""What the panel really starts: runs `petdiffusion ARGS` in this process and ends it when asked to, or with the panel.

    python child.py SCRATCH PACKAGES ARGS…

PACKAGES is the folder that holds `petdiffusion`; PythonSlicer may set PYTHONPATH anew, so it is not left to that alone.

A word on the control line (see control.py) is Ctrl-C; its end means that the panel is gone, however it went: then the
whole process tree ends and the scratch folder is removed, because nobody else can. Without a control line in the
environment this is a plain `python -m petdiffusion`. Imports nothing outside the standard library.
"""

from __future__ import annotations

import contextlib
import os
import runpy
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

EXIT_PANEL_GONE = 131
SCRATCH_PREFIX = "PETDiffusion-"
VARIABLE, HOST = "PETDIFFUSION_CONTROL", "127.0.0.1"
PATIENCE_S, REMOVAL_S = 10.0, 2.0


def main(arguments: list[str]) -> None:
    scratch, packages, sys.argv = arguments[0], arguments[1], ["petdiffusion", *arguments[2:]]
    address = os.environ.pop(VARIABLE, "")
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # inherited, where Slicer was started in the background
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if address:
        threading.Thread(target=watch, args=(address, scratch), daemon=True).start()
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [packages, *(place for place in sys.path if os.path.abspath(place or ".") != here)]
    runpy.run_module("petdiffusion", run_name="__main__", alter_sys=True)


def watch(address: str, scratch: str) -> None:
    """Interrupts the work when the panel asks for it, and ends everything when the line ends."""
    port, token = address.split(":")
    try:
        line = socket.create_connection((HOST, int(port)), timeout=PATIENCE_S)
    except ConnectionRefusedError:
        leave(scratch)
    except OSError:
        return  # something on this computer forbids the line: the work is still worth doing, a cancel will be a kill
    with contextlib.suppress(OSError), line:
        line.sendall(token.encode())
        line.settimeout(None)
        while line.recv(64):
            interrupt()
    leave(scratch)


def leave(scratch: str) -> None:
    """The panel is gone: nothing of this run may stay."""
    if os.path.basename(os.path.normpath(scratch)).startswith(SCRATCH_PREFIX):
        remove(scratch)
    end_tree()


def remove(folder: str | os.PathLike[str]) -> None:
    """Again and again for a moment: Windows removes no file that a process has open which is just ending."""
    until = time.monotonic() + REMOVAL_S
    shutil.rmtree(folder, ignore_errors=True)
    while os.path.exists(folder) and time.monotonic() < until:
        time.sleep(0.05)
        shutil.rmtree(folder, ignore_errors=True)


def interrupt() -> None:
    """Ctrl-C for the main thread; a real signal where there is one, because it also wakes a sleeping call."""
    if os.name == "posix":
        os.kill(os.getpid(), signal.SIGINT)
    else:
        import _thread

        _thread.interrupt_main()


def end_tree() -> None:
    """The panel started this process, and a launcher before it if there is one, as a group of their own."""
    if os.name == "posix":
        os.killpg(os.getpgrp(), signal.SIGKILL)
    else:
        subprocess.run(["taskkill", "/F", "/T", "/PID", str(os.getpid())], capture_output=True, check=False)
    os._exit(EXIT_PANEL_GONE)


if __name__ == "__main__":
    main(sys.argv[1:])
