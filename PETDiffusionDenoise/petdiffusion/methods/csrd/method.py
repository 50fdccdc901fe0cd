"""CSRD at work: the mean of the residual in one evaluation, its spread from a few short chains."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
from torch import Tensor, nn

from ...diffusion.parameterisation import Denoiser, Edm, Preconditioned
from ...diffusion.schedules import karras_sigmas
from ...infer import asked, residual
from ...infer.engine import Model, Sampling, Scene, sample_volume
from ...infer.partners import Beside, added, filtered, partners_of
from ...infer.patches import PatchRules
from ...infer.regression import named, regress
from ...infer.tissue import stacked
from ...infer.views import VIEWS, MeanAtTop, Once
from ...progress import Run
from ...zoo.choose import choose
from ..contract import Case, Output
from . import CHURNED
from .config import CsrdConfig

METHOD = "csrd"


def denoise(case: Case, options: Mapping[str, Any], run: Run) -> Output:
    if options["churn"] and options["sampler"] not in CHURNED:
        run.warn(f"churn = {options['churn']:g} was left aside: the sampler {options['sampler']} adds no noise on its "
                 f"way. Give {' or '.join(f'sampler={name}' for name in CHURNED)} with it.")  # fmt: skip
    asked.tell(METHOD, options, run)
    model = choose(METHOD, case, run)
    config = CsrdConfig.from_json(model.card.config)
    network, chains = residual.load_network(model), sampling(options, config)
    if config.mean_share > 0:
        asked.tell_of_no_spread(METHOD, options, chains.sigmas, config.sigma_data, run)
    partners = partners_of(case, config.partners)
    filters, base, draws = parts(run, len(partners), VIEWS * (config.base == "regression"), chains.evaluations)
    beside = filtered(case, partners, filters)
    seen, before = based(shown(case, config), config, base)
    D, wrap = denoisers(network, config)
    plan = Model(D, network, PatchRules(multiple=network.config.multiple), wrap=wrap)
    scene = Scene(case.pet.array.shape, seen.conditions, case.body)
    image_of = imaging(case, seen, wrap, beside)
    watched = None if run.on_sample is None else lambda sample: run.on_sample(image_of(sample))
    estimate = sample_volume(plan, scene, chains, draws, on_sample=watched)
    sd = None if estimate.sd is None else case.pet.with_array(seen.spread(estimate.sd))
    evaluations = before + (estimate.evaluations if wrap is None else wrap.spent(estimate.evaluations))
    details = {**residual.model_facts(model), **estimate.details(), "evaluations": evaluations,
               "partners": {p.filter: round(b.weight, 3) for p, b in zip(partners, beside)}}  # fmt: skip
    return Output(case.pet.with_array(image_of(estimate.image)), sd=sd, evaluations=evaluations, details=details)


def parts(run: Run, filters: int, base: int, draws: int) -> list[Run]:
    """Pieces of the run for filters, base and samples; a filter takes about as long as two evaluations."""
    ends = np.cumsum([2 * filters, base, draws]) / (2 * filters + base + draws)
    return [run.part(start, end) for start, end in pairwise([0.0, *ends.tolist()])]


def shown(case: Case, config: CsrdConfig) -> Case:
    """The case without the anatomy that the network does better without."""
    return replace(case, **dict.fromkeys(config.unseen))


def imaging(case: Case, seen: residual.ResidualCase, wrap: Once | None,
            beside: list[Beside]) -> Callable[[Tensor], np.ndarray]:  # fmt: skip
    """From a residual, mean or sample, to the image. What filters add to the mean, every sample gets as well."""
    if not beside:
        return seen.restored
    known: list[np.ndarray] = []

    def image_of(drawn: Tensor) -> np.ndarray:
        if not known:
            known.append(added(case, seen.restored(wrap.mean), seen.white.scale, beside))
        return seen.restored(drawn) + known[0]

    return image_of


def based(case: Case, config: CsrdConfig, run: Run) -> tuple[residual.ResidualCase, int]:
    """The case on the base that the model's residual refers to, and the evaluations that this took."""
    seen = residual.residual_case(case, config.base, config.base_fwhm_mm)
    if config.base != "regression":
        return seen, 0
    network = residual.load_network(named(config.regression, config.regression_sha256, config.base_fwhm_mm))
    first = regress(network, seen.conditions, case.body, run.part(0.0, 0.7))
    image = stacked(case, seen.restored(first.image), config.stack, run.part(0.7, 1.0))
    return residual.rebased(case, seen, image), VIEWS


def denoisers(network: nn.Module, config: CsrdConfig) -> tuple[Denoiser, Once | None]:
    """D of patches, and what is put around that of the whole volume; a model without a trained mean has neither."""
    D = Preconditioned(network, Edm(config.sigma_data))
    if config.mean_share == 0:
        return D, None
    return MeanAtTop(D, config.sigma_max), Once(config.sigma_max)


def sampling(options: Mapping[str, Any], config: CsrdConfig) -> Sampling:
    """Levels from sigma_max (where the mean is found) down to sigma_min; churn as in the paper's stochastic sampler."""
    levels = karras_sigmas(options["steps"], config.sigma_min, config.sigma_max)
    extra = churned(options, config) if options["sampler"] in CHURNED else {}
    return Sampling(tuple(levels.tolist()), options["sampler"], asked.drawn(options), options["estimate"], extra=extra)


def churned(options: Mapping[str, Any], config: CsrdConfig) -> dict[str, float]:
    """No level is raised to the highest or above it: a trained mean is of that level, and taken for the estimate at all
    that are as high."""
    if options["churn"] == 0 or config.mean_share == 0:
        return {"s_churn": options["churn"]}
    raised = 1 + min(options["churn"] / options["steps"], math.sqrt(2) - 1)
    return {"s_churn": options["churn"], "s_tmax": 0.999 * config.sigma_max / raised}
