"""Dynamic and gated PET: every frame denoised, and their curves over time."""

from .study import denoise_frames

__all__ = ["denoise_frames"]
