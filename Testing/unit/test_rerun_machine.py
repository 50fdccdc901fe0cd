"""A recorded run made again where less memory is free or another precision is chosen: the same voxels, or a word."""

import json
import re

import numpy as np
import petdiffusion
import pytest
from petdiffusion import registry
from petdiffusion.errors import InputError
from petdiffusion.infer import again, device, plan
from petdiffusion.progress import RAN_OUT, Run
from petdiffusion.request import read_record
from petdiffusion.rerun import rerun
from petdiffusion.write import images
from support import tiny_models
from support.blobs import blobs

LITTLE = 40_000_000
"""Bytes free: enough for patches of a scan of this size."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    found = tmp_path_factory.mktemp("rerun")
    (found / "models").mkdir()
    for method in ("csrd", "upete"):
        tiny_models._write(found / "models", registry.card(method))
    images.write(blobs((64, 60, 72), seed=3).noisy, found / "pet.nii.gz")
    return found


@pytest.fixture(autouse=True)
def models(folder, monkeypatch):
    monkeypatch.setenv("PETDIFFUSION_MODELS", str(folder / "models"))


def free(monkeypatch, **bytes_):
    """What a plan finds free, and what a recorded one may take."""
    monkeypatch.setattr(plan, "free_memory", lambda name="cpu": bytes_["plan"])
    monkeypatch.setattr(again, "free_memory", lambda name="cpu": bytes_["again"])
    monkeypatch.setattr(plan, "make_room", lambda wanted=0.0: False)


def first(folder, out, method="csrd", **options):
    return petdiffusion.denoise(folder / "pet.nii.gz", method, model=f"{method}-tiny", samples=2, steps=3, out=out,
                                device="cpu", report=False, **options)  # fmt: skip


@pytest.mark.parametrize("method", ["csrd", "upete"])
def test_patches_are_those_of_the_record_whatever_memory_is_free(folder, tmp_path, monkeypatch, method):
    free(monkeypatch, plan=LITTLE, again=LITTLE)
    made = first(folder, tmp_path / "one", method)
    assert made.record["details"]["plan"]["patches"] > 1 and len(made.record["plans"]) == 1
    free(monkeypatch, plan=10**10, again=10**10)
    whole, run = first(folder, tmp_path / "whole", method), Run()
    assert whole.record["details"]["plan"]["patches"] == 1
    assert not np.array_equal(whole.sd.array, made.sd.array)
    same = rerun(tmp_path / "one", run=run)
    np.testing.assert_array_equal(same.pet.array, made.pet.array)
    np.testing.assert_array_equal(same.sd.array, made.sd.array)
    assert same.record["plans"] == made.record["plans"] and not any("differ" in text for text in run.warnings)


def test_a_record_of_an_earlier_version_holds_the_last_plan_alone(folder, tmp_path, monkeypatch):
    free(monkeypatch, plan=LITTLE, again=LITTLE)
    made = first(folder, tmp_path / "one")
    record = read_record(tmp_path / "one")
    del record["plans"]
    free(monkeypatch, plan=10**10, again=10**10)
    np.testing.assert_array_equal(rerun(record).sd.array, made.sd.array)


def test_where_the_memory_is_not_there_it_is_said(folder, tmp_path, monkeypatch):
    made = first(folder, tmp_path / "one")
    free(monkeypatch, plan=LITTLE, again=LITTLE)
    run = Run()
    other = rerun(tmp_path / "one", run=run)
    patch = " x ".join(map(str, made.record["plans"][0]["patch"][::-1]))
    (told,) = [text for text in run.warnings if "voxels may differ" in text]
    assert f"patches of {patch} voxels" in told and "Close other programs" in told
    assert other.record["details"]["plan"]["patches"] > 1 and told in other.record["warnings"]


@pytest.mark.parametrize("now", [False, True])
def test_precision_is_that_of_the_record(folder, tmp_path, monkeypatch, now):
    monkeypatch.setattr(device, "bf16_pays", lambda kind: not now)
    made = first(folder, tmp_path / "one")
    monkeypatch.setattr(device, "bf16_pays", lambda kind: now)
    run = Run()
    same = rerun(tmp_path / "one", run=run)
    assert same.record["plans"][0]["bf16"] is not now
    np.testing.assert_array_equal(same.sd.array, made.sd.array)
    assert not any("differ" in text for text in run.warnings)


def test_what_else_decides_on_voxels_is_told_by_name(folder, tmp_path):
    first(folder, tmp_path / "one")
    record = json.loads((tmp_path / "one" / "record.json").read_text())
    record["versions"] |= {"torch": "1.0.0", "nibabel": "0.1"}
    record |= {"device": "cuda", "warnings": [f"{RAN_OUT} (out of memory); going on with a smaller plan: …"]}
    run = Run()
    rerun(record, run=run)
    (told,) = [text for text in run.warnings if "was made with" in text]
    assert "torch 1.0.0 (here " in told and "device cuda (here cpu)" in told and "nibabel" not in told
    assert any("smaller patches: voxels may differ" in text for text in run.warnings)


def test_a_filter_does_not_mind_another_torch(folder, tmp_path):
    petdiffusion.denoise(folder / "pet.nii.gz", "gaussian", out=tmp_path / "one", report=False)
    record = read_record(tmp_path / "one")
    record["versions"] |= {"torch": "1.0.0"}
    run = Run()
    rerun(record, run=run)
    assert record["plans"] == [] and not any("differ" in text for text in run.warnings)
    record["versions"]["numpy"] = "1.0"
    rerun(record, run=run)
    assert any("numpy 1.0 (here" in text for text in run.warnings)


@pytest.mark.parametrize(("name", "has", "remedy"), [
    ("batch", "two/record.json", "such as {}/two."),
    ("scan", "frames/frame_002/record.json", "such as {}/frames/frame_002, or run `petdiffusion dynamic` again"),
    ("study", "runs/nlm/p2/record.json", "such as {}/runs/nlm/p2."),
    ("empty", "note.txt", "Give a record.json or its folder."),
])  # fmt: skip
def test_a_folder_of_several_runs_is_told_which_folder_to_give(tmp_path, name, has, remedy):
    given = tmp_path / name
    (given / has).parent.mkdir(parents=True)
    (given / has).write_text("{}")
    if name == "scan":
        (given / "dynamic.json").write_text("{}")
    with pytest.raises(InputError, match=re.escape(f"Folder {name}: holds no record.json.")) as refused:
        rerun(given)
    assert remedy.format(given) in refused.value.remedy
    if name == "scan":
        with pytest.raises(InputError, match=r"File dynamic\.json: is not a run record.*frame_002"):
            rerun(given / "dynamic.json")
