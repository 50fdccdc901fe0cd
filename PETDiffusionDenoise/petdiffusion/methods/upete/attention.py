"""CT-guided cross-attention (Eq. 2): where to look is read from the CT, what is seen there from the PET.

    out = softmax(Q_CT K_CT^T / sqrt(d) + B) V_PET,      Q, K, V by 1 x 1 x 1 convolutions

Over all tokens this grows with the square of the volume and depends on where a patch ends. Here voxels attend within
windows of 4 x 4 x 4 on the volume's own lattice, so that a patch gives what the whole gives: at the latent's own
resolution (8 mm for scans of 4 mm and f = 2) on the way down, and once more before the end with windows shifted by
half, across the borders of the first. B has one value for each offset and head.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...networks.blocks import VoxelNorm

WINDOW = 4
AT_ONCE = 1024
"""Windows in a call, so that their pairs of voxels take little memory and stay in the caches."""


class GuidedAttention(nn.Module):
    """Added to x, and nothing at first. `width` channels a head for queries and keys."""

    def __init__(self, channels: int, guide: int, heads: int = 4, width: int = 8, shifted: bool = False) -> None:
        super().__init__()
        self.heads, self.shift = heads, WINDOW // 2 if shifted else 0
        self.norm, self.guide_norm = VoxelNorm(channels), VoxelNorm(guide)
        self.query, self.key = (nn.Conv3d(guide, heads * width, 1) for _ in range(2))
        self.value, self.out = nn.Conv3d(channels, channels, 1), nn.Conv3d(channels, channels, 1)
        self.bias = nn.Parameter(torch.zeros(heads, (2 * WINDOW - 1) ** 3))
        self.register_buffer("pairs", offsets(), persistent=False)
        self.key.load_state_dict(self.query.state_dict())  # like tissues look alike from the start
        for parameter in self.out.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor, guide: Tensor) -> Tensor:
        seen, own = self._wide(self.guide_norm(guide)), self._wide(self.norm(x))
        query, key, value = (self._windows(layer(image)) for layer, image in
                             ((self.query, seen), (self.key, seen), (self.value, own)))  # fmt: skip
        bias = self.bias[:, self.pairs].to(query.dtype)
        parts = zip(query.split(AT_ONCE), key.split(AT_ONCE), value.split(AT_ONCE))
        mixed = torch.cat([mixture(*part, bias) for part in parts])
        return x + self.out(self._narrow(self._volume(mixed, own.shape[2:])))

    def _wide(self, x: Tensor) -> Tensor:
        return F.pad(x, [self.shift] * 6, mode="replicate") if self.shift else x

    def _narrow(self, x: Tensor) -> Tensor:
        s = self.shift
        return x[:, :, s:-s, s:-s, s:-s] if s else x

    def _windows(self, x: Tensor) -> Tensor:
        """(B * windows, heads, voxels of a window, channels of a head)."""
        for axis in (2, 4, 6):
            x = x.unflatten(axis, (-1, WINDOW))
        x = x.permute(0, 2, 4, 6, 3, 5, 7, 1).flatten(0, 3).flatten(1, 3)
        return x.unflatten(2, (self.heads, -1)).transpose(1, 2)

    def _volume(self, windows: Tensor, size: torch.Size) -> Tensor:
        """Back to (B, channels, z, y, x)."""
        x = windows.transpose(1, 2).flatten(2)
        z, y, x_ = (n // WINDOW for n in size)
        x = x.reshape(-1, z, y, x_, WINDOW, WINDOW, WINDOW, x.shape[-1]).permute(0, 7, 1, 4, 2, 5, 3, 6)
        return x.reshape(x.shape[0], x.shape[1], *size)


def mixture(query: Tensor, key: Tensor, value: Tensor, bias: Tensor) -> Tensor:
    """Written out: with a bias the library's call takes the way of masks, whose checks for rows that see nothing take
    longer on a CPU than the soft-max."""
    logits = (query / query.shape[-1] ** 0.5) @ key.transpose(-2, -1)
    return logits.add_(bias).softmax(-1) @ value


def offsets() -> Tensor:
    """(voxels, voxels): which offset lies between two voxels of a window."""
    axis = torch.arange(WINDOW)
    place = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(-1, 3)
    away = place[:, None] - place[None] + WINDOW - 1
    return (away * torch.tensor([(2 * WINDOW - 1) ** 2, 2 * WINDOW - 1, 1])).sum(-1)
