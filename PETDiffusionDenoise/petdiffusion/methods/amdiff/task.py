"""AMDiff's side of the training: Eq. 10, with P_HC formed as `parts.trust` says."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ...diffusion.conditions import Conditions
from ...diffusion.losses import edm_weight, epsilon_weight
from ...diffusion.parameterisation import broadcast
from ...diffusion.schedules import sigma_of
from ...networks.unet import UNetConfig
from ...prepare.whiten import whiten
from ...progress import Run
from ...training.choices import config_of
from ...training.settings import TrainSettings
from ...training.sides import Sides
from ...training.task import ITEM, Batch, items_of
from . import beside, losses, parts
from .config import CONFIGS, DENOISER_ALONE, SEPARATE, AmdiffConfig, SegmenterConfig
from .data import LabelledBank, load
from .network import AmdiffNetwork
from .units import Units, conditions_of, units_of

AIR = 1.5
"""Below this many floors of the whitening there is only air, which teaches the denoiser nothing."""


class AmdiffTask:
    """Built by `petdiffusion train amdiff`."""

    method = "amdiff"
    configs: Mapping[str, AmdiffConfig] = CONFIGS

    def __init__(self, config: str = "compact", changes: Mapping[str, Any] | None = None) -> None:
        self.settings = config_of(self.configs, config, changes)
        if self.settings.beside is not None:
            later = {name: value for name, value in (changes or {}).items() if name not in ("beside", "segmenter")}
            self.settings = replace(beside.config_on(self.settings), **later)

    @property
    def config(self) -> Mapping[str, Any]:
        return self.settings.to_json()

    @property
    def sides(self) -> Sides:
        c = self.settings
        halved = [UNetConfig.from_json(c.network).multiple]
        halved += [SegmenterConfig(**c.segmenter).multiple] if c.segments else []
        return Sides.judged(math.lcm(*halved))

    def network(self) -> nn.Module:
        network = AmdiffNetwork(self.settings)
        return network if self.settings.beside is None else beside.frozen(network, self.settings)

    def load(self, manifests: Sequence[str | Path], settings: TrainSettings, run: Run) -> LabelledBank:
        return load(manifests, self.derive, settings, run, self.settings.lesion_share, self.settings.sees_ct)

    def derive(
        self, low: np.ndarray, spacing_mm: tuple[float, float, float], body: np.ndarray, _: Mapping[str, Tensor]
    ) -> tuple[dict, dict]:
        """What the bank computes once per scan, on the whole volume."""
        white = whiten(low, spacing_mm, body, self.settings.base_fwhm_mm)
        numbers = {"level": white.level, "voxel_mm": float(np.prod(spacing_mm) ** (1 / 3)),
                   "root_mean": white.root_mean, "floor": white.floor}  # fmt: skip
        return {"base": white.base, "root": white.root}, numbers

    def calibrate(self, batches: list[Batch]) -> None:
        """sigma_data is measured on what is diffused."""
        if self.settings.sigma_data is None:
            values = [units_of(b, self.settings).forward(b["normal"])[self.counted(b)] for b in batches]
            self.settings = replace(self.settings, sigma_data=round(float(torch.cat(values).std()), 4))

    @staticmethod
    def counted(batch: Batch) -> Tensor:
        """Voxels with something to learn from."""
        return batch["root"].square() > AIR * batch["floor"].reshape(-1, 1, 1, 1, 1)

    def loss(self, network: nn.Module, batch: Batch, generator: torch.Generator) -> Tensor:
        """L_diff + lambda_warm (L_lor + L_rev + L_seg); L_seg alone where the rest is ready."""
        c, units = self.settings, units_of(batch, self.settings)
        if c.beside is not None:
            return self._masks_alone(network, batch, units)
        x = units.forward(batch["normal"])
        sigma, noisy, alone = self._noised(x, generator, int(items_of(batch, len(x))[0]))
        said = parts.as_learnt(network, c)(noisy, sigma, told(batch, units, c))
        total, estimate = self._diffusion(said - x, sigma, alone, batch), parts.held(said, c)
        warm = losses.warm_up(float(batch["done"][0]), c.warm_from)
        items = parts.trust(sigma, alone, c)
        if warm == 0 or not (items > 0).any():
            return total
        chosen = items > 0
        some = {name: value[chosen] for name, value in batch.items() if name != ITEM}
        return total + warm * self._semantic(network, estimate[chosen], units.chosen(chosen), some, items[chosen])

    def _masks_alone(self, network: nn.Module, batch: Batch, units: Units) -> Tensor:
        c = self.settings
        with torch.no_grad():
            denoised = mean_estimate(network, batch, units, c)
        _, logits = network(denoised, *units.seen(), batch["coordinates"], batch.get("ct"), after=True)
        return losses.segmentation(logits, batch["lesions"], batch["organs"], (c.lesion_weight, c.organ_weight), c.dice,
                                   torch.ones_like(batch["done"]))  # fmt: skip

    def _noised(self, x: Tensor, generator: torch.Generator, first: int) -> tuple[Tensor, Tensor, Tensor]:
        """t uniform over the schedule; the first `mean_share` of the patches at the top, without any noise. What a
        batch's share leaves over, as of a single patch, the next batches make up: `first` is its first item's number.
        """
        c, count = self.settings, len(x)
        due = [math.ceil(round(c.mean_share * items, 6)) for items in (first, first + count)]
        alone = (torch.arange(count) < due[1] - due[0]).to(x.device)
        every = sigma_of(parts.alpha_bar(c)).float()
        sigma = every[torch.randint(len(every), (count,), generator=generator)].to(x)
        noise = torch.randn(x.shape, generator=generator).to(x)
        sigma = torch.where(alone, parts.top(c), sigma)
        return sigma, torch.where(alone.reshape(-1, 1, 1, 1, 1), 0.0, x + broadcast(sigma, x) * noise), alone

    def _diffusion(self, error: Tensor, sigma: Tensor, alone: Tensor, batch: Batch) -> Tensor:
        """L_diff (Eq. 3): of the noise as printed, or EDM's weighting of the same error."""
        c = self.settings
        weight = epsilon_weight(sigma) if c.predict == "epsilon" else edm_weight(c.sigma_data)(sigma)
        mask = self.counted(batch) if c.base == "filtered" else torch.ones_like(error)
        scaled = (broadcast(weight.sqrt(), error) * error).abs() ** c.power
        return (scaled * mask).sum() / mask.sum().clamp_min(1)

    def _semantic(self, network: nn.Module, estimate: Tensor, units: Units, batch: Batch, items: Tensor) -> Tensor:
        """L_lor (Eq. 5), L_rev (Eq. 7) and L_seg (Eq. 9); errors are counted in the units of the diffusion."""
        c, lesions, organs = self.settings, batch["lesions"], batch["organs"]
        total = estimate.new_zeros(())
        weights = (0.0, c.lesion_regulariser, c.organ_regulariser)
        if any(weights):
            error = estimate - units.forward(batch["normal"])
            total = total + losses.class_weighted(error, lesions, organs, weights, items)
        if not (c.revision or c.segments):
            return total
        denoised = units.inverse(estimate if c.joint else estimate.detach())
        revised, logits = network(denoised, *units.seen(), batch["coordinates"], batch.get("ct"), after=True)
        if c.revision:
            error = (revised - batch["normal"]) / (units.scale + 0.1 * (batch["normal"] - units.cut).clamp_min(0))
            total = total + losses.class_weighted(error, lesions, organs, c.revision_weights, items)
        if logits is not None:
            seg = losses.segmentation(logits, lesions, organs, (c.lesion_weight, c.organ_weight), c.dice, items)
            total = total + seg
        return total

    @torch.no_grad()
    def judge(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """P_HCR of the mean, and what Dice is made of: shared, found and true voxels of each class."""
        c, units = self.settings, units_of(batch, self.settings)
        revised, logits = network(mean_estimate(network, batch, units, c), *units.seen(), batch["coordinates"],
                                  batch.get("ct"), after=True)  # fmt: skip
        found = {"denoised": revised}
        if logits is None:
            return found
        pairs = [(logits[0] > 0, batch["lesions"] > 0.5)]
        best = logits[1].argmax(1, keepdim=True)
        pairs += [(best == s, batch["organs"].round() == s) for s in range(1, logits[1].shape[1])]
        sums = [torch.stack([(p & m).sum(), p.sum(), m.sum()]) for p, m in pairs]
        return found | {"overlap_lesion": sums[0][None], "overlap_organs": torch.stack(sums[1:])}


class DenoiserTask(AmdiffTask):
    """The diffusion denoiser alone: `petdiffusion train med-ddpm-3d`."""

    method = "med-ddpm-3d"
    configs = DENOISER_ALONE


class NnmambaTask(AmdiffTask):
    """Denoiser and segmenter side by side, neither learning from the other: `petdiffusion train nnmamba`."""

    method = "nnmamba"
    configs = SEPARATE


def told(batch: Batch, units: Units, config: AmdiffConfig) -> Conditions:
    """The conditions of a patch; coordinates with the filtered base."""
    cond = conditions_of(batch, units, config)
    if not config.sees_places:
        return cond
    return replace(cond, images=torch.cat((cond.images, batch["coordinates"]), 1))


def mean_estimate(network: nn.Module, batch: Batch, units: Units, config: AmdiffConfig) -> Tensor:
    """P_HC in SUV by one evaluation: at the top and without noise where the mean was trained. Where it was not, no
    evaluation alone finds it (from pure noise at t = T the least error is amplified thousands of times): the normal
    dose out of itself with the noise of a middle time, which tells how the network learns."""
    D = parts.denoiser(network, config)
    return units.inverse(D(*_question(batch, units, config), told(batch, units, config)))


def _question(batch: Batch, units: Units, config: AmdiffConfig) -> tuple[Tensor, Tensor]:
    like = batch["low"]
    if config.mean_share > 0:
        return torch.zeros_like(like), like.new_tensor(parts.top(config))
    every = sigma_of(parts.alpha_bar(config))
    sigma = every[len(every) // 2].to(like)
    noise = torch.randn(like.shape, generator=torch.Generator().manual_seed(20)).to(like)
    return units.forward(batch["normal"]) + sigma * noise, sigma
