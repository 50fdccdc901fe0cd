"""`sample_volume`: a Denoiser, conditions and settings in; mean, sample and SD map of a whole volume out."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..diffusion.conditions import Conditions
from ..diffusion.estimate import MEANS, Estimate, draw, mean_at_once
from ..diffusion.parameterisation import Denoiser
from ..diffusion.samplers import SAMPLERS, Generators, Hook, evaluations_of, noisy_image, pure_noise
from ..errors import OptionError
from ..progress import Run
from .again import planned, policy_for
from .device import Policy
from .patches import Patched, cut_conditions, folded
from .plan import Cost, PatchRules, Plan, make_plan, measure_cost
from .seeds import sample_generators
from .tiles import Box, Triple

ESTIMATES = ("mean", "sample")


@dataclass(frozen=True)
class Sampling:
    """How samples are drawn. Saved in the run record; unknown entries are errors."""

    sigmas: tuple[float, ...]
    """Falling noise levels, usually ending in 0: `karras_sigmas`, `respaced_sigmas`, `start_at`."""
    sampler: str = "dpmpp_2m"
    samples: int = 0
    """Samples drawn; the SD map needs two. With 0 the mean takes one evaluation."""
    estimate: str = "mean"
    mean: str = "first"
    """What the mean is made of: `first` evaluations from pure noise, or whole `samples`."""
    batch: int = 1
    """Samples run together; does not change them."""
    alike: float = 0.0
    """Slices over which neighbours share their noise (FWHM of its correlation along z): for 2D networks."""
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Further arguments of the sampler: eta, variance, s_churn, s_tmin, s_tmax, s_noise."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "sigmas", tuple(float(s) for s in self.sigmas))
        for name, value, choices in (("sampler", self.sampler, tuple(SAMPLERS)), ("mean", self.mean, MEANS),
                                     ("estimate", self.estimate, ESTIMATES)):
            if value not in choices:
                raise OptionError(f"{name} = {value}", f"must be one of {', '.join(choices)}")
        if self.samples < (self.estimate == "sample" or self.mean == "samples") or self.batch < 1:
            raise OptionError(f"samples = {self.samples}, batch = {self.batch}", "are too few for what is asked",
                              "Use at least one sample.")

    @property
    def evaluations(self) -> int:
        """Network evaluations this will take."""
        widest = self.extra.get("widest", math.inf)
        return max(1, self.samples * evaluations_of(self.sampler, torch.tensor(self.sigmas), widest))

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Sampling:
        unknown = sorted(set(data) - {f.name for f in fields(cls)})
        if unknown:
            raise OptionError(f"Sampling settings {', '.join(unknown)}", "are unknown")
        return cls(**data)


@dataclass(frozen=True)
class VolumeEstimate:
    """Volumes of (channels, z, y, x) on the CPU, in the space that the Denoiser works in."""

    mean: Tensor | None
    sample: Tensor | None
    sd: Tensor | None
    samples: int
    evaluations: int
    seconds: float
    plan: Plan
    sampling: Sampling

    @property
    def image(self) -> Tensor:
        """What the settings asked for."""
        return self.mean if self.sampling.estimate == "mean" else self.sample

    def details(self) -> dict[str, Any]:
        """For the run record."""
        return {"sampling": self.sampling.to_json(), "plan": self.plan.to_json(), "evaluations": self.evaluations,
                "seconds": round(self.seconds, 3)}


@dataclass(frozen=True, eq=False)
class Model:
    """What runs: a Denoiser of patches, the module inside it, and the shapes it takes."""

    denoiser: Denoiser
    network: nn.Module | None = None
    """Placed on the device before it runs."""
    rules: PatchRules = field(default_factory=PatchRules)
    channels: int = 1
    wrap: Callable[[Denoiser], Denoiser] | None = None
    """Changes the Denoiser of the whole volume: `Residual`, `clamped`."""


@dataclass(frozen=True, eq=False)
class Scene:
    """What it runs on. `shape` is (z, y, x)."""

    shape: Triple
    cond: Conditions | None = None
    body: np.ndarray | None = None
    """The voxels that matter: patches of air are left out."""
    fallback: float | Tensor = 0.0
    """The estimate in air, in the space of the Denoiser."""
    start: Tensor | None = None
    """(channels, z, y, x): start from this image at the first level instead of pure noise."""


def sample_volume(model: Model, scene: Scene, sampling: Sampling, run: Run, *, on_step: Hook | None = None,
                  policy: Policy | None = None, plan: Plan | None = None,
                  on_sample: Callable[[Tensor], None] | None = None) -> VolumeEstimate:
    """Draws what `sampling` asks for over a whole volume.

    `on_sample` sees every sample, (channels, z, y, x) on the CPU, as it comes; none is kept. Progress goes to the
    present stage of `run`; a cancel takes effect at the next patch. `policy` and `plan` are chosen for this machine
    unless given.
    """
    if scene.start is not None and sampling.mean == "first":
        raise OptionError("mean = first", "needs chains that start from pure noise", "Use mean = samples.")
    policy = policy or policy_for(run, model.rules.dims)
    if model.network is not None:
        policy.place(model.network)
    cost = network_cost(model, scene, policy)
    together = max(1, min(sampling.batch, sampling.samples))
    if plan is None:
        own = make_plan(scene.shape, model.rules, cost, policy, channels=model.channels, samples=together,
                        body=scene.body)  # fmt: skip
        plan = planned(own, model.rules, cost, policy, run, scene.body)
    progress = _Progress(run, sampling.evaluations)
    patched = Patched(model.denoiser, plan, model.rules, policy, cost, run, scene.body, scene.fallback, progress)
    run.progress(0.0)
    began = time.perf_counter()
    with torch.no_grad():
        estimate = _drawn(model.wrap(patched) if model.wrap else patched, model, scene, sampling, run, on_step,
                          progress, patched, on_sample)
    progress.end()
    return _finished(estimate, time.perf_counter() - began, patched.plan, sampling)


def network_cost(model: Model, scene: Scene, policy: Policy) -> Cost:
    """Memory and time of the model, measured on two small patches."""
    volume = torch.Size((1, model.channels, *scene.shape))

    def run_patch(size: Triple) -> None:
        x = folded(torch.zeros(1, model.channels, *size), model.rules).to(policy.device)
        cond = None
        if scene.cond is not None:
            cond = cut_conditions(scene.cond, [Box((0, 0, 0), size)], volume, model.rules).to(policy.device)
        model.denoiser(x, torch.ones((), device=policy.device), cond)

    return measure_cost(run_patch, model.rules, policy)


def _drawn(D: Denoiser, model: Model, scene: Scene, sampling: Sampling, run: Run, on_step: Hook | None,
           progress: _Progress, patched: Patched, on_sample: Callable[[Tensor], None] | None = None) -> Estimate:
    sigmas = torch.tensor(sampling.sigmas, dtype=torch.float64)
    shape = (model.channels, *scene.shape)

    def begin(generators: Generators) -> Tensor:
        device = patched.plan.state  # the CPU, once memory has run out
        blank = torch.empty(len(generators), *shape, device=device)
        if scene.start is None:
            return pure_noise(blank, sampling.sigmas[0], generators)
        return noisy_image(scene.start.to(device).expand_as(blank), sampling.sigmas[0], generators)

    def chain(D: Denoiser, generators: Generators) -> Tensor:
        progress.images = len(generators)
        return SAMPLERS[sampling.sampler](D, begin(generators), sigmas, generators=generators, on_step=on_step,
                                          cond=scene.cond, **sampling.extra)

    if sampling.samples == 0:
        return mean_at_once(D, begin(sample_generators(run.seed, 1)), sampling.sigmas[0], scene.cond)
    generators = sample_generators(run.seed, sampling.samples, alike=sampling.alike)
    seen = None if on_sample is None else lambda _, image: on_sample(image.float().cpu())
    return draw(D, chain, generators, batch=sampling.batch, mean=sampling.mean, on_sample=seen)


def _finished(estimate: Estimate, seconds: float, plan: Plan, sampling: Sampling) -> VolumeEstimate:
    def back(image: Tensor | None) -> Tensor | None:
        return None if image is None else image.float().cpu()

    return VolumeEstimate(back(estimate.mean), back(estimate.sample), back(estimate.sd), estimate.samples,
                          estimate.evaluations, seconds, plan, sampling)


@dataclass(eq=False)
class _Progress:
    """Counts the parts of evaluations that are done."""

    run: Run
    total: int
    images: int = 1
    done: float = 0.0

    def __call__(self, part: float) -> None:
        self.done += part * self.images
        self.run.progress(min(1.0, self.done / self.total))

    def end(self) -> None:
        """A method may have needed fewer evaluations than the sampler asked for."""
        if self.done < self.total - 1e-6:
            self.run.progress(1.0)
