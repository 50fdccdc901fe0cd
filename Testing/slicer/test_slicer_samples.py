"""Practice data: digital patients that are made once, checked and loaded."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import pytest
from petdiffusion.errors import InputError

ROOT = Path(__file__).resolve().parents[2]
FAKE = Path(__file__).resolve().with_name("fake_backend")


def make(name="body"):
    from PETDiffusionDenoiseLib import backend, samples

    making = samples.Making(name, backend.Backend("", FAKE))
    making.start()
    return making.wait()


def test_practice_data_are_made_once_checked_and_loaded(scene, monkeypatch) -> None:
    import slicer
    from PETDiffusionDenoiseLib import samples, units

    nodes = list(make().values())
    names = [node.GetName() for node in nodes]
    assert names == [
        "Digital body PET 10 %",
        "Digital body PET 100 %",
        "Digital body CT",
        "Digital body organs",
        "Digital body lesions",
    ]
    assert units.find(nodes[0]).unit == "SUVbw" and nodes[2].GetAttribute("DICOM.Modality") == "CT"
    assert nodes[3].GetSegmentation().GetNthSegment(0).GetName() == "Liver"
    tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    parents = {tree.GetItemName(tree.GetItemParent(tree.GetItemByDataNode(node))) for node in nodes}
    assert parents == {"Digital patient (body)"}
    monkeypatch.setenv("FAKE_BACKEND", "crash")
    assert len(make()) == 5, "kept data are used again without the backend"
    damaged = samples.folder_of("body") / "normal.nii.gz"
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"x")
    assert not samples.is_sound(samples.folder_of("body"))
    with pytest.raises(Exception, match="crashed"):
        make()
    monkeypatch.setenv("FAKE_BACKEND", "success")
    assert len(make()) == 5 and samples.is_sound(samples.folder_of("body")), "damaged data are made anew"


def test_a_digital_patient_without_lesions_has_no_lesion_node(scene, tmp_path) -> None:
    """A segmentation without segments would only be in the way of the next run."""
    import json
    import shutil

    import numpy as np
    import SimpleITK as sitk
    from PETDiffusionDenoiseLib import samples

    make()
    shutil.copytree(samples.folder_of("body"), tmp_path / "healthy")
    names = json.loads((tmp_path / "healthy" / "manifest.json").read_text())["files"]
    sitk.WriteImage(
        sitk.GetImageFromArray(np.zeros((4, 5, 6), np.int16)), str(tmp_path / "healthy" / names["lesions"])
    )
    assert list(samples.load(tmp_path / "healthy", samples.SAMPLES["body"])) == ["low", "normal", "anatomy", "organs"]


def test_practice_data_that_cannot_be_made_leave_nothing(scene, monkeypatch) -> None:
    from PETDiffusionDenoiseLib import samples

    monkeypatch.setenv("FAKE_BACKEND", "named_error")
    with pytest.raises(Exception, match="damaged"):
        make("brain")
    assert not samples.folder_of("brain").exists()
    assert list(samples.folder_of("brain").parent.glob("*.part")) == []


def test_a_manifest_that_is_no_manifest_is_not_sound(tmp_path) -> None:
    from PETDiffusionDenoiseLib import samples

    for text in ("", "[]", '{"sha256": {}}', '{"sha256": {"gone": "0"}}', '{"sha256": 3}'):
        (tmp_path / "manifest.json").write_text(text)
        assert not samples.is_sound(tmp_path)


def test_sample_data_entries_are_registered_and_make_the_patient(scene, monkeypatch) -> None:
    from PETDiffusionDenoiseLib import backend, samples

    entries = []
    logic = types.SimpleNamespace(registerCustomSampleDataSource=lambda **entry: entries.append(entry))
    monkeypatch.setitem(sys.modules, "SampleData", types.SimpleNamespace(SampleDataLogic=logic))
    monkeypatch.setattr(backend, "chosen", lambda: backend.Backend("", FAKE))
    samples.register()
    assert [e["sampleName"] for e in entries] == [
        "PETDiffusion: digital whole-body PET/CT",
        "PETDiffusion: digital brain PET/MR",
    ]
    assert all(Path(e["thumbnailFileName"]).is_file() for e in entries)
    source = types.SimpleNamespace(sampleName=entries[1]["sampleName"])
    assert entries[1]["customDownloader"](source)[2].GetAttribute("DICOM.Modality") == "MR"


def test_without_the_sample_data_module_nothing_happens(scene, monkeypatch) -> None:
    from PETDiffusionDenoiseLib import samples

    monkeypatch.setitem(sys.modules, "SampleData", None)
    samples.register()


def test_the_button_makes_practice_data_and_chooses_them(panel) -> None:
    import time

    import slicer

    panel.ui.bodySampleButton.click()
    assert "digital patient" in panel.ui.messageLabel.text
    deadline = time.monotonic() + 20
    while panel.parameters.pet is None and time.monotonic() < deadline:
        panel.setup._sample._process.poll()
        slicer.app.processEvents()
        time.sleep(0.01)
    assert "5 images" in panel.ui.messageLabel.text
    assert panel.parameters.pet.GetName() == "Digital body PET 10 %"
    assert panel.parameters.reference.GetName() == "Digital body PET 100 %"


def test_an_unreadable_practice_image_is_a_named_error(scene, tmp_path) -> None:
    from PETDiffusionDenoiseLib import samples

    (tmp_path / "low_0.1.nii.gz").write_bytes(b"no image")
    (tmp_path / "manifest.json").write_text('{"files": {"low_0.1": "low_0.1.nii.gz"}}')
    with pytest.raises(InputError, match="cannot be read"):
        samples.load(tmp_path, samples.SAMPLES["body"])
