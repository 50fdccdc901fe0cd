"""A small noisy patient whose truth is known: body, lungs, liver, two lesions and arms, in any size."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from petdiffusion.methods.contract import Case
from petdiffusion.volume import HU, SUVBW, Facts, Geometry, LabelMap, Volume
from scipy.ndimage import gaussian_filter

FWHM = 2.0 * np.sqrt(2.0 * np.log(2.0))

# name, label, centre and half axes in (z, y, x) as parts of the image's half width, activity, HU, MR
_PARTS = (
    ("trunk", 1, (0.0, 0.0, 0.0), (1.4, 0.62, 0.66), 1.0, 40.0, 300.0),
    ("lung_left", 2, (-0.35, 0.0, -0.29), (0.36, 0.34, 0.20), 0.4, -800.0, 40.0),
    ("lung_right", 3, (-0.35, 0.0, 0.29), (0.36, 0.34, 0.20), 0.4, -800.0, 40.0),
    ("liver", 4, (0.32, -0.05, -0.24), (0.30, 0.42, 0.36), 2.4, 60.0, 420.0),
    ("kidney", 5, (0.36, 0.30, 0.36), (0.22, 0.16, 0.13), 4.0, 30.0, 220.0),
    ("lesion_large", 6, (0.42, -0.12, -0.22), (0.13, 0.13, 0.13), 8.0, 55.0, 380.0),
    ("lesion_small", 7, (-0.15, 0.05, 0.0), (0.10, 0.10, 0.10), 6.0, 45.0, 350.0),
)
_ARMS = (("arm_left", 8, (0.0, 0.05, -0.84), (1.4, 0.13, 0.12), 0.6, 45.0, 320.0),
         ("arm_right", 9, (0.0, 0.05, 0.84), (1.4, 0.13, 0.12), 0.6, 45.0, 320.0))


@dataclass(frozen=True)
class Blobs:
    """Truth (already blurred by the scanner), noisy PET, and everything a method may be given."""

    truth: Volume
    noisy: Volume
    ct: Volume
    mr: Volume
    labels: LabelMap
    body: np.ndarray
    noise: float
    """Median over the body of the true SD."""
    sd: np.ndarray
    """True SD of the noise in every voxel."""

    def case(self, **changes) -> Case:
        given = {"pet": self.noisy, "body": self.body, "noise": self.noise, "ct": self.ct, "mr": self.mr,
                 "labels": self.labels, "text": "Axial slice including liver, lungs.", "dose_fraction": 0.1}
        return Case(**{**given, **changes})


def correlated_noise(shape, sigma_voxels, generator) -> np.ndarray:
    """Unit-variance Gaussian noise, smoothed; the variance is restored exactly from the kernel."""
    pad = [int(np.ceil(4 * s)) + 1 for s in sigma_voxels]
    white = generator.standard_normal([n + 2 * p for n, p in zip(shape, pad)], dtype=np.float32)
    smooth = gaussian_filter(white, sigma_voxels, mode="wrap")
    gain = 1.0
    for sigma in sigma_voxels:
        if sigma > 0:
            impulse = np.zeros(2 * int(np.ceil(5 * sigma)) + 3)
            impulse[impulse.size // 2] = 1.0
            gain *= np.sum(gaussian_filter(impulse, sigma) ** 2)
    inner = tuple(slice(p, p + n) for p, n in zip(pad, shape))
    return smooth[inner] / np.float32(np.sqrt(gain))


def blobs(shape=(20, 24, 28), spacing=(4.0, 4.0, 4.0), seed=0, relative_noise=0.25, fwhm_mm=6.0, arms=False,
          poisson=True, scale=1.0, direction=None, structure=True) -> Blobs:
    """`relative_noise`: SD over mean in the trunk; SD grows with the root of activity where `poisson`.

    `spacing` in (x, y, z) as in Geometry, `shape` in (z, y, x). `scale` multiplies all PET values.
    """
    generator = np.random.default_rng(seed)
    geometry = Geometry(shape[::-1], spacing, (-30.0, 12.0, 100.0), *([direction] if direction else []))
    grid = np.meshgrid(*[(np.arange(n) + 0.5) / n * 2 - 1 for n in shape], indexing="ij", sparse=True)
    activity, hu, mr = (np.full(shape, value, np.float32) for value in (0.0, -1000.0, 0.0))
    labels = np.zeros(shape, np.int16)
    parts = (_PARTS if structure else _PARTS[:1]) + (_ARMS if arms else ())
    for _, label, centre, half, uptake, density, signal in parts:
        inside = sum(((g - c) / h) ** 2 for g, c, h in zip(grid, centre, half)) < 1
        activity[inside], hu[inside], mr[inside], labels[inside] = uptake, density, signal, label
    sigma = [fwhm_mm / FWHM / s for s in spacing[::-1]]
    sigma = [0.0 if n == 1 else s for s, n in zip(sigma, shape)]
    truth = gaussian_filter(activity, sigma)
    level = np.sqrt(np.maximum(truth, 0) + 0.02) if poisson else np.ones_like(truth)
    sd = relative_noise * level
    noisy = truth + sd * correlated_noise(shape, sigma, generator)
    body = labels > 0

    def volume(array, unit):
        return Volume(array, geometry, unit, Facts(modality="PT" if unit == SUVBW else None))

    return Blobs(volume(truth * scale, SUVBW), volume(noisy * scale, SUVBW), volume(hu, HU), volume(mr, "a.u."),
                 LabelMap(labels, geometry, {label: name for name, label, *_ in parts}), body,
                 float(np.median(sd[body])) * scale, sd * scale)


def psnr(image, reference, mask) -> float:
    """PSNR inside the mask; the range is the reference's maximum there."""
    error = np.mean((np.asarray(image, float)[mask] - np.asarray(reference, float)[mask]) ** 2)
    return float(10 * np.log10(np.max(np.asarray(reference)[mask]) ** 2 / error))
