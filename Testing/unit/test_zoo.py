"""Models: checked before use, safely unpacked, nothing lost."""

import json
import zipfile
from dataclasses import fields

import pytest
from petdiffusion import doctor
from petdiffusion.cli import main
from petdiffusion.errors import ModelError
from petdiffusion.progress import Run
from petdiffusion.zoo import store
from petdiffusion.zoo.card import ModelCard
from petdiffusion.zoo.choose import choose
from support.blobs import blobs
from support.model_files import make_model


@pytest.fixture
def model(tmp_path, no_bundled_models):
    return make_model(tmp_path / "source")


@pytest.fixture
def zipped(model, tmp_path):
    archive = tmp_path / "model.zip"
    with zipfile.ZipFile(archive, "w") as target:
        for file in (model, model.with_suffix(".json")):
            target.write(file, f"any/folder/{file.name}")
    return archive


def test_a_model_added_from_file_folder_or_zip_is_found_and_removed(model, zipped):
    for source in (model, model.parent, zipped):
        store.add(source)
        found = store.find("tiny", "csrd")
        assert found.weights.read_bytes() == model.read_bytes() and not found.bundled
        store.remove("tiny")
        assert "tiny" not in store.models() and model.exists()


def test_a_zip_in_capitals_is_a_zip_too(zipped):
    store.add(zipped.rename(zipped.with_name("MODEL.ZIP")))
    assert "tiny" in store.models()


def test_a_model_is_found_by_path(model):
    assert store.find(str(model)).card.id == "tiny"
    assert store.find(str(model.with_suffix(".json"))).card.id == "tiny"


def test_changed_weights_are_refused(model):
    with model.open("ab") as stream:
        stream.write(b"x")
    with pytest.raises(ModelError, match="SHA-256"):
        store.find(str(model))
    with pytest.raises(ModelError, match="SHA-256"):
        store.add(model)
    assert not store.models()


def test_weights_of_another_method_are_refused(model):
    with pytest.raises(ModelError, match="belongs to csrd, not to amdiff"):
        store.find(str(model), "amdiff")


def test_a_model_may_serve_another_method_with_a_part_of_it(model):
    file = model.with_suffix(".json")
    file.write_text(json.dumps(json.loads(file.read_text()) | {"serves": ["unet3d"]}))
    store.add(model)
    assert list(store.models("unet3d")) == list(store.models("csrd")) == ["tiny"]
    assert store.find("tiny", "unet3d").card.method == "csrd"
    with pytest.raises(ModelError, match="belongs to csrd and unet3d, not to upete"):
        store.find("tiny", "upete")


def test_the_list_of_models_names_all_the_methods_of_one(capsys):
    assert main(["models", "list"]) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if "nnmamba-body" in line)
    assert "nnmamba, med-ddpm-3d" in line


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"surprise": 1}, "unknown fields: surprise"),
        ({"id": "../../etc"}, "may hold small letters"),
        ({"sha256": "abc"}, "is not one"),
        ({"schema": 99}, "schema 99"),
        ({"voxel_mm": ["4", "5"]}, "voxel_mm"),
        ({"voxel_mm": [5.0, 4.0]}, "voxel_mm"),
        ({"voxel_mm": [4.0, float("nan")]}, "voxel_mm"),
        ({"dose_fractions": [0.1]}, "dose_fractions"),
        ({"dose_fractions": [False, True]}, "dose_fractions"),
        ({"seen": {"noise_percent": 5}}, "seen"),
        ({"seen": {"contrast": [9, 3]}}, "seen"),
        ({"config": {"network": None}}, "config"),
        ({"tracers": [1]}, "tracers"),
        ({"regions": [["body"]]}, "regions"),
        ({"results": ["good"]}, "results"),
        ({"bytes": True}, "bytes"),
        ({"tracers": None}, "tracers"),
    ],
)
def test_a_wrong_card_is_refused(model, change, message):
    card = model.with_suffix(".json")
    card.write_text(json.dumps({**json.loads(card.read_text()), **change}))
    with pytest.raises(ModelError, match=message):
        store.find(str(model))


@pytest.mark.parametrize("change", [{"training": "2 h on one GPU"}, {"version": 1.0}, {"schema": 1.0}, {"summary": 5},
                                    {"limits": ["none known"]}, {"bytes": 100.0}])  # fmt: skip
def test_what_no_run_reads_may_be_written_as_one_likes(model, change, capsys):
    card = model.with_suffix(".json")
    card.write_text(json.dumps(json.loads(card.read_text()) | change))
    store.add(model)
    run = Run()
    assert choose("csrd", blobs((20, 28, 32), (4.0, 4.0, 4.0)).case(), run).card.id == "tiny"
    assert not [text for text in run.warnings if "left out" in text]
    assert main(["models"]) == main(["models", "show", "tiny"]) == 0


def test_null_of_a_field_that_may_be_missing_is_its_default(model):
    needed = json.loads(model.with_suffix(".json").read_text())
    optional = {known.name for known in fields(ModelCard)} - set(needed)
    assert "refines" in optional
    assert ModelCard.from_json(needed | dict.fromkeys(optional), "x") == ModelCard.from_json(needed, "x")


def test_a_card_with_a_field_missing_is_refused(model):
    card = json.loads(model.with_suffix(".json").read_text())
    del card["limits"]
    with pytest.raises(ModelError, match="limits"):
        ModelCard.from_json(card, "x.json")


