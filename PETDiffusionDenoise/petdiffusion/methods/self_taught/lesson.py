"""What the methods have in common: patches of one scan, a few hundred steps of learning, the whole scan at the end."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from ...infer.again import policy_for
from ...infer.device import Policy
from ...infer.patches import cut
from ...infer.seeds import sample_generator
from ...infer.tiles import Box, whole_box
from ...networks.by_slice import BySlice
from ...networks.unet import UNet, UNetConfig
from ...prepare.frame import Frame
from ...progress import Run

PATCH, BATCH = 48, 4
RATE, PAINTING_RATE = 2e-3, 8e-3
"""Of what starts from a good guess, and of what paints from nothing."""
APART_MM = 20.0
"""Slices as far apart as this have nothing in common: each is worked on by itself."""
THIN = 32
"""Voxels. Of patches with a shorter side CPUs gave gradients in bfloat16 that were no numbers (oneDNN, weights of the
first convolution); of full patches they did not."""
SIZE = {"channels": 16, "multipliers": (1, 2), "blocks": 1, "resample": "light", "attention": False, "dropout": 0.0,
        "stem": 2, "noise": False, "norm": "voxel"}  # fmt: skip
"""Of the networks."""
LEARNT = 0.9
"""Share of the time that learning takes."""


@dataclass(frozen=True, eq=False)
class Patches:
    """Patches around random voxels of the body. Images are (channels, z, y, x), all of the frame's size."""

    places: np.ndarray
    """Voxels of the body, (n, 3)."""
    whole: Box
    """The frame, rounded up to the network's multiple."""
    multiple: int
    generator: torch.Generator

    @classmethod
    def of(cls, frame: Frame, multiple: int, generator: torch.Generator) -> Patches:
        body = frame.body if frame.body.any() else np.ones_like(frame.body)
        return cls(np.argwhere(body), whole_box(body.shape, (multiple,) * 3), multiple, generator)

    @property
    def thin(self) -> bool:
        return min(self.whole.size) < THIN

    def draw(self) -> list[Box]:
        """On the lattice of the network's multiple, within the frame."""
        rows = torch.randint(len(self.places), (BATCH,), generator=self.generator)
        return [self._around(self.places[row]) for row in rows]

    def _around(self, place: np.ndarray) -> Box:
        size = np.minimum(PATCH // self.multiple * self.multiple, self.whole.size)
        start = np.clip(place - size // 2, 0, np.subtract(self.whole.size, size)) // self.multiple * self.multiple
        return Box(tuple(int(s) for s in start), tuple(int(n) for n in size))


def cut_all(image: Tensor, boxes: list[Box]) -> Tensor:
    """(patches, channels, z, y, x); beyond its end the scan goes on like a mirror."""
    return torch.stack([cut(image, box) for box in boxes])


def unet(frame: Frame, run: Run, in_channels: int = 1) -> nn.Module:
    """Small, as there is one scan to learn from; on blocks of 2 x 2 x 2 voxels, which makes it three times faster."""
    config = UNetConfig(**SIZE, in_channels=in_channels)
    if frame.spacing[0] < APART_MM:
        return begun(run, lambda: UNet(config))
    return begun(run, lambda: BySlice(UNet(replace(config, dims=2))))


def begun(run: Run, build: Callable[[], nn.Module]) -> nn.Module:
    """A network with the first values that the run's seed gives; the global generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(run.seed)
        return build()


def randomness(run: Run) -> torch.Generator:
    return sample_generator(run.seed, 0)


def mean_square(error: Tensor, counts: Tensor) -> Tensor:
    """Over the voxels that count."""
    return (error.square() * counts).sum() / counts.sum().clamp_min(1)


def learn(network: nn.Module, loss: Callable[[Policy], Tensor], steps: int, run: Run,
          enough: Callable[[float], bool] | None = None, rate: float = RATE, clip: float = math.inf,
          exact: bool = False) -> None:  # fmt: skip
    """Trains in place by the loss of fresh patches, until `enough` of what the loss has come down to. `clip`: longer
    gradients are cut to this length. `exact`: in single precision."""
    policy = policy_for(run)
    policy = replace(policy, bf16=policy.bf16 and not exact)
    network.to(policy.device).train()
    optimiser = torch.optim.AdamW(network.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=max(steps, 2))
    level = float("inf")
    for step in range(steps):
        run.progress(step / steps)
        found = loss(policy)
        optimiser.zero_grad()
        found.backward()
        if nn.utils.clip_grad_norm_(network.parameters(), clip).isfinite():
            optimiser.step()
        schedule.step()
        level = found.item() if step == 0 else 0.95 * level + 0.05 * found.item()
        if enough is not None and enough(level):
            break
    network.eval()
