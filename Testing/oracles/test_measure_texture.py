"""Haralick and perceptual distances against mahotas, direct arithmetic and torch modules built another way."""

from __future__ import annotations

import hashlib

import mahotas
import numpy as np
import pytest
import torch
from petdiffusion.errors import InputError, ModelError
from petdiffusion.measure.perceptual import WIDTHS, load_vgg19, perceptual_distance
from petdiffusion.measure.texture import TextureSettings, feature_distance, haralick_distance, quantise
from scipy.ndimage import gaussian_filter
from torch import nn


@pytest.fixture(scope="module")
def pair():
    rng = np.random.default_rng(2)
    reference = 10 * gaussian_filter(rng.random((3, 40, 36)), (0, 2, 2))
    return reference + rng.normal(0, 0.2, reference.shape), reference


def test_quantisation_by_hand():
    assert quantise(np.array([-1.0, 0.0, 0.99, 1.0, 3.99, 4.0, 9.0]), 0.0, 4.0, 4).tolist() == [0, 0, 0, 1, 3, 3, 3]
    with pytest.raises(InputError):
        quantise(np.zeros(3), 1.0, 1.0)


def test_both_forms_by_hand():
    formula, absolute, left_out = feature_distance(np.array([2.0, 1.0, 5.0]), np.array([1.0, 4.0, 0.0]))
    # relative differences 1 and -0.75; the third has a zero denominator
    assert (formula, absolute, left_out) == (pytest.approx(1.25), pytest.approx(1.75), 1)


def test_distance_is_mahotas_slice_by_slice(pair):
    image, reference = pair
    high = reference.max()
    expected = []
    for a, b in zip(image, reference):
        greys = [np.minimum(np.clip(s, 0, None) / high * 256, 255).astype(np.uint8) for s in (a, b)]
        # Without return_mean mahotas gives each direction; their mean is taken here.
        h_image, h_reference = (mahotas.features.haralick(g, distance=1).mean(axis=0) for g in greys)
        expected.append(np.sqrt((((h_image - h_reference) / h_reference) ** 2).sum()))
    row = haralick_distance(image, reference)
    assert row["Haralick_distance"] == pytest.approx(np.mean(expected), rel=1e-9)
    assert row["Haralick_absolute"] > row["Haralick_distance"]
    assert (row["Haralick_slices"], row["Haralick_flat_slices"]) == (3, 0)
    assert "mahotas" in row["Haralick_library"]


def test_a_kept_reference_changes_nothing_and_another_one_is_measured_anew(pair):
    image, reference = pair
    first, again, other = (haralick_distance(image, r) for r in (reference, reference.copy(), reference[::-1].copy()))
    assert first == again and first["Haralick_distance"] != other["Haralick_distance"]


def test_equal_images_have_no_distance_and_flat_slices_are_counted(pair):
    _, reference = pair
    flat = reference.copy()
    flat[1] = 2.0
    row = haralick_distance(flat, flat)
    assert row["Haralick_distance"] == 0 and row["Haralick_flat_slices"] == 1 and row["Haralick_slices"] == 2
    only = haralick_distance(np.full((2, 8, 8), 3.0), np.full((2, 8, 8), 2.0))
    assert only["Haralick_distance"] is None and only["Haralick_flat_slices"] == 2


def test_a_mask_hides_what_is_outside(pair):
    image, reference = pair
    mask = np.zeros(reference.shape, bool)
    mask[:, 8:30, 8:30] = True
    mask[:, 15:22, 15:22] = False  # a hole, so that no box around the mask can hide the outside
    changed = np.where(mask, image, 99.0)
    first, second = (haralick_distance(i, reference, mask) for i in (image, changed))
    assert first["Haralick_distance"] == second["Haralick_distance"] > 0


def test_slices_too_thin_for_a_direction_are_left_out_and_counted(pair):
    """The top of a head may be a few voxels: without neighbours in every direction there are no features."""
    image, reference = pair
    mask, settings = np.zeros(image.shape, bool), TextureSettings(high=float(reference.max()))
    mask[0, 4:12, 4:12] = True
    alone = haralick_distance(image, reference, mask, settings)
    mask[1, 5, 5:7] = True  # side by side
    mask[2, [5, 9], [5, 9]] = True  # far apart
    row = haralick_distance(image, reference, mask, settings)
    assert row["Haralick_distance"] == alone["Haralick_distance"]
    assert (row["Haralick_slices"], row["Haralick_flat_slices"]) == (1, 2)


def test_every_one_of_the_four_directions_is_needed(pair):
    """Three corners of a square have neighbours in three directions alone."""
    image, reference = pair
    mask, settings = np.zeros(image.shape, bool), TextureSettings(high=float(reference.max()))
    mask[0, 4:12, 4:12] = True
    mask[1, [5, 5, 6], [5, 6, 6]] = True  # none on the rising diagonal
    mask[2, [5, 5, 6], [5, 6, 5]] = True  # none on the falling one
    row = haralick_distance(image, reference, mask, settings)
    assert (row["Haralick_slices"], row["Haralick_flat_slices"]) == (1, 2)


def test_the_range_decides_and_is_reported(pair):
    narrow, wide = (haralick_distance(*pair, settings=TextureSettings(high=h)) for h in (6.0, 60.0))
    assert narrow["Haralick_range"] == "0 to 6" and wide["Haralick_range"] == "0 to 60"
    assert abs(narrow["Haralick_distance"] - wide["Haralick_distance"]) > 0.1


