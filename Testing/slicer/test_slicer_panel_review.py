"""The 'Review' section: every button over the real layout and slice logics."""

from __future__ import annotations

import pytest

TRUST = [
    {
        "number": i,
        "kind": kind,
        "weight": weight,
        "organ": organ,
        "lesion": "",
        "x_mm": place[0] if place else None,
        "y_mm": place[1] if place else None,
        "z_mm": place[2] if place else None,
        "SUVmean_low": 0.8,
        "SUVmean_denoised": 2.125,
        "change_percent": 165.0,
        "p": p / 100,
        "p_adjusted": p,
    }
    for i, (kind, weight, organ, place, p) in enumerate(
        [
            ("lost hot spot", "worth a look", "", (1.0, 2.0, 3.0), 0.4),
            ("new hot spot", "beyond chance", "lung_upper_lobe_left", (-30.0, 12.0, 48.0), 0.0004),
            ("total changed", "beyond chance", "", None, 0.012),
        ],
        1,
    )
]


@pytest.fixture
def reviewed(open_panel):
    """A panel with a finished result that has everything: maps, a Grad-CAM, prompts, masks, lesions."""
    import numpy as np
    import patients
    import slicer.util
    from PETDiffusionDenoiseLib import results, units

    widget = open_panel()
    nodes = patients.result()
    low = results.input_of(nodes.denoised)
    inputs = results.Inputs(low, units.find(low))
    nodes.extras["grad_cam"] = results.add_extra(np.abs(slicer.util.arrayFromVolume(low)), inputs, "grad_cam", "Demo")
    prompts = [{"z_mm": -200.0, "prompt": "bladder"}, {"z_mm": 200.0, "prompt": "heart"}]
    nodes.tables |= results.add_tables({"prompts": prompts}, "Demo")[0]
    nodes.tables |= results.add_tables({"trust": TRUST}, "Demo")[0]
    nodes.record = {"details": {}, "check": ["SUVpeak differs in 1 of 2 lesions.", "The mean of the liver changed."]}
    results.sign(nodes, inputs, {"Method": "demo"})
    widget.panel.parameters.result = nodes.denoised
    widget.ui.reviewSection.collapsed = False
    return widget, nodes


def texts(combo) -> list[str]:
    return [combo.itemText(i) for i in range(combo.count)]


def layout() -> int:
    import slicer

    return slicer.app.layoutManager().layoutLogic().GetLayoutNode().GetViewArrangement()


def test_without_a_result_there_is_nothing_to_click(open_panel) -> None:
    ui = open_panel().ui
    ui.reviewSection.collapsed = False
    for name in ("compareButton", "axialButton", "mipButton", "windowSlider", "fadeSlider", "flickerButton"):
        assert not getattr(ui, name).enabled, name
    for name in ("differenceButton", "uncertaintyButton", "fusionCombo", "numbersCombo", "listTable", "promptView"):
        assert getattr(ui, name).isHidden(), name


def test_what_a_result_has_is_offered(reviewed) -> None:
    ui = reviewed[0].ui
    assert not ui.differenceButton.isHidden() and not ui.uncertaintyButton.isHidden()
    assert texts(ui.fusionCombo) == ["Nothing", "CT", "Uncertainty", "Grad-CAM"]
    assert texts(ui.numbersCombo)[:2] == ["Nothing", "Chart: SUVmax per lesion"]
    assert texts(ui.numbersCombo)[2:] == ["Table: lesions", "Table: prompts of the slices", "Table: doubts"]
    assert texts(ui.listCombo)[0] == "Lesions: SUVmax and volume"
    assert ui.listTable.rowCount == 2 and ui.listTable.item(0, 0).text() == "lesion 1"
    assert ui.listTable.item(0, 3).text() == "7.30" and ui.resultSelector.toolTip == reviewed[1].denoised.GetName()


