"""All frames of a dynamic PET from the panel: with the real backend, and Slicer's own Sequences logic."""

from __future__ import annotations

import html
from pathlib import Path

import builders
import numpy as np
import pytest
from dynamics import dynamic, opened_panel, organs, settle


@pytest.fixture
def widget(scene):
    yield from opened_panel()


def test_all_frames_are_offered_where_the_pet_is_one_of_many_and_ask_for_a_folder(widget, tmp_path) -> None:
    ui, given = widget.ui, widget.panel.parameters
    given.pet = builders.pet(name="Static")
    assert ui.framesCheck.isHidden() and ui.framesFolder.isHidden() and ui.applyButton.enabled
    _, _, shown = dynamic()
    given.choose_pet(shown)
    said = html.unescape(str(ui.unitLabel.text))
    assert "SUV (body weight)" in said and "One of 3 frames of 'Dynamic ü': Denoise takes the one that is shown" in said
    assert not ui.framesCheck.isHidden() and ui.framesCheck.text == "All 3 frames" and ui.framesFolder.isHidden()
    ui.framesCheck.click()
    assert given.all_frames and not ui.framesFolder.isHidden() and "One of 3" not in str(ui.unitLabel.text)
    assert "folder" in str(ui.reasonLabel.text) and not ui.applyButton.enabled
    ui.framesFolder.currentPath = "out"
    assert "'out' is no full path" in str(ui.reasonLabel.text) and not ui.applyButton.enabled
    ui.framesFolder.currentPath = str(tmp_path / "out")
    assert ui.applyButton.enabled and given.frames_folder == str(tmp_path / "out")
    given.reference, given.dose_fraction = builders.pet(name="Full"), 0.1
    assert "Not used for all frames: the normal-dose PET, the dose fraction." in str(ui.unitLabel.text)
    given.choose_pet(dynamic("Another")[2])
    assert not given.all_frames and given.frames_folder == "", "said of the other scan"


def test_a_region_stands_in_the_way_of_all_frames(widget, tmp_path) -> None:
    import slicer

    given = widget.panel.parameters
    given.choose_pet(dynamic()[2])
    given.all_frames, given.frames_folder = True, str(tmp_path / "out")
    given.region = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "R")
    assert "denoised whole" in str(widget.ui.reasonLabel.text) and not widget.ui.applyButton.enabled
    given.all_frames = False
    assert widget.ui.applyButton.enabled


def test_a_click_denoises_all_frames_and_they_play_with_the_scan(widget, tmp_path) -> None:
    import slicer
    from PETDiffusionDenoiseLib import results, units

    node, browser, shown = dynamic()
    shown.GetDisplayNode().SetAutoWindowLevel(False)
    shown.GetDisplayNode().SetWindowLevelMinMax(0.0, 6.0)
    given = widget.panel.parameters
    given.choose_pet(shown)
    given.labels = organs()
    given.all_frames, given.frames_folder = True, str(tmp_path / "out")
    widget.ui.applyButton.click()
    assert widget.ui.applyButton.text == "Cancel"
    said = settle(widget)
    assert "3 frames, 'Dynamic ü denoised', are in the scene; 'Player' plays them." in said
    report = tmp_path / "out" / "report.html"
    assert report.is_file() and f'href="file://{report}"' in said and widget.ui.messageLabel.openExternalLinks
    result = given.result
    assert results.is_result(result) and results.input_of(result) is shown and "Compare" in widget.ui.actionButton.text
    denoised = browser.GetSequenceNode(result)
    assert [denoised.GetNthIndexValue(n) for n in range(3)] == [node.GetNthIndexValue(n) for n in range(3)]
    for number in (2, 0, 1):
        browser.SetSelectedItemNumber(number)
        before, after = slicer.util.arrayFromVolume(shown), slicer.util.arrayFromVolume(result)
        np.testing.assert_array_equal(after, slicer.util.arrayFromVolume(denoised.GetNthDataNode(number)))
        assert after.mean() == pytest.approx(before.mean(), rel=0.1) and after.std() < 0.8 * before.std()
        assert results.is_result(result) and results.input_of(result) is shown, "also after another frame was shown"
        assert result.GetAttribute("PETDiffusion.Method") == "gaussian" and units.find(result).suv_known
    assert [result.GetDisplayNode().GetWindow(), result.GetDisplayNode().GetLevel()] == [6.0, 3.0]