def test_a_zip_cannot_write_outside_and_two_models_are_refused(model, tmp_path):
    archive = tmp_path / "evil.zip"
    with zipfile.ZipFile(archive, "w") as target:
        target.write(model, "../../evil.safetensors")
        target.writestr("../../evil.json", model.with_suffix(".json").read_text())
        target.writestr("../../run-me.py", "print('no')")
    store.add(archive)
    assert store.find("tiny").weights.name == "tiny.safetensors"
    assert sorted(p.name for p in store.user_folder().iterdir()) == ["tiny.json", "tiny.safetensors"]
    assert not list(tmp_path.parent.rglob("evil.safetensors")) and not list(tmp_path.parent.rglob("run-me.py"))
    make_model(model.parent, "second")
    with pytest.raises(ModelError, match="holds 2 cards"):
        store.add(model.parent)


def test_pickles_and_garbage_are_refused(tmp_path):
    weights = make_model(tmp_path / "garbage")
    weights.write_bytes(b"\x80\x04\x95garbage that claims to be a model")
    card = weights.with_suffix(".json")
    card.write_text(json.dumps({**json.loads(card.read_text()), "sha256": store.sha256(weights)}))
    with pytest.raises(ModelError, match="not a safetensors file"):
        store.add(weights)
    (tmp_path / "not.zip").write_bytes(b"PK garbage")
    with pytest.raises(ModelError, match="cannot be unpacked"):
        store.add(tmp_path / "not.zip")
    with pytest.raises(ModelError, match="does not exist"):
        store.add(tmp_path / "nowhere")


@pytest.mark.parametrize("ruin", [lambda data: bytes(b ^ 0xA5 for b in data), lambda data: data[:-20] + bytes(20)])
def test_a_zip_with_a_damaged_stream_is_refused(model, tmp_path, ruin):
    archive = tmp_path / "model.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as target:
        for file in (model, model.with_suffix(".json")):
            target.write(file, file.name)
    info = zipfile.ZipFile(archive).infolist()[0]
    whole, start = archive.read_bytes(), info.header_offset + 30 + len(info.filename)
    end = start + info.compress_size
    archive.write_bytes(whole[:start] + ruin(whole[start:end]) + whole[end:])
    with pytest.raises(ModelError, match="cannot be unpacked"):
        store.add(archive)


def test_a_model_is_not_added_twice_and_bundled_ones_stay(model, monkeypatch):
    store.add(model)
    with pytest.raises(ModelError, match="installed already"):
        store.add(model)
    monkeypatch.setattr(store, "BUNDLED", model.parent)
    with pytest.raises(ModelError, match="bundled"):
        store.remove("tiny")
    assert model.exists()


def test_every_bundled_model_is_sound_and_together_they_stay_small():
    assert not store.broken()
    models = store.models().values()
    assert {m.weights for m in models} == set(store.BUNDLED.glob("*.safetensors"))
    assert all(m.verify() is m and m.bundled for m in models)
    assert all(m.weights.stat().st_size == m.card.bytes < 16e6 for m in models)
    assert sum(m.card.bytes for m in models) < 60e6


def test_unknown_models_say_what_there_is(model):
    store.add(model)
    with pytest.raises(ModelError, match="is not one of tiny"):
        store.find("tyni")


def test_a_model_that_is_named_and_has_a_bad_card_says_what_is_wrong_with_it(no_bundled_models):
    """And not that there is none of this name."""
    make_model(store.user_folder(), "mine", voxel_mm=["4", "5"])
    with pytest.raises(ModelError, match=r"mine\.json"):
        store.find("mine")


@pytest.mark.parametrize("change", [{"voxel_mm": ["4", "5"]}, {"seen": {"noise_percent": 5}}, {"tracers": [1]},
                                    {"config": {"network": None}}])  # fmt: skip
def test_a_bad_card_is_skipped_by_runs_of_its_method_and_the_doctor_tells_it(tmp_path, no_bundled_models, change):
    make_model(store.user_folder(), "sound", voxel_mm=[3.0, 5.0])
    make_model(store.user_folder(), "a-bad-one", **change)
    run = Run()
    assert choose("csrd", blobs((20, 28, 32), (4.0, 4.0, 4.0)).case(), run).card.id == "sound"
    assert [text for text in run.warnings if "a-bad-one.json" in text and "left out" in text]
    row = doctor._models()
    assert not row["ok"] and "a-bad-one.json" in row["found"]


@pytest.mark.parametrize(("change", "told_to"), [({"method": "unet-3d"}, {"unet-3d"}),
                                                 ({"method": "unet-3d", "serves": ["csrd"]}, {"unet-3d", "csrd"}),
                                                 ({"method": 5}, {"unet-3d", "csrd"})])  # fmt: skip
def test_a_bad_card_is_told_to_runs_of_its_methods_alone(no_bundled_models, change, told_to):
    make_model(store.user_folder(), "bad", **change, voxel_mm=[4.0])
    assert {method for method in ("unet-3d", "csrd") if store.broken(method)} == told_to
    (store.user_folder() / "bad.json").write_text("{")
    assert store.broken("csrd") and store.broken("unet-3d") and store.broken()


def test_a_run_is_not_told_of_another_methods_bad_card(no_bundled_models):
    make_model(store.user_folder(), "sound", voxel_mm=[3.0, 5.0])
    make_model(store.user_folder(), "bad", method="unet-3d", voxel_mm=[4.0])
    run = Run()
    choose("csrd", blobs((20, 28, 32), (4.0, 4.0, 4.0)).case(), run)
    assert not [text for text in run.warnings if "left out" in text]
    assert "bad.json" in doctor._models()["found"]


def test_one_broken_card_does_not_hide_the_others(model):
    store.add(model)
    (store.user_folder() / "._tiny.json").write_bytes(b"\x00\x05")
    assert list(store.models()) == ["tiny"] and not store.broken()
    (store.user_folder() / "bad.json").write_text("{}")
    assert list(store.models()) == ["tiny"] and "bad.json" in str(store.broken()[0])
    store.remove("tiny")
