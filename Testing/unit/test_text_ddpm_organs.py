"""Organs for the prompts that AMDiff finds in the PET: sides, memory, and the same ones when a run is done again."""

import json
import tracemalloc

import numpy as np
import petdiffusion
import pytest
from petdiffusion.errors import ModelError
from petdiffusion.methods.amdiff.config import ORGANS
from petdiffusion.methods.text_ddpm import pet_organs
from petdiffusion.rerun import rerun
from petdiffusion.volume import Geometry, LabelMap
from petdiffusion.write import images
from petdiffusion.zoo import store
from safetensors.torch import load_file, save_file
from support import clip
from support.blobs import blobs
from support.tiny_models import write_models


def put(folder, name, weights, card, **changes):
    save_file(weights, folder / f"{name}.safetensors")
    said = {"id": name, "sha256": store.sha256(folder / f"{name}.safetensors"), **changes}
    (folder / f"{name}.json").write_text(json.dumps(card | said))


def test_a_rerun_takes_the_model_that_found_the_organs_and_refuses_another_in_its_place(
        tmp_path, monkeypatch, no_bundled_models):  # fmt: skip
    clip.needed()
    (folder := tmp_path / "models").mkdir()
    write_models(folder, "text-ddpm", "amdiff")
    monkeypatch.setenv("PETDIFFUSION_MODELS", str(folder))
    scan = images.write(blobs().noisy, tmp_path / "pet.nii.gz")
    asked = {"pet_organs": True, "samples": 0, "unit": "SUVbw"}
    first = petdiffusion.denoise(scan, "text-ddpm", out=tmp_path / "out", **asked)
    card, weights = json.loads((folder / "amdiff-tiny.json").read_text()), load_file(folder / "amdiff-tiny.safetensors")
    details, others = first.record["details"], {name: -values for name, values in weights.items()}
    assert (details["organ_model"], details["organ_model_sha256"]) == ("amdiff-tiny", card["sha256"])

    put(folder, "amdiff-better", others, card, refines="amdiff-tiny")
    assert petdiffusion.denoise(scan, "text-ddpm", **asked).record["details"]["organ_model"] == "amdiff-better"
    again = rerun(tmp_path / "out")
    np.testing.assert_array_equal(again.pet.array, first.pet.array)
    assert again.record["details"]["organ_model"] == "amdiff-tiny"

    put(folder, "amdiff-tiny", others, card)
    with pytest.raises(ModelError, match="Model amdiff-tiny: is another one than this run used"):
        rerun(tmp_path / "out")
    (folder / "amdiff-tiny.json").unlink()
    with pytest.raises(ModelError, match="Model amdiff-tiny: found the organs of this run and is not installed"):
        rerun(tmp_path / "out")


@pytest.mark.parametrize("towards_x", [1, -1])
def test_paired_organs_are_told_apart_by_the_patients_left(towards_x):
    """A body that is not in the middle of the field; +x of the patient is left, whichever way the array runs."""
    array, body = np.zeros((2, 2, 20), np.int16), np.zeros((2, 2, 20), bool)
    body[..., 6:18] = True
    array[..., 7:9], array[..., 14:17], array[0, 0, 11] = 2, 2, 1
    array[1, 1, 10] = 4
    direction = (towards_x, 0, 0, 0, towards_x, 0, 0, 0, 1)
    geometry = Geometry((20, 2, 2), (4.0, 4.0, 4.0), (30.0, 0.0, 0.0), direction)
    found = pet_organs.sided(LabelMap(array, geometry, dict(enumerate(ORGANS, 1))), body)
    assert set(found.present().values()) == {"liver", "lung_left", "lung_right"}, "no muscle, none that is not there"
    value = {name: number for number, name in found.names.items()}
    left = slice(14, 17) if towards_x == 1 else slice(7, 9)
    assert (found.array[..., left] == value["lung_left"]).all() and found.array[0, 0, 11] == value["liver"]
    assert (found.array == value["lung_left"]).sum() == 4 * (left.stop - left.start)


def test_a_large_bodys_middle_is_found_in_little_memory():
    """A tilted scan, against the coordinates of all its voxels at once, which took 45 bytes for each."""
    random, direction = np.random.default_rng(2), (0.96, -0.28, 0, 0.28, 0.96, 0, 0, 0, 1)
    geometry = Geometry((60, 50, 40), (2.0, 3.0, 4.0), (30.0, -8.0, 5.0), direction)
    body = random.random(geometry.shape) < 0.8
    lung = random.random(geometry.shape) < 0.05
    organs = LabelMap(2 * lung.astype(np.int16), geometry, dict(enumerate(ORGANS, 1)))
    tracemalloc.start()
    try:
        found = pet_organs.sided(organs, body)
        assert tracemalloc.get_traced_memory()[1] < 20 * body.size
    finally:
        tracemalloc.stop()
    left = np.moveaxis(np.indices(geometry.shape), 0, -1)[..., ::-1] @ geometry.affine[0, :3] + geometry.affine[0, 3]
    value = {name: number for number, name in found.names.items()}
    assert ((found.array == value["lung_left"]) == (lung & (left > np.median(left[body])))).all()
    assert ((found.array == value["lung_right"]) == (lung & (left <= np.median(left[body])))).all()
