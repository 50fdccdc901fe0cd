"""A tiny compact CLIP with random weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from petdiffusion.errors import DependencyError
from petdiffusion.zoo.store import sha256
from safetensors.torch import save_file

ID, WIDTH = "pet-clip-tiny", 16
FACTS = {"version": "0", "summary": "random weights, for tests", "training_data": "none", "data_licence": "none",
         "licence": "none", "tracers": ["FDG"], "voxel_mm": [1, 9], "dose_fractions": [0.01, 1],
         "intended_use": "tests", "limits": "all"}  # fmt: skip
WORDS = ("Axial slice including liver, lungs, left kidney, right spleen", "1/10 dose FDG")


def open_clip_there() -> bool:
    """Whether it can be used."""
    from petdiffusion.methods.text_ddpm.clip import open_clip

    try:
        open_clip()
    except DependencyError:
        return False
    return True


def needed() -> None:
    if not open_clip_there():
        pytest.skip("open_clip_torch is not installed")


def write(folder: Path) -> dict[str, Any]:
    """Card and weights in a folder of models; returns what a denoising model's configuration says of it."""
    if not open_clip_there():
        return {"id": ID, "sha256": "0" * 64, "width": WIDTH, "tokens": 77}
    from petdiffusion.methods.text_ddpm.clip import ClipConfig, PetClip, vocabulary_of

    config = ClipConfig(vocabulary_of(WORDS), width=WIDTH, heads=2, layers=1, embed=8, channels=4)
    with torch.random.fork_rng():
        torch.manual_seed(3)
        network = PetClip(config)
    path = folder / f"{ID}.safetensors"
    save_file({name: value.half().contiguous() for name, value in network.state_dict().items()}, path)
    card = {**FACTS, "id": ID, "method": "pet-clip", "sha256": sha256(path), "bytes": path.stat().st_size,
            "config": config.to_json()}  # fmt: skip
    path.with_suffix(".json").write_text(json.dumps(card))
    return {"id": ID, "sha256": card["sha256"], "width": WIDTH, "tokens": 77}
