"""CSRD at work: the mean of the residual in one evaluation, its spread from a few short chains."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from ...diffusion.parameterisation import Denoiser, Edm, Preconditioned
from ...diffusion.schedules import karras_sigmas
from ...infer import residual
from ...infer.engine import Model, Sampling, Scene, sample_volume
from ...infer.patches import PatchRules
from ...infer.regression import named, regress
from ...infer.tissue import stacked
from ...infer.views import VIEWS, MeanAtTop, Once
from ...progress import Run
from ...zoo.choose import choose
from ..contract import Case, Output
from .config import CsrdConfig


def denoise(case: Case, options: Mapping[str, Any], run: Run) -> Output:
    model = choose("csrd", case, run)
    config = CsrdConfig.from_json(model.card.config)
    network = residual.load_network(model)
    seen, before = based(case, config, run)
    D, wrap = denoisers(network, config)
    plan = Model(D, network, PatchRules(multiple=network.config.multiple), wrap=wrap)
    scene = Scene(case.pet.array.shape, seen.conditions, case.body)
    estimate = sample_volume(plan, scene, sampling(options, config), run, on_sample=seen.watched(run))
    sd = None if estimate.sd is None else case.pet.with_array(seen.spread(estimate.sd))
    evaluations = before + (estimate.evaluations if wrap is None else wrap.spent(estimate.evaluations))
    details = {**residual.model_facts(model), **estimate.details(), "evaluations": evaluations}
    return Output(case.pet.with_array(seen.restored(estimate.image)), sd=sd, evaluations=evaluations, details=details)


def based(case: Case, config: CsrdConfig, run: Run) -> tuple[residual.ResidualCase, int]:
    """The case on the base that the model's residual refers to, and the evaluations that this took."""
    seen = residual.residual_case(case, config.base, config.base_fwhm_mm)
    if config.base != "regression":
        return seen, 0
    network = residual.load_network(named(config.regression, config.regression_sha256, config.base_fwhm_mm))
    first = regress(network, seen.conditions, case.body, run)
    return residual.rebased(case, seen, stacked(case, seen.restored(first.image), config.stack, run)), VIEWS


def denoisers(network: nn.Module, config: CsrdConfig) -> tuple[Denoiser, Once | None]:
    """D of patches, and what is put around that of the whole volume; a model without a trained mean has neither."""
    D = Preconditioned(network, Edm(config.sigma_data))
    if config.mean_share == 0:
        return D, None
    return MeanAtTop(D, config.sigma_max), Once(config.sigma_max)


def sampling(options: Mapping[str, Any], config: CsrdConfig) -> Sampling:
    """Levels from sigma_max (where the mean is found) down to sigma_min; churn as in the paper's stochastic sampler."""
    levels = karras_sigmas(options["steps"], config.sigma_min, config.sigma_max)
    wanted = max(options["samples"], 1 if options["estimate"] == "sample" else 0)
    extra = {"s_churn": options["churn"]} if options["sampler"] in ("euler", "heun") else {}
    return Sampling(tuple(levels.tolist()), options["sampler"], wanted, options["estimate"], extra=extra)
