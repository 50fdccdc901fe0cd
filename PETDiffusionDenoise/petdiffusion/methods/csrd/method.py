"""CSRD at work: the mean of the residual in one evaluation, its spread from a few short chains."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...diffusion.parameterisation import Denoiser, Edm, Preconditioned
from ...diffusion.schedules import karras_sigmas
from ...infer import residual
from ...infer.engine import Model, Sampling, Scene, sample_volume
from ...infer.patches import PatchRules
from ...progress import Run
from ...zoo.choose import choose
from ..contract import Case, Output
from .config import CsrdConfig


@dataclass(frozen=True, eq=False)
class MeanAtTop:
    """At the highest level the residual is drowned in noise: the network was trained to be given none there."""

    denoiser: Denoiser
    sigma_max: float

    def __call__(self, x: Tensor, sigma: Tensor, cond: Any = None) -> Tensor:
        top = float(sigma.max()) >= self.sigma_max * (1 - 1e-6)
        return self.denoiser(torch.zeros_like(x) if top else x, sigma, cond)


def denoise(case: Case, options: Mapping[str, Any], run: Run) -> Output:
    model = choose("csrd", case, run)
    config = CsrdConfig.from_json(model.card.config)
    network = residual.load_network(model)
    seen = residual.residual_case(case, config.base, config.base_fwhm_mm)
    D = Preconditioned(network, Edm(config.sigma_data))
    D = MeanAtTop(D, config.sigma_max) if config.mean_share > 0 else D
    plan = Model(D, network, PatchRules(multiple=network.config.multiple))
    scene = Scene(case.pet.array.shape, seen.conditions, case.body)
    estimate = sample_volume(plan, scene, sampling(options, config), run)
    sd = None if estimate.sd is None else case.pet.with_array(seen.spread(estimate.sd))
    details = {**residual.model_facts(model), **estimate.details()}
    return Output(
        case.pet.with_array(seen.restored(estimate.image)), sd=sd, evaluations=estimate.evaluations, details=details
    )


def sampling(options: Mapping[str, Any], config: CsrdConfig) -> Sampling:
    """Levels from sigma_max (where the mean is found) down to sigma_min; churn as in the paper's stochastic sampler."""
    levels = karras_sigmas(options["steps"], config.sigma_min, config.sigma_max)
    wanted = max(options["samples"], 1 if options["estimate"] == "sample" else 0)
    extra = {"s_churn": options["churn"]} if options["sampler"] in ("euler", "heun") else {}
    return Sampling(tuple(levels.tolist()), options["sampler"], wanted, options["estimate"], extra=extra)
