"""The maps of a dynamic PET in the scene: how sure each frame is, and Ki."""

from __future__ import annotations

import builders
import numpy as np
import pytest
from dynamics import dynamic, opened_panel, settle
from petdiffusion import read
from support import dynamic_dicom


@pytest.fixture
def widget(scene):
    yield from opened_panel()


@pytest.fixture
def logic(scene):
    from PETDiffusionDenoise import PETDiffusionDenoiseLogic

    return PETDiffusionDenoiseLogic()


def denoised(widget, shown, folder, **said):
    from PETDiffusionDenoiseLib import results

    given = widget.panel.parameters
    given.choose_pet(shown)
    for name, value in {"all_frames": True, "frames_folder": str(folder), **said}.items():
        setattr(given, name, value)
    widget.ui.applyButton.click()
    assert "3 frames" in settle(widget)
    return results.of_denoised(given.result)


def test_the_sd_of_each_frame_plays_with_it_and_is_reviewed(widget, tmp_path) -> None:
    import slicer.util
    from PETDiffusionDenoiseLib import results, review_content, units

    _, browser, shown = dynamic()
    moved = builders.move(shown, np.eye(4) + 40 * np.eye(4, k=3))
    found = denoised(widget, shown, tmp_path / "out")
    sd, files = found.uncertainty, read.frames(tmp_path / "out" / "uncertainty.nii.gz")
    assert sd.GetTransformNodeID() == shown.GetTransformNodeID() == moved.GetID() and units.word(sd) == "SUV"
    for number in (2, 0, 1):
        browser.SetSelectedItemNumber(number)
        np.testing.assert_allclose(slicer.util.arrayFromVolume(sd), files.frame(number).array, rtol=1e-5)
        assert results.of_denoised(widget.panel.parameters.result).uncertainty is sd
        assert not results.is_result(sd), "also after another frame was shown"
    assert sd.GetDisplayNode().GetWindowLevelMin() == 0 and sd.GetDisplayNode().GetWindowLevelMax() > 0
    assert set(review_content.maps(found)) == {"uncertainty"} and "Uncertainty" in review_content.overlays(found)


def test_without_a_wish_for_it_the_sd_stays_in_the_folder(widget, tmp_path) -> None:
    found = denoised(widget, dynamic()[2], tmp_path / "out", make_uncertainty=False)
    assert found.uncertainty is None and (tmp_path / "out" / "uncertainty.nii.gz").is_file()


def test_maps_are_back_with_the_saved_scene(widget, tmp_path) -> None:
    import bundle
    import slicer.util
    from PETDiffusionDenoiseLib import results

    denoised(widget, dynamic()[2], tmp_path / "out")
    bundle.save(tmp_path / "case.mrb")
    bundle.load(tmp_path / "case.mrb", tmp_path / "cache")
    (browser,) = slicer.util.getNodesByClass("vtkMRMLSequenceBrowserNode")
    (result,) = [node for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode") if results.is_result(node)]
    sd = results.of_denoised(result).uncertainty
    for number in (2, 1):
        browser.SetSelectedItemNumber(number)
        frame = browser.GetSequenceNode(sd).GetNthDataNode(number)
        np.testing.assert_array_equal(slicer.util.arrayFromVolume(sd), slicer.util.arrayFromVolume(frame))


def blood(folder):
    rows = "".join(f"{60 * minute},1000\n" for minute in range(200))
    (folder / "blood.csv").write_text("time_s,value\n" + rows)
    return str(folder / "blood.csv")


def check_ki(nodes, written) -> None:
    import slicer.util
    from PETDiffusionDenoiseLib import review_content, scene

    ki, given = nodes.result.extras["ki"], read.image(written)
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(ki), given.array)
    assert np.allclose(scene.geometry_of(ki).affine, given.geometry.affine, atol=1e-3), "in the world"
    assert "Ki (Patlak)" in review_content.overlays(nodes.result) and ki.GetDisplayNode().GetWindowLevelMax() > 0


def test_ki_of_a_folder_is_a_map_of_the_result(logic, tmp_path) -> None:
    folder, _ = dynamic_dicom.dynamic(tmp_path)
    nodes = logic.denoiseFrames(str(folder), str(tmp_path / "out"), "gaussian", patlak=blood(tmp_path), patlak_from=1.0)
    check_ki(nodes, tmp_path / "out" / "ki.nii.gz")


def test_ki_of_a_sequence_lies_as_its_frames_do(logic, tmp_path) -> None:
    sequence, _, shown = dynamic()
    builders.move(shown, np.eye(4) + 40 * np.eye(4, k=3))
    nodes = logic.denoiseFrames(sequence, str(tmp_path / "out"), "gaussian", patlak=blood(tmp_path), patlak_from=0.0)
    assert nodes.result.extras["ki"].GetTransformNodeID() == shown.GetTransformNodeID()
    check_ki(nodes, tmp_path / "out" / "ki.nii.gz")