def test_compare_shows_the_views_and_a_second_click_goes_back(reviewed) -> None:
    import slicer

    widget, nodes = reviewed
    ui, found = widget.ui, widget.panel.review.review
    slicer.app.layoutManager().setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView)
    color = nodes.denoised.GetDisplayNode().GetColorNodeID()
    ui.compareButton.click()
    assert found.views == ("low", "denoised", "reference") and layout() > 7000
    ui.colorsCombo.setCurrentIndex(1)
    assert nodes.denoised.GetDisplayNode().GetColorNodeID() != color
    ui.compareButton.click()
    assert not found.active and layout() == slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView
    assert nodes.denoised.GetDisplayNode().GetColorNodeID() == color


@pytest.mark.parametrize(
    "button, views",
    [
        ("differenceButton", ("low", "denoised", "reference", "difference")),
        ("uncertaintyButton", ("low", "denoised", "reference", "uncertainty")),
        ("mipButton", ("low", "denoised", "reference")),
        ("flickerButton", ("low", "denoised", "reference")),
    ],
)
def test_any_button_begins_the_review(reviewed, button, views) -> None:
    widget, _ = reviewed
    getattr(widget.ui, button).click()
    assert widget.panel.review.review.views == views and widget.ui.compareButton.checked
    assert widget.panel.review.review.orientation == ("MIP" if button == "mipButton" else "Coronal")
    widget.ui.compareButton.click()
    assert not widget.ui.flickerButton.checked and not widget.panel.review._timer.isActive()
    assert not widget.ui.differenceButton.checked and not widget.ui.uncertaintyButton.checked


def test_flicker_switches_between_before_and_after(reviewed) -> None:
    import time

    import slicer

    widget, _ = reviewed
    found = widget.panel.review.review
    widget.ui.flickerButton.click()
    seen, until = set(), time.monotonic() + 5
    while len(seen) < 2 and time.monotonic() < until:
        slicer.app.processEvents()
        seen.add(found.composite("denoised").GetForegroundOpacity())
    assert seen == {0.0, 1.0}
    widget.ui.fadeSlider.setValue(40)
    widget.ui.flickerButton.click()
    assert found.composite("denoised").GetForegroundOpacity() == pytest.approx(0.4)


def test_a_click_on_a_lesion_goes_there_even_from_the_mip(reviewed) -> None:
    from PETDiffusionDenoiseLib import review_lists

    widget, nodes = reviewed
    widget.ui.mipButton.click()
    widget.ui.listTable.cellClicked.emit(1, 0)
    found = widget.panel.review.review
    assert found.orientation == "Axial" and widget.ui.axialButton.checked
    matrix = found.slice_node("reference").GetSliceToRAS()
    place = review_lists.lists(nodes)["lesions"].places[1]
    assert [matrix.GetElement(i, 3) for i in range(3)] == pytest.approx(place, abs=0.01)


def lines(table) -> list[list[str]]:
    return [[table.item(r, c).text() for c in range(table.columnCount)] for r in range(table.rowCount)]


def test_doubts_are_listed_the_sure_ones_first_and_a_click_goes_there(reviewed) -> None:
    widget, _ = reviewed
    ui = widget.ui
    assert texts(ui.listCombo)[1] == "Doubts: 2 beyond chance (●), 1 to look at"
    ui.listCombo.setCurrentIndex(1)
    assert lines(ui.listTable) == [
        ["● new hot spot, lung upper lobe left", "0.800", "2.12", "< 0.001"],
        ["● total changed", "0.800", "2.12", "0.012"],
        ["lost hot spot", "0.800", "2.12", "0.4"],
    ]
    assert "Change 165 %" in ui.listTable.item(0, 0).toolTip()
    ui.listTable.cellClicked.emit(0, 0)
    matrix = widget.panel.review.review.slice_node("denoised").GetSliceToRAS()
    assert [matrix.GetElement(i, 3) for i in range(3)] == pytest.approx([30.0, -12.0, 48.0], abs=0.01)
    ui.listTable.cellClicked.emit(1, 0)
    assert [matrix.GetElement(i, 3) for i in range(3)] == pytest.approx([30.0, -12.0, 48.0], abs=0.01), "no place"