def done_with_organs(widget, out: Path) -> None:
    given = widget.panel.parameters
    given.choose_pet(dynamic()[2])
    given.labels = organs()
    given.all_frames, given.frames_folder = True, str(out)
    widget.ui.applyButton.click()
    settle(widget)


def test_the_review_shows_a_frame_before_and_after_with_the_curves_below(widget, tmp_path) -> None:
    import slicer
    from PETDiffusionDenoiseLib import results, review_content, tables

    done_with_organs(widget, tmp_path / "out")
    widget.ui.actionButton.click()
    review = widget.panel.review.review
    assert review.active and set(review.views) == {"low", "denoised"}
    found = results.of_denoised(widget.panel.parameters.result)
    assert set(review_content.numbers(found)) == {"chart time_activity", "table time_activity", "table frames"}
    chart = found.charts["time_activity"]
    assert chart.GetNumberOfPlotSeriesNodes() == 4, "two regions, each before and after"
    series = [chart.GetNthPlotSeriesNode(n) for n in range(4)]
    rows = tables.rows_of(series[0].GetTableNode())
    assert [row["Minutes"] for row in rows] == pytest.approx([0.5, 2.0, 4.0])
    activity = tables.rows_of(found.tables["time_activity"])
    first = [row["mean_denoised"] for row in activity if row["number"] == 1]
    assert [row[series[0].GetYColumnName()] for row in rows] == pytest.approx(first)
    lines = slicer.vtkMRMLPlotSeriesNode
    assert [one.GetLineStyle() for one in series] == [lines.LineStyleSolid, lines.LineStyleNone] * 2
    assert len({one.GetColor() for one in series}) == 2
    widget.panel.review.leave()


def test_the_same_folder_twice_is_refused_and_a_cancelled_run_says_what_is_kept(widget, tmp_path) -> None:
    given = widget.panel.parameters
    given.choose_pet(dynamic()[2])
    given.all_frames, given.frames_folder = True, str(tmp_path / "out")
    widget.ui.applyButton.click()
    widget.ui.applyButton.click()
    assert "Cancelled" in settle(widget) and "goes on from there" in str(widget.ui.messageLabel.text)
    widget.ui.applyButton.click()
    assert "3 frames" in settle(widget)
    widget.ui.applyButton.click()
    assert "holds the result of a dynamic PET already" in settle(widget)
    assert (Path(given.frames_folder) / "report.html").is_file()


def test_nothing_half_done_is_left_in_the_scene(widget, tmp_path, monkeypatch) -> None:
    import slicer
    from PETDiffusionDenoiseLib import curves

    def broken(*given):
        raise RuntimeError("no room")

    monkeypatch.setattr(curves, "add_chart", broken)
    given = widget.panel.parameters
    given.choose_pet(dynamic()[2])
    given.all_frames, given.frames_folder = True, str(tmp_path / "out")
    before = slicer.mrmlScene.GetNumberOfNodes()
    widget.ui.applyButton.click()
    assert "could not be brought into the scene" in settle(widget)
    assert slicer.mrmlScene.GetNumberOfNodes() == before and not widget.panel.run.running


def test_frames_and_their_result_are_back_with_the_saved_scene(widget, tmp_path) -> None:
    """A sequence's file keeps voxels and attributes of its frames, and nothing else of them."""
    import bundle
    import slicer
    from PETDiffusionDenoiseLib import results, review_content, units

    done_with_organs(widget, tmp_path / "out")
    bundle.save(tmp_path / "case.mrb")
    bundle.load(tmp_path / "case.mrb", tmp_path / "cache")
    (browser,) = slicer.util.getNodesByClass("vtkMRMLSequenceBrowserNode")
    (result,) = [node for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode") if results.is_result(node)]
    for number in (2, 1):
        browser.SetSelectedItemNumber(number)
        frame = browser.GetSequenceNode(result).GetNthDataNode(number)
        np.testing.assert_array_equal(slicer.util.arrayFromVolume(result), slicer.util.arrayFromVolume(frame))
        assert results.is_result(result) and units.find(result).suv_known
        assert results.input_of(result).GetName() == "Dynamic ü"
    assert "chart time_activity" in review_content.numbers(results.of_denoised(result))
