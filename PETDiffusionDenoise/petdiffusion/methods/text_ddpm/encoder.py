"""Text encoders behind one interface. A denoising model names by id and SHA-256 the one that it was trained with."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from ...errors import ModelError
from ...infer.networks import loaded
from ...zoo import store
from .clip import ClipConfig, PetClip, open_clip, sequence_of, token_count, tokenized, tokenizer
from .encoder_ids import METHOD, VIT_B_32
from .prompts import MAX_TOKENS

FILE = "PETDIFFUSION_CLIP"
"""Environment variable with the path of CLIP ViT-B/32's weights."""
BATCH = 64


class TextEncoder(Protocol):
    """Reads prompts. `width` is that of the sequence it gives."""

    id: str
    sha256: str
    width: int

    def count(self, text: str) -> int:
        """Tokens of a text, marks included."""
        ...

    def encode(self, texts: Sequence[str]) -> Tensor:
        """(n, 77, width), float32."""
        ...

    def unknown(self, texts: Sequence[str]) -> list[str]:
        """Words that it has no row for."""
        ...


class _Counting(ABC):
    def count(self, text: str) -> int:
        return token_count(text)

    @torch.no_grad()
    def encode(self, texts: Sequence[str]) -> Tensor:
        """Every text once, however often it comes."""
        once = list(dict.fromkeys(texts))
        found = torch.cat([self._sequence(once[i : i + BATCH]) for i in range(0, len(once), BATCH)])
        place = {text: number for number, text in enumerate(once)}
        return found[[place[text] for text in texts]]

    @abstractmethod
    def _sequence(self, texts: Sequence[str]) -> Tensor:
        """(n, 77, width) of at most `BATCH` texts."""

    def unknown(self, texts: Sequence[str]) -> list[str]:
        return []


class CompactClip(_Counting):
    """The bundled one, or another that was trained here."""

    def __init__(self, model: store.Model) -> None:
        self.id, self.sha256 = model.card.id, model.card.sha256
        self.clip = loaded(model, _built, "The text encoder's weights")
        self.width = self.clip.config.width

    @property
    def look(self) -> PetClip:
        """Both towers: it can tell what an image shows."""
        return self.clip

    def _sequence(self, texts: Sequence[str]) -> Tensor:
        return self.clip.read(self.clip.rows(tokenized(texts)))[1].float()

    def unknown(self, texts: Sequence[str]) -> list[str]:
        known = set(self.clip.config.vocabulary)
        words = dict.fromkeys(word for text in texts for word in text.replace(",", " ").replace(".", " ").split())
        return [word for word in words if not set(tokenizer().encode(word)) <= known]


class ClipFile(_Counting):
    """CLIP ViT-B/32 through open_clip, its weights from a file of the user's; nothing is downloaded."""

    id, width = VIT_B_32, 512

    def __init__(self, path: str | Path) -> None:
        path = Path(path).expanduser()
        if not path.is_file():
            raise ModelError(f"CLIP's weights {path.name}", "are not there", f"Say where they are with ${FILE}.")
        self.sha256 = store.sha256(path)
        self.clip = _vit_b_32(str(path))

    def _sequence(self, texts: Sequence[str]) -> Tensor:
        return sequence_of(self.clip, tokenized(texts)).float()


def encoder(wanted: str | Mapping[str, Any]) -> TextEncoder:
    """By id or path of its model, or as a denoising model's card names it, and then the very same one."""
    if not isinstance(wanted, str):
        found = encoder(wanted["id"])
        if found.sha256 != wanted["sha256"]:
            raise ModelError(
                f"Text encoder {found.id}",
                f"is another one (SHA-256 {found.sha256[:12]}…) than the model was trained with "
                f"({wanted['sha256'][:12]}…)",
                "Put that encoder in place, or use a model that was trained with this one.",
            )
        return found
    if wanted == VIT_B_32:
        if not os.environ.get(FILE):
            raise ModelError("CLIP ViT-B/32", f"has no file here: ${FILE} is not set",
                             "No registry carries its weights: get them yourself, or use a compact model.")  # fmt: skip
        return ClipFile(os.environ[FILE])
    return CompactClip(store.find(wanted, METHOD))


def facts(encoder_: TextEncoder) -> dict[str, Any]:
    """What a model's configuration keeps of its encoder."""
    return {"id": encoder_.id, "sha256": encoder_.sha256, "width": encoder_.width, "tokens": MAX_TOKENS}


def _built(config: Mapping[str, Any]) -> PetClip:
    return PetClip(ClipConfig.from_json(config))


@cache
def _vit_b_32(path: str) -> Any:
    try:
        return open_clip().create_model("ViT-B-32-quickgelu", pretrained=path).eval()
    except (RuntimeError, OSError, KeyError, ValueError) as error:
        raise ModelError(f"CLIP's weights {Path(path).name}", f"cannot be used ({str(error)[:120]})",
                         "Give ViT-B/32's own file, as safetensors or as plain weights.") from None  # fmt: skip
