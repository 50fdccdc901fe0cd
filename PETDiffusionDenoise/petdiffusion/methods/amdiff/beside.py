"""Masks on the images of a model that is ready: its denoiser and revision as they are, a segmenter of one's own.

Such a model's file holds the segmenter alone, and where lesions are left to the base it needs no decoder of them. It
says on which model's images it was taught, by id and SHA-256: on another's it would be wrong without a sign of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from ...errors import ModelError
from ...infer.networks import loaded
from ...zoo import store
from ...zoo.store import Model
from .config import AmdiffConfig, SegmenterConfig
from .network import LESIONS, SEGMENTER, AmdiffNetwork
from .segmenter import Segmenter


def config_on(config: AmdiffConfig) -> AmdiffConfig:
    """The base's configuration with this one's segmenter, as a training begins."""
    base = store.find(config.beside["id"], "amdiff").card
    return replace(AmdiffConfig.from_json(base.config), segmenter=config.segmenter, lesions_by=config.lesions_by,
                   surely=config.surely, warm_from=None, beside={"id": base.id, "sha256": base.sha256})  # fmt: skip


def base_of(config: AmdiffConfig) -> Model:
    base = store.find(config.beside["id"], "amdiff")
    if base.card.sha256 != config.beside["sha256"]:
        raise ModelError(f"Model {base.card.id}", "is not the one on whose images the masks were taught "
                         f"({base.card.sha256[:12]}…, not {config.beside['sha256'][:12]}…)",
                         "Use both as they came together.")  # fmt: skip
    return base


def frozen(network: AmdiffNetwork, config: AmdiffConfig) -> AmdiffNetwork:
    """The network with the base's denoiser and revision, which learn no more."""
    from safetensors.torch import load_file

    weights = {n: v.float() for n, v in load_file(base_of(config).weights).items() if not n.startswith(SEGMENTER)}
    network.adopt(weights)
    for name, value in network.named_parameters():
        value.requires_grad_(name.startswith(SEGMENTER))
    return network


def joined(model: Model, config: AmdiffConfig, whole: AmdiffNetwork) -> AmdiffNetwork:
    """The base's network with the model's segmenter in the place of its own; the parts are shared, not copied."""
    network = AmdiffNetwork(replace(config, segmenter=None))
    network.denoiser, network.revision = whole.denoiser, whole.revision
    network.segmenter = loaded(model, _segmenter).segmenter
    network.of_lesions = whole.segmenter if config.lesions_by == "base" else None
    return network.eval()


class _Only(nn.Module):
    """What the file holds, under its names there; a decoder of lesions that nobody asks stays there."""

    def __init__(self, segmenter: Segmenter, draws_lesions: bool) -> None:
        super().__init__()
        self.segmenter = segmenter
        if not draws_lesions:
            segmenter.lesions = None

    def load_state_dict(self, weights: Mapping[str, Tensor], *args: Any, **kwargs: Any) -> Any:
        if self.segmenter.lesions is None:
            weights = {name: value for name, value in weights.items() if not name.startswith(LESIONS)}
        return super().load_state_dict(weights, *args, **kwargs)


def _segmenter(config: Mapping[str, Any]) -> _Only:
    return _Only(Segmenter(SegmenterConfig(**config["segmenter"])), config.get("lesions_by") != "base")
