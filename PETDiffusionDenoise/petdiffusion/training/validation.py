"""How a network in training is judged: PSNR and what becomes of lesions, over fixed validation patches."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from ..progress import Run
from .task import Batch, Scored, Task

VALIDATION, TRAINING = "validation patients", "training patients, for want of any for validation"
LEARNT = "training_"
"""What names of numbers begin with that are of patients who were learnt from."""


def judged_by(data: Mapping[str, Any]) -> str:
    """By whom, as data describes itself; data that names no patients are taken to know what they judge by."""
    return TRAINING if data.get("validation_patients") == [] else VALIDATION


def warn_of_judges(data: Mapping[str, Any], run: Run) -> None:
    if judged_by(data) == TRAINING:
        run.warn("No patient is for validation: the training is judged on patients that it learns from, which does "
                 "not tell how it does on others. Give the manifest a column split with 'validation' in all rows of "
                 "one patient or more.")  # fmt: skip


def scores_of(task: Task, network: nn.Module, batches: list[Batch], data: Mapping[str, Any]) -> dict[str, float]:
    """By their names, which tell where `data` has nobody for validation."""
    if isinstance(task, Scored):
        found = task.score(network, batches)
    else:
        found = score(lambda batch: task.judge(network, batch), batches)
    return found if judged_by(data) == VALIDATION else {f"{LEARNT}{name}": value for name, value in found.items()}


def score(judge: Callable[[Batch], dict[str, torch.Tensor]], batches: list[Batch]) -> dict[str, float]:
    """PSNR against normal dose and truth, of the input too, and lesion bias, over all batches together.

    What a batch does not hold is left out, and so is a truth that is not known (NaN); what `judge` returns beside
    `denoised` takes the place of the batch's. Rows of `overlap_NAME` are shared, found and true voxels of a class:
    their Dice over all batches is `dice_NAME`.
    """
    errors: dict[str, list[torch.Tensor]] = {}
    overlaps: dict[str, torch.Tensor] = {}
    peaks: dict[str, list[torch.Tensor]] = {}
    kept = []
    for batch in batches:
        found = {name: value.float().cpu() for name, value in {**batch, **judge(batch)}.items()}
        denoised, normal = found["denoised"], found["normal"]
        peak = normal.flatten(1).amax(1)
        pairs = {"psnr": (denoised, normal), "psnr_truth": (denoised, found.get("truth")),
                 "psnr_low": (found.get("low"), normal)}  # fmt: skip
        for name, (a, b) in pairs.items():
            if a is not None and b is not None and (known := ~b.flatten(1).isnan().any(1)).any():
                errors.setdefault(name, []).append(((a - b) ** 2).flatten(1).mean(1)[known])
                peaks.setdefault(name, []).append(peak[known])
        for name in (name for name in found if name.startswith("overlap_")):
            overlaps[name] = overlaps.get(name, 0) + found[name]
        if "lesions" in found:
            kept += _recoveries(denoised, normal, found["lesions"])
    scores = {name: _psnr(torch.cat(values), torch.cat(peaks[name])) for name, values in errors.items()}
    for name, sums in overlaps.items():
        scores[f"dice_{name.removeprefix('overlap_')}"] = _dice(sums)
    if kept:
        scores["lesion_mean_bias"] = float(torch.tensor(kept).median()) - 1.0
    return scores


def _psnr(errors: torch.Tensor, peaks: torch.Tensor) -> float:
    usable = peaks > 0
    return float((10 * torch.log10(peaks[usable] ** 2 / errors[usable].clamp_min(1e-12))).mean())


def _dice(sums: torch.Tensor) -> float:
    """Mean over the classes that occur."""
    shared, found, true = sums.T
    there = true > 0
    return float((2 * shared[there] / (found + true)[there]).mean()) if there.any() else float("nan")


def _recoveries(denoised: torch.Tensor, normal: torch.Tensor, lesions: torch.Tensor) -> list[float]:
    """Mean in each patch's lesions over the normal-dose image's, where there are enough voxels to tell."""
    found = []
    for image, reference, mask in zip(denoised, normal, lesions > 0.5):
        if int(mask.sum()) >= 8 and float(reference[mask].mean()) > 0:
            found.append(float(image[mask].mean() / reference[mask].mean()))
    return found
