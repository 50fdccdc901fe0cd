"""The three methods at work: words -> context -> pairs of slices -> mean, samples and their spread."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ...diffusion.conditions import Conditions
from ...diffusion.parameterisation import Denoiser
from ...diffusion.schedules import karras_sigmas, respaced_sigmas
from ...infer import asked
from ...infer.engine import Model, Sampling, Scene, VolumeEstimate, sample_volume
from ...infer.networks import loaded
from ...infer.patches import PatchRules
from ...infer.views import VIEWS, OnceAtTop, at_top
from ...prepare.whiten import whiten
from ...progress import Run
from ...zoo import store
from ...zoo.choose import choose
from ..contract import Case, Output
from . import parts, table
from .config import PairConfig
from .guidance import Guidance, context, guidance, ordered, reader_of
from .matches import matches

SIGMA_MIN, SIGMA_START = 0.03, 10.0
GAP = 5.0
"""Factor between two levels beyond which Heun's method takes Euler's step, as from pure noise to `SIGMA_START`."""
"""Levels between which samples are walked; above, an image is drowned in noise."""
OWN_TIMES = ("ddpm", "ddim")
"""Samplers that walk the paper's evenly spaced times."""


def text_ddpm(case: Case, options: Mapping[str, Any], run: Run) -> Output:
    if options["prompts"]:
        # mistakes are told before anything is loaded
        table.read(options["prompts"], case.pet.geometry, lambda text: 0, case.as_given)
    model, config = _model("text-ddpm", case, run)
    reader = reader_of(config.encoder, options, run)
    told = Guidance() if reader is None else guidance(case, options, reader, run)
    seen = Seen.of(case, config)
    used = Guidance(ordered(told.prompts, options["order"], run.seed), told.scan, told.source)
    words = context(used, reader, len(case.pet.array), config.network["context"])
    estimate, evaluations = _sampled(model, config, seen, words, options, run)
    details = {"prompts_from": told.source, "scan_text": told.scan, "order": options["order"],
               "encoder": config.encoder, "guided": any(p.text for p in used.prompts),
               **told.by}  # fmt: skip
    tables = {"prompts": told.rows(case)} if told.prompts else {}
    output = seen.output(estimate, model, evaluations, details, tables, told.organs)
    return _with_matches(output, reader, case, run) if options["matches"] and hasattr(reader, "look") else output


def _with_matches(output: Output, reader: Any, case: Case, run: Run) -> Output:
    """Beside the image: which structures the encoder finds in each slice of it, and where."""
    found = matches(reader.look, output.pet, case.body, run)
    if not found.rows:
        return output
    return replace(output, tables={**output.tables, "matches": found.rows}, maps={"matches": found.heat})


def ddpm(case: Case, options: Mapping[str, Any], run: Run) -> Output:
    model, config = _model("ddpm-2.5d", case, run)
    seen = Seen.of(case, config)
    estimate, evaluations = _sampled(model, config, seen, None, options, run)
    return seen.output(estimate, model, evaluations)


def unet(case: Case, options: Mapping[str, Any], run: Run) -> Output:
    model, config = _model("unet-2.5d", case, run)
    seen = Seen.of(case, config)
    plan, scene = _plan(_regression(_network(model)), model, options), seen.scene(None)
    estimate = sample_volume(plan, scene, Sampling((1.0, 0.0)), run)
    return seen.output(estimate, model, VIEWS)


def _model(method: str, case: Case, run: Run) -> tuple[store.Model, PairConfig]:
    model = choose(method, case, run)
    return model, PairConfig.from_json(model.card.config)


def _network(model: store.Model) -> nn.Module:
    return loaded(model, _built)


def _built(config: Mapping[str, Any]) -> nn.Module:
    return parts.network_of(PairConfig.from_json(config))


@dataclass(frozen=True, eq=False)
class Seen:
    """A scan as the network sees it, and the way back to SUV."""

    case: Case
    base: np.ndarray
    scale: np.ndarray | float
    images: Tensor
    numbers: Tensor
    config: PairConfig

    @classmethod
    def of(cls, case: Case, config: PairConfig) -> Seen:
        spacing = case.pet.geometry.spacing
        white = whiten(case.pet.array, spacing, case.body, config.base_fwhm_mm)
        given = {"base": _tensor(white.base), "root": _tensor(white.root), "level": torch.tensor([white.level]),
                 "root_mean": torch.tensor([white.root_mean])}  # fmt: skip
        images = parts.images(config, _tensor(case.pet.array), given)
        numbers = parts.numbers(given["level"], torch.tensor([float(np.prod(spacing) ** (1 / 3))]))
        unit = np.float32(config.suv_unit)
        base, scale = (white.base, white.scale) if config.space == "whitened" else (unit, unit)
        return cls(case, base, scale, images, numbers, config)

    def scene(self, words: Tensor | None) -> Scene:
        cond = Conditions(images=self.images, vector=self.numbers, context=words, by_slice=words is not None)
        air = 0.0 if self.config.space == "whitened" else self.images[0]
        return Scene(self.case.pet.array.shape, cond, self.case.body, air)

    def restored(self, found: Tensor) -> np.ndarray:
        return (self.base + found.numpy()[0] * self.scale).astype(np.float32)

    def output(self, estimate: VolumeEstimate, model: store.Model, evaluations: int, more: Mapping[str, Any] = {},
               tables: Mapping[str, Any] = {}, organs: Any = None) -> Output:  # fmt: skip
        pet, card = self.case.pet, model.card
        sd = None if estimate.sd is None else pet.with_array(estimate.sd.numpy()[0] * self.scale)
        facts = {"model": card.id, "model_version": card.version, "model_sha256": card.sha256}
        details = {**facts, **estimate.details(), **more, "evaluations": evaluations}
        return Output(pet.with_array(self.restored(estimate.image)), sd=sd, organs=organs, tables=tables,
                      evaluations=evaluations, details=details)  # fmt: skip


