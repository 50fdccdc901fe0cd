"""Training of the compact CLIP: slices of PET and their prompts, contrastively, on the project's one loop.

Three parts, each with its own texts: the whole prompt of every slice (soft-max both ways, as CLIP), prompts of a few
structures (sigmoid: true where the slice has them all, so that single structures mean something), and the words of the
scan.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...errors import TrainingError
from ...progress import Run
from ...training.choices import config_of
from ...training.settings import TrainSettings
from ...training.task import Batch
from . import vocabulary
from .clip import ClipConfig, PetClip, pictures, rows_of, tokenized, vocabulary_of
from .data import Patient, Patients, load_patients, text_of
from .encoder_ids import METHOD
from .structures import parsed

CONFIGS = {"compact": ClipConfig()}
FEW = 3
"""Structures of a prompt of a few, at most."""
NORMAL_SHARE = 0.5
SIGMOID_WEIGHT = 10.0
"""Its mean over all pairs is small beside the soft-max losses."""


class ClipTask:
    """Built by Resources/training/text_ddpm.py."""

    method = METHOD
    configs = CONFIGS

    def __init__(self, config: str = "compact", changes: Mapping[str, Any] | None = None) -> None:
        self.settings = config_of(self.configs, config, changes)
        if not self.settings.vocabulary:
            self.settings = replace(self.settings, vocabulary=vocabulary_of(vocabulary.texts()))

    @property
    def config(self) -> Mapping[str, Any]:
        return self.settings.to_json()

    def load(self, manifests: Sequence[str | Path], settings: TrainSettings, run: Run) -> SlicesAndTexts:
        found = load_patients(manifests, lambda *_: ({}, {}), run)
        return SlicesAndTexts(found, settings, self.settings.vocabulary)

    def network(self) -> nn.Module:
        return PetClip(self.settings)

    def calibrate(self, batches: list[Batch]) -> None:
        """Nothing is left open."""

    def loss(self, network: nn.Module, batch: Batch, generator: torch.Generator) -> Tensor:
        return network(batch)

    @torch.no_grad()
    def score(self, network: PetClip, batches: list[Batch]) -> dict[str, float]:
        """Retrieval on slices of validation patients, each among all prompts of its patient."""
        found = [matched(network, batch) for batch in batches]
        return {name: float(np.mean([f[name] for f in found])) for name in found[0]}


def contrastive(network: PetClip, batch: Batch) -> Tensor:
    images = network.look(batch["images"])
    whole, few, scan = (network.read(batch[name], shorten=True)[0] for name in ("whole", "few", "scan"))
    sigmoid = F.binary_cross_entropy_with_logits(network.logits(images, few) + network.bias, batch["has"])
    return (both_ways(network.logits(images, whole), batch["same"]) + SIGMOID_WEIGHT * sigmoid
            + 0.3 * both_ways(network.logits(images, scan), batch["same_scan"]))  # fmt: skip


def both_ways(logits: Tensor, same: Tensor) -> Tensor:
    """Soft-max over texts and over images; texts that are the same count as one."""
    return sum(_one_way(*pair) for pair in ((logits, same), (logits.T, same.T))) / 2


def _one_way(logits: Tensor, same: Tensor) -> Tensor:
    right = logits.masked_fill(same == 0, -torch.inf)
    return (logits.logsumexp(1) - right.logsumexp(1)).mean()


def matched(network: PetClip, batch: Batch) -> dict[str, float]:
    """Of one patient: is the right prompt first, among the first five; which text has the place right; AUC of single
    structures."""
    images, texts = network.look(batch["images"]), network.read(batch["whole"], shorten=True)[0]
    order = network.logits(images, texts).argsort(1, descending=True)
    hits = batch["same"].gather(1, order)
    away = (order[:, 0] - torch.arange(len(images))).abs().float()
    single = network.logits(images, network.read(batch["few"], shorten=True)[0])
    aucs = [auc(single[:, j], batch["has"][:, j]) for j in range(single.shape[1])]
    return {"top1": float(hits[:, 0].mean()), "top5": float(hits[:, :5].amax(1).mean()),
            "slices_away": float(away.median()), "candidates": float(len(texts)),
            "structure_auc": float(np.nanmean(aucs))}  # fmt: skip


def auc(scores: Tensor, truth: Tensor) -> float:
    """Chance that a slice with the structure scores higher than one without; NaN where there is none of either."""
    with_, without = scores[truth > 0], scores[truth == 0]
    if not len(with_) or not len(without):
        return float("nan")
    return float((with_[:, None] > without).float().mean() + 0.5 * (with_[:, None] == without).float().mean())


@dataclass
class SlicesAndTexts:
    """Batches of pictures and texts of CLIP's rows."""

    patients: Patients
    settings: TrainSettings
    vocabulary: Sequence[int]
    _fixed: list[Batch] | None = None

    def __post_init__(self) -> None:
        named = [p for p in self.patients.train if any(p.names)]
        if not named:
            raise TrainingError(f"Data {self.patients.source}", "has no labels to make prompts of",
                                "Give a data set with organ maps.")  # fmt: skip

    def batch(self, step: int, rank: int) -> Batch:
        rng = np.random.default_rng((self.settings.seed, step, rank))
        chosen = [self._slice(rng) for _ in range(self.settings.batch)]
        names = [patient.names[z] for patient, z, _ in chosen]
        few = [self._few(names[rng.integers(len(names))], rng) for _ in range(self.settings.batch)]
        images = torch.cat([picture(patient, z, scan, rng) for patient, z, scan in chosen])
        scans = [patient.words[scan] if scan is not None else "normal dose" for patient, _, scan in chosen]
        return self._texts(images, names, few, scans)

    def validation(self) -> list[Batch]:
        """All named slices of each validation patient, at the normal dose, every second one."""
        if self._fixed is None:
            self._fixed = [self._whole(p) for p in (self.patients.valid or self.patients.train) if any(p.names)]
        return self._fixed

    def describe(self) -> dict[str, Any]:
        return self.patients.describe() | {"vocabulary_rows": len(self.vocabulary)}

    def _slice(self, rng: np.random.Generator) -> tuple[Patient, int, int | None]:
        patient = self.patients.train[rng.integers(len(self.patients.train))]
        named = [z for z in patient.filled if patient.names[z]]
        scan = None if rng.random() < NORMAL_SHARE else int(rng.integers(len(patient.scans)))
        return patient, int(named[rng.integers(len(named))]), scan

    def _few(self, names: Sequence[str], rng: np.random.Generator) -> tuple[str, ...]:
        count = int(rng.integers(1, min(FEW, len(names)) + 1))
        return tuple(str(n) for n in rng.choice(names, count, replace=False))

    def _whole(self, patient: Patient) -> Batch:
        chosen = [int(z) for z in patient.filled[::2] if patient.names[z]]
        names = [patient.names[z] for z in chosen]
        single = sorted({name for ns in names for name in ns})
        images = torch.cat([picture(patient, z, None) for z in chosen])
        return self._texts(images, names, [(name,) for name in single], ["normal dose"])

    def _texts(self, images: Tensor, names: Sequence[tuple[str, ...]], few: Sequence[tuple[str, ...]],
               scans: Sequence[str]) -> Batch:  # fmt: skip
        whole = [text_of(n) for n in names]
        parts = [{parsed(n) for n in ns} for ns in names]
        has = [[float({parsed(n) for n in wanted} <= own) for wanted in few] for own in parts]
        return {"images": images, "whole": self._rows(whole), "scan": self._rows(scans),
                "few": self._rows([text_of(n) for n in few]), "has": torch.tensor(has),
                "same": _same(whole), "same_scan": _same(scans)}  # fmt: skip

    def _rows(self, texts: Sequence[str]) -> Tensor:
        return rows_of(tokenized(texts), self.vocabulary)


def _same(texts: Sequence[str]) -> Tensor:
    return torch.tensor([[float(a == b) for b in texts] for a in texts])


def picture(patient: Patient, z: int, scan: int | None, rng: np.random.Generator | None = None) -> Tensor:
    """As the image tower sees it; in training a little moved, brighter or darker."""
    image = patient.normal[z] if scan is None else patient.scans[scan].images["low"][z]
    image = image.float()
    if rng is not None:
        image = image * float(np.exp(rng.uniform(-0.2, 0.2)))
        image = image.roll([int(v) for v in rng.integers(-3, 4, 2)], (0, 1))
    return pictures(image[None], patient.pixel_mm)
