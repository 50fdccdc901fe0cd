"""The compact CLIP for PET: open_clip's text transformer at small width, and a small image tower for PET slices.

It has CLIP's byte-pair vocabulary, but of its 49,408 embeddings only the rows of words that prompts are made of: those
of words it never saw in training would mean nothing. A word without a row is read as "unknown", and can be named.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...errors import DependencyError
from ...networks.blocks import ResidualBlock, convolution, half_size, space_to_depth
from ...networks.config import Config
from ...packages import to_install
from .prompts import MAX_TOKENS

PIXEL_MM, SIZE = 6.0, (64, 96)
"""Pictures of slices that the image tower sees: (y, x) pixels of so many mm."""
PAD, UNKNOWN = 0, 1
"""Rows of the embedding beside those of the vocabulary; the end of a text has the last row, as CLIP's pooling asks."""


TORCHVISION = ("nms", "qnms")
"""Operators that torchvision asks for while it is imported."""
_declared: list[torch.library.Library] = []
"""Operators live as long as their library."""


def open_clip() -> Any:
    """The library, imported only where a text is read."""
    try:
        return _imported()
    except (ImportError, RuntimeError) as error:
        raise DependencyError("open_clip_torch", f"cannot be used here ({str(error)[:80]})",
                              f"{to_install('open_clip_torch')}.") from None  # fmt: skip


def _imported() -> Any:
    """open_clip imports torchvision for pictures, of which texts need nothing. One that was built for another torch
    (a processor's beside a graphics card's, as installing by hand leaves them) cannot load its operators and stops
    there; declared without a body they stand in the way of nothing."""
    try:
        import open_clip as library
    except RuntimeError as error:
        if "torchvision::" not in str(error) or _declared:
            raise
        _declared.append(torch.library.Library("torchvision", "DEF"))
        for name in TORCHVISION:
            _declared[0].define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        import open_clip as library
    return library


@cache
def tokenizer() -> Any:
    """CLIP's; building it takes half a second."""
    return open_clip().get_tokenizer("ViT-B-32")


def tokenized(texts: Sequence[str]) -> Tensor:
    """CLIP's own ids (n, 77), with marks of begin and end; cut at 77."""
    return tokenizer()(list(texts))


def token_count(text: str) -> int:
    """With both marks, uncut."""
    return len(tokenizer().encode(text)) + 2


def vocabulary_of(texts: Iterable[str]) -> tuple[int, ...]:
    """Ids of all tokens of these texts but the end mark, which comes by itself."""
    found = {token for text in texts for token in tokenizer().encode(text)}
    return tuple(sorted(found | {tokenizer().sot_token_id}))


def rows_of(ids: Tensor, vocabulary: Sequence[int]) -> Tensor:
    """Rows of the embedding for CLIP's ids (n, 77); PAD after the end."""
    known = torch.tensor(vocabulary)
    place = torch.searchsorted(known, ids).clamp(max=len(known) - 1)
    rows = torch.where(known[place] == ids, place + 2, UNKNOWN)
    end = ids == tokenizer().eot_token_id
    rows[end] = len(known) + 2
    return torch.where(end.cumsum(1) - end.long() > 0, PAD, rows)


def sequence_of(tower: nn.Module, tokens: Tensor) -> Tensor:
    """What a CLIP text tower makes of each token (n, length, width). Each sees only those before it, so tokens after
    the end of every text can be left out."""
    length = tokens.shape[1]
    x = tower.token_embedding(tokens) + tower.positional_embedding[:length]
    return tower.ln_final(tower.transformer(x, attn_mask=tower.attn_mask[:length, :length]))


@dataclass(frozen=True)
class ClipConfig(Config):
    """Saved whole in the model's card."""

    NAME = "Configuration of the text encoder"

    vocabulary: tuple[int, ...] = ()
    """CLIP's ids of the kept rows, rising."""
    width: int = 128
    heads: int = 4
    layers: int = 2
    embed: int = 128
    channels: int = 16

    def __post_init__(self) -> None:
        object.__setattr__(self, "vocabulary", tuple(int(v) for v in self.vocabulary))


