"""What follows the diffusion, on a whole scan: the revision, and the segmenter with what its probabilities make."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...diffusion.conditions import Conditions
from ...infer.again import policy_for
from ...infer.blend import blended
from ...infer.patches import PatchRules
from ...infer.views import two_views, two_views_at_once
from ...progress import Run
from ..contract import Case
from .config import ORGANS, AmdiffConfig, SegmenterConfig
from .masks import GOES_ON, LEFT_OUT, Masks, masks_of
from .network import AmdiffNetwork
from .places import named, warn
from .scan import Scan

OVERLAP = 16
SMALL = 64
"""Patches up to this side are seen in both views at once; larger ones would take memory that a card may lack."""
CONTRAST = "contrast"


@dataclass(eq=False)
class After:
    """The network's second half for one scan."""

    network: AmdiffNetwork
    config: AmdiffConfig
    scan: Scan
    case: Case
    options: Mapping[str, Any]
    run: Run

    def __post_init__(self) -> None:
        self.policy = policy_for(self.run)
        self.left_out = named(self.options.get("leave_out") or "", self.case)
        self.regions_left_out = {GOES_ON: 0, LEFT_OUT: 0}

    def revised(self, x: Tensor) -> np.ndarray:
        """P_HCR in SUV from diffused values of the whole scan."""
        denoised, units = self.scan.suv(x), self.scan.units
        if self.network.revision is None:
            return units.with_what_was_cut(denoised)[0, 0].numpy()
        self.policy.place(self.network)
        images = torch.cat((denoised, *(part.expand_as(denoised) for part in units.seen())), 1)
        rules = PatchRules(multiple=1, largest=self.config.window, overlap=8)
        plain = denoised + (units.skip - units.cut).clamp_min(0)

        def revise(cond: Conditions) -> Tensor:
            return self.network.revised(*cond.images.split(1, 1))

        found = blended(revise, Conditions(images=images), rules, self.policy, self.run, channels=1,
                        body=self.case.body, fallback=plain)  # fmt: skip
        return found[0].numpy()

    def segmented(self, revised: np.ndarray) -> Masks:
        """Both branches, from the patches of two views."""
        self.policy.place(self.network)
        image, units = torch.from_numpy(revised)[None, None], self.scan.units
        seen = [units.as_cut(image) if self.network.revision is None else image, units.low]
        seen += [torch.tensor(self.case.ct.array)[None, None]] if self.config.sees_ct else []
        images = torch.cat(seen, 1)
        rules = PatchRules(multiple=SegmenterConfig(**self.config.segmenter).multiple, largest=self.config.window,
                           overlap=OVERLAP)  # fmt: skip

        views = two_views_at_once if self.config.window <= SMALL else two_views

        def probabilities(cond: Conditions) -> Tensor:
            return views(self._probabilities, cond)

        found = blended(probabilities, Conditions(images=images, coordinates=True), rules, self.policy, self.run,
                        channels=1 + len(ORGANS), body=self.case.body)  # fmt: skip
        by = revised if self._borders == CONTRAST else None
        masks = masks_of(found.numpy(), self.case, self._threshold, self._smallest, self.left_out, by, self._alone,
                         self.config.surely)  # fmt: skip
        warn(masks.places, self.run)
        self._tell(masks)
        return masks

    def _tell(self, masks: Masks) -> None:
        self.regions_left_out = {reason: masks.left_out_by(reason) for reason in self.regions_left_out}
        if count := self.regions_left_out[GOES_ON]:
            several = count > 1
            self.run.warn(f"{count} marked region{'s were' if several else ' was'} not taken for "
                          f"{'lesions' if several else 'a lesion'}: the uptake goes on beyond, as bowel's, muscle's or "
                          f"brown fat's does. {'They are' if several else 'It is'} listed among the marks left out; "
                          f"alone=false keeps {'them' if several else 'it'}.")  # fmt: skip

    def _probabilities(self, cond: Conditions) -> Tensor:
        revised, low, *hu = cond.images[:, :-3].split(1, 1)
        lesions, organs = self.network.masks(revised, low, cond.images[:, -3:], *hu)
        return torch.cat((lesions.float().sigmoid(), organs.float().softmax(1)[:, 1:]), 1)

    @property
    def _borders(self) -> str:
        return self.options.get("borders", CONTRAST)

    @property
    def _alone(self) -> bool:
        return bool(self.options.get("alone", True))

    @property
    def _threshold(self) -> float:
        return self.config.threshold if self.options.get("threshold") is None else self.options["threshold"]

    @property
    def _smallest(self) -> float:
        return self.config.smallest_ml if self.options.get("smallest_ml") is None else self.options["smallest_ml"]

    def details(self) -> dict[str, Any]:
        """For the run record."""
        if not self.config.segments:
            return {}
        return {"lesion_threshold": self._threshold, "smallest_lesion_ml": self._smallest,
                "lesion_borders": self._borders, "regions_left_out": self.regions_left_out[LEFT_OUT],
                "regions_going_on": self.regions_left_out[GOES_ON]}  # fmt: skip
