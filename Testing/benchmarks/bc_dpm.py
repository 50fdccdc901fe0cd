"""BC-DPM beside what one would write first, and how much its slices flicker.

    python Testing/benchmarks/bc_dpm.py [--model ID] [--slices 90] [--size 128] [--fraction 0.1] [--clock cpu]

Speed: one run of the steered chain, all slices at once with sparse projections, against a loop over slices with the
projection as a dense matrix (the paper's 160 x 192 bins), whole slices instead of the box around the body, and the same
network in float32, the same settings and number of evaluations. The loop is timed on a few slices and scaled up.
`--clock cpu` counts the processor's seconds, for busy machines.

Flicker: root mean square of second differences from slice to slice in the body, over that of the normal-dose image,
with independent and with shared noise, of one run and of the mean of five. A digital validation patient, from its seed.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

from petdiffusion.infer.device import prepare_process

prepare_process()

import numpy as np  # noqa: E402
import torch  # noqa: E402
from petdiffusion import registry  # noqa: E402
from petdiffusion.infer import residual  # noqa: E402
from petdiffusion.methods.bc_dpm import conditions as eq10  # noqa: E402
from petdiffusion.methods.bc_dpm.chain import levels, sample  # noqa: E402
from petdiffusion.methods.bc_dpm.config import BcDpmConfig  # noqa: E402
from petdiffusion.methods.bc_dpm.method import Job  # noqa: E402
from petdiffusion.methods.bc_dpm.parts import denoiser, told  # noqa: E402
from petdiffusion.methods.bc_dpm.placed import place  # noqa: E402
from petdiffusion.methods.contract import Case  # noqa: E402
from petdiffusion.phantoms.scan import patient_of, scan  # noqa: E402
from petdiffusion.physics import matrices  # noqa: E402
from petdiffusion.physics.poisson import sample_counts  # noqa: E402
from petdiffusion.physics.recon import fbp  # noqa: E402
from petdiffusion.prepare import case as preparing  # noqa: E402
from petdiffusion.progress import Run  # noqa: E402
from petdiffusion.volume import Geometry, Volume  # noqa: E402
from petdiffusion.zoo import store  # noqa: E402

SEED = 850_001
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
LOOPED = 2
"""Slices that the loop is timed on."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=None)
    parser.add_argument("--slices", type=int, default=90)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--fraction", type=float, default=0.1)
    parser.add_argument("--clock", choices=tuple(CLOCKS), default="wall")
    args = parser.parse_args()
    case, normal = patient(args)
    model = store.find(args.model, "bc-dpm") if args.model else next(iter(store.models("bc-dpm").values()))
    config, network = BcDpmConfig.from_json(model.card.config), residual.load_network(model)
    print(f"{model.card.id}, {case.pet.geometry.size} voxels, {torch.get_num_threads()} threads")
    speed(case, config, network, CLOCKS[args.clock])
    _DENSE.clear()
    flicker(case, normal, config, network)


def patient(args: argparse.Namespace) -> tuple[Case, Volume]:
    """The middle slices of a low-dose scan and its normal dose, cut or padded to the size asked for."""
    scanned = scan(patient_of("body", SEED), fractions=(args.fraction,), seed=SEED)
    low, normal = (fitted(v, args.slices, args.size) for v in (scanned.at(args.fraction), scanned.normal))
    return preparing.build(low), normal


