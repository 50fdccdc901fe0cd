"""Small models with random weights for every method that needs one: the code's laws hold whatever the weights are."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import torch
from petdiffusion import registry
from petdiffusion.methods.self_taught import lesson
from petdiffusion.zoo.store import sha256
from safetensors.torch import save_file

from support import clip

NETWORK = {"channels": 8, "multipliers": (1, 2), "blocks": 1, "resample": "light", "attention": False, "dropout": 0.0,
           "stem": 2, "norm": "voxel", "condition_channels": 7, "vector": 4}  # fmt: skip
CARD = {"version": "0", "summary": "random weights, for tests", "training_data": "none", "data_licence": "none",
        "licence": "none", "tracers": ["FDG"], "voxel_mm": [1, 9], "dose_fractions": [0.01, 1], "intended_use": "tests",
        "limits": "all"}  # fmt: skip
SLICE = {k: v for k, v in NETWORK.items() if k != "condition_channels"} | {"dims": 2, "vector": 1}
"""For methods that work on slices and are told nothing but the pixel size."""
PAIR = SLICE | {"vector": 2, "condition_channels": 4, "in_channels": 2, "out_channels": 2}
"""For methods that work on two slices at a time."""
LATENT = {k: v for k, v in NETWORK.items() if k != "condition_channels"} | {
    "in_channels": 8, "out_channels": 4, "stem": 1, "vector": 2}  # fmt: skip
"""For methods that work on a latent."""
SEGMENTER = {"channels": (4, 6, 8, 8), "mamba_blocks": 1, "state": 4, "expand": 1, "stem": 2, "coordinates": True}
RESTORMER = {"channels": (8, 16), "blocks": (1, 1), "heads": (1, 2), "refinement": 1, "expansion": 1.5, "stem": 2,
             "condition_channels": 7, "vector": 4}  # fmt: skip
SPACH = {**RESTORMER, "near": 3}
OWN = {"csrd": {"sigma_data": 0.8}, "amdiff": {"sigma_data": 0.8, "segmenter": SEGMENTER},
       "nnmamba": {"sigma_data": 0.8, "segmenter": SEGMENTER}, "med-ddpm-3d": {"sigma_data": 0.8},
       "bc-dpm": {"network": SLICE, "pixel_mm": (1.0, 9.0), "normal_counts": 5e6},
       "restormer": {"network": RESTORMER}, "spach-transformer": {"network": SPACH},
       "n2v-pt": {"network": {**lesson.SIZE, "dims": 2, "channels": 8}},
       "upete": {"network": LATENT, "normal_level": 0.06, "sigma_data": 2.0, "latent_noise": 1.5},
       "cycle-wgan": {"network": {**lesson.SIZE, "dims": 2, "channels": 8}},
       "ddpm-2.5d": {"network": PAIR}, "unet-2.5d": {"network": PAIR}}
"""What differs by method."""
WEIGHT = 0.02
"""Of the last layer, which starts at zero: residuals that are there, and small."""


def write_models(folder: Path, *methods: str) -> Path:
    """Of every method that needs one, or of those named."""
    OWN["text-ddpm"] = {"network": {**PAIR, "context": clip.WIDTH}, "encoder": clip.write(folder)}
    for card in registry.cards().values():
        if card.needs_model and (not methods or card.name in methods):
            _write(folder, card)
    return folder


def _write(folder: Path, card) -> None:
    module, name = card.trainer.split(":")
    changes = {"network": NETWORK, **OWN.get(card.name, {})}
    task = getattr(importlib.import_module(module), name)(changes=changes)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        network = task.network()
        torch.nn.init.normal_(network.last.weight, std=WEIGHT)
    path = folder / f"{card.name}-tiny.safetensors"
    save_file({k: v.half().contiguous() for k, v in network.state_dict().items()}, path)
    facts = {**CARD, "id": f"{card.name}-tiny", "method": card.name, "sha256": sha256(path),
             "bytes": path.stat().st_size, "config": dict(task.config)}  # fmt: skip
    path.with_suffix(".json").write_text(json.dumps(facts))
