"""A small PET with hot spots, its normal-dose version, CT, organs and lesions, as files for tests of whole runs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from petdiffusion.volume import HU, SUVBW, Facts, Geometry, LabelMap, Volume
from petdiffusion.write import images, labels
from scipy.ndimage import gaussian_filter

GEOMETRY = Geometry((28, 26, 22), (4.0, 4.0, 5.0), (-54.0, -50.0, 10.0))


def small_patient(seed: int = 0) -> dict[str, Volume | LabelMap]:
    """An elliptic body with a liver-like and a lesion-like region; noise that is correlated as in PET."""
    z, y, x = np.mgrid[:22, :26, :28].astype(np.float32)
    body = ((x - 13.5) / 12) ** 2 + ((y - 12.5) / 11) ** 2 < 1
    liver = ((x - 9) / 5) ** 2 + ((y - 12) / 6) ** 2 + ((z - 11) / 7) ** 2 < 1
    lesion = (x - 19) ** 2 + (y - 13) ** 2 + (z - 11) ** 2 < 6
    truth = body * 0.8 + liver * 1.4 + lesion * 5.0
    rng = np.random.default_rng(seed)

    def scan(level: float) -> np.ndarray:
        noise = gaussian_filter(rng.normal(size=truth.shape), 0.8) * level * np.sqrt(truth + 0.02)
        return (gaussian_filter(truth, 0.6) + noise).astype(np.float32)

    facts = Facts(modality="PT", tracer="FDG", weight_kg=70.0, suv_factor=2e-4)
    low = Volume(scan(0.9), GEOMETRY, SUVBW, replace(facts, dose_fraction=0.1))
    return {
        "pet": low,
        "reference": Volume(scan(0.25), GEOMETRY, SUVBW, facts),
        "ct": Volume(np.where(body, 40.0, -1000.0) + 20.0 * liver, GEOMETRY, HU),
        "labels": LabelMap(liver * 5, GEOMETRY, {5: "liver"}),
        "lesions": LabelMap(lesion * 1, GEOMETRY, {1: "lesion 1"}),
    }


def write_patient(folder, seed: int = 0) -> dict[str, str]:
    """The same as files; paths by name."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = {}
    for name, image in small_patient(seed).items():
        writer = labels if isinstance(image, LabelMap) else images
        paths[name] = str(writer.write(image, folder / f"{name}.nii.gz"))
    return paths
