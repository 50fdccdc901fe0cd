"""A patient in a scene, large enough to look at: a torso with organs, lesions, CT, low and normal dose."""

from __future__ import annotations

import builders
import numpy as np
import slicer
from petdiffusion.volume import SUVBW, LabelMap
from PETDiffusionDenoiseLib import results, scene, units

SHAPE, SPACING = (72, 48, 64), 6.0
LESIONS = ((22, 20, 40), (46, 28, 22))
LESION_MM = 14.0


def _grid():
    z, y, x = np.mgrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]].astype(np.float32)
    return z, y, x


def _ellipsoid(centre, radii):
    return sum(((axis - c) / r) ** 2 for axis, c, r in zip(_grid(), centre, radii)) <= 1


def truth() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Activity in SUV, organ labels (1 liver, 2 spleen) and lesion labels."""
    body = _ellipsoid((36, 24, 32), (40, 20, 28))
    liver, spleen = _ellipsoid((34, 22, 20), (9, 9, 10)), _ellipsoid((34, 28, 46), (6, 6, 5))
    heart, bladder = _ellipsoid((56, 20, 34), (6, 6, 7)), _ellipsoid((8, 22, 32), (5, 6, 6))
    pet = np.where(body, 0.8, 0.0)
    for mask, suv in ((liver, 2.2), (spleen, 1.9), (heart, 3.0), (bladder, 9.0)):
        pet[mask] = suv
    lesions = np.zeros(SHAPE, np.int16)
    for number, centre in enumerate(LESIONS, 1):
        lesions[_ellipsoid(centre, (LESION_MM / SPACING,) * 3)] = number
    pet[lesions > 0] = 7.0
    return pet.astype(np.float32), liver * 1 + spleen * 2, lesions


def smooth(array, passes=2):
    for _ in range(passes):
        for axis in range(3):
            array = (np.roll(array, 1, axis) + 2 * array + np.roll(array, -1, axis)) / 4
    return array


def noisy(pet, counts, seed):
    rng = np.random.default_rng(seed)
    return smooth(rng.poisson(pet * counts).astype(np.float32) / counts, 1)


def ct_array():
    body = _ellipsoid((36, 24, 32), (40, 20, 28))
    lungs = _ellipsoid((54, 24, 20), (14, 12, 8)) | _ellipsoid((54, 24, 46), (14, 12, 8))
    spine = _ellipsoid((36, 38, 32), (40, 3, 3))
    return np.select([~body, spine, lungs], [-1000.0, 400.0, -800.0], 40.0).astype(np.float32)


def matrix():
    values = np.diag([-SPACING, -SPACING, SPACING, 1.0])
    values[:3, 3] = [SPACING * SHAPE[2] / 2, SPACING * SHAPE[1] / 2, -SPACING * SHAPE[0] / 2]
    return values


def node(array, name):
    found = builders.node_of(array, name, matrix())
    units.mark(found, SUVBW)
    return found


def load():
    """Low-count, normal-dose and CT nodes, with organ and lesion maps."""
    pet, organs, lesions = truth()
    low, full = node(noisy(pet, 6, 1), "Low-count PET"), node(noisy(pet, 60, 2), "Normal-dose PET")
    ct = builders.node_of(ct_array(), "CT", matrix())
    ct.SetAttribute("DICOM.Modality", "CT")
    ct.GetDisplayNode().SetAutoWindowLevel(False)
    ct.GetDisplayNode().SetWindowLevelMinMax(-300, 300)
    geometry = scene.geometry_of(low)
    return (
        low,
        full,
        ct,
        LabelMap(organs, geometry, {1: "liver", 2: "spleen"}),
        LabelMap(lesions, geometry, {1: "lesion 1", 2: "lesion 2"}),
    )


def result(reference=True, lesion_rows=True):
    """A finished result for the patient: the truth, blurred as a denoiser would."""
    low, full, ct, organs, lesions = load()
    inputs = results.Inputs(low, units.find(low), ct=ct, reference=full if reference else None)
    array = smooth(truth()[0], 1)
    nodes = results.ResultNodes(results.add_denoised(array, inputs, "Demo"), record={"details": {}})
    nodes.difference = results.add_difference(array - slicer.util.arrayFromVolume(low), inputs, low, "Demo")
    nodes.uncertainty = results.add_uncertainty(0.1 * array + 0.02, inputs, "Demo")
    nodes.lesions = results.add_segmentation(lesions, inputs, "Lesions", True)
    nodes.organs = results.add_segmentation(organs, inputs, "Organs", False)
    rows = [_lesion_row(number, centre, array) for number, centre in enumerate(LESIONS, 1)] if lesion_rows else []
    nodes.tables, nodes.charts = results.add_tables({"lesions": rows}, "Low-count PET (Demo)")
    results.sign(nodes, inputs, {"Method": "demo"})
    return nodes


def _lesion_row(number, centre, array):
    """Places in LPS, as the tables have them."""
    r, a, s = (matrix() @ [*centre[::-1], 1])[:3]
    return {
        "lesion": f"lesion {number}",
        "centre_x_mm": -r,
        "centre_y_mm": -a,
        "centre_z_mm": s,
        "volume_ml": 11.5,
        "unit": SUVBW,
        "SUVmax_low": 9.4,
        "SUVmax_denoised": float(array[centre]),
        "SUVmax_reference": 7.3,
    }
