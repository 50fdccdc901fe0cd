"""BC-DPM at work: count level -> settings -> steered chains of all slices at once -> mean and SD in activity."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from ...infer import residual
from ...infer.device import pick_device
from ...networks.unet import UNet
from ...physics.poisson import generator
from ...prepare import noise
from ...progress import Run
from ...zoo.choose import choose
from ..contract import Case, Output
from . import conditions as eq10
from . import counts, search
from .chain import Settings, SliceScan, sample
from .config import BcDpmConfig
from .placed import Placed, place
from .units import units_of

_MATCH = 103
"""Stream of random numbers of the trial insertion."""


def denoise(case: Case, options: Mapping[str, Any], run: Run) -> Output:
    model = choose("bc-dpm", case, run)
    config = BcDpmConfig.from_json(model.card.config)
    network = residual.load_network(model)
    placed = place(case, config.pixel_mm)
    job = Job.of(placed, options, config, run)
    table: list[dict[str, Any]] = []
    if options["search"]:
        job, table = job.searched(network, case, run)
    air = job.smooth(placed.pet.array)

    def image_of(u: torch.Tensor) -> np.ndarray:
        return placed.back(job.scan.units.inverse(u.numpy()[0]), air)

    watched = None if run.on_sample is None else lambda u: run.on_sample(image_of(u))
    estimate = sample(job.scan, job.settings, job.insert, network, config, run, watched)
    return Output(
        case.pet.with_array(image_of(estimate.image)),
        sd=None if estimate.sd is None else case.pet.with_array(job.spread(estimate.sd, placed)),
        tables={"transitions": table} if table else {},
        evaluations=estimate.evaluations,
        details={**residual.model_facts(model), **job.details(), **estimate.details()},
    )


@dataclass(frozen=True, eq=False)
class Job:
    """A scan with everything that its chains need."""

    scan: SliceScan
    level: counts.Level
    settings: Settings
    insert: eq10.Inserter
    config: BcDpmConfig

    @classmethod
    def of(cls, placed: Placed, options: Mapping[str, Any], config: BcDpmConfig, run: Run) -> Job:
        each = options["each_slice"]
        units = units_of(placed.low, placed.pet.geometry.spacing, placed.inside, config, each)
        scan = SliceScan(placed.low, placed.inside, placed.pixel_mm, placed.slice_mm, units)
        pixel = max(placed.pixel_mm)
        seen = noise.measure(placed.cropped(units.forward(placed.low)), placed.inside)
        level = counts.level_of(options, counts.effective(seen, pixel), config)
        run.check()
        run.warn(f"Count level {counts.words(level.counts)} a slice, {level.told}.")
        alike = counts.as_in_a_trunk(level.counts, _pixels(placed.inside)) if options["counts"] > 0 else level.counts
        settings = settings_of(options, alike, pixel)
        return cls(scan, level, settings, inserter_of(scan, level, each, run), config)

    def spread(self, sd: torch.Tensor, placed: Placed) -> np.ndarray:
        """The SD over the runs in activity; none is known of the air around."""
        part = self.scan.units.inverse(sd.numpy()[0])
        return np.maximum(placed.back(part, np.zeros_like(placed.pet.array)), 0)

    def smooth(self, image: np.ndarray) -> np.ndarray:
        """GF of the whole scan: what is shown of the air around the body."""
        return self.scan.filter(self.settings.smooth_mm, self.settings.axial_mm)(torch.tensor(image)).numpy()

    def searched(self, network: UNet, case: Case, run: Run) -> tuple[Job, list[dict[str, Any]]]:
        """With l as found on a digital patient at this count level."""
        best, table = search.best_transitions(self.settings, self.level.counts, case, network, self.config, run)
        return replace(self, settings=replace(self.settings, transitions=best, reach=0.0)), table

    def details(self) -> dict[str, Any]:
        return {"counts": float(f"{self.level.counts:.4g}"), "counts_from": self.level.told,
                "settings": self.settings.to_json()}  # fmt: skip


def _pixels(body: np.ndarray) -> float:
    """Of the body in a slice that shows some of it."""
    return float(body.sum() / max(1, body.any((1, 2)).sum()))


def settings_of(options: Mapping[str, Any], level: float, pixel_mm: float) -> Settings:
    """What the options leave open follows from the count level."""
    smooth_mm = options["smooth_mm"] or counts.width_mm(level, pixel_mm)
    return Settings(
        transitions=min(options["transitions"] or counts.transitions(level, options["steps"]), options["steps"]),
        balance=options["balance"],
        smooth_mm=smooth_mm,
        resolution_mm=options["resolution"] * smooth_mm,
        conditions=options["conditions"],
        start=options["start"],
        steps=options["steps"],
        samples=options["samples"],
        estimate=options["estimate"],
        axial_mm=0.0 if options["each_slice"] else options["axial_mm"],
        reach=0.0 if options["transitions"] else counts.reach(level),
    )


def inserter_of(scan: SliceScan, level: counts.Level, each_slice: bool, run: Run) -> eq10.Inserter:
    """Counts as given; where the level was read from the noise, as many as insert just that noise."""
    low = torch.from_numpy(np.array(scan.low, np.float32)).to(pick_device(run.device))
    insert = eq10.inserter(low, scan.pixel_mm, level.counts, each_slice)
    if level.measured is None:
        return insert
    scale, body = (torch.from_numpy(np.array(a)).to(low.device) for a in (scan.units.scale, scan.body))
    return eq10.matched(insert, low, scale, body, level.measured, generator(run.seed, _MATCH))
