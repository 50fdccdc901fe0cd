"""Denoise low-count PET. `petdiffusion.denoise(pet, method=...)` is the whole program in one call.

Importing this package is cheap: it loads neither torch nor an image library. For research use only.
"""

from __future__ import annotations

from typing import Any

__version__ = "0.1.0"
__all__ = ["LabelMap", "PETDiffusionError", "Volume", "__version__", "compare", "convert", "denoise",
           "denoise_frames", "quantify", "run_batch", "segment"]  # fmt: skip

_HOMES = {"denoise": "run", "denoise_frames": "dynamic", "segment": "segmenting", "quantify": "quantifying",
          "compare": "quantifying", "convert": "quantifying", "run_batch": "batch", "Volume": "volume",
          "LabelMap": "volume", "PETDiffusionError": "errors"}  # fmt: skip
"""No function has a module's name: that would take its place once anything imports it."""


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'petdiffusion' has no attribute '{name}'")
    from importlib import import_module

    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
