"""Seconds and peak memory of every classical filter, and of what scikit-image offers instead.

    python Testing/benchmarks/classical.py [--sizes small|large|both] [--methods nlm,tv] [--threads 2]

Each filter runs in its own process, with its default options, on a noisy simulated scan. `seconds` is the wall clock
and `CPU s` the processor time of the filter alone: where other programs run beside, the second is the one to compare.
`peak MB` is that of the whole process, `above` what the filter added to the loaded images. PSNR is inside the body,
against the true activity.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

SIZES = {"small": ((90, 128, 128), (4.0, 4.0, 4.0)), "large": ((300, 192, 192), (3.0, 3.0, 3.0))}
NOISE = 0.4
OTHERS = ("skimage nl_means", "skimage tv_chambolle")
COLUMNS = ("method", "size", "seconds", "CPU s", "peak MB", "above", "PSNR, dB")
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS")


def save_patient(size: str, file: Path) -> None:
    from petdiffusion.prepare.case import build
    from support.blobs import blobs

    shape, spacing = SIZES[size]
    patient = blobs(shape, spacing, relative_noise=NOISE, arms=True)
    case = build(patient.noisy)
    np.savez(file, pet=patient.noisy.array, truth=patient.truth.array, ct=patient.ct.array, mr=patient.mr.array,
             body=case.body, inside=patient.body, noise=case.noise)


def measure(name: str, size: str, file: Path) -> dict[str, Any]:
    """Runs in a process of its own."""
    from petdiffusion.volume import Geometry, Volume

    data = np.load(file)
    shape, spacing = SIZES[size]
    geometry = Geometry(shape[::-1], spacing)
    volumes = {key: Volume(data[key], geometry) for key in ("pet", "ct", "mr")}
    job = _other(name, data) if name in OTHERS else _ours(name, volumes, data)
    before, began, processor = _peak(), time.perf_counter(), time.process_time()
    result = job()
    spent, processor = time.perf_counter() - began, time.process_time() - processor
    error = np.mean((result - data["truth"])[data["inside"]] ** 2)
    top = data["truth"][data["inside"]].max()
    return {"method": name, "size": " x ".join(map(str, shape[::-1])), "seconds": spent, "CPU s": processor,
            "peak MB": _peak(), "above": _peak() - before, "PSNR, dB": float(10 * np.log10(top ** 2 / error))}


def _ours(name: str, volumes: dict[str, Any], data: Any) -> Any:
    from petdiffusion import registry
    from petdiffusion.methods.contract import Case
    from petdiffusion.progress import Run

    card = registry.card(name)
    case = Case(volumes["pet"], data["body"], float(data["noise"]), volumes["ct"], volumes["mr"])
    denoise, options = card.load(), card.resolve({})
    return lambda: denoise(case, options, Run()).pet.array


def _other(name: str, data: Any) -> Any:
    from skimage.restoration import denoise_nl_means, denoise_tv_chambolle

    pet, noise = data["pet"], float(data["noise"])
    if name == "skimage nl_means":
        return lambda: denoise_nl_means(pet, 3, 4, h=0.8 * noise, sigma=noise, fast_mode=True)
    return lambda: denoise_tv_chambolle(pet, weight=noise)


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def in_its_own_process(name: str, size: str, file: Path, threads: int) -> dict[str, Any]:
    command = [sys.executable, __file__, "--one", name, "--sizes", size, "--file", str(file)]
    environment = os.environ | dict.fromkeys(THREADS, str(threads))
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise SystemExit(f"{name} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def line(row: dict[str, Any]) -> str:
    numbers = (f"{row['seconds']:.1f}", f"{row['CPU s']:.1f}", f"{row['peak MB']:.0f}", f"{row['above']:.0f}",
               f"{row['PSNR, dB']:.1f}")
    return f"| {row['method']} | {row['size']} | " + " | ".join(numbers) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", choices=(*SIZES, "both"), default="both")
    parser.add_argument("--methods", default="")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(measure(given.one, given.sizes, given.file)))
        return
    from petdiffusion import registry

    classical = [name for name, card in registry.cards().items() if card.family == "classical"]
    chosen = given.methods.split(",") if given.methods else classical
    print(f"{given.threads} threads, noise {NOISE:.0%}, {os.cpu_count()} cores, {_load()}\n\n| " + " | ".join(COLUMNS)
          + " |\n| --- | --- |" + " ---: |" * (len(COLUMNS) - 2), flush=True)
    for size in SIZES if given.sizes == "both" else (given.sizes,):
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "patient.npz"
            save_patient(size, file)
            for name in (*chosen, *(OTHERS if size == "small" and not given.methods else ())):
                print(line(in_its_own_process(name, size, file, given.threads)), flush=True)


def _load() -> str:
    """Of other programs, which seconds depend on."""
    return f"load {os.getloadavg()[0]:.0f} at the start" if hasattr(os, "getloadavg") else "load unknown"


if __name__ == "__main__":
    main()