def test_what_was_checked_can_be_read_again(reviewed) -> None:
    ui = reviewed[0].ui
    assert texts(ui.listCombo)[2] == "Checks: 2 to read"
    ui.listCombo.setCurrentIndex(2)
    assert lines(ui.listTable) == [["SUVpeak differs in 1 of 2 lesions."], ["The mean of the liver changed."]]
    ui.listTable.cellClicked.emit(0, 0)
    assert not reviewed[0].panel.review.review.active


def test_the_prompt_of_the_slice_in_view_is_shown(reviewed) -> None:
    widget, _ = reviewed
    widget.ui.axialButton.click()
    found, label = widget.panel.review.review, widget.ui.promptView
    found.jump(0.0, 0.0, 150.0)
    assert not label.isHidden() and label.text.endswith("heart")
    found.jump(0.0, 0.0, -150.0)
    assert label.text.endswith("bladder")
    widget.ui.compareButton.click()
    assert label.isHidden()
    found.slice_node("denoised").JumpSliceByCentering(0.0, 0.0, 150.0)
    assert label.text.endswith("bladder"), "nobody listens after the review"


def test_the_prompt_is_that_of_the_slice_at_the_run_where_the_images_were_moved_since(reviewed) -> None:
    import json

    import builders
    import numpy as np
    from PETDiffusionDenoiseLib import results, scene

    widget, nodes = reviewed
    record = {"input": {"geometry": scene.geometry_of(nodes.denoised).to_json()}}
    nodes.denoised.SetAttribute(results.RECORD, json.dumps(record))
    shift = np.eye(4)
    shift[2, 3] = 300.0
    builders.move(nodes.denoised, shift)
    widget.ui.axialButton.click()
    widget.panel.review.review.jump(0.0, 0.0, 150.0)
    assert widget.ui.promptView.text.endswith("bladder"), "at the run it was at -150 mm"


def test_a_grad_cam_is_laid_over_the_denoised_pet(reviewed) -> None:
    widget, nodes = reviewed
    combo = widget.ui.fusionCombo
    combo.setCurrentIndex(combo.findText("Grad-CAM"))
    middle = widget.panel.review.review.composite("denoised")
    assert middle.GetForegroundVolumeID() == nodes.extras["grad_cam"].GetID()
    combo.setCurrentIndex(combo.findText("CT"))
    assert middle.GetForegroundVolumeID() == nodes.denoised.GetID()


def test_a_table_below_the_views(reviewed) -> None:
    import slicer
    from PETDiffusionDenoiseLib import review_layout

    widget, nodes = reviewed
    combo = widget.ui.numbersCombo
    combo.setCurrentIndex(combo.findText("Table: prompts of the slices"))
    view = slicer.mrmlScene.GetSingletonNode(review_layout.TABLE_TAG, "vtkMRMLTableViewNode")
    assert view.GetTableNodeID() == nodes.tables["prompts"].GetID()
    combo.setCurrentIndex(0)
    assert widget.panel.review.review.active and layout() == review_layout.number(("low", "denoised", "reference"))


def test_what_was_set_in_the_review_is_kept_in_the_scene(reviewed) -> None:
    widget, _ = reviewed
    ui, given = widget.ui, widget.panel.parameters
    ui.sagittalButton.click()
    ui.windowSlider.setValue(11.0)
    ui.colorsCombo.setCurrentIndex(2)
    assert (given.orientation, given.window, given.colors) == ("Sagittal", 11.0, ui.colorsCombo.itemData(2))
    widget.panel.review._shown = ""
    ui.windowSlider.value = 3.0
    given.keep("window", 11.0)
    widget.panel.refresh()
    assert ui.windowSlider.value == 11.0 and ui.sagittalButton.checked


def test_a_deleted_result_ends_the_review(reviewed) -> None:
    import slicer

    widget, nodes = reviewed
    widget.ui.compareButton.click()
    slicer.mrmlScene.RemoveNode(nodes.denoised)
    assert not widget.panel.review.review.active and not widget.ui.compareButton.checked
    assert not widget.ui.compareButton.enabled
