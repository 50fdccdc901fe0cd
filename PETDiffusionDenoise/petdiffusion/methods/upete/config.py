"""Everything that defines a uPETe model; saved whole in its card. Table 1's ablations are variants of one config."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ...networks.config import Config

STAGES, DIFFUSIONS = ("autoencoder", "diffusion"), ("poisson", "gaussian", "both")


@dataclass(frozen=True)
class UpeteConfig(Config):
    """`network` are the fields of the latent UNet's configuration, `autoencoder` those of `AutoencoderConfig`."""

    NAME = "uPETe configuration"

    stage: str = "diffusion"
    """What is trained: the autoencoder, or the diffusion in the latents of one that is trained (`--from`)."""
    autoencoder: Mapping[str, Any] = field(default_factory=dict)
    network: Mapping[str, Any] = field(default_factory=dict)
    diffusion: str = "poisson"
    """`poisson`: Poisson deviates in the image's sinogram, then encoded. `gaussian`: white noise on the latent. `both`:
    half of the training each, and the network is told which."""
    guided: bool = True
    """CT-guided attention; without it the network has no place for a CT at all."""
    guide_channels: int = 8
    heads: int = 2
    drop_ct: float = 0.35
    """Chance that the CT is withheld in training, so that one network serves with and without."""
    T: int = 400
    top: float = 10.0
    """Strength of the noise at t = T, in SDs of the noise that normal-dose scans have themselves: 1/100 of the dose."""
    late: int = 160
    late_share: float = 0.5
    """Share of the training spent on steps up to `late` (1/17 of the dose)."""
    own_noise: bool = True
    """The scan's own noise is told apart from the signal under Poisson diffusion: see `parts.blended`."""
    filtered: bool = True
    """The network finds what a filter leaves, not the whole image."""
    hu: float = 80.0
    """With a CT the filter looks for like tissue: h of `parts.guided`. 0: the CT has no part in it."""
    match: float = 1.0
    """Factor on the noise level at which a low-count scan enters."""
    around_mm: float = 16.0
    floor: float = 0.05
    level_mm: float = 6.0
    """FWHM of the filter over which the noise level is measured."""
    structure: float = 0.78
    """Of what is measured as a normal-dose scan's noise, the part that is noise and no structure: on validation scans,
    against what a scan of 1/4 of the dose differs by."""
    weight_power: float = 0.5
    """The loss counts a voxel by its activity to this power."""
    perceptual: float = 0.1
    adversarial: float = 0.01
    kl: float = 1e-6
    normal_level: float | None = None
    """Noise of the training scans themselves; measured, as are the next two. None until then."""
    sigma_data: float | None = None
    latent_noise: float | None = None
    """SD in the latent of noise of level 1 in the image."""

    def __post_init__(self) -> None:
        self.refuse({
            f"stage = '{self.stage}' is not one of {', '.join(STAGES)}": self.stage not in STAGES,
            f"diffusion = '{self.diffusion}' is not one of {', '.join(DIFFUSIONS)}": self.diffusion not in DIFFUSIONS,
            f"late = {self.late} is not one of the {self.T} steps": not 1 <= self.late <= self.T,
            f"top = {self.top}, floor = {self.floor} or match = {self.match} is not above zero":
                min(self.top, self.floor, self.match) <= 0,
            "filtered needs an autoencoder with its linear shortcut":
                self.filtered and not self.autoencoder.get("shortcut", True),
        })  # fmt: skip


HALF, QUARTER = {"f": 2, "latent": 4, "channels": (8, 16)}, {"f": 4, "latent": 17, "channels": (8, 16, 24)}
LATENT = {"in_channels": 8, "out_channels": 4, "channels": 16, "multipliers": (1, 2), "blocks": 1,
          "resample": "light", "attention": False, "dropout": 0.0, "norm": "voxel", "vector": 2}  # fmt: skip
COMPACT = UpeteConfig(autoencoder=HALF, network=LATENT, diffusion="both")
F4 = replace(COMPACT, autoencoder=QUARTER, network={**LATENT, "in_channels": 34, "out_channels": 17,
                                                    "channels": 32, "multipliers": (1, 2)})  # fmt: skip
PAPER = UpeteConfig(
    autoencoder={"f": 4, "latent": 8, "channels": (32, 64, 128), "shortcut": False},
    network={**LATENT, "in_channels": 16, "out_channels": 8, "channels": 64, "multipliers": (1, 2, 4), "blocks": 2},
    guide_channels=32, heads=4, drop_ct=0.0, late=400, late_share=0.0, own_noise=False, filtered=False,
    weight_power=0.0, perceptual=1.0, adversarial=0.1,
)  # fmt: skip


CONFIGS: Mapping[str, UpeteConfig] = {
    "compact": COMPACT,
    "autoencoder": replace(COMPACT, stage="autoencoder"),
    "ldm-p-ct": replace(COMPACT, diffusion="poisson"),
    "ldm-p": replace(COMPACT, diffusion="poisson", guided=False),
    "ldm-ct": replace(COMPACT, diffusion="gaussian"),
    "ldm": replace(COMPACT, diffusion="gaussian", guided=False),
    "f4": F4,
    "f4-autoencoder": replace(F4, stage="autoencoder"),
    "paper": PAPER,
    "paper-autoencoder": replace(PAPER, stage="autoencoder"),
}
"""`ldm`, `ldm-p`, `ldm-ct` and `ldm-p-ct` are Table 1's, to be trained one by one. `compact` is all four in one
network: it learns both noises, told which, and the CT is withheld at random; a variant is that model run that way."""
