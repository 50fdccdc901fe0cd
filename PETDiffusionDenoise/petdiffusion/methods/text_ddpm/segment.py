"""Organs from CT or MR by TotalSegmentator, run as a program of its own; every way in which it can fail has a name."""

from __future__ import annotations

import os
import queue
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

import numpy as np
import psutil

from ...errors import DependencyError, GeometryError, InputError, PETDiffusionError
from ...packages import to_install
from ...prepare import grids
from ...progress import Run
from ...volume import Geometry, LabelMap, Volume

PROGRAM = "TotalSegmentator"
TASKS = {"ct": "total", "mr": "total_mr"}
LEAST_OVERLAP = 0.05
"""Part of the PET's grid that the segmented image must cover."""
_PERCENT = re.compile(rb"(\d{1,3})%\|")
_NO_WEIGHTS = ("connectionerror", "max retries", "getaddrinfo", "name resolution", "urlopen error", "proxyerror",
               "failed to establish", "please download")  # fmt: skip


def program() -> str:
    """Where TotalSegmentator is: on the path, beside this Python, or where its programs are put, which is a folder of
    its own on Windows and in Slicer."""
    places = (str(Path(sys.executable).parent), sysconfig.get_path("scripts"))
    beside = shutil.which(PROGRAM, path=os.pathsep.join(places))
    found = shutil.which(PROGRAM) or beside
    if found is None:
        raise DependencyError(PROGRAM, "is not installed",
                              f"{to_install('TotalSegmentator')}, or give organs with --labels.")  # fmt: skip
    return found


def segmented(image: Volume, kind: str, target: Geometry, wait_s: float, run: Run) -> LabelMap:
    """The organs of a CT or MR on the target grid. `wait_s`: after so long without a sign of life it is stopped."""
    path = program()
    if grids.overlap(image.geometry, target) < LEAST_OVERLAP:
        raise GeometryError(f"The {kind.upper()}", "does not overlap the PET", "Give that of the same examination.")
    with run.stage("segment", f"Segmenting the {kind.upper()} with {PROGRAM}"):
        with tempfile.TemporaryDirectory(prefix="petdiffusion-", ignore_cleanup_errors=True) as folder:
            source, out = Path(folder, "image.nii.gz"), Path(folder, "organs.nii.gz")
            image.with_facts(source=None).to_nibabel().to_filename(source)
            _watched([path, "-i", str(source), "-o", str(out), "--ml", "--task", TASKS[kind]], wait_s, run)
            labels = _read(out)
        run.progress(1.0)
    return grids.resample_labels(labels, target)


def source_of(image: Volume) -> Volume:
    """The image as it was read, where it still lies as it was; the copy on the PET's grid where it was moved to it."""
    from ... import read

    if not image.facts.source:
        return image
    try:
        original = read.image(image.facts.source, "ct" if image.unit == "HU" else "mr")
    except PETDiffusionError:
        return image
    again = grids.resample(original, image.geometry).array
    return original if np.allclose(again, image.array, atol=1.0) else image


def _read(out: Path) -> LabelMap:
    from ... import read

    if not out.is_file():
        raise DependencyError(PROGRAM, "ended without a result", "Run it by hand on this image, or give --labels.")
    labels = read.labels(out)
    if not labels.array.any():
        raise InputError(f"{PROGRAM}'s result", "holds no structure", "Check the image, or give --labels.")
    return labels if labels.names else read.labels(labels, totalsegmentator=True)


def _watched(command: Sequence[str], wait_s: float, run: Run) -> None:
    """Runs the program and passes its progress on; it is ended with all its children on a cancel or a long silence."""
    try:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                   stdin=subprocess.DEVNULL, env={**os.environ, "PYTHONUNBUFFERED": "1"})  # fmt: skip
    except OSError as error:
        raise DependencyError(PROGRAM, f"could not be started ({error.strerror})", "Install it again.") from None
    said: queue.Queue[bytes | None] = queue.Queue()
    reader = threading.Thread(target=_listen, args=(process.stdout, said), daemon=True)
    reader.start()
    try:
        tail = _follow(said, wait_s, run)
        code = process.wait(timeout=60)
    finally:
        _end(process)
    if code != 0:
        raise _failure(code, tail)


def _follow(said: queue.Queue[bytes | None], wait_s: float, run: Run) -> list[str]:
    """Until the program ends; its last lines."""
    tail: list[str] = []
    heard, done = time.monotonic(), 0.0
    while True:
        run.check()
        try:
            line = said.get(timeout=0.1)
        except queue.Empty:
            if time.monotonic() - heard > wait_s:
                raise DependencyError(PROGRAM, f"gave no sign of life for {wait_s:g} s and was stopped",
                                      "Raise segment_wait, or give organs with --labels.") from None  # fmt: skip
            continue
        if line is None:
            return tail
        heard = time.monotonic()
        if percents := _PERCENT.findall(line):
            done = max(done, min(int(percents[-1]), 99) / 100)
            run.progress(done)
        elif text := line.decode("utf-8", "replace").strip():
            tail = [*tail[-19:], text]


def _listen(stream: IO[bytes], said: queue.Queue[bytes | None]) -> None:
    for line in _lines(stream):
        said.put(line)
    said.put(None)


def _lines(stream: IO[bytes]) -> Iterator[bytes]:
    """Bars are drawn with carriage returns, which end a line here."""
    rest = b""
    while part := stream.read1(4096):
        *whole, rest = re.split(rb"[\r\n]", rest + part)
        yield from whole
    if rest:
        yield rest


def _end(process: subprocess.Popen) -> None:
    if process.poll() is not None:
        return
    try:
        children = psutil.Process(process.pid).children(recursive=True)
    except psutil.Error:
        children = []
    for one in (*children, process):
        try:
            one.kill()
        except (psutil.Error, OSError):
            continue
    process.wait(timeout=10)
    psutil.wait_procs(children, timeout=10)  # whose files Windows removes no sooner


def _failure(code: int, tail: Sequence[str]) -> DependencyError:
    text = "\n".join(tail).lower()
    if any(sign in text for sign in _NO_WEIGHTS):
        return DependencyError(f"{PROGRAM}'s weights", "are not on this machine, and could not be fetched",
                               "Put them where $TOTALSEG_WEIGHTS_PATH says, or give organs with --labels.")  # fmt: skip
    last = tail[-1][:160] if tail else "it said nothing"
    return DependencyError(PROGRAM, f"failed with code {code} ({last})", "Run it by hand on this image, "
                           "or give organs with --labels.")  # fmt: skip
