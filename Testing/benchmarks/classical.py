"""Seconds and peak memory of every method that needs no model, beside what one would take instead.

    python Testing/benchmarks/classical.py [--sizes small|large|both] [--methods nlm,tv] [--threads 2]

Each row runs in a process of its own, so that its peak memory is its own. Small is 128 x 128 x 90 (a brain at 2 mm),
large 192 x 192 x 300 (a body at 3 mm). The scan is a body of uneven activity with correlated noise that grows with it;
`seconds` is the method alone, once, after the case was prepared. Peak memory holds the program itself and the case.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time

SIZES = {"small": ((128, 128, 90), (2.0, 2.0, 2.0)), "large": ((192, 192, 300), (3.0, 3.0, 3.0))}
INSTEAD = {"scikit-image NLM": "nlm", "scikit-image TV": "tv"}
"""What a user would take instead, and of which method; on the small scan only."""


def scan(size: str):
    """A prepared case: an elliptic body with warm and hot regions."""
    import numpy as np
    from petdiffusion.prepare import case
    from petdiffusion.progress import Run
    from petdiffusion.volume import SUVBW, Geometry, Volume
    from scipy.ndimage import gaussian_filter

    voxels, spacing = SIZES[size]
    rng = np.random.default_rng(0)
    shape = voxels[::-1]
    z, y, x = np.meshgrid(*[np.linspace(-1, 1, n, dtype=np.float32) for n in shape], indexing="ij", sparse=True)
    body = ((x / 0.8) ** 2 + (y / 0.6) ** 2 < 1) & (np.abs(z) < 0.95)
    activity = body * (0.8 + 1.5 * (gaussian_filter(rng.normal(size=shape).astype(np.float32), 8) > 0.004))
    activity = activity + body * 6.0 * (gaussian_filter(rng.normal(size=shape).astype(np.float32), 2) > 0.12)
    noise = gaussian_filter(rng.normal(size=shape).astype(np.float32), 0.8) * np.sqrt(activity + 0.02)
    image = gaussian_filter(activity.astype(np.float32), 0.8) + noise
    return case.build(Volume(image, Geometry(voxels, spacing), SUVBW), run=Run())


def one(name: str, size: str, threads: int) -> dict[str, float]:
    """One row, in this process."""
    import resource

    import torch
    from petdiffusion import registry
    from petdiffusion.progress import Run

    torch.set_num_threads(threads)
    case = scan(size)
    if name in INSTEAD:
        run = _instead(name, case)
    else:
        card = registry.card(name)
        method, options = card.load(), card.resolve({})
        run = lambda: method(case, options, Run())  # noqa: E731
    began, spent = time.perf_counter(), time.process_time()
    run()
    return {"seconds": time.perf_counter() - began, "cpu_seconds": time.process_time() - spent,
            "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}  # fmt: skip


def _instead(name: str, case):
    from skimage.restoration import denoise_nl_means, denoise_tv_chambolle

    image, noise = case.pet.array, case.noise
    if name == "scikit-image TV":
        return lambda: denoise_tv_chambolle(image, weight=noise)
    # the same patches and search as our default: 10 mm patches, 16 mm around, in voxels of 2 mm
    return lambda: denoise_nl_means(image, patch_size=5, patch_distance=8, h=noise, sigma=noise, fast_mode=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", choices=("small", "large", "both"), default="both")
    parser.add_argument("--methods", help="names with commas between")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(one(*args.one, args.threads)))
        return
    from petdiffusion import registry

    names = args.methods.split(",") if args.methods else [n for n, c in registry.cards().items() if not c.needs_model]
    names = [n for n in names if not registry.card(n).conditions or n == "guided"]  # those that need CT or MR left out
    print("| method | size | seconds | CPU seconds | peak MB |\n| --- | --- | --- | --- | --- |")
    for size in ("small", "large") if args.sizes == "both" else (args.sizes,):
        rows = [*names, *(x for x, of in INSTEAD.items() if size == "small" and of in names)]
        for name in rows:
            command = [sys.executable, __file__, "--one", name, size, "--threads", str(args.threads)]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                sys.exit(f"{name}: {done.stderr}")
            row = json.loads(done.stdout.splitlines()[-1])
            voxels = " x ".join(str(n) for n in SIZES[size][0])
            print(
                f"| {name} | {voxels} | {row['seconds']:.1f} | {row['cpu_seconds']:.1f} | {row['peak_mb']:.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
