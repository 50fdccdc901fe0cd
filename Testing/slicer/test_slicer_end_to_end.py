"""The real backend: a digital patient in a scene, a click on Denoise, and everything a user looks at afterwards."""

from __future__ import annotations

import time

import numpy as np
import pytest

PATIENCE_S = 180.0


@pytest.fixture(scope="module")
def patient():
    """A digital patient from chin to groin, small enough for a test, with a noisy and a normal scan of it."""
    from petdiffusion.phantoms import body

    drawn = body.draw(7, spacing_mm=8.0, field="trunk", lesions=4)
    rng = np.random.default_rng(1)
    activity = drawn.pet.array
    low, full = (rng.poisson(np.clip(activity, 0, None) * n).astype(np.float32) / n for n in (4.0, 60.0))
    return drawn, low, full


@pytest.fixture
def in_scene(scene, patient):
    """The patient as a user would have it: PETs in SUV, CT, organs and lesions as segmentations."""
    from petdiffusion.volume import SUVBW
    from PETDiffusionDenoiseLib import results, units
    from PETDiffusionDenoiseLib import scene as volumes

    drawn, low, full = patient
    nodes = {}
    for name, array in (("Low", low), ("Full", full)):
        nodes[name] = volumes.new_volume(array, drawn.pet.geometry, f"{name} ü")
        nodes[name].CreateDefaultDisplayNodes()
        units.mark(nodes[name], SUVBW)
    nodes["CT"] = volumes.new_volume(drawn.ct.array, drawn.ct.geometry, "CT")
    nodes["CT"].SetAttribute("DICOM.Modality", "CT")
    inputs = results.Inputs(nodes["Low"], units.find(nodes["Low"]))
    nodes["organs"] = results.add_segmentation(drawn.organs, inputs, "Organs", False)
    nodes["lesions"] = results.add_segmentation(drawn.lesion_map, inputs, "Lesions", True)
    return nodes


@pytest.fixture
def widget(in_scene):
    from PETDiffusionDenoise import PETDiffusionDenoiseWidget

    opened = PETDiffusionDenoiseWidget()
    opened.panel.parameters.pet = in_scene["Low"]
    yield opened
    opened.cleanup()


def settle(widget) -> None:
    import slicer

    deadline = time.monotonic() + PATIENCE_S
    while widget.panel.run.running:
        slicer.app.processEvents()
        assert time.monotonic() < deadline, "the job did not end"
        time.sleep(0.02)


def mean_in(node, mask) -> float:
    import slicer.util

    return float(slicer.util.arrayFromVolume(node)[mask].mean())


def test_click_denoise_and_read_the_results(widget, in_scene, patient, tmp_path) -> None:
    import builders
    import bundle
    import slicer
    from PETDiffusionDenoiseLib import results, review_lists, tables

    drawn, low, _ = patient
    given = widget.panel.parameters
    given.method, given.reference = "gaussian", in_scene["Full"]
    given.labels, given.lesions = in_scene["organs"], in_scene["lesions"]
    given.set_options("gaussian", {"fwhm_mm": 9.0})
    assert widget.ui.applyButton.enabled, widget.ui.reasonLabel.text
    widget.ui.applyButton.click()
    settle(widget)
    assert "Done" in widget.ui.messageLabel.text, widget.ui.logText.plainText

    nodes = results.of_denoised(given.result)
    denoised = slicer.util.arrayFromVolume(nodes.denoised)
    truth = drawn.pet.array
    body = truth > 0.2
    assert np.sqrt(np.mean((denoised - truth)[body] ** 2)) < 0.8 * np.sqrt(np.mean((low - truth)[body] ** 2))
    assert nodes.denoised.GetVoxelValueUnits().GetCodeValue() == "{SUVbw}g/ml"
    assert nodes.record["request"]["pet"] == "node 'Low ü'" and nodes.record["options"]["fwhm_mm"] == 9.0

    liver = next(row for row in tables.rows_of(nodes.tables["organs"]) if row["organ"].lower() == "liver")
    inside = drawn.organs.mask("liver") & (drawn.lesion_map.array == 0)
    assert liver["SUVmean_denoised"] == pytest.approx(mean_in(nodes.denoised, inside), rel=1e-3)
    assert liver["SUVmean_low"] == pytest.approx(mean_in(in_scene["Low"], inside), rel=1e-3)
    assert liver["SUVmean_reference"] == pytest.approx(mean_in(in_scene["Full"], inside), rel=1e-3)
    assert nodes.charts["organs"].GetNumberOfPlotSeriesNodes() == 3

    widget.ui.actionButton.click()
    found = widget.panel.review.review
    assert found.views == ("low", "denoised", "reference")
    rows = review_lists.lists(nodes)["lesions"].lines
    assert len(rows) == widget.ui.listTable.rowCount == len(drawn.lesions)
    widget.ui.listTable.cellClicked.emit(0, 0)
    place = review_lists.lists(nodes)["lesions"].places[0]
    matrix = found.slice_node("low").GetSliceToRAS()
    assert [matrix.GetElement(i, 3) for i in range(3)] == pytest.approx(place, abs=0.01)
    voxel = np.linalg.inv(drawn.pet.geometry.affine) @ [-place[0], -place[1], place[2], 1]
    assert drawn.lesion_map.array[tuple(np.rint(voxel[2::-1]).astype(int))] > 0, "the place is inside a lesion"

    shift = np.eye(4)
    shift[:3, 3] = 50, 0, 100
    for node in (in_scene["Low"], in_scene["Full"], nodes.denoised):
        builders.move(node, shift)
    widget.ui.listTable.cellClicked.emit(0, 0)
    assert [matrix.GetElement(i, 3) for i in range(3)] == pytest.approx(np.add(place, (50, 0, 100)), abs=0.01)

    bundle.save(tmp_path / "case.mrb")
    bundle.load(tmp_path / "case.mrb", tmp_path / "cache")
    again = next(n for n in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode") if results.is_result(n))
    assert np.allclose(slicer.util.arrayFromVolume(again), denoised)
    assert len(results.of_denoised(again).all()) == len(nodes.all())


def test_the_part_of_an_organ_in_a_region_and_the_part_outside_make_the_whole(in_scene, patient) -> None:
    import slicer.util
    from petdiffusion.prepare import outside
    from PETDiffusionDenoiseLib import review_lists, scripted, tables

    drawn, _, _ = patient
    region = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "Box")
    x, y, z = drawn.pet.geometry.affine[:3] @ [*np.argwhere(drawn.organs.mask("liver")).mean(axis=0)[::-1], 1]
    region.SetCenter(-x, -y, z)
    region.SetSize(120, 120, 120)
    nodes = scripted.denoise(in_scene["Low"], "gaussian", labels=in_scene["organs"], region=region)
    rows = tables.rows_of(nodes.tables["organs"])
    whole = {name: np.count_nonzero(drawn.organs.array == value) * drawn.organs.geometry.voxel_ml
             for value, name in drawn.organs.present().items()}  # fmt: skip
    found = {row["organ"]: row["volume_ml"] + row["outside_region_ml"] for row in rows}
    assert sorted(found.values()) == pytest.approx(sorted(whole[key] for key in whole if _title(key) in found))
    liver = next(row for row in rows if row["organ"] == "Liver")
    assert 0 < liver["volume_ml"] < 0.9 * whole["liver"]
    told, = (text for text in nodes.record["warnings"] if "The region cuts organs" in text)
    assert "Liver (" in told and told in nodes.warnings
    assert review_lists.number(liver["outside_region_ml"]) in told
    assert not [text for text in nodes.record["warnings"] if text.startswith(outside.BEGINS)], "the same told twice"