def _sampled(model: store.Model, config: PairConfig, seen: Seen, words: Tensor | None, options: Mapping[str, Any],
             run: Run) -> tuple[VolumeEstimate, int]:  # fmt: skip
    """The estimate, and the network evaluations it took."""
    made: list[OnceAtTop] = []

    def once(whole: Denoiser) -> Denoiser:
        made.append(OnceAtTop(whole, parts.top(config)))
        return made[-1]

    has_mean = config.mean_share > 0
    D = _diffusion(_network(model), config)
    plan = _plan(D, model, options, once if has_mean else None)
    watched = None if run.on_sample is None else lambda sample: run.on_sample(seen.restored(sample))
    slice_mm = seen.case.pet.geometry.spacing[2]
    asked.tell(model.card.method, options, run, has_mean)
    chains = sampling(options, config, slice_mm)
    if has_mean:
        asked.tell_of_no_spread(model.card.method, options, chains.sigmas, 1.0, run)
    estimate = sample_volume(plan, seen.scene(words), chains, run, on_sample=watched)
    spared = made[0].reused + 1 - VIEWS if has_mean else 0
    return estimate, estimate.evaluations - spared


def sampling(options: Mapping[str, Any], config: PairConfig, slice_mm: float) -> Sampling:
    """From pure noise down to none; a model without a trained mean shows that of whole samples."""
    trained = config.mean_share > 0
    samples = asked.drawn(options, trained)
    return Sampling(tuple(levels(options, config).tolist()), options["sampler"], samples, options["estimate"],
                    "first" if trained else "samples", alike=config.alike_mm / slice_mm,
                    extra={"widest": GAP} if options["sampler"] == "heun" else {})  # fmt: skip


def levels(options: Mapping[str, Any], config: PairConfig) -> Tensor:
    """As many as `steps`, the first of pure noise, the last none."""
    bars, steps = parts.alpha_bar(config), options["steps"]
    if options["sampler"] in OWN_TIMES or steps == 1:
        return respaced_sigmas(bars, min(steps, config.T))
    first = torch.tensor([parts.top(config)], dtype=torch.float64)
    return torch.cat((first, karras_sigmas(steps - 1, SIGMA_MIN, SIGMA_START)))


def _plan(D: Denoiser, model: store.Model, options: Mapping[str, Any], wrap: Any = None) -> Model:
    """Pairs of slices; where they overlap by one, every slice is the mean of what both of its pairs say."""
    network = _network(model)
    rules = PatchRules(dims=2, multiple=network.config.multiple, slab=2, slab_overlap=int(options["blend"]))
    return Model(D, network, rules, wrap=wrap)


def _regression(network: nn.Module) -> Denoiser:
    def regress(x: Tensor, sigma: Tensor, cond: Conditions) -> Tensor:
        return _two_views(lambda view: parts.regressed(network, view, x), cond)

    return regress


def _diffusion(network: nn.Module, config: PairConfig) -> Denoiser:
    """At the highest level a network with a trained mean is given no image at all, and its two views are averaged."""
    D, highest = parts.denoiser(network, config), parts.top(config)

    def denoise(x: Tensor, sigma: Tensor, cond: Conditions) -> Tensor:
        if config.mean_share > 0 and at_top(sigma, highest):
            return _two_views(lambda view: D(torch.zeros_like(x), sigma, view), cond)
        return D(x, sigma, _as_it_lies(cond))

    return denoise


def _two_views(regress: Any, cond: Conditions) -> Tensor:
    """Of the patient as he lies, and mirrored left to right, with left and right changed in the words too."""
    return (regress(_as_it_lies(cond)) + regress(_mirrored(cond)).flip(-1)) / VIEWS


def _as_it_lies(cond: Conditions) -> Conditions:
    return _half(cond, cond.images, 0)


def _mirrored(cond: Conditions) -> Conditions:
    return _half(cond, cond.images.flip(-1), 1)


def _half(cond: Conditions, images: Tensor, way: int) -> Conditions:
    words = None if cond.context is None else cond.context.chunk(2, 2)[way]
    return Conditions(images=images, context=words, vector=cond.vector)


def _tensor(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.array(array, np.float32))[None, None]
