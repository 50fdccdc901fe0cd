"""AMDiff's masks by PET and CT: a segmenter of its own on the images of a model that stays as it is."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from petdiffusion import registry
from petdiffusion.errors import ConditionError, ModelError, TrainingError
from petdiffusion.methods.amdiff import data
from petdiffusion.methods.amdiff.config import SegmenterConfig
from petdiffusion.methods.amdiff.segmenter import Segmenter, windowed
from petdiffusion.methods.amdiff.task import AmdiffTask
from petdiffusion.progress import Run
from petdiffusion.training import checkpoint
from petdiffusion.training.export import export
from petdiffusion.training.loop import train
from petdiffusion.training.settings import TrainSettings
from petdiffusion.zoo import store
from safetensors.torch import load_file
from support import tiny_models
from support.blobs import blobs
from support.tiny_bank import write_labelled

SMALL = {"beside": {"id": "amdiff-tiny"}, "segmenter": {**tiny_models.SEGMENTER, "ct": True}}
SETTINGS = TrainSettings(steps=3, batch=2, patch=16, precision="32-true", learning_rate=0.05, warmup_steps=1)
FACTS = {**{k: v for k, v in tiny_models.CARD.items() if k != "version"}, "needs": ["ct"]}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return write_labelled(tmp_path_factory.mktemp("labelled"))


@pytest.fixture
def base(monkeypatch, tmp_path, no_bundled_models):
    monkeypatch.setenv("PETDIFFUSION_MODELS", str(tmp_path))
    tiny_models._write(tmp_path, registry.card("amdiff"))
    return tmp_path


@pytest.fixture
def trained(base, dataset):
    task = AmdiffTask("masks-ct", SMALL)
    bank = task.load([dataset], SETTINGS, Run())
    folder = train(task, bank, SETTINGS, base / "training", Run(), origin="amdiff-tiny")
    export(folder, base, "amdiff-tiny-ct", FACTS, ("segmenter.",))
    return folder


def run(case, model=None, **options):
    card, heard = registry.card("amdiff"), []
    output = card.load()(case, card.resolve({"samples": 0, **options}), Run(model=model, report=heard.append))
    return output, [event["text"] for event in heard if event.get("event") == "warning"]


def test_the_ct_is_seen_in_two_windows_and_beyond_its_field_is_air():
    hu = torch.tensor([-3000.0, -160.0, 40.0, 140.0, 1500.0, torch.nan]).reshape(1, 1, 1, 1, 6)
    wide, soft = windowed(hu)[0]
    torch.testing.assert_close(wide.flatten(), torch.tensor([-1.0, -0.16, 0.04, 0.14, 1.0, -1.0]))
    torch.testing.assert_close(soft.flatten(), torch.tensor([-1.0, -1.0, 0.0, 0.5, 1.0, -1.0]))


def test_a_segmenter_of_pet_alone_goes_on_where_it_was_and_then_sees_the_ct():
    torch.manual_seed(0)
    alone = Segmenter(SegmenterConfig(**tiny_models.SEGMENTER))
    both = Segmenter(SegmenterConfig(**SMALL["segmenter"]))
    missing = both.load_state_dict(alone.state_dict(), strict=False)
    assert missing.missing_keys == ["first_ct.weight", "first_ct.bias"] and not missing.unexpected_keys
    pet, low, place = torch.rand(1, 1, 16, 16, 16), torch.rand(1, 1, 16, 16, 16), torch.rand(1, 3, 16, 16, 16)
    hu = 500 * torch.randn(1, 1, 16, 16, 16)
    torch.testing.assert_close(both(pet, low, place, hu), alone(pet, low, place))
    torch.nn.init.normal_(both.first_ct.weight)
    assert not torch.allclose(both(pet, low, place, hu)[1], alone(pet, low, place)[1])


def test_only_the_segmenter_learns_and_only_it_is_in_the_file(trained, base):
    ours, theirs = (load_file(base / f"{name}.safetensors") for name in ("amdiff-tiny-ct", "amdiff-tiny"))
    assert ours and all(name.startswith("segmenter.") for name in ours) and "segmenter.first_ct.weight" in ours
    assert any(not torch.equal(ours[name], theirs[name]) for name in ours if name in theirs)
    kept = load_file(trained / checkpoint.STATE)
    for name, value in theirs.items():
        if not name.startswith("segmenter."):
            torch.testing.assert_close(kept[f"average.module.{name}"].half(), value, msg=name)
    beside = store.find("amdiff-tiny-ct").card.config["beside"]
    assert beside == {"id": "amdiff-tiny", "sha256": store.find("amdiff-tiny").card.sha256}


def test_a_case_with_a_ct_is_given_it_and_its_image_is_the_bases(trained):
    case = blobs(relative_noise=0.3).case()
    (with_ct, _), (without, _) = run(case), run(replace(case, ct=None))
    (asked, _) = run(case, "amdiff-tiny")
    assert [o.details["model"] for o in (with_ct, without, asked)] == ["amdiff-tiny-ct", "amdiff-tiny", "amdiff-tiny"]
    np.testing.assert_array_equal(with_ct.pet.array, without.pet.array)
    np.testing.assert_array_equal(asked.organs.array, without.organs.array)
    assert (with_ct.organs.array != without.organs.array).any()


def test_lesions_are_those_of_pet_alone_unless_they_are_its_own(trained, base):
    """Their intervals and thresholds hold then, with a CT and without."""
    case, low = blobs(relative_noise=0.3).case(), {"threshold": 0.5, "smallest_ml": 0.0, "borders": "network"}
    plain = run(case, "amdiff-tiny", **low)[0].lesions.array
    with_ct = run(case, **low)[0].lesions.array
    card = base / "amdiff-tiny-ct.json"
    said = json.loads(card.read_text())
    assert said["config"]["lesions_by"] == "base"
    said["config"]["lesions_by"] = "own"
    card.write_text(json.dumps(said))
    np.testing.assert_array_equal(with_ct, plain)
    assert plain.any() and (run(case, **low)[0].lesions.array != plain).any()


def test_a_file_without_a_decoder_of_lesions_is_enough_where_they_are_left_to_the_base(trained, base):
    case = blobs(relative_noise=0.3).case()
    whole = run(case)[0]
    kept = ("segmenter.first", "segmenter.stages", "segmenter.organs")
    export(trained, base, "amdiff-tiny-ct", FACTS, kept, overwrite=True)
    names = set(load_file(base / "amdiff-tiny-ct.safetensors"))
    assert "segmenter.organs.last.weight" in names and not any(name.startswith("segmenter.lesions.") for name in names)
    less = run(case)[0]
    np.testing.assert_array_equal(less.organs.array, whole.organs.array)
    np.testing.assert_array_equal(less.lesions.array, whole.lesions.array)
    card = base / "amdiff-tiny-ct.json"
    said = json.loads(card.read_text())
    card.write_text(json.dumps({**said, "config": {**said["config"], "lesions_by": "own"}}))
    with pytest.raises(ModelError, match="do not fit its configuration"):
        run(case)


def test_another_ct_gives_other_masks(trained, base):
    file = base / "amdiff-tiny-ct.safetensors"
    weights = load_file(file)
    weights["segmenter.first_ct.weight"] = torch.randn_like(weights["segmenter.first_ct.weight"].float()).half()
    tiny_models.save_file(weights, file)
    card = file.with_suffix(".json")
    card.write_text(json.dumps(json.loads(card.read_text()) | {"sha256": store.sha256(file)}))
    case = blobs(relative_noise=0.3).case()
    other = replace(case, ct=case.ct.with_array(np.where(case.ct.array > 0, -600, case.ct.array)))
    assert (run(case)[0].organs.array != run(other)[0].organs.array).any()


def test_without_a_ct_it_cannot_be_asked_for(trained):
    case = blobs(relative_noise=0.3).case(ct=None)
    with pytest.raises(ConditionError, match="needs the patient's CT"):
        run(case, "amdiff-tiny-ct")


def test_a_ct_of_another_part_of_the_body_is_not_used_and_that_is_said(trained):
    case = blobs(relative_noise=0.3).case()
    half = case.ct.array.copy()
    half[:10] = -1024
    output, warnings = run(replace(case, ct=case.ct.with_array(half)))
    assert output.details["model"] == "amdiff-tiny" and any("shows air in" in text for text in warnings)
    assert not any("shows air in" in text for text in run(case)[1])


def test_on_another_base_it_is_refused(trained, base):
    card = base / "amdiff-tiny-ct.json"
    said = json.loads(card.read_text())
    said["config"]["beside"]["sha256"] = "0" * 64
    card.write_text(json.dumps(said))
    with pytest.raises(ModelError, match="not the one on whose images the masks were taught"):
        run(blobs(relative_noise=0.3).case())


def ct_of(patient, vary, seed=0, mirrored=False, size=8):
    place = data.Place(np.array([6, 6, 6]), size, mirrored)
    return data.ct_patch(patient, place, torch.ones(1, size, size, size), np.random.default_rng(seed), vary)


def test_the_ct_of_a_patch_lies_on_it_and_in_training_may_move_a_little(monkeypatch):
    ramp = torch.arange(20.0).reshape(20, 1, 1).expand(20, 20, 20).half() * 10
    patient = data.Patient("p", {"ct": ramp}, np.zeros((2, 3)), np.zeros((0, 3), int))
    assert torch.equal(ct_of(patient, False)[0, :, 0, 0], 10 * torch.arange(6.0, 14.0))
    assert torch.equal(ct_of(patient, False, mirrored=True), ct_of(patient, False))
    assert len(torch.unique(ct_of(patient, True) - ct_of(patient, False))) > 8  # noise
    for name in ("ORGANS_DIFFER_HU", "ALL_DIFFER_HU", "NOISE_HU"):
        monkeypatch.setattr(data, name, 0.0)
    moved = [ct_of(patient, True, seed) - ct_of(patient, False) for seed in range(60)]
    assert {round(float(change.mean()) / 10) for change in moved} == {-2, -1, 0, 1, 2}
    nothing = data.Patient("p", {"ct": torch.full((20, 20, 20), torch.nan)}, np.zeros((2, 3)), np.zeros((0, 3), int))
    assert (ct_of(nothing, False) == data.AIR_HU).all()


def test_patients_without_a_ct_are_refused(base, tmp_path):
    folder = write_labelled(tmp_path / "data")
    manifest = folder / "manifest.csv"
    manifest.write_text(manifest.read_text().replace("p1/ct.nii.gz", ""))
    with pytest.raises(TrainingError, match="1 patient: has no CT, p1"):
        AmdiffTask("masks-ct", SMALL).load([folder], SETTINGS, Run())
