"""What a large scan asks for beside the method: reading, preparing, measuring, checking, writing and the report.

    python Testing/benchmarks/large_scan.py [--size 440,440,620] [--voxel 1.65] [--method gaussian] [--keep FOLDER]

Runs `petdiffusion denoise` on the scan of `waits.py` (ellipsoids with noise) in a process of its own and prints the
seconds of each stage as its record has them, those of all that is written, and the peak of memory.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from waits import drawn


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="440,440,620", help="x,y,z")
    parser.add_argument("--voxel", type=float, default=1.65, help="mm")
    parser.add_argument("--method", default="gaussian")
    parser.add_argument("--keep", type=Path, help="a folder for the scan and the results, which are else deleted")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.keep or Path(temporary)
        scan = folder / "scan.nrrd"
        written(scan, tuple(int(n) for n in args.size.split(",")), args.voxel)
        for stage, value in measured(scan, args.method, folder / "results").items():
            print(f"{stage:>16} {value:8.1f}")


def written(scan: Path, size: tuple[int, int, int], voxel_mm: float) -> None:
    from petdiffusion.write.images import write

    scan.parent.mkdir(parents=True, exist_ok=True)
    write(drawn(size, voxel_mm)[0], scan, overwrite=True)


def measured(scan: Path, method: str, out: Path) -> dict[str, float]:
    """Seconds by stage, and gigabytes."""
    import resource

    began = time.perf_counter()
    subprocess.run([sys.executable, "-m", "petdiffusion", "denoise", str(scan), "--method", method, "--out", str(out),
                    "--overwrite", "--quiet"], check=True, stdout=subprocess.DEVNULL)  # fmt: skip
    wall = time.perf_counter() - began
    stages = json.loads((out / "record.json").read_text(encoding="utf-8"))["seconds"]
    most = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return {**stages, "start and write": wall - sum(stages.values()), "whole": wall, "memory, GB": most / 1e9}


if __name__ == "__main__":
    main()
