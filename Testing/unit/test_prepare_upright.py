"""A scan may lie in memory in any order: methods see it upright, and the result lies as the file does."""

from dataclasses import replace
from itertools import permutations, product

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from petdiffusion import registry
from petdiffusion.methods.amdiff.task import AmdiffTask
from petdiffusion.methods.contract import Output
from petdiffusion.prepare.upright import Turn, upright
from petdiffusion.progress import Run
from petdiffusion.run import denoise
from petdiffusion.training.settings import TrainSettings
from petdiffusion.volume import Geometry, LabelMap
from support import tiny_models
from support.blobs import blobs
from support.tiny_bank import write_labelled

TURNS = [(order, senses) for order in permutations(range(3)) for senses in product((1, -1), repeat=3)]


def lying(volume, order, senses):
    """The image with its axes in another order and sense, in the same place of the patient."""
    image = sitk.PermuteAxes(volume.to_sitk(), list(order))
    image = sitk.Flip(image, [sense < 0 for sense in senses])
    return replace(volume, array=sitk.GetArrayFromImage(image).astype(volume.array.dtype),
                   geometry=Geometry.of_sitk(image))  # fmt: skip


@pytest.mark.parametrize(("order", "senses"), TURNS)
def test_every_way_to_lie_is_turned_to_the_same_and_back(order, senses):
    pet = blobs(shape=(6, 7, 8), spacing=(4.0, 3.0, 5.0)).noisy
    given = lying(pet, order, senses)
    turn = Turn.of(given.geometry)
    assert turn.geometry.close_to(pet.geometry)
    np.testing.assert_array_equal(turn.array(given.array), pet.array)
    np.testing.assert_array_equal(turn.back(pet.array), given.array)
    assert turn.needed == (order != (0, 1, 2) or -1 in senses)


def test_an_oblique_scan_is_turned_to_the_nearest_axes():
    angle = np.deg2rad(20)
    c, s = np.cos(angle), np.sin(angle)
    tilted = blobs(shape=(6, 7, 8), direction=(-c, s, 0, -s, -c, 0, 0, 0, 1)).noisy
    turn = Turn.of(tilted.geometry)
    assert turn.order == (0, 1, 2) and turn.reversed == (True, True, False)
    index = np.argwhere(tilted.array == tilted.array.max())[0][::-1]
    there = np.argwhere(turn.array(tilted.array) == tilted.array.max())[0][::-1]
    np.testing.assert_allclose(tilted.geometry.affine @ [*index, 1], turn.geometry.affine @ [*there, 1])


@pytest.mark.parametrize(("order", "senses"), [((0, 1, 2), (-1, -1, 1)), ((1, 2, 0), (1, -1, -1))])
def test_a_method_sees_the_case_upright_and_all_it_gives_is_turned_back(order, senses):
    plain = blobs(shape=(6, 7, 8), spacing=(4.0, 3.0, 5.0))
    case = plain.case()
    lies = {name: lying(getattr(case, name), order, senses) for name in ("pet", "ct", "mr", "labels")}
    body = lying(LabelMap(case.body.astype(np.int16), case.pet.geometry, {1: "body"}), order, senses).array > 0
    heard, run = [], Run()
    run.on_sample = heard.append

    def method(seen, options, run):
        for name in ("pet", "ct", "mr", "labels"):
            np.testing.assert_array_equal(getattr(seen, name).array, getattr(case, name).array)
        np.testing.assert_array_equal(seen.body, case.body)
        run.on_sample(seen.pet.array)
        hottest = np.argwhere(seen.pet.array == seen.pet.array.max())[0]
        row = dict(zip(("slice", "row", "column"), hottest.tolist()))
        return Output(seen.pet, sd=seen.pet, organs=seen.labels, maps={"ct": seen.ct},
                      tables={"spots": [row], "slices": [{"slice": 0, "SUV": 1.0}]})  # fmt: skip

    found = upright(method)(replace(case, **lies, body=body), {}, run)
    for image, given in ((found.pet, "pet"), (found.sd, "pet"), (found.organs, "labels"), (found.maps["ct"], "ct")):
        np.testing.assert_array_equal(image.array, lies[given].array)
        assert image.geometry == lies["pet"].geometry
    np.testing.assert_array_equal(heard[0], lies["pet"].array)
    spot = found.tables["spots"][0]
    assert lies["pet"].array[spot["slice"], spot["row"], spot["column"]] == case.pet.array.max()
    along = ("column", "row", "slice")[order.index(2)]
    assert set(found.tables["slices"][0]) == {along, "SUV"}
    assert run.on_sample == heard.append


@pytest.mark.parametrize("method", ["amdiff", "csrd", "gaussian"])
def test_the_result_does_not_depend_on_how_the_file_lies(method, monkeypatch, tmp_path):
    """With networks that know where in the body they are."""
    monkeypatch.setenv("PETDIFFUSION_MODELS", str(tmp_path))
    if registry.card(method).needs_model:
        tiny_models._write(tmp_path, registry.card(method))
    pet = blobs(relative_noise=0.3).noisy
    given = lying(pet, (0, 1, 2), (-1, -1, 1))
    model = f"{method}-tiny" if registry.card(method).needs_model else None
    options = {"samples": 2} if registry.card(method).needs_model else {}
    one, other = (denoise(p, method, model=model, report=False, options=options) for p in (pet, given))
    turn = Turn.of(given.geometry)
    np.testing.assert_allclose(turn.array(other.pet.array), one.pet.array, atol=2e-5)
    assert other.pet.geometry == given.geometry
    if method == "amdiff":
        np.testing.assert_array_equal(turn.array(other.organs.array), one.organs.array)
        np.testing.assert_allclose(turn.array(other.sd.array), one.sd.array, atol=2e-5)


def test_a_training_sees_patients_upright(tmp_path):
    """Files that lie another way give the same patches; left and right would be taken for each other otherwise."""
    plain, other = write_labelled(tmp_path / "plain"), write_labelled(tmp_path / "other")
    for file in sorted(other.rglob("*.nii.gz")):
        if file.name != "ct.nii.gz":  # lies on a grid of its own anyway
            sitk.WriteImage(sitk.Flip(sitk.ReadImage(str(file)), (True, True, False)), str(file))
    settings = TrainSettings(steps=2, batch=2, patch=16)
    one, two = (AmdiffTask().load([folder], settings, Run()).batch(0, 0) for folder in (plain, other))
    for name in ("low", "normal", "organs", "lesions", "base"):
        torch.testing.assert_close(one[name], two[name], atol=2e-3, rtol=2e-3, msg=name)
    assert (one["organs"] > 0).any()
