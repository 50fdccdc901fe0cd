"""Text-guided DDPM: words reach the network, slice by slice; pairs leave no jumps; encoders are who they should be."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import petdiffusion
import pytest
import torch
from petdiffusion import registry
from petdiffusion.cli import main
from petdiffusion.errors import DependencyError, InputError, ModelError
from petdiffusion.methods.text_ddpm import guidance, method
from petdiffusion.methods.text_ddpm.clip_task import ClipTask
from petdiffusion.methods.text_ddpm.prompts import Prompt, slice_prompts
from petdiffusion.methods.text_ddpm.task import TextDdpmTask
from petdiffusion.progress import Run
from petdiffusion.training.loop import train
from petdiffusion.training.settings import TrainSettings
from petdiffusion.volume import LabelMap
from petdiffusion.write import labels
from petdiffusion.zoo import store
from safetensors.torch import load_file, save_file
from support import clip
from support.blobs import blobs
from support.tiny_bank import same, write_dataset
from support.tiny_models import write_models

NAMES = {1: "trunk", 2: "lung_left", 3: "lung_right", 4: "liver", 5: "kidney_right", 6: "tumour", 7: "spleen"}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """The tiny model with a cross-attention that says something: it starts at zero."""
    clip.needed()
    folder = write_models(tmp_path_factory.mktemp("models"), "text-ddpm")
    path = folder / "text-ddpm-tiny.safetensors"
    weights = load_file(path)
    generator = torch.Generator().manual_seed(5)
    weights["cross.out.weight"] = torch.randn(weights["cross.out.weight"].shape, generator=generator).half()
    save_file(weights, path)
    card = json.loads(path.with_suffix(".json").read_text())
    path.with_suffix(".json").write_text(json.dumps(card | {"sha256": store.sha256(path)}))
    return folder


@pytest.fixture(autouse=True)
def of_the_user(monkeypatch, request, no_models_of_the_user, no_bundled_models):
    if "models" in request.fixturenames:
        monkeypatch.setenv("PETDIFFUSION_MODELS", str(request.getfixturevalue("models")))


@pytest.fixture
def case():
    found = blobs().case(text="")
    return replace(found, labels=LabelMap(found.labels.array, found.labels.geometry, NAMES))


def run_on(case, run=None, **options):
    card = registry.card("text-ddpm")
    return card.load()(case, card.resolve({"samples": 0, **options}), run or Run())


# ---- words reach the network ---------------------------------------------------------------------------------------


def test_prompts_change_the_result_and_each_order_does_so_differently(models, case):
    found = {order: run_on(case, order=order).pet.array for order in guidance.ORDERS}
    for order in ("empty", "shuffled", "wrong"):
        assert np.abs(found[order] - found["own"]).max() > 1e-4, order
    assert np.abs(found["wrong"] - found["shuffled"]).max() > 1e-4


def test_only_slices_whose_prompt_changed_change(models, case, tmp_path):
    """One slice's prompt edited: with blended pairs it and the slice after it may differ, no other."""
    plain = run_on(case, metadata=False)
    rows = [dict(row) for row in plain.tables["prompts"]]
    rows[8]["prompt"] = "Axial slice including spleen"
    from petdiffusion.write.tables import write_csv

    path = write_csv(rows, tmp_path / "prompts.csv")
    edited = run_on(case, metadata=False, prompts=str(path))
    changed = np.flatnonzero(np.abs(edited.pet.array - plain.pet.array).max((1, 2)) > 1e-5)
    assert set(changed) == {8, 9}
    assert edited.tables["prompts"][8]["prompt"] == "Axial slice including spleen"


def test_words_of_the_scan_reach_every_slice(models, case):
    plain, told = run_on(case, metadata=False), run_on(replace(case, text="1/10 dose FDG"), metadata=False)
    inside = case.body.any((1, 2))
    assert (np.abs(told.pet.array - plain.pet.array).max((1, 2)) > 1e-5)[inside].all()
    assert told.details["scan_text"] == "1/10 dose FDG"


