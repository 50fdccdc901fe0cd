"""A scan that needs patches, by this program's engine and by what one would put together otherwise.

    python Testing/benchmarks/engine_speed.py [--model csrd-body] [--steps 8] [--size small|body] [--budget-gb 1.5]

Beside it: the same network and weights with MONAI's SlidingWindowInferer (Gaussian blending) and diffusers' scheduler
for EDM networks, stepping the whole volume, at the same noise levels; once in float32 as it comes, once in bf16
autocast. This program is timed as it comes (the mean from two views, one evaluation more) and with as many evaluations
as the others. Windows are as large as the patches that the engine's memory plan chose. PSNR is that of one sample and
of the mean against the normal-dose scan. A digital patient, made from its seed.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable

from petdiffusion.infer.device import prepare_process

prepare_process()

import numpy as np  # noqa: E402
import torch  # noqa: E402
from petdiffusion.diffusion.conditions import Conditions  # noqa: E402
from petdiffusion.diffusion.parameterisation import Denoiser, Edm, Preconditioned  # noqa: E402
from petdiffusion.diffusion.schedules import karras_sigmas  # noqa: E402
from petdiffusion.infer import device, residual  # noqa: E402
from petdiffusion.infer.engine import Model, Sampling, Scene, network_cost, sample_volume  # noqa: E402
from petdiffusion.infer.patches import cut_conditions  # noqa: E402
from petdiffusion.infer.plan import PatchRules, make_plan  # noqa: E402
from petdiffusion.infer.tiles import Box  # noqa: E402
from petdiffusion.infer.views import at_top  # noqa: E402
from petdiffusion.measure import image as measures  # noqa: E402
from petdiffusion.methods.contract import Case  # noqa: E402
from petdiffusion.methods.csrd.config import CsrdConfig  # noqa: E402
from petdiffusion.methods.csrd.method import based, denoisers  # noqa: E402
from petdiffusion.phantoms.scan import patient_of, scan  # noqa: E402
from petdiffusion.prepare.mask import body_mask  # noqa: E402
from petdiffusion.progress import Run  # noqa: E402
from petdiffusion.zoo import store  # noqa: E402

SEED = 900_100
SPACING_MM = {"small": 6.0, "body": 4.0}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="csrd-body")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--size", choices=tuple(SPACING_MM), default="body")
    parser.add_argument("--budget-gb", type=float, default=1.5, help="memory the engine's plan may use")
    args = parser.parse_args()
    bench = Bench(args)
    print(f"{bench.case.pet.geometry.size} voxels, {args.steps} noise levels, {torch.get_num_threads()} threads")
    print(f"plan: {bench.plan}")
    print("| what | seconds | CPU seconds | PSNR of a sample, dB | PSNR of the mean, dB |")
    print("| --- | --- | --- | --- | --- |")
    rows = {
        "this program, as it comes": lambda: bench.engine(bench.D),
        "this program, as many evaluations as the others": lambda: bench.engine(bench.one_view),
        "MONAI + diffusers, bf16": lambda: bench.others(torch.bfloat16),
        "MONAI + diffusers, float32": lambda: bench.others(None),
    }
    for name, go in rows.items():
        print(f"| {name} | {bench.row(go)} |", flush=True)


class Bench:
    """One patient, one network, the same levels for all."""

    def __init__(self, args: argparse.Namespace) -> None:
        patient = patient_of("body", SEED, spacing_mm=SPACING_MM[args.size])
        scanned = scan(patient, fractions=(0.1,), seed=SEED)
        self.normal = scanned.normal.array
        self.case = Case(scanned.low[0.1], body_mask(scanned.low[0.1]), 0.1, ct=patient.ct)
        model = store.find(args.model, "csrd")
        self.config = CsrdConfig.from_json(model.card.config)
        self.network = residual.load_network(model)
        self.seen, _ = based(self.case, self.config, Run())
        self.D = denoisers(self.network, self.config)[0]
        self.sigmas = karras_sigmas(args.steps, self.config.sigma_min, self.config.sigma_max)
        self.rules = PatchRules(multiple=self.network.config.multiple)
        self.policy = device.choose_policy("cpu")
        self.plan = self._plan(args.budget_gb)

    def _plan(self, budget_gb: float):
        scene = Scene(self.case.pet.array.shape, self.seen.conditions, self.case.body)
        cost = network_cost(Model(self.D, self.network, self.rules), scene, self.policy)
        return make_plan(scene.shape, self.rules, cost, self.policy, body=self.case.body, budget=int(budget_gb * 1e9))

    def one_view(self, x: torch.Tensor, sigma: torch.Tensor, cond: Conditions | None = None) -> torch.Tensor:
        first = self.config.mean_share > 0 and at_top(sigma, self.config.sigma_max)
        D = Preconditioned(self.network, Edm(self.config.sigma_data))
        return D(torch.zeros_like(x) if first else x, sigma, cond)

    def engine(self, denoiser: Denoiser) -> tuple[torch.Tensor, torch.Tensor]:
        scene = Scene(self.case.pet.array.shape, self.seen.conditions, self.case.body)
        model = Model(denoiser, self.network, self.rules)
        result = sample_volume(model, scene, Sampling(tuple(self.sigmas.tolist()), samples=1, estimate="sample"), Run(),
                               policy=self.policy, plan=self.plan)
        return result.sample, result.mean

    @torch.no_grad()
    def others(self, precision: torch.dtype | None) -> tuple[torch.Tensor, torch.Tensor]:
        """The chain of the whole volume, each evaluation by sliding windows, as MONAI's tutorials do it."""
        from monai.inferers import SlidingWindowInferer

        shape = self.case.pet.array.shape
        images = cut_conditions(self.seen.conditions, [Box((0, 0, 0), shape)], torch.Size((1, 1, *shape)), self.rules)
        inferer = SlidingWindowInferer(roi_size=self.plan.patch, sw_batch_size=1, overlap=0.25, mode="gaussian")
        scheduler = _scheduler(self.config, self.sigmas)
        x = torch.randn(1, 1, *shape, generator=torch.Generator().manual_seed(0)) * self.sigmas[0]
        mean = None
        for t in scheduler.timesteps:
            sigma = scheduler.sigmas[scheduler.step_index or 0]

            def network(patch: torch.Tensor, t=t) -> torch.Tensor:
                with torch.autocast("cpu", precision, enabled=precision is not None):
                    return self.network(patch[:, :1], t[None], images=patch[:, 1:], vector=images.vector).float()

            first = mean is None and self.config.mean_share > 0
            given = torch.zeros_like(x) if first else scheduler.scale_model_input(x, t)
            output = inferer(torch.cat((given, images.images), 1), network)
            scheduler.is_scale_input_called = True
            before, x = x, scheduler.step(output, t, x).prev_sample
            if mean is None:
                mean = _denoised(self.config.sigma_data, sigma, torch.zeros_like(before) if first else before, output)
        return x[0], mean[0]

    def row(self, go: Callable[[], tuple[torch.Tensor, torch.Tensor]]) -> str:
        began, cpu = time.perf_counter(), _cpu()
        sample, mean = go()
        seconds, cpu = time.perf_counter() - began, _cpu() - cpu
        return f"{seconds:.1f} | {cpu:.1f} | " + " | ".join(f"{self._psnr(i):.2f}" for i in (sample, mean))

    def _psnr(self, image: torch.Tensor) -> float:
        return measures.psnr(self.seen.restored(image), self.normal, float(self.normal[self.case.body].max()),
                             self.case.body)


def _denoised(sigma_data: float, sigma: torch.Tensor, x: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
    """EDM's D from the network's output."""
    total = sigma**2 + sigma_data**2
    return x * sigma_data**2 / total + output * sigma * sigma_data / total.sqrt()


def _scheduler(config: CsrdConfig, sigmas: torch.Tensor):
    from diffusers import EDMDPMSolverMultistepScheduler

    scheduler = EDMDPMSolverMultistepScheduler(
        sigma_min=config.sigma_min, sigma_max=config.sigma_max, sigma_data=config.sigma_data, solver_order=2,
        final_sigmas_type="zero",
    )  # fmt: skip
    scheduler.set_timesteps(int((np.asarray(sigmas) > 0).sum()))
    return scheduler


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
