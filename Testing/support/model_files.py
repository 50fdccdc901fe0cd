"""Models that are sound files and nothing more."""

import json

import numpy as np
from petdiffusion.zoo import store
from safetensors.numpy import save_file

CARD = {
    "method": "csrd", "version": "1", "summary": "a test", "training_data": "none", "data_licence": "none",
    "licence": "Apache-2.0", "tracers": ["FDG"], "voxel_mm": [2.0, 4.0], "dose_fractions": [0.05, 0.5],
    "intended_use": "research", "limits": "none",
}  # fmt: skip


def make_model(folder, id_="tiny", **changes):
    folder.mkdir(parents=True, exist_ok=True)
    weights = folder / f"{id_}.safetensors"
    save_file({"w": np.arange(6, dtype=np.float16)}, weights)
    card = {**CARD, "id": id_, "sha256": store.sha256(weights), "bytes": weights.stat().st_size, **changes}
    (folder / f"{id_}.json").write_text(json.dumps(card))
    return weights
