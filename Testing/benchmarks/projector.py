"""Times the projector and the reconstructions beside what a user would take instead, in one run on one machine.

    python Testing/benchmarks/projector.py                 # about two minutes; --quick leaves out the large volumes

Compared: scikit-image's radon and iradon, a rotate-and-sum projector in torch, and astra-toolbox where it can be
imported. astra-toolbox (GPL) is no dependency; to have it in the table, put it into a throw-away environment (version
2.5.0 installs from PyPI, with some CUDA libraries that it wants even on the CPU):

    python -m venv DIR && DIR/bin/pip install astra-toolbox
    PYTHONPATH=DIR/lib/python3.11/site-packages python Testing/benchmarks/projector.py

Times are medians in ms a slice. On a machine that others use, read the ratios, or take `--clock cpu --threads 1`: the
time that one core worked, whatever else it did.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from oracles.physics_scenes import disc, disc_projection
from petdiffusion.physics import dose, matrices, poisson, recon
from petdiffusion.physics.geometry import ScanGeometry
from petdiffusion.physics.presets import SCANNERS
from petdiffusion.physics.projector import Projector
from petdiffusion.progress import Run
from petdiffusion.volume import Geometry, Volume

SIZE, BINS, ANGLES, BATCH = 128, 160, 192, 64
GEOMETRY = ScanGeometry(SIZE, 1.0, BINS, ANGLES, radial_mm=1.0)
DISC = (14.0, -9.0, 33.0)
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
_clock = time.perf_counter


@dataclass
class Contestant:
    """Forward and back projection of stacks [slices, ...] in GEOMETRY, pixels and bins of 1 mm."""

    name: str
    forward: Callable[[np.ndarray], np.ndarray]
    back: Callable[[np.ndarray], np.ndarray]
    slices: int


def ours(name: str, slices: int, backend: str = "auto") -> Contestant:
    projector = Projector(GEOMETRY, backend=backend)
    return Contestant(name, lambda x: projector.forward(torch.from_numpy(x)).numpy(),
                      lambda y: projector.back(torch.from_numpy(y)).numpy(), slices)


def plain_csr(slices: int) -> Contestant:
    """What the first prototype was: torch's own sparse product over all slices at once."""
    rays = matrices.path_lengths(GEOMETRY)
    pair = [torch.sparse_csr_tensor(*(torch.from_numpy(v) for v in (m.indptr, m.indices, m.data)), m.shape)
            for m in (rays, rays.T.tocsr())]
    shapes = (SIZE, SIZE), (ANGLES, BINS)

    def product(matrix: torch.Tensor, values: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
        return (matrix @ torch.from_numpy(values).flatten(1).T.contiguous()).T.reshape(len(values), *shape).numpy()

    return Contestant("the prototype: torch CSR, nothing else", lambda x: product(pair[0], x, shapes[1]),
                      lambda y: product(pair[1], y, shapes[0]), slices)


def rotate_and_sum(slices: int) -> Contestant:
    geometry = ScanGeometry(SIZE, 1.0, SIZE, ANGLES, radial_mm=1.0)
    rotator = RotateAndSum(geometry)
    pad = (BINS - SIZE) // 2
    return Contestant("torch grid_sample, rotate and sum",
                      lambda x: np.pad(rotator.forward(torch.from_numpy(x)).numpy(), ((0, 0), (0, 0), (pad, pad))),
                      lambda y: rotator.back(torch.from_numpy(y[..., pad:-pad].copy())).numpy(), slices)


class RotateAndSum:
    """The matrix-free alternative: turn all slices to each angle and add up their rows; back by its transpose."""

    def __init__(self, geometry: ScanGeometry) -> None:
        n = geometry.image_shape[0]
        cos, sin = (torch.tensor(f(geometry.angles), dtype=torch.float32) for f in (np.cos, np.sin))
        turns = torch.stack([torch.stack([cos, -sin, cos * 0], 1), torch.stack([sin, cos, cos * 0], 1)], 1)
        self.grids = [torch.nn.functional.affine_grid(t[None], (1, 1, n, n), align_corners=False) for t in turns]
        self.shape = geometry.image_shape

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        turned = (torch.nn.functional.grid_sample(image[None], g, align_corners=False)[0] for g in self.grids)
        return torch.stack([t.sum(1) for t in turned], 1)

    def back(self, sinogram: torch.Tensor) -> torch.Tensor:
        total, image = torch.zeros(1, len(sinogram), *self.shape), torch.zeros(1, len(sinogram), *self.shape)
        for k, grid in enumerate(self.grids):
            rows = sinogram[None, :, k, None].expand_as(image).contiguous()
            total += torch.ops.aten.grid_sampler_2d_backward(rows, image, grid, 0, 0, False, [True, False])[0]
        return total[0]


def scikit_image(slices: int) -> Contestant:
    from skimage.transform import iradon, radon

    degrees, pad = np.rad2deg(GEOMETRY.angles), (BINS - SIZE) // 2

    def forward(x: np.ndarray) -> np.ndarray:
        wide = np.pad(x, ((0, 0), (pad, pad), (pad, pad)))
        # Its angles turn the other way, and its sinograms are (bins, angles).
        return np.stack([radon(s[::-1], degrees, circle=True).T for s in wide])

    def back(y: np.ndarray) -> np.ndarray:
        whole = [iradon(s.T, degrees, filter_name=None, circle=True)[::-1] for s in y]
        return np.stack(whole)[:, pad:-pad, pad:-pad].astype(np.float32) * (2 * ANGLES / np.pi)

    return Contestant("scikit-image radon / iradon", forward, back, slices)


def astra(slices: int) -> Contestant | None:
    if importlib.util.find_spec("astra") is None:
        return None
    import astra

    volume = astra.create_vol_geom(SIZE, SIZE)
    # Its y axis points up.
    rays = astra.create_proj_geom("parallel", 1.0, BINS, GEOMETRY.angles)
    projector = astra.create_projector("line", rays, volume)

    def one(create: Callable, value: np.ndarray) -> np.ndarray:
        number, result = create(value, projector)
        astra.data2d.delete(number)
        return result

    return Contestant(f"astra-toolbox {astra.__version__}, CPU, line model",
                      lambda x: np.stack([one(astra.create_sino, s[::-1]) for s in x]),
                      lambda y: np.stack([one(astra.create_backprojection, s)[::-1] for s in y]), slices)


def median_ms(work: Callable[[], object], repeats: int, per: int) -> float:
    work()
    times = []
    for _ in range(repeats):
        began = _clock()
        work()
        times.append(_clock() - began)
    return statistics.median(times) * 1e3 / per


def pair_row(c: Contestant, repeats: int) -> tuple[str, ...]:
    rng = np.random.default_rng(1)
    inside = disc(GEOMETRY, 0, 0, SIZE / 2 - 1, 1).astype(np.float32)
    x = (rng.random((c.slices, SIZE, SIZE)) * inside).astype(np.float32)
    y = rng.random((c.slices, ANGLES, BINS)).astype(np.float32)
    forward, back = (median_ms(lambda f=f, v=v: f(v), repeats, c.slices) for f, v in ((c.forward, x), (c.back, y)))
    image, exact = disc(GEOMETRY, *DISC).astype(np.float32), disc_projection(GEOMETRY, *DISC)
    error = np.sqrt(((c.forward(image[None])[0] - exact) ** 2).mean()) / exact.max()
    line, noise = c.forward(x[:1]).astype(float), (y[:1] - 0.5).astype(np.float32)
    mismatch = abs((line * noise).sum() - (x[:1].astype(float) * c.back(noise)).sum())
    relative = mismatch / np.linalg.norm(line) / np.linalg.norm(noise)
    return c.name, f"{forward:.2f}", f"{back:.2f}", f"{100 * error:.2f} %", f"{relative:.0e}"


def print_table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    print("| " + " | ".join(head) + " |\n|" + " --- |" * len(head))
    for row in rows:
        print("| " + " | ".join(row) + " |", flush=True)
    print()


def projectors(repeats: int) -> None:
    print(f"### {BINS} bins x {ANGLES} angles, {SIZE}^2, {torch.get_num_threads()} threads\n")
    contestants = [ours(f"this program, {BATCH} slices at once", BATCH), ours("this program, 1 slice", 1),
                   ours(f"this program, SciPy fallback, {BATCH} slices", BATCH, "scipy"), plain_csr(BATCH),
                   rotate_and_sum(8), astra(2), scikit_image(1)]
    if None in contestants:
        print("astra-toolbox is not importable; see the head of this file.\n")
    head = ("", "forward, ms a slice", "back, ms a slice", "error on a disc (RMS of its peak)", "adjoint mismatch")
    print_table(head, [pair_row(c, repeats) for c in contestants if c is not None])


def reconstructions(repeats: int) -> None:
    image = torch.tensor(disc(GEOMETRY, *DISC), dtype=torch.float32).expand(BATCH, SIZE, SIZE)
    line = Projector(GEOMETRY).forward(image)
    scale = poisson.scale_to_counts(line, 3e5, per_slice=True)
    counts = poisson.sample_counts(line * scale, poisson.generator(1))

    def timed(work: Callable[[], object], times: int = repeats) -> str:
        return f"{median_ms(work, times, BATCH):.1f}"

    rows = [("100 ML-EM iterations", timed(lambda: recon.mlem(counts, GEOMETRY, iterations=100, factors=scale), 3)),
            ("OSEM, 3 iterations of 24 subsets",
             timed(lambda: recon.osem(counts, GEOMETRY, iterations=3, subsets=24, factors=scale))),
            ("FBP", timed(lambda: recon.fbp(counts, GEOMETRY, factors=scale)))]
    print_table((f"reconstruction of {BATCH} slices", "ms a slice"), rows)


def large_volumes(repeats: int) -> None:
    rows = []
    for size, slices, angles in ((192, 300, 168), (440, 32, 200)):
        geometry = ScanGeometry.covering(size, 1.0, n_angles=angles)
        projector = Projector(geometry)
        matrix = sum(v.numel() * 4 for m in projector._pair for v in (m.values(), m.col_indices())) / 2**20
        x, y = torch.rand(slices, *geometry.image_shape), torch.rand(slices, *geometry.sinogram_shape)
        times = [median_ms(lambda f=f, v=v: f(v), repeats, slices) for f, v in ((projector.forward, x),
                                                                               (projector.back, y))]
        rows.append((f"{size}^2, {slices} slices", "sparse, blocks of slices", *(f"{t:.2f}" for t in times),
                     f"{matrix:.0f} MiB"))
        turning = RotateAndSum(geometry)
        few_x, few_y = x[:8], torch.rand(8, angles, size)
        times = [median_ms(lambda f=f, v=v: f(v), 1, 8) for f, v in ((turning.forward, few_x), (turning.back, few_y))]
        rows.append((f"{size}^2, 8 slices", "matrix-free, rotate and sum", *(f"{t:.1f}" for t in times), "0"))
    print_table(("volume", "pair", "forward, ms a slice", "back, ms a slice", "matrices"), rows)


def dose_reduction() -> None:
    spacing, size, slices = (3.0, 3.0, 3.0), 192, 300
    z = np.linspace(0, 6, slices)[:, None, None]
    plane = ScanGeometry(size, 3.0)
    organ = disc(plane, -40, 10, 60, 2) * (1 + np.sin(z)) + disc(plane, 0, 0, 150, 2)
    pet = Volume(organ.astype(np.float32), Geometry((size, size, slices), spacing), "SUVbw")
    rows = []
    for name in ("mCT", "Quadra", "DiscoveryST"):
        run, began = Run(), _clock()
        dose.reduce_dose(pet, 0.1, preset=SCANNERS[name], counts=5e7, run=run)
        rows.append((SCANNERS[name].title, f"{_clock() - began:.1f} s"))
    print_table(("192 x 192 x 300 reduced to 1/10 and reconstructed", "seconds in all"), rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=0, help="0: as torch chooses")
    parser.add_argument("--quick", action="store_true", help="leave out the large volumes")
    parser.add_argument("--clock", choices=sorted(CLOCKS), default="wall")
    options = parser.parse_args()
    global _clock
    _clock = CLOCKS[options.clock]
    if options.threads:
        torch.set_num_threads(options.threads)
    projectors(options.repeats)
    reconstructions(options.repeats)
    if not options.quick:
        large_volumes(3)
        dose_reduction()


if __name__ == "__main__":
    main()