def _weights(colour: bool = False) -> dict[str, np.ndarray]:
    rng, arrays, into, index = np.random.default_rng(0), {}, 3, 0
    if colour:
        arrays |= {"0.weight": np.eye(3, dtype=np.float32)[:, :, None, None] * 2, "0.bias": np.ones(3, np.float32)}
        index = 1
    for i, out in enumerate(WIDTHS):
        arrays[f"{index + 3 * i}.weight"] = (rng.normal(0, (2 / (9 * into)) ** 0.5, (out, into, 3, 3))).astype(
            np.float32
        )
        arrays[f"{index + 3 * i}.bias"] = rng.normal(0, 0.05, out).astype(np.float32)
        into = out
    return arrays


def _modules(arrays: dict[str, np.ndarray], normalised: bool) -> nn.Sequential:
    """The same network put together from modules, in the layer order of the literature's configuration E."""
    order = [64, 64, "M", 128, 128, "M", 256, 256, 256, 256, "M", 512, 512, 512, 512, "M", 512, 512, 512, 512]
    layers: list[nn.Module] = [nn.Conv2d(3, 3, 1)] if normalised else []
    into = 3
    for item in order:
        if item == "M":
            layers.append(nn.MaxPool2d(2, ceil_mode=normalised))
            continue
        layers += [nn.Conv2d(into, item, 3, padding=1, padding_mode="reflect" if normalised else "zeros"), nn.ReLU()]
        into = item
    network = nn.Sequential(*layers[:-1])
    convolutions = [m for m in network if isinstance(m, nn.Conv2d)]
    numbers = sorted({int(n.split(".")[0]) for n in arrays})
    for module, number in zip(convolutions, numbers, strict=True):
        module.weight.data = torch.from_numpy(arrays[f"{number}.weight"])
        module.bias.data = torch.from_numpy(arrays[f"{number}.bias"])
    return network.eval()


@pytest.mark.parametrize("normalised", [False, True])
def test_perceptual_distance_is_that_of_the_module_network(tmp_path, normalised):
    arrays = _weights(normalised)
    np.savez(tmp_path / "vgg.npz", **arrays)
    rng = np.random.default_rng(3)
    reference = rng.random((3, 33, 40)).astype(np.float32) * 4
    image = (reference + rng.normal(0, 0.5, reference.shape)).astype(np.float32)
    row = perceptual_distance(image, reference, load_vgg19(tmp_path / "vgg.npz"), data_range=4.0, batch=2)

    def features(volume):
        x = torch.from_numpy(np.clip(volume / 4.0, 0, 1))[:, None].repeat(1, 3, 1, 1)
        if not normalised:
            x = (x - torch.tensor([0.485, 0.456, 0.406])[:, None, None]) / torch.tensor([0.229, 0.224, 0.225])[
                :, None, None
            ]
        with torch.no_grad():
            return _modules(arrays, normalised)(x)

    assert features(image).shape[1] == 512 and features(image).min() < 0  # before the ReLU
    expected = torch.mean((features(image) - features(reference)) ** 2).item()
    assert row["perceptual_distance"] == pytest.approx(expected, rel=1e-4)
    assert row["perceptual_slices"] == 3
    assert row["perceptual_weights_sha256"] == hashlib.sha256((tmp_path / "vgg.npz").read_bytes()).hexdigest()
    assert ("normalised" in row["perceptual_network"]) == normalised


def test_missing_or_unfit_weights_say_what_to_give(tmp_path):
    with pytest.raises(ModelError, match="not part of this program"):
        load_vgg19(None)
    with pytest.raises(ModelError, match="does not exist"):
        load_vgg19(tmp_path / "none.npz")
    (tmp_path / "vgg.pth").write_bytes(b"x")
    with pytest.raises(ModelError, match="not accepted"):
        load_vgg19(tmp_path / "vgg.pth")
    np.savez(tmp_path / "small.npz", **dict(list(_weights().items())[:6]))
    with pytest.raises(ModelError, match="16 convolutions"):
        load_vgg19(tmp_path / "small.npz")
    np.savez(tmp_path / "object.npz", **{"0.weight": np.array([{"a": 1}], dtype=object)})
    with pytest.raises(ModelError, match="cannot be read"):
        load_vgg19(tmp_path / "object.npz")


def test_safetensors_give_the_same_network_as_npz(tmp_path):
    from safetensors.numpy import save_file

    arrays = {f"features.{k}": v for k, v in _weights().items()}
    save_file(arrays, str(tmp_path / "vgg.safetensors"))
    np.savez(tmp_path / "vgg.npz", **arrays)
    first, second = load_vgg19(tmp_path / "vgg.safetensors"), load_vgg19(tmp_path / "vgg.npz")
    assert all(torch.equal(a, b) for x, y in zip(first.weights, second.weights) for a, b in zip(x, y))


def test_slices_too_small_for_the_network_are_refused(tmp_path):
    np.savez(tmp_path / "vgg.npz", **_weights())
    with pytest.raises(InputError, match="too small"):
        perceptual_distance(np.ones((1, 8, 20)), np.ones((1, 8, 20)), load_vgg19(tmp_path / "vgg.npz"))