def _title(organ: str) -> str:
    from PETDiffusionDenoiseLib import terminology

    known = terminology.term(organ)
    return known.title if known is not None else organ.replace("_", " ").capitalize()


def test_a_method_that_uses_the_ct_gets_it(widget, in_scene) -> None:
    given = widget.panel.parameters
    given.method, given.ct = "guided", in_scene["CT"]
    widget.ui.applyButton.click()
    settle(widget)
    assert "Done" in widget.ui.messageLabel.text, widget.ui.logText.plainText
    import json

    from PETDiffusionDenoiseLib import results

    record = json.loads(given.result.GetAttribute(results.RECORD))
    assert record["request"]["ct"] == "node 'CT'"


def test_a_diffusion_model_is_chosen_by_the_scan_and_tells_its_uncertainty(widget, in_scene, patient) -> None:
    import slicer.util
    from PETDiffusionDenoiseLib import results

    given, (drawn, _, _) = widget.panel.parameters, patient
    given.method, given.ct = "csrd", in_scene["CT"]
    given.set_options("csrd", {"samples": 2, "steps": 2})
    assert widget.ui.modelCombo.itemText(0) == "Automatic: csrd-body"
    assert "Not trained for this scan: its voxels measure 8 mm" in widget.ui.modelText.text
    widget.ui.applyButton.click()
    settle(widget)
    assert "Model: csrd-body. Computed on" in widget.ui.messageLabel.text, widget.ui.logText.plainText
    nodes = results.of_denoised(given.result)
    assert nodes.denoised.GetAttribute("PETDiffusion.Model") == "csrd-body"
    assert len(nodes.denoised.GetAttribute("PETDiffusion.ModelSHA256")) == 64
    assert any("8 mm" in warning for warning in nodes.record["warnings"]), "the run says it too"
    sd = slicer.util.arrayFromVolume(nodes.uncertainty)
    assert (sd >= 0).all() and sd[drawn.pet.array > 0.2].mean() > 2 * sd[drawn.pet.array < 0.01].mean()


def test_cancel_reaches_the_real_backend_quickly(widget, in_scene) -> None:
    import slicer

    widget.panel.parameters.method = "bm4d"
    widget.ui.applyButton.click()
    deadline = time.monotonic() + PATIENCE_S
    while "Denoising" not in widget.ui.stageLabel.text and widget.panel.run.running:
        slicer.app.processEvents()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process = widget.panel.run.job._process._process
    widget.ui.applyButton.click()
    settle(widget)
    assert "Cancelled" in widget.ui.messageLabel.text and process.returncode == 130, "by its own hand, not by force"


def test_an_error_of_the_real_backend_is_shown_with_its_remedy(widget, in_scene, patient) -> None:
    import slicer.util

    slicer.util.updateVolumeFromArray(in_scene["CT"], np.zeros_like(patient[1]))
    widget.panel.parameters.method, widget.panel.parameters.ct = "guided", in_scene["CT"]
    widget.ui.applyButton.click()
    settle(widget)
    text = widget.ui.messageLabel.text
    assert "not Hounsfield units" in text and "Give the CT in HU" in text and widget.ui.applyButton.enabled


def test_the_self_test_that_slicer_runs_passes_here_too(scene, monkeypatch) -> None:
    import slicer.util

    from PETDiffusionDenoise import PETDiffusionDenoiseTest, PETDiffusionDenoiseWidget

    opened = []

    def module_widget(name):
        opened.append(PETDiffusionDenoiseWidget())
        return opened[-1]

    monkeypatch.setattr(slicer.util, "getModuleWidget", module_widget)
    monkeypatch.setattr(slicer.util, "selectModule", lambda name: None)
    test = PETDiffusionDenoiseTest()
    test.runTest()
    for widget in opened:
        widget.panel.setup.wait()
        widget.cleanup()
