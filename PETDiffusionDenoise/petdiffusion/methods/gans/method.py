"""The four at work: one evaluation of each of two views; what they were taught by is left behind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ...infer.networks import Build, loaded
from ...infer.regression import denoised
from ...progress import Run
from ...zoo.choose import choose
from ..contract import Case, Output
from . import generators
from .config import FrequencyConfig, GanConfig, LocalityConfig, RectifiedConfig, TransformerConfig


def la_gan(case: Case, options: Mapping[str, Any], run: Run) -> Output:
    return _denoised("la-gan", case, LocalityConfig, generators.locality, run)


def trans_gan(case: Case, options: Mapping[str, Any], run: Run) -> Output:
    return _denoised("trans-gan", _alone(case), TransformerConfig, generators.transformer, run)


def df_gan(case: Case, options: Mapping[str, Any], run: Run) -> Output:
    return _denoised("df-gan", _alone(case), FrequencyConfig, generators.frequency, run)


def ar_gan(case: Case, options: Mapping[str, Any], run: Run) -> Output:
    return _denoised("ar-gan", _alone(case), RectifiedConfig, generators.rectified, run)


def _alone(case: Case) -> Case:
    """Shown the PET alone, as it learnt."""
    return replace(case, ct=None, mr=None)


def _denoised(name: str, case: Case, kind: type[GanConfig], build: Build, run: Run) -> Output:
    model = choose(name, case, run)
    return denoised(case, model, kind.from_json(model.card.config), loaded(model, build), run)
