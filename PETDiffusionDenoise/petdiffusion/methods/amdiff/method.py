"""AMDiff at work: P_HC by few evaluations -> P_HCR -> masks once -> numbers, with their spread over the samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...diffusion.estimate import Moments
from ...infer import asked, residual
from ...infer.engine import Model, Sampling, Scene, VolumeEstimate, sample_volume
from ...progress import Run
from ...volume import LabelMap
from ...zoo.choose import choose
from ..contract import Case, Output
from . import clinical, parts
from .after import After
from .config import AmdiffConfig
from .ct import with_useful_ct
from .network import AmdiffNetwork
from .scan import Scan, load_network, rules_of, scan_of
from .views import denoisers, evaluations_of


def denoise(case: Case, options: Mapping[str, Any], run: Run) -> Output:
    return _run("amdiff", case, options, run)


def denoise_alone(case: Case, options: Mapping[str, Any], run: Run) -> Output:
    """The denoiser may be half of a model that also segments."""
    return _run("med-ddpm-3d", case, options, run, segments=False)


def segment_alone(case: Case, options: Mapping[str, Any], run: Run) -> Output:
    return _run("nnmamba", case, options, run)


def _run(method: str, case: Case, options: Mapping[str, Any], run: Run, segments: bool = True) -> Output:
    sees_ct = method == "amdiff"  # the standalone parts have no model that does
    model = choose(method, with_useful_ct(case, run) if sees_ct else case, run)
    config = AmdiffConfig.from_json(model.card.config)
    network = load_network(model)
    if not segments:
        config = replace(config, segmenter=None)
    job = Job(case, config, network, scan_of(case, config), options, run)
    job.tell(method)
    output = job.done()
    return replace(output, details={**residual.model_facts(model), **output.details})


@dataclass(eq=False)
class Job:
    """One scan. Masks are found as soon as the image that they are made from is there, and once."""

    case: Case
    config: AmdiffConfig
    network: AmdiffNetwork
    scan: Scan
    options: Mapping[str, Any]
    run: Run

    def done(self) -> Output:
        self.after = After(self.network, self.config, self.scan, self.case, self.options, self.run)
        self.moments, self.spreads = Moments(), clinical.Spreads()
        self.image, self.masks, self.waiting = None, None, []
        estimate = self._estimated()
        if self.image is None:
            self._settled(estimate.image)
        for x in self.waiting:
            self._sampled(x)
        return self._output(estimate)

    def tell(self, method: str) -> None:
        """Of samples that can show nothing."""
        trained = self.config.mean_share > 0
        if self.masks_only:
            return
        self._tell_what_is_cut()
        asked.tell(method, self.options, self.run, trained)
        if trained:
            sigmas = parts.levels(self.config, self.options["steps"]).tolist()
            asked.tell_of_no_spread(method, self.options, sigmas, self.config.sigma_data or 1.0, self.run)

    def _tell_what_is_cut(self) -> None:
        cut, geometry = self.config.cut_suv, self.case.pet.geometry
        ml = float((self.case.pet.array > cut).sum()) * geometry.voxel_ml
        if ml and self.network.revision is None:
            self.run.warn(f"{ml:.1f} ml of the scan lie above SUV {cut:g}, beyond which this network sees nothing: the "
                          "scan's own values stand there, with their noise, and no spread of samples tells it.")

    @property
    def masks_only(self) -> bool:
        return bool(self.options.get("masks_only"))

    def _estimated(self) -> VolumeEstimate:
        D, wrap = denoisers(self.network, self.config)
        plan = Model(D, self.network.denoiser, rules_of(self.network), wrap=wrap)
        scene = Scene(self.case.pet.array.shape, self.scan.conditions, self.case.body, fallback=self.scan.air)
        sampling = sampling_of(self.options, self.config, self.masks_only)

        def on_sample(x: Tensor) -> None:
            if self.image is None and sampling.estimate == "sample":
                self._settled(x)
            elif self.image is None and wrap is not None:
                self._settled(wrap.mean)
            if self.image is None:
                self.waiting.append(x)  # without a trained mean: it is known when all samples are there
            else:
                self._sampled(x)

        return sample_volume(plan, scene, sampling, self.run, on_sample=on_sample)

    def _settled(self, x: Tensor) -> None:
        """The image and its masks."""
        self.image = self.after.revised(x)
        if self.config.segments:
            self.masks = self.after.segmented(self.image)

    def _sampled(self, x: Tensor) -> None:
        """A sample over the full range: for the SD map, for whoever watches, and for the numbers' intervals."""
        image = self.after.revised(x)
        self.moments.add(torch.from_numpy(image))
        if self.run.on_sample is not None:
            self.run.on_sample(image)
        if self.masks is not None and self.options["samples"] > 1:
            self.spreads.add(self._numbers(image))

    def _numbers(self, image: np.ndarray) -> list[dict[str, Any]]:
        return clinical.numbers(image, self.masks, self.case.pet.geometry)

    def _output(self, estimate: VolumeEstimate) -> Output:
        pet = self.case.pet if self.masks_only else self.case.pet.with_array(self.image)
        sd = self.moments.sd
        evaluations = evaluations_of(estimate, self.config)
        organs, lesions = self._maps()
        return Output(
            pet,
            sd=None if sd is None else self.case.pet.with_array(sd.numpy()),
            organs=organs,
            lesions=lesions,
            tables={} if self.masks is None else self._tables(pet.array),
            evaluations=evaluations,
            details={**estimate.details(), "evaluations": evaluations, **self.after.details()},
        )

    def _tables(self, image: np.ndarray) -> dict[str, list[dict[str, Any]]]:
        left = clinical.left_out(image, self.masks, self.case.pet.geometry)
        return {"clinical": self.spreads.beside(self._numbers(image))} | ({"marks_left_out": left} if left else {})

    def _maps(self) -> tuple[LabelMap | None, LabelMap | None]:
        return (None, None) if self.masks is None else (self.masks.organs, self.masks.lesions)


def sampling_of(options: Mapping[str, Any], config: AmdiffConfig, masks_only: bool) -> Sampling:
    """Down the paper's schedule from the step where chains begin. A model without a trained mean averages samples."""
    trained = config.mean_share > 0
    asked_for = {**options, "estimate": "mean", "samples": 0} if masks_only else options
    wanted = asked.drawn(asked_for, trained)
    mean = "first" if trained else "samples"
    return Sampling(tuple(parts.levels(config, options["steps"]).tolist()), options["sampler"], wanted,
                    asked_for["estimate"], mean)  # fmt: skip