def fitted(volume: Volume, slices: int, size: int) -> Volume:
    array = volume.array
    first = max(0, (len(array) - slices) // 2)
    array = array[first : first + slices]
    for axis in (1, 2):
        spare = size - array.shape[axis]
        start = max(0, -spare // 2)
        array = np.take(array, range(start, start + min(size, array.shape[axis])), axis)
        before = max(0, spare // 2)
        array = np.pad(array, [(before, max(0, spare) - before) if a == axis else (0, 0) for a in range(3)])
    g = volume.geometry
    return replace(volume, array=array, geometry=Geometry(array.shape[::-1], g.spacing, g.origin, g.direction))


def job_of(case: Case, config: BcDpmConfig, whole: bool = False, **options) -> Job:
    card, placed = registry.card("bc-dpm"), place(case, config.pixel_mm)
    placed = replace(placed, box=tuple(slice(0, n) for n in placed.pet.array.shape)) if whole else placed
    return Job.of(placed, card.resolve(options), config, Run())


def speed(case: Case, config: BcDpmConfig, network, clock: Callable[[], float]) -> None:
    job = job_of(case, config, samples=5)
    began = clock()
    estimate = sample(job.scan, job.settings, job.insert, network, config, Run())
    five = clock() - began
    whole = job_of(case, config, whole=True, samples=5)
    dense_matrix(whole.insert.projector.geometry)  # made once, before the clock runs
    began = clock()
    for index in np.linspace(0.3, 0.7, LOOPED) * len(whole.scan.low):
        naive(whole, network, config, int(index))
    loop = (clock() - began) / LOOPED * len(whole.scan.low) * whole.settings.samples
    print(f"l = {job.settings.transitions}, five runs, {estimate.evaluations} evaluations of the volume")
    print(f"all slices at once, sparse: {five:.1f} s; slice by slice, dense: {loop:.0f} s; {loop / five:.0f} times")


@torch.no_grad()
def naive(job: Job, network, config: BcDpmConfig, index: int) -> torch.Tensor:
    """One run of one slice, written as the paper's Algorithm 2 reads: dense projection, float32, no batch."""
    scale, low = (torch.from_numpy(np.array(a[index], np.float32)) for a in (job.scan.units.scale, job.scan.low))
    geometry = job.insert.projector.geometry
    dense = dense_matrix(geometry)
    D, pixel = denoiser(network.float(), config), told(torch.tensor([float(np.mean(job.scan.pixel_mm))]))
    smooth, resolution = (eq10.gaussian(w, job.scan.pixel_mm) for w in (job.settings.smooth_mm,
                                                                        job.settings.resolution_mm))  # fmt: skip
    k, generator = job.insert.sensitivity[index], torch.Generator().manual_seed(0)
    sigmas = levels(config, job.settings).tolist()
    x = low / scale + sigmas[0] * torch.randn(low.shape)
    for t, s in pairwise(sigmas):
        height, width = (-n % network.config.multiple for n in x.shape)
        padded = torch.nn.functional.pad(x[None, None], [0, width, 0, height], mode="replicate")
        x0 = D(padded, torch.tensor(t), pixel)[0, 0, : x.shape[0], : x.shape[1]]
        x = x0 + (s / t) ** 2 * (x - x0) + s / t * (t**2 - s**2) ** 0.5 * torch.randn(x.shape)
        image, y = x * scale, low + s * scale * torch.randn(x.shape)
        expected = (dense @ image.flatten()).reshape(geometry.sinogram_shape).mul(k).clamp(min=0)
        expected = expected + job.insert.background.expected(expected, geometry.radial_mm)
        noise = fbp((sample_counts(expected, generator) - expected) / k, geometry, window=job.insert.window)
        second = eq10.noise_insertion(image, y, noise, resolution)
        x = eq10.bidirectional(eq10.denoising(image, y, smooth), second, job.settings.balance) / scale
    return x * scale


_DENSE: dict = {}


def dense_matrix(geometry) -> torch.Tensor:
    if geometry not in _DENSE:
        _DENSE[geometry] = torch.from_numpy(matrices.path_lengths(geometry).toarray())
    return _DENSE[geometry]


def flicker(case: Case, normal: Volume, config: BcDpmConfig, network) -> None:
    body = case.body[1:-1] & case.body[2:] & case.body[:-2]

    def rough(array: np.ndarray) -> float:
        return float(np.sqrt(np.mean((array[2:] - 2 * array[1:-1] + array[:-2])[body] ** 2)))

    reference = rough(normal.array)
    print("| flicker over the normal dose's | one run | mean of five |\n| --- | --- | --- |")
    print(f"| low-dose scan | {rough(case.pet.array) / reference:.2f} | |")
    for name, axial_mm in (("independent noise", 0.0), ("shared noise", 8.0)):
        job = job_of(case, config, samples=5, axial_mm=axial_mm)
        found = sample(job.scan, job.settings, job.insert, network, config, Run())
        box = place(case, config.pixel_mm).box
        values = []
        for image in (found.sample, found.mean):
            whole = np.array(case.pet.array)
            whole[box] = job.scan.units.inverse(image.numpy()[0])
            values.append(f"{rough(whole) / reference:.2f}")
        print(f"| {name} | {' | '.join(values)} |")


if __name__ == "__main__":
    main()
