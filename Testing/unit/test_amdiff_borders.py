"""Borders of lesions by contrast: the size of a blurred sphere comes back, a large tumour's core stays."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from petdiffusion import read, registry
from petdiffusion.methods.amdiff import after
from petdiffusion.methods.amdiff.borders import LARGEST_ML, by_contrast
from petdiffusion.prepare.case import build
from petdiffusion.progress import Run
from petdiffusion.volume import Geometry, LabelMap
from petdiffusion.write import images, labels
from scipy import ndimage
from support import tiny_models
from support.blobs import blobs

SPACING = (4.0, 4.0, 4.0)
GEOMETRY = Geometry((40, 40, 40), SPACING)
BLUR = 5.5 / 2.3548 / 4.0


def sphere(middle, radius_mm, shape=(40, 40, 40)):
    return sum((np.arange(n) * 4.0 - m * 4.0).reshape([-1 if a == axis else 1 for a in range(3)]) ** 2
               for axis, (n, m) in enumerate(zip(shape, middle))) <= radius_mm**2  # fmt: skip


def scan(truth, height=6.0, level=2.0):
    return ndimage.gaussian_filter((level + height * truth).astype(np.float32), BLUR)


def dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


@pytest.mark.parametrize("grown", [-1, 1])
@pytest.mark.parametrize("level", [0.5, 4.0])
def test_a_mask_too_tight_or_too_wide_becomes_the_lesion(grown, level):
    """Whatever the level around it: a part of the maximum alone would leak into a warm liver."""
    truth = sphere((20, 20, 20), 11.0)
    marked = ndimage.binary_dilation(truth) if grown > 0 else ndimage.binary_erosion(truth)
    found = by_contrast(marked.astype(np.int16), scan(truth, 4.0, level), GEOMETRY).lesions == 1
    assert dice(marked, truth) < 0.8 < 0.9 < dice(found, truth)


def test_neighbours_stay_apart_and_numbers_go_by_size():
    """The tight one becomes the larger of the two, and so the first."""
    small, large = sphere((20, 20, 16), 5.0), sphere((20, 20, 23), 12.0)
    marked = np.where(sphere((20, 20, 16), 9.5), 1, np.where(sphere((20, 20, 23), 8.5), 2, 0)).astype(np.int16)
    found = by_contrast(marked, scan(small | large), GEOMETRY).lesions
    assert (marked == 1).sum() > (marked == 2).sum()
    assert np.unique(found).tolist() == [0, 1, 2] and (found == 1).sum() > (found == 2).sum()
    assert found[20, 20, 23] == 1 and found[20, 20, 16] == 2


def test_a_large_tumour_keeps_its_cold_core():
    whole, core = sphere((20, 20, 20), 24.0), sphere((20, 20, 20), 14.0)
    assert whole.sum() * GEOMETRY.voxel_ml > LARGEST_ML
    image = scan(whole & ~core)
    found = by_contrast(whole.astype(np.int16), image, GEOMETRY).lesions
    np.testing.assert_array_equal(found == 1, whole)


def test_nothing_grows_farther_than_a_voxel_of_the_models():
    """A hot organ beside the mark is not swallowed."""
    truth = sphere((20, 20, 20), 20.0)
    marked = sphere((20, 20, 20), 6.5)
    found = by_contrast(marked.astype(np.int16), scan(truth), GEOMETRY, alone=False).lesions > 0
    assert found[marked].all() and not (found & ~ndimage.binary_dilation(marked)).any()
    assert found.sum() > marked.sum()


def test_no_lesion_gives_none():
    empty = np.zeros((40, 40, 40), np.int16)
    assert not by_contrast(empty, np.ones((40, 40, 40), np.float32), GEOMETRY).lesions.any()


def test_a_mark_on_uptake_that_goes_on_is_no_lesion_and_is_counted():
    """A muscle at work, of which the network marks a piece; a lesion of the same height stands alone."""
    _, y, x = np.indices((40, 40, 40)) * 4.0
    muscle = ((y - 80) / 14) ** 2 + ((x - 40) / 20) ** 2 <= 1
    lesion = sphere((20, 20, 32), 11.0)
    marked = np.where(sphere((20, 20, 11), 9.0), 1, np.where(lesion, 2, 0)).astype(np.int16)
    image = scan(muscle | lesion)
    found = by_contrast(marked, image, GEOMETRY)
    assert found.going_on.max() == 1 and found.going_on[20, 20, 11] == 1
    assert found.lesions[20, 20, 11] == 0 and found.lesions[20, 20, 32] == 1
    every = by_contrast(marked, image, GEOMETRY, alone=False)
    assert not every.going_on.any() and every.lesions[20, 20, 11] and every.lesions[20, 20, 32]


def test_a_faint_lesion_in_uneven_surroundings_stays():
    """Twice its surroundings, which rise by four tenths of its height to one side: half the height tells them apart."""
    lesion = sphere((20, 20, 20), 11.0)
    image = scan(lesion, height=2.0, level=2.0)
    image[:, :, 22:] = np.maximum(image[:, :, 22:], 2.8)
    found = by_contrast(lesion.astype(np.int16), image, GEOMETRY)
    assert not found.going_on.any() and found.lesions[20, 20, 20] == 1


def test_lesions_side_by_side_do_not_count_as_going_on():
    several = [sphere((20, 20, 12 + 5 * i), 9.0) for i in range(4)]
    marked = sum((i + 1) * mask for i, mask in enumerate(several)).astype(np.int16)
    found = by_contrast(marked, scan(np.logical_or.reduce(several)), GEOMETRY)
    assert not found.going_on.any() and found.lesions.max() == 4


def test_the_search_for_what_is_a_lesion_tries_every_rule(tmp_path, monkeypatch):
    """On a tiny random model: as many rows as settings, and the network's own borders give what the method gives."""
    file = Path(__file__).resolve().parents[2] / "Resources" / "training" / "amdiff.py"
    spec = importlib.util.spec_from_file_location("amdiff_training", file)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    (tmp_path / "models").mkdir()
    tiny_models._write(tmp_path / "models", registry.card("amdiff"))
    monkeypatch.setenv("PETDIFFUSION_MODELS", str(tmp_path / "models"))
    patient = blobs((20, 24, 28), relative_noise=0.3)
    images.write(patient.noisy, tmp_path / "pet.nii.gz")
    lesions = LabelMap((patient.labels.array == 6).astype(np.int16), patient.labels.geometry, {1: "tumour"})
    labels.write(lesions, tmp_path / "lesions.nii.gz")
    (tmp_path / "manifest.csv").write_text("id,pet,lesions\na,pet.nii.gz,lesions.nii.gz\n")
    monkeypatch.setattr(script, "THRESHOLDS", (0.3, 0.5))
    monkeypatch.setattr(script, "SMALLEST_ML", (0.0,))
    # the script puts its own listeners in the method's way, for the life of its process
    monkeypatch.setattr(after, "masks_of", after.masks_of)
    monkeypatch.setattr(after.After, "segmented", after.After.segmented)
    rows = script.search("amdiff-tiny", tmp_path)
    assert {(r["borders"], r["threshold"]) for r in rows} == {
        (how, at) for how in ("network", "contrast", "contrast, alone") for at in (0.3, 0.5)}  # fmt: skip
    card = registry.card("amdiff")
    asked = card.resolve({"samples": 0, "borders": "network", "threshold": 0.5, "smallest_ml": 0.0})
    made = card.load()(build(read.image(tmp_path / "pet.nii.gz", "pet")), asked, Run(model="amdiff-tiny"))
    own = dice(made.lesions.array > 0, lesions.array > 0)
    row = next(r for r in rows if (r["borders"], r["threshold"]) == ("network", 0.5))
    assert row["Dice"] == pytest.approx(own)