class PetClip(nn.Module):
    """Two towers: `look` at pictures, `read` texts, `logits` of every picture with every text."""

    def __init__(self, config: ClipConfig) -> None:
        super().__init__()
        self.config = config
        library = open_clip()
        self.text = library.transformer.TextTransformer(
            context_length=MAX_TOKENS, vocab_size=len(config.vocabulary) + 3, width=config.width, heads=config.heads,
            layers=config.layers, output_dim=config.embed, output_tokens=True,
        )  # fmt: skip
        self.image = ImageTower(config.channels, config.embed)
        self.scale = nn.Parameter(torch.tensor(math.log(10.0)))
        self.bias = nn.Parameter(torch.tensor(-5.0))

    def rows(self, ids: Tensor) -> Tensor:
        return rows_of(ids, self.config.vocabulary)

    def forward(self, batch: Mapping[str, Tensor]) -> Tensor:
        """The training loss of a batch: a module's own call is what the training loop wraps."""
        from .clip_task import contrastive

        return contrastive(self, batch)

    def read(self, rows: Tensor, shorten: bool = False) -> tuple[Tensor, Tensor]:
        """Unit vectors (n, embed), and the sequence (n, 77, width); `shorten` stops at the end of the longest text."""
        length = int((rows != PAD).sum(1).max()) if shorten else rows.shape[1]
        sequence = sequence_of(self.text, rows[:, :length])
        ends = sequence[torch.arange(len(rows)), rows[:, :length].argmax(1)]
        return F.normalize(ends @ self.text.text_projection, dim=-1), sequence

    def look(self, images: Tensor) -> Tensor:
        """Unit vectors (n, embed) of pictures (n, 1, 64, 96)."""
        return F.normalize(self.image(images), dim=-1)

    def logits(self, images: Tensor, texts: Tensor) -> Tensor:
        """(images, texts) from unit vectors."""
        return self.scale.exp() * images @ texts.T


class ImageTower(nn.Module):
    """Residual blocks on a picture; `features` keeps its map, from which a heat map can be made."""

    def __init__(self, channels: int, embed: int) -> None:
        super().__init__()
        self.first = convolution(2, 4, channels)
        widths = (channels, 2 * channels, 4 * channels)
        self.blocks = nn.ModuleList(
            ResidualBlock(2, a, b, 0) for a, b in zip((channels, *widths[:-1]), widths)
        )
        self.last = ResidualBlock(2, widths[-1], widths[-1], 0)
        self.out = nn.Linear(widths[-1], embed)

    def features(self, images: Tensor) -> Tensor:
        """(n, channels, 16, 24)"""
        h = self.first(space_to_depth(images, 2))
        for number, block in enumerate(self.blocks):
            h = block(half_size(h) if number == 1 else h)
        return F.silu(self.last(h))

    def pooled(self, features: Tensor) -> Tensor:
        return self.out(features.mean((2, 3)))

    def forward(self, images: Tensor) -> Tensor:
        return self.pooled(self.features(images))


def pictures(slices: Tensor, pixel_mm: tuple[float, float]) -> Tensor:
    """(n, 1, 64, 96) from slices of SUV (n, y, x) with pixels of (y, x) mm: their roots, about the middle."""
    image = slices.float().clamp(min=0).sqrt()[:, None] - 1.0
    size = [max(1, round(n * step / PIXEL_MM)) for n, step in zip(image.shape[2:], pixel_mm)]
    image = F.interpolate(image, size=size, mode="bilinear", antialias=True, align_corners=False)
    return _centred(image, SIZE, -1.0)


def _centred(image: Tensor, size: tuple[int, int], fill: float) -> Tensor:
    """Cut or continued by air on both sides alike."""
    missing = [wanted - n for wanted, n in zip(size, image.shape[2:])]
    (top, bottom), (left, right) = ((m // 2, m - m // 2) for m in missing)
    return F.pad(image, [left, right, top, bottom], value=fill)


def spread(heat: Tensor, size: tuple[int, int], pixel_mm: tuple[float, float]) -> Tensor:
    """The way back: a map over the picture (n, h, w) onto slices of this size in pixels of (y, x) mm."""
    fine = F.interpolate(heat[:, None], size=SIZE, mode="bilinear", align_corners=False)
    picture = [max(1, round(n * step / PIXEL_MM)) for n, step in zip(size, pixel_mm)]
    whole = _centred(fine, tuple(picture), 0.0)
    return F.interpolate(whole, size=size, mode="bilinear", align_corners=False)[:, 0]
