"""Perceptual distance: mean squared difference of VGG-19's conv5_4 features, before the ReLU (CSRD, Eq. 7).

The weights are not part of the program and nothing is downloaded: give a local `.safetensors` or `.npz` file with the
16 convolutions of VGG-19 in order, named so that they sort by layer (torchvision's `features.0.weight` does). Two kinds
are known by their shapes: torchvision's, fed with ImageNet-normalised images, and the activation-normalised one used
for style transfer, which begins with its own 1x1 colour convolution and pads by reflection.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import DependencyError, InputError, ModelError, OptionError
from ..progress import Run
from .checks import finite_pair, mask_like, versions
from .image import chosen_range

if TYPE_CHECKING:
    import torch

WIDTHS = (64, 64, 128, 128, 256, 256, 256, 256, 512, 512, 512, 512, 512, 512, 512, 512)
POOLED_BEFORE = (2, 4, 8, 12)
"""Convolutions (counted from 0) that follow a 2x2 max pooling."""
IMAGENET_MEAN, IMAGENET_SD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SMALLEST = 16
HOW = (
    "Give the path of a .safetensors or .npz file with the convolutions of VGG-19 "
    "(torchvision's, saved as plain arrays)."
)


@dataclass(frozen=True)
class Vgg19:
    """The convolutions up to conv5_4 and where they came from."""

    weights: tuple[tuple[torch.Tensor, torch.Tensor], ...]
    colour: tuple[torch.Tensor, torch.Tensor] | None
    sha256: str

    @property
    def kind(self) -> str:
        return "VGG-19, ImageNet" if self.colour is None else "VGG-19, normalised activations"

    def features(self, grey: torch.Tensor) -> torch.Tensor:
        """conv5_4 of images in [0, 1], shape (slices, 1, rows, columns)."""
        from torch.nn import functional as F

        x = grey.expand(-1, 3, -1, -1)
        x = _imagenet(x) if self.colour is None else F.conv2d(x, *self.colour)
        for i, (weight, bias) in enumerate(self.weights):
            if i in POOLED_BEFORE:
                x = F.max_pool2d(x, 2, ceil_mode=self.colour is not None)
            x = (
                F.conv2d(x, weight, bias, padding=1)
                if self.colour is None
                else F.conv2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), weight, bias)
            )
            x = F.relu(x) if i < len(self.weights) - 1 else x
        return x


def load_vgg19(path: str | Path | None, device: str = "cpu") -> Vgg19:
    """Reads the weights; a missing or unfit file is a ModelError that says what to give."""
    if path is None or not Path(path).is_file():
        raise ModelError(
            "The perceptual distance needs weights of VGG-19" if path is None else f"File {path}",
            "they are not part of this program" if path is None else "does not exist",
            HOW,
        )
    arrays = _read_arrays(Path(path))
    names = sorted((n for n in arrays if n.endswith("weight") and arrays[n].ndim == 4), key=_natural)
    tensors = [_layer(arrays, name, Path(path), device) for name in names]
    colour = tensors.pop(0) if tensors and tuple(tensors[0][0].shape) == (3, 3, 1, 1) else None
    found = [tuple(weight.shape) for weight, _ in tensors[: len(WIDTHS)]]
    wanted = [(out, into, 3, 3) for into, out in zip((3, *WIDTHS), WIDTHS, strict=False)]
    if found != wanted:
        raise ModelError(f"File {path}", f"does not hold the 16 convolutions of VGG-19 (found {len(tensors)})", HOW)
    return Vgg19(tuple(tensors[: len(WIDTHS)]), colour, _sha256(Path(path)))


def perceptual_distance(
    image: np.ndarray,
    reference: np.ndarray,
    vgg: Vgg19,
    data_range: float | None = None,
    mask: np.ndarray | None = None,
    batch: int = 8,
    run: Run | None = None,
) -> dict[str, Any]:
    """Mean over axial slices of the features' mean squared error, images divided by the data range and cut to [0, 1].

    The mask sets the range and which slices count; slices are always compared whole.
    """
    image, reference = finite_pair(image, reference)
    if min(image.shape[1:]) < SMALLEST:
        raise InputError(
            f"Slices of {image.shape[1]} x {image.shape[2]} voxels",
            f"are too small for VGG-19, which halves them four times (at least {SMALLEST})",
            "Leave the perceptual distance out for this image.",
        )
    if batch < 1:
        raise OptionError(f"batch = {batch}", "must be at least 1", "The default is 8.")
    inside = mask_like(image, mask)
    peak = chosen_range(reference, inside, data_range)
    chosen = np.flatnonzero(inside.any(axis=(1, 2)))
    parts, errors, run = np.array_split(chosen, -(-len(chosen) // batch)), [], run or Run()
    for done, part in enumerate(parts):
        run.progress(done / len(parts))
        errors.append(_batch_errors(vgg, image[part], reference[part], peak))
    return {
        "perceptual_distance": float(np.mean(np.concatenate(errors))),
        "perceptual_slices": len(chosen),
        "perceptual_range": peak,
        "perceptual_network": f"{vgg.kind}, conv5_4 before ReLU",
        "perceptual_weights_sha256": vgg.sha256,
        "perceptual_library": versions("torch"),
    }


def slice_features(vgg: Vgg19, slices: np.ndarray, peak: float) -> torch.Tensor:
    """Features of slices divided by the data range and cut to [0, 1]; for whoever compares many with one reference."""
    import torch

    given = np.clip(slices / peak, 0, 1).astype(np.float32)
    with torch.inference_mode():
        return vgg.features(torch.from_numpy(given)[:, None].to(vgg.weights[0][0].device))


def _batch_errors(vgg: Vgg19, image: np.ndarray, reference: np.ndarray, peak: float) -> np.ndarray:
    first, second = slice_features(vgg, np.concatenate([image, reference]), peak).chunk(2)
    return ((first - second) ** 2).mean(dim=(1, 2, 3)).cpu().numpy()


def _imagenet(x: torch.Tensor) -> torch.Tensor:
    mean = x.new_tensor(IMAGENET_MEAN)[:, None, None]
    return (x - mean) / x.new_tensor(IMAGENET_SD)[:, None, None]


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as archive:
                return {name: archive[name] for name in archive.files}
        if path.suffix == ".safetensors":
            from safetensors.numpy import load_file

            return load_file(path)
    except ImportError as error:
        raise DependencyError("The package safetensors", "is not installed", "pip install safetensors") from error
    except Exception as error:
        raise ModelError(f"File {path}", f"cannot be read ({error})", HOW) from error
    raise ModelError(
        f"File {path}",
        "is neither .safetensors nor .npz; pickled files (.pt, .pth) can run code "
        "when they are opened and are not accepted",
        HOW,
    )


def _layer(arrays: dict[str, np.ndarray], name: str, path: Path, device: str) -> tuple[torch.Tensor, torch.Tensor]:
    try:
        import torch
    except ImportError as error:
        raise DependencyError("The package torch", "is not installed", "pip install torch") from error
    bias = arrays.get(name.removesuffix("weight") + "bias")
    if bias is None:
        raise ModelError(f"File {path}", f"has no bias for the layer {name}", HOW)
    return tuple(torch.from_numpy(np.array(a, np.float32)).to(device) for a in (arrays[name], bias))


def _natural(name: str) -> list[tuple[bool, int | str]]:
    return [(part.isdigit(), int(part) if part.isdigit() else part) for part in re.split(r"(\d+)", name)]


def _sha256(path: Path) -> str:
    import hashlib

    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
