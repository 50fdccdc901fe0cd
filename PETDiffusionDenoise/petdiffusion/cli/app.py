"""Builds the command line and runs one command: errors become one clear message and an exit code."""

from __future__ import annotations

import argparse
import errno
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Any, NoReturn

from .. import __version__, memory
from ..errors import Cancelled, OptionError, OutputError, PETDiffusionError, ResourceError
from ..packages import missing
from ..progress import Bar, JsonLines, Run, only_warnings, silent
from . import batch, bench, calibrate, demo, denoise, dynamic, evaluate, info, models, numbers, segment, simulate, train
from .interrupt import EXIT_CANCELLED, PATIENCE_S, stops_on_signals

COMMANDS = (denoise, segment, dynamic, batch, evaluate, bench, numbers, info, models, calibrate, simulate, train, demo)
EXIT_ERROR, EXIT_BUG, EXIT_UNREAD = 1, 70, 141


class _WrongWords(Exception):
    """What argparse says of them, and whose usage explains them."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise _WrongWords(self, message)


def parser() -> argparse.ArgumentParser:
    top = _Parser(
        prog="petdiffusion",
        description="Denoise low-count PET and measure it. For research use only.",
        epilog="'petdiffusion COMMAND --help' explains a command. First steps: petdiffusion demo --out demo-output",
    )
    top.add_argument("--version", action="version", version=f"petdiffusion {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for module in COMMANDS:
        module.add(commands)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 0 done, 1 a named error, 2 wrong usage, 70 a defect of this program, 130 stopped by the user, 141 where
    nobody reads any more (`petdiffusion methods --json | head`)."""
    _say_every_letter()
    args = _parsed(sys.argv[1:] if argv is None else argv)
    memory.keep_freed()
    run = Run(report=_reporter(args))
    try:
        with stops_on_signals(run, getattr(args, "patience", PATIENCE_S)):
            code = args.execute(args, run) or 0
            if sys.stdout is not None:  # closed by a scheduler
                sys.stdout.flush()
            return code
    except (KeyboardInterrupt, Cancelled):
        return _fail(Cancelled(), run, args, EXIT_CANCELLED)
    except PETDiffusionError as error:
        return _fail(error, run, args, EXIT_ERROR)
    except MemoryError:
        return _fail(
            ResourceError("Memory", "ran out", "Close other programs, or crop or coarsen the scan."),
            run,
            args,
            EXIT_ERROR,
        )
    except BrokenPipeError:
        return _unread()
    except OSError as error:
        if _is_closed_pipe(error):
            return _unread()
        return _fail(
            OutputError(
                str(error.filename or "A file"),
                str(error.strerror or error),
                "Check the path, its permissions and the free space.",
            ),
            run,
            args,
            EXIT_ERROR,
        )
    except Exception as error:  # a defect: never a bare trace to the user, never swallowed
        if absent := missing(error):
            return _fail(absent, run, args, EXIT_ERROR)
        if args_debug(args):
            traceback.print_exc()
        return _fail(_defect(error), run, args, EXIT_BUG)


def _parsed(words: Sequence[str]) -> argparse.Namespace:
    """Wrong words end here, as argparse ends them: usage and exit code 2. Programs hear of them as of any error."""
    try:
        args = parser().parse_args(words)
        if getattr(args, "out", None) is not None and not args.out.strip():  # a variable of a script that is not set
            raise _WrongWords(parser(), "argument --out: is empty, give the name of a folder")
        return args
    except _WrongWords as wrong:
        used, message = wrong.args
        if sys.platform == "win32" and "unrecognized arguments" in message:
            message += " (PowerShell ends a word at a comma: write lists in quotes, such as '1,3-5')"
        if "--json-lines" in words:
            error = OptionError("The command line", message, f"See '{used.prog} --help'.")
            JsonLines()({"event": "error", "error": error.to_json()})
        used.print_usage(sys.stderr)
        return used.exit(2, f"{used.prog}: error: {message}\n")


def _say_every_letter() -> None:
    """What the terminal's code page lacks, as in a path, is said by its number: no reason to end a finished run."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _is_closed_pipe(error: OSError) -> bool:
    """As Windows has no word of its own for it."""
    return sys.platform == "win32" and error.errno == errno.EINVAL and error.filename is None


def _unread() -> int:
    """Nothing is said, and Python's own last flush must not complain either."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return EXIT_UNREAD


def args_debug(args: argparse.Namespace) -> bool:
    return bool(getattr(args, "debug", False))


def _defect(error: Exception) -> PETDiffusionError:
    place = traceback.extract_tb(error.__traceback__)[-1]
    file = place.filename.replace("\\", "/").rsplit("petdiffusion/", 1)[-1]
    where = f"{file}:{place.lineno}"
    return PETDiffusionError(
        "A defect of this program",
        f"{type(error).__name__}: {error} (at {where})",
        "Please report it; --debug shows the full trace.",
    )


def _reporter(args: argparse.Namespace) -> Any:
    if getattr(args, "json_lines", False):
        return JsonLines()
    if getattr(args, "json", False):
        return silent
    return only_warnings if getattr(args, "quiet", False) else Bar()


def _fail(error: PETDiffusionError, run: Run, args: argparse.Namespace, code: int) -> int:
    if getattr(args, "json_lines", False):
        run.report({"event": "error", "error": error.to_json()})
    else:
        sys.stderr.write(f"\n{type(error).__name__}: {error}\n" if code != EXIT_CANCELLED else f"\n{error}\n")
    return code
