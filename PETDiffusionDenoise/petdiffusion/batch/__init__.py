"""Many cases: a manifest in, a folder per case and a summary table out; resumable, on one machine or a Ray cluster."""

from .jobs import refused, run_batch

__all__ = ["refused", "run_batch"]
