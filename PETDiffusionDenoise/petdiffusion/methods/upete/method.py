"""uPETe at work: scan -> latent -> the step of its noise -> few evaluations from there -> image and SD."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from ...infer import asked
from ...infer.again import planned, policy_for
from ...infer.engine import Model, Scene, network_cost
from ...infer.networks import loaded
from ...infer.patches import Patched, PatchRules
from ...infer.plan import Plan, make_plan
from ...infer.residual import model_facts
from ...progress import Run
from ...zoo.choose import choose
from ...zoo.store import Model as ZooModel
from ..contract import Case, Output
from . import parts
from .chain import Chains, Start, levels_of, spread_of, start_of
from .config import UpeteConfig
from .network import UpeteNetwork
from .scan import Codec, LatentScan

DENOISED, DECODED = 0.8, 0.1
"""Shares of the progress."""
TRIAL = 16
"""A voxel of the latent stands for f^3: patches of the usual trials would be a good part of the scan."""


def denoise(case: Case, options: Mapping[str, Any], run: Run) -> Output:
    asked.tell("upete", options, run)
    model = choose("upete", case, run)
    config = UpeteConfig.from_json(model.card.config)
    network = load_network(model)
    run.progress(0.0)
    if config.guided:
        warn_of_mismatch(case, run)
    scan = LatentScan.of(case, config, network.f)
    start = start_of(scan.level, options["fraction"], options["start"], config)
    job = Job(case, config, network, scan, start, options, run)
    return job.done(model)


def kind_of(wanted: str, config: UpeteConfig) -> float:
    """Which noise the network is to remove: what is asked for where it learnt both."""
    said = wanted if config.diffusion == "both" else config.diffusion
    return parts.GAUSSIAN if said == "gaussian" else parts.POISSON


class Job:
    """One scan."""

    def __init__(self, case: Case, config: UpeteConfig, network: UpeteNetwork, scan: LatentScan, start: Start,
                 options: Mapping[str, Any], run: Run) -> None:  # fmt: skip
        self.case, self.config, self.scan, self.start, self.options, self.run = case, config, scan, start, options, run
        self.kind, self.policy = kind_of(options["diffusion"], config), policy_for(run)
        self.cond = scan.conditions(self.kind)
        self.network = self.policy.place(network)
        self.codec = Codec(self.network, scan, self.policy, run)
        self.wanted = asked.drawn(options)
        self.total, self._spent = 1 + self.wanted * (options["steps"] - 1), 0.0

    def done(self, model: ZooModel) -> Output:
        z = self.codec.encoded(self.scan.u)
        self.run.progress(1 - DENOISED - DECODED)
        patched, plan = self._denoiser(z)
        chains = Chains(patched, self.codec, self.config, self.start, self.cond, z, self.kind, self.run.seed)
        clean = chains.clean(z, self.start.g)
        strengths = levels_of(self.start, self.options["steps"], self.config)
        first, moments = spread_of(lambda n: self._image(chains.sample(clean, strengths, n)), self.wanted,
                                   self.run.on_sample)  # fmt: skip
        image = first if self.options["estimate"] == "sample" else self._with_skip(self._image(clean), z)
        sd = None if moments.sd is None else self.case.pet.with_array(moments.sd.numpy())
        self.run.progress(1.0)
        return Output(self.case.pet.with_array(image), sd=sd, evaluations=chains.evaluations,
                      details={**model_facts(model), **self._details(plan, strengths)})  # fmt: skip

    def _image(self, z: torch.Tensor) -> np.ndarray:
        return self.scan.image(self.codec.decoded(z))

    def _with_skip(self, image: np.ndarray, z: torch.Tensor) -> np.ndarray:
        """What the autoencoder alone loses of the scan, where it is more than noise: no training, no other data."""
        bound = self.options["skip"]
        if bound == 0:
            return image
        lost = self.scan.u - self.codec.decoded(z)
        z_, y, x = self.case.pet.array.shape
        lost = lost[0, 0, :z_, :y, :x].numpy()
        inside = lost[self.case.body] if self.case.body.any() else lost
        sd = 1.4826 * float(np.median(np.abs(inside)))
        kept = np.sign(lost) * np.maximum(np.abs(lost) - bound * sd, 0)
        return image + self.scan.units.inverse(np.where(self.case.body, kept, 0)).astype(np.float32)

    def _denoiser(self, z: torch.Tensor) -> tuple[Patched, Plan]:
        """D over patches of the latent, blended: one chain for the whole scan."""
        scene = Scene(tuple(z.shape[2:]), self.cond, _some(self.scan.body))
        rules, channels = PatchRules(multiple=self.network.multiple, trial=TRIAL), z.shape[1]
        D = parts.LatentDenoiser(self.network, self.config)
        cost = network_cost(Model(D, None, rules, channels), scene, self.policy)
        own = make_plan(scene.shape, rules, cost, self.policy, channels=channels, body=scene.body)
        plan = planned(own, rules, cost, self.policy, self.run, scene.body)
        air = self.codec.of_air()
        return Patched(D, plan, rules, self.policy, cost, self.run, scene.body, air, self._advance), plan

    def _advance(self, part: float) -> None:
        self._spent += part
        self.run.progress(min(1 - DECODED, 1 - DENOISED - DECODED + DENOISED * self._spent / self.total))

    def _details(self, plan: Plan, strengths: list[float]) -> dict[str, Any]:
        return {"noise_level": round(self.scan.level, 4), "step": self.start.t, "of_steps": self.config.T,
                "step_from": self.start.told, "strengths": [round(g, 4) for g in strengths],
                "fraction_like": round(1 / (1 + (self.start.g / (self.config.normal_level or 1.0)) ** 2), 4),
                "plan": plan.to_json()}  # fmt: skip


def _some(body: np.ndarray) -> np.ndarray | None:
    return body if body.any() else None


def warn_of_mismatch(case: Case, run: Run) -> None:
    """A CT that lies elsewhere than the PET guides the attention wrongly."""
    from ...trust.quality import mismatch

    if case.ct is None or not case.body.any():
        return
    for row in mismatch(case.pet, case.ct, case.body):
        if row["look"]:
            found = f"{row['item']}: {row['value']:.3g} {row['unit']}".rstrip()
            run.warn(f"The CT does not fit the PET ({found}): it may blur or move structures. "
                     "Register it (--register), or leave it out.")  # fmt: skip


def load_network(model: ZooModel) -> UpeteNetwork:
    return loaded(model, _built)


def _built(config: Mapping[str, Any]) -> UpeteNetwork:
    return UpeteNetwork(UpeteConfig.from_json(config))