def test_a_wrong_table_is_told_before_anything_is_loaded(models, case, tmp_path, monkeypatch):
    (tmp_path / "prompts.csv").write_text("slice,prompt\n999,liver\n")
    monkeypatch.setattr(method, "_model", lambda *_: pytest.fail("a model was loaded first"))
    with pytest.raises(InputError, match="names slice 999"):
        run_on(case, prompts=str(tmp_path / "prompts.csv"))


def test_words_of_the_scan_can_be_edited_in_the_table(models, case, tmp_path):
    from petdiffusion.write.tables import write_csv

    rows = [{"slice": k, "prompt": "", "scan": "1/4 dose FDG"} for k in range(len(case.pet.array))]
    path = write_csv(rows, tmp_path / "prompts.csv")
    assert run_on(case, prompts=str(path)).details["scan_text"] == "1/4 dose FDG"
    assert run_on(replace(case, text="1/10 dose"), prompts=str(path)).details["scan_text"] == "1/10 dose"
    assert run_on(case).details["scan_text"] != "1/4 dose FDG"


def test_without_labels_ct_and_mr_it_says_so_and_goes_on(models, case):
    run = Run()
    output = run_on(replace(case, labels=None, ct=None, mr=None), run, metadata=False)
    assert "no text guides this run" in " ".join(run.warnings) and not output.details["guided"]
    np.testing.assert_allclose(output.pet.array, run_on(case, metadata=False, order="empty").pet.array, atol=1e-5)


def test_organs_that_another_method_finds_in_the_pet_are_named_where_asked(models, case, monkeypatch, tmp_path):
    """AMDiff of random weights marks something; its organs are in the prompts, and missing it is a fallback."""
    write_models(models, "amdiff")
    alone = replace(case, labels=None, ct=None, mr=None)
    run = Run(model="text-ddpm-tiny")
    output = run_on(alone, run, pet_organs=True)
    there = set(output.organs.present().values())
    assert output.details["prompts_from"] == "amdiff on the PET" and output.details["guided"]
    assert there and not there & {"lung", "kidney", "bone", "muscle"} and "organs" in run.seconds
    expected = [prompt.text for prompt in slice_prompts(output.organs, lambda text: 1)]
    assert sorted(row["prompt"] or "" for row in output.tables["prompts"]) == sorted(expected) and any(expected)
    assert run_on(case, pet_organs=True).details["prompts_from"] == "labels"
    assert run_on(alone, pet_organs=True, segment="never").organs is None
    run = Run()
    assert run_on(alone, run).organs is None and "pet_organs=true" in " ".join(run.warnings)
    monkeypatch.setenv("PETDIFFUSION_MODELS", str(tmp_path))
    for file in models.glob("*"):
        if not file.name.startswith("amdiff"):
            shutil.copy(file, tmp_path)
    run = Run()
    assert not run_on(alone, run, pet_organs=True).details["guided"]
    assert "No organs were found in the PET: Method 'amdiff': has no model" in " ".join(run.warnings)
    with pytest.raises(ModelError, match="has no model"):
        run_on(alone, pet_organs=True, segment="required")


