"""The whole AMDiff network: denoiser, revision and segmenter as one set of weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from ...networks.unet import UNet, UNetConfig
from .config import AmdiffConfig, SegmenterConfig
from .revision import Revision
from .segmenter import Segmenter

Logits = tuple[Tensor, Tensor]
DENOISER, SEGMENTER, LESIONS = "denoiser.", "segmenter.", "segmenter.lesions."


class AmdiffNetwork(nn.Module):
    """Called as the denoiser, or with `after=True` as what follows it. Built from the card's configuration."""

    def __init__(self, config: AmdiffConfig) -> None:
        super().__init__()
        self.joint = config.joint
        self.denoiser = UNet(UNetConfig.from_json(config.network))
        self.revision = Revision(config.revision_channels, config.cut_suv) if config.revision else None
        self.segmenter = Segmenter(SegmenterConfig(**config.segmenter)) if config.segments else None
        self.of_lesions: Segmenter | None = None
        """Another model's, where lesions are left to it."""

    @property
    def last(self) -> nn.Module:
        return self.denoiser.last

    def forward(self, x: Tensor, *args: Any, after: bool = False, **kwargs: Any) -> Any:
        return self.finish(x, *args, **kwargs) if after else self.denoiser(x, *args, **kwargs)

    def finish(self, denoised: Tensor, low: Tensor, skip: Tensor, scale: Tensor, coordinates: Tensor | None = None,
               hu: Tensor | None = None) -> tuple[Tensor, Logits | None]:  # fmt: skip
        """P_HCR and the logits of both branches (Eqs. 6 and 8), all images in SUV; see `Revision` for the rest."""
        revised = self.revised(denoised, low, skip, scale)
        if self.segmenter is None:
            return revised, None
        given = revised if self.joint else revised.detach()
        return revised, self.segmenter(given, low, coordinates, hu)

    def masks(self, revised: Tensor, low: Tensor, coordinates: Tensor, hu: Tensor | None = None) -> Logits:
        """Of lesions and organs, as they are drawn at work."""
        if self.of_lesions is None:
            return self.segmenter(revised, low, coordinates, hu)
        lesions = self.of_lesions.lesions(self.of_lesions.features(revised, low, coordinates))
        return lesions, self.segmenter.organs(self.segmenter.features(revised, low, coordinates, hu))

    def revised(self, denoised: Tensor, low: Tensor, skip: Tensor, scale: Tensor) -> Tensor:
        """Without the revision what was cut stays cut, as in the ablation of Table 4."""
        return denoised if self.revision is None else self.revision(denoised, low, skip, scale)

    def adopt(self, weights: Mapping[str, Tensor]) -> None:
        """Where a training begins: weights of such a network or of parts of it, of a denoiser or a segmenter alone."""
        own = self.state_dict()
        masks_alone = bool(weights) and all(name.startswith(SEGMENTER) for name in weights)
        if not masks_alone and not any(name.startswith(DENOISER) for name in weights):
            weights = {DENOISER + name: value for name, value in weights.items()}
        wrong = [n for n, value in weights.items() if n not in own or own[n].shape != value.shape]
        missing = [n for n in own if n.startswith(DENOISER) and n not in weights and not masks_alone]
        if wrong or missing:
            raise RuntimeError(f"{len(wrong)} parts do not fit and {len(missing)} of the denoiser are missing: "
                               f"{', '.join((wrong + missing)[:2])}")  # fmt: skip
        self.load_state_dict({**own, **weights})


def sizes(network: nn.Module) -> dict[str, int]:
    """Numbers of weights by part."""
    return {name: sum(p.numel() for p in part.parameters()) for name, part in network.named_children()}