def test_a_missing_segmentation_is_a_fallback_or_an_error_as_asked(models, case, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("petdiffusion.methods.text_ddpm.segment.sys.executable", str(tmp_path / "python"))
    run = Run()
    assert not run_on(replace(case, labels=None), run).details["guided"]
    assert "TotalSegmentator: is not installed" in " ".join(run.warnings)
    with pytest.raises(Exception, match="is not installed"):
        run_on(replace(case, labels=None), segment="required")


def test_a_missing_encoder_is_a_fallback_or_an_error_as_asked(models, case, monkeypatch):
    def missing():
        raise DependencyError("open_clip_torch", "cannot be used here (a test)", "Install it.")

    monkeypatch.setattr("petdiffusion.methods.text_ddpm.clip.open_clip", missing)
    run = Run()
    assert not run_on(case, run).details["guided"] and "no text guides this run" in " ".join(run.warnings)
    with pytest.raises(ModelError, match="text encoder"):
        run_on(case, segment="required")


def test_unnamed_values_and_unknown_words_are_told(models, case):
    run = Run()
    names = {value: name for value, name in NAMES.items() if value != 5}
    run_on(replace(case, labels=LabelMap(case.labels.array, case.labels.geometry, names)), run)
    assert "for the values 5" in " ".join(run.warnings)
    assert "does not know: " in " ".join(run.warnings) and "trunk" in " ".join(run.warnings)


def test_a_text_too_long_is_refused(models, case):
    with pytest.raises(InputError, match="tokens"):
        run_on(replace(case, text="a dose of " * 40))


def test_the_context_of_the_mirrored_patient_has_left_and_right_changed(models):
    reader = guidance.reader_of(json.loads((models / "text-ddpm-tiny.json").read_text())["config"]["encoder"],
                                {"prompts": ""}, Run())  # fmt: skip
    texts = ["Axial slice including left kidney", "Axial slice including right kidney"]
    told = guidance.Guidance([Prompt(text) for text in texts])
    plain, mirrored = guidance.context(told, reader, 2, reader.width).chunk(2, 2)
    assert torch.equal(plain[0], mirrored[1]) and torch.equal(plain[1], mirrored[0])
    assert not torch.equal(plain[0], mirrored[0]) and not plain[:, 77:].any()  # nothing was said of the scan


def test_the_mean_of_the_mirrored_patient_is_the_mirrored_mean(models, case):
    """With left and right changed in the names too; with the names as they were it is another."""
    def flipped(names):
        labels = LabelMap(np.flip(case.labels.array, 2), case.labels.geometry, names)
        pet = case.pet.with_array(np.flip(case.pet.array, 2).copy())
        return replace(case, pet=pet, body=np.flip(case.body, 2).copy(), labels=labels)

    plain = run_on(case, metadata=False).pet.array
    swapped = {2: "lung_right", 3: "lung_left", 5: "kidney_left"}
    mirrored = np.flip(run_on(flipped({**NAMES, **swapped}), metadata=False).pet.array, 2)
    np.testing.assert_allclose(mirrored, plain, atol=1e-4)
    wrong = np.flip(run_on(flipped(NAMES), metadata=False).pet.array, 2)
    assert np.abs(wrong - plain).max() > 1e-3


def test_two_views_are_averaged_and_not_added():
    from petdiffusion.diffusion.conditions import Conditions
    from petdiffusion.methods.text_ddpm.method import _two_views

    images = torch.arange(24.0).reshape(1, 2, 1, 3, 4)
    found = _two_views(lambda view: view.images, Conditions(images=images))
    torch.testing.assert_close(found, images)


# ---- encoders ------------------------------------------------------------------------------------------------------


def test_another_encoder_than_the_models_own_is_refused(models, case, monkeypatch, tmp_path):
    import shutil

    shutil.copytree(models, tmp_path / "m")
    path = tmp_path / "m" / f"{clip.ID}.safetensors"
    weights = load_file(path)
    weights["text.positional_embedding"] = weights["text.positional_embedding"] * 1.5
    save_file(weights, path)
    card = json.loads(path.with_suffix(".json").read_text())
    path.with_suffix(".json").write_text(json.dumps(card | {"sha256": store.sha256(path)}))
    monkeypatch.setenv("PETDIFFUSION_MODELS", str(tmp_path / "m"))
    with pytest.raises(ModelError, match="another one"):
        run_on(case)
    path.unlink()
    path.with_suffix(".json").unlink()
    with pytest.raises(ModelError, match=clip.ID):
        run_on(case)


def test_clip_vit_b_32_needs_a_file(monkeypatch, tmp_path):
    from petdiffusion.methods.text_ddpm.encoder import FILE, encoder

    monkeypatch.delenv(FILE, raising=False)
    with pytest.raises(ModelError, match=FILE):
        encoder("clip-vit-b-32")
    monkeypatch.setenv(FILE, str(tmp_path / "clip.safetensors"))
    with pytest.raises(ModelError, match="are not there"):
        encoder("clip-vit-b-32")


def test_the_compact_text_tower_is_open_clips_own(models):
    """What it reads equals open_clip's forward pass on the same rows, and texts may be shortened to their ends."""
    from petdiffusion.methods.text_ddpm.clip import tokenized
    from petdiffusion.methods.text_ddpm.encoder import encoder

    tower = encoder(clip.ID).clip
    rows = tower.rows(tokenized(["Axial slice including liver", "1/10 dose FDG"]))
    with torch.no_grad():
        pooled, sequence = tower.text(rows)
        ours, seen = tower.read(rows)
        short, cut = tower.read(rows, shorten=True)
    torch.testing.assert_close(ours, torch.nn.functional.normalize(pooled, dim=-1))
    torch.testing.assert_close(seen, sequence)
    torch.testing.assert_close(short, ours, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(cut, sequence[:, : cut.shape[1]], atol=1e-5, rtol=1e-5)


def test_rows_of_the_vocabulary():
    clip.needed()
    from petdiffusion.methods.text_ddpm.clip import PAD, UNKNOWN, rows_of, tokenized, vocabulary_of

    known = vocabulary_of(["liver spleen"])
    rows = rows_of(tokenized(["liver", "liver banana"]), known)
    end = len(known) + 2
    assert rows[0, :4].tolist() == [rows[0, 0], rows[1, 1], end, PAD] and rows[0, 3:].max() == PAD
    assert rows[1, 2] == UNKNOWN and rows.max() == end


# ---- training ------------------------------------------------------------------------------------------------------


@pytest.fixture
def dataset(tmp_path):
    """Small patients with a liver to the left of the image and a lesion to the right."""
    import csv

    from support.scans import small_patient

    folder = write_dataset(tmp_path / "data")
    rows = list(csv.DictReader((folder / "manifest.csv").open()))
    for number, row in enumerate(rows):
        patient = small_patient(number)
        names = LabelMap(patient["labels"].array, patient["labels"].geometry, {5: "kidney_left"})
        labels.write(names, folder / f"p{number}" / "labels.nii.gz")
        row["labels"] = f"p{number}/labels.nii.gz"
    with (folder / "manifest.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return folder


def settings(**changes):
    return TrainSettings(
        **{"steps": 4, "batch": 3, "patch": 16, "validate_every": 2, "precision": "32-true", **changes}
    )


def task():
    return TextDdpmTask(changes={"network": {k: v for k, v in NETWORK.items()}, "encoder": clip.ID})


NETWORK = {"dims": 2, "channels": 8, "multipliers": (1, 2), "blocks": 1, "resample": "light", "attention": False,
           "dropout": 0.0, "stem": 2, "norm": "voxel", "vector": 2, "condition_channels": 4, "in_channels": 2,
           "out_channels": 2}  # fmt: skip


def test_a_training_names_its_encoder(models, dataset, tmp_path):
    own = task()
    train(own, own.load([dataset], settings(), Run()), settings(), tmp_path / "a")
    facts = json.loads((tmp_path / "a" / "checkpoint.json").read_text())
    assert facts["config"]["encoder"] == {"id": clip.ID, "width": clip.WIDTH, "tokens": 77,
                                          "sha256": store.models()[clip.ID].card.sha256}  # fmt: skip
    assert facts["config"]["network"]["context"] == clip.WIDTH and facts["step"] == 4


@pytest.mark.filterwarnings("ignore:Mean of empty slice")  # a structure is in all slices or in none
def test_an_encoder_in_training_is_judged_by_the_prompts_it_finds(models, dataset, tmp_path):
    own = ClipTask(changes={"width": 16, "heads": 2, "layers": 1, "embed": 8, "channels": 4})
    train(own, own.load([dataset], settings(), Run()), settings(), tmp_path / "a")
    last = (tmp_path / "a" / "log.csv").read_text().splitlines()
    scores = dict(zip(last[0].split(","), map(float, last[-1].split(","))))
    assert 0 <= scores["top1"] <= scores["top5"] <= 1 and scores["candidates"] > 1


def test_mirrored_pairs_come_with_mirrored_prompts(models, dataset):
    data = task().load([dataset], settings(), Run())
    words = {number: text for text, number in data.texts.items()}
    seen = {"left": set(), "right": set()}
    for step in range(12):
        batch = data.batch(step, 0)
        for image, (number, _) in zip(batch["normal"], batch["texts"].tolist()):
            if "kidney" in words.get(number, ""):
                side = "left" if "left kidney" in words[number] else "right"
                half = image.mean((0, 1))
                seen[side].add(bool(half[:8].mean() > half[-8:].mean()))
    assert seen["left"] and seen["right"]
    assert same(data.batch(5, 0), data.batch(5, 0)) and not same(data.batch(5, 0), data.batch(6, 0))


def test_text_is_withheld_as_often_as_the_configuration_says(models, dataset):
    own = task()
    data = own.load([dataset], settings(batch=400), Run())
    batch = data.batch(0, 0)
    said = batch["texts"] > 0
    context = own.conditions(batch, torch.Generator().manual_seed(1)).context.unflatten(1, (2, 77))
    kept = context.flatten(2).any(2)
    assert not (kept & ~said).any()
    assert float(kept[said].float().mean()) == pytest.approx(0.85, abs=0.05)


# ---- command line --------------------------------------------------------------------------------------------------


def test_prompts_written_by_one_run_are_taken_by_the_next(models, case, tmp_path, capsys):
    from petdiffusion.write import images

    images.write(case.pet, tmp_path / "pet.nii.gz")
    labels.write(case.labels, tmp_path / "labels.nii.gz")
    common = ["denoise", str(tmp_path / "pet.nii.gz"), "--method", "text-ddpm", "--option", "samples=0", "--quiet",
              "--no-report", "--unit", "SUVbw"]  # fmt: skip
    assert main([*common, "--labels", str(tmp_path / "labels.nii.gz"), "--out", str(tmp_path / "a")]) == 0
    table = tmp_path / "a" / "tables" / "prompts.csv"
    assert "liver" in table.read_text()
    assert main([*common, "--prompts", str(table), "--out", str(tmp_path / "b")]) == 0
    one, other = (store.sha256(tmp_path / run / "denoised.nii.gz") for run in ("a", "b"))
    assert one == other


TORCHVISION_OF_ANOTHER_TORCH = """
import torch

@torch.library.register_fake("torchvision::nms")
def nms(dets, scores, threshold):
    return dets

__version__ = "stand-in"
"""
ASK = "from petdiffusion.methods.text_ddpm.clip import open_clip; print(open_clip().__version__)"


@pytest.mark.parametrize("library, said", [(TORCHVISION_OF_ANOTHER_TORCH, "stand-in"),
                                           ("raise RuntimeError('no kernel')", "cannot be used here (no kernel)"),
                                           ("import torchvision_is_missing", 'pip install "open_clip_torch>=2.30"')])
def test_a_torchvision_of_another_torch_does_not_stand_in_the_way(library, said, tmp_path):
    """It fails when it registers its operators, as this stand-in does; what fails otherwise is said."""
    (tmp_path / "open_clip.py").write_text(library)
    home = Path(petdiffusion.__file__).parents[1]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(tmp_path), str(home)))}
    done = subprocess.run([sys.executable, "-c", ASK], env=environment, capture_output=True, text=True, check=False)
    assert said in done.stdout + done.stderr
    assert (done.returncode == 0) == (said == "stand-in")
