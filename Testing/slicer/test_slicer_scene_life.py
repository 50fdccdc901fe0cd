"""Nodes that go, change or come back while a job runs or after it: what the panel says stays true."""

from __future__ import annotations

import time
import types

import numpy as np
import pytest


def settle(widget, seconds: float = 20) -> None:
    import slicer

    until = time.monotonic() + seconds
    while widget.panel.run.running and time.monotonic() < until:
        slicer.app.processEvents()
        time.sleep(0.01)
    assert not widget.panel.run.running


def denoised(widget):
    widget.ui.applyButton.click()
    settle(widget)
    return widget.panel.parameters.result


def test_a_message_about_a_scene_goes_with_it(open_panel) -> None:
    import builders
    import slicer

    builders.pet()
    widget = open_panel()
    assert denoised(widget) is not None and not widget.ui.messageFrame.isHidden()
    slicer.mrmlScene.Clear()
    assert widget.ui.messageFrame.isHidden(), "'… is in the scene' is not true any more"


def test_a_job_that_ends_with_its_scene_is_not_called_cancelled(open_panel) -> None:
    import builders
    import slicer

    builders.pet()
    widget = open_panel("hang")
    widget.ui.applyButton.click()
    slicer.mrmlScene.Clear()
    assert widget.ui.messageFrame.isHidden()


def test_what_is_compared_is_the_result_that_the_message_speaks_of(open_panel) -> None:
    import builders

    builders.pet()
    widget = open_panel()
    first = denoised(widget)
    second = denoised(widget)
    widget.ui.resultSelector.setCurrentNode(first)
    assert second.GetName() in widget.ui.messageLabel.text
    widget.ui.actionButton.click()
    assert widget.panel.parameters.result is second and widget.panel.review.review.nodes.denoised is second


def shown_in(view: str, widget) -> list[str]:
    """The names of the images in a view of the review."""
    import slicer

    composite = widget.panel.review.review.composite(view)
    ids = (composite.GetBackgroundVolumeID(), composite.GetForegroundVolumeID())
    return [slicer.mrmlScene.GetNodeByID(id_).GetName() for id_ in ids if id_]


def test_the_views_follow_the_chosen_result(open_panel) -> None:
    """Another patient's list beside the views of this one would lead to the wrong lesion."""
    import builders

    ours, other = builders.pet(name="Patient A"), builders.pet(name="Patient B", seed=1)
    widget = open_panel()
    found = {}
    for pet in (ours, other):
        widget.panel.parameters.choose_pet(pet)
        found[pet.GetName()] = denoised(widget)
    widget.ui.resultSelector.setCurrentNode(found["Patient A"])
    widget.ui.compareButton.click()
    ours.GetDisplayNode().SetWindowLevelMinMax(0.0, 5.0)
    widget.ui.resultSelector.setCurrentNode(found["Patient B"])
    assert shown_in("low", widget) == ["Patient B"]
    assert shown_in("denoised", widget) == ["Patient B", found["Patient B"].GetName()]
    assert widget.ui.compareButton.checked
    assert ours.GetDisplayNode().GetWindowLevelMax() == 6.0, "what the review left is shown as before it"
    widget.ui.listTable.cellClicked.emit(0, 0)
    assert shown_in("low", widget) == ["Patient B"]


def test_a_new_result_takes_the_place_of_the_one_in_review(open_panel) -> None:
    import builders

    builders.pet()
    widget = open_panel()
    denoised(widget)
    widget.ui.compareButton.click()
    second = denoised(widget)
    assert second.GetName() in shown_in("denoised", widget)


def test_a_result_that_was_removed_is_no_longer_offered_for_comparison(open_panel) -> None:
    import builders
    import slicer

    builders.pet()
    widget = open_panel()
    slicer.mrmlScene.RemoveNode(denoised(widget))
    widget.ui.actionButton.click()
    assert not widget.panel.review.review.active


@pytest.mark.parametrize("role", ["ct", "reference", "labels", "lesions"])
def test_an_image_that_is_removed_during_the_run_does_no_harm(open_panel, role) -> None:
    import builders
    import slicer
    from PETDiffusionDenoiseLib import results

    pet = builders.pet()
    if role in ("ct", "reference"):
        other = builders.ct() if role == "ct" else builders.pet(name="Full")
    else:
        other = builders.node_of(np.ones(builders.SHAPE, np.int16), "Mask", kind="vtkMRMLLabelMapVolumeNode")
    widget = open_panel("slow")
    given = widget.panel.parameters
    given.pet, given.method = pet, "guided" if role == "ct" else "smooth"
    setattr(given, role, other)
    widget.ui.applyButton.click()
    slicer.mrmlScene.RemoveNode(other)
    settle(widget)
    nodes = results.of_denoised(given.result)
    assert results.reference_of(nodes.denoised) is None and nodes.denoised.GetNodeReference(results.CT) is None
    widget.ui.compareButton.click()
    assert widget.panel.review.review.views == ("low", "denoised")


def test_a_pet_that_is_changed_during_the_run_is_said(open_panel) -> None:
    import builders
    import slicer.util

    pet = builders.pet()
    widget = open_panel("slow")
    widget.panel.parameters.pet = pet
    widget.ui.applyButton.click()
    slicer.util.updateVolumeFromArray(pet, slicer.util.arrayFromVolume(pet) * 2)
    settle(widget)
    assert "was changed while the job ran" in widget.ui.messageLabel.text


def test_a_reference_that_was_removed_after_the_run_leaves_the_review_usable(open_panel) -> None:
    import builders
    import slicer

    pet, full = builders.pet(), builders.pet(name="Full")
    widget = open_panel()
    widget.panel.parameters.pet, widget.panel.parameters.reference = pet, full
    denoised(widget)
    widget.ui.compareButton.click()
    assert widget.panel.review.review.views == ("low", "denoised", "reference")
    slicer.mrmlScene.RemoveNode(full)
    widget.ui.windowSlider.setValue(9.0)
    widget.ui.sagittalButton.click()
    widget.ui.differenceButton.click()
    assert widget.panel.review.review.views == ("low", "denoised", "difference")
    widget.ui.compareButton.click()
    assert not widget.panel.review.review.active


def test_the_low_count_pet_removed_after_the_run_leaves_the_review_usable(open_panel) -> None:
    import builders
    import slicer

    pet = builders.pet()
    widget = open_panel()
    widget.panel.parameters.pet = pet
    denoised(widget)
    slicer.mrmlScene.RemoveNode(pet)
    widget.ui.compareButton.click()
    assert widget.panel.review.review.views == ("denoised",)
    widget.ui.fadeSlider.setValue(20)
    widget.ui.flickerButton.click()
    widget.ui.flickerButton.click()
    widget.ui.windowSlider.setValue(9.0)


def test_a_table_or_map_removed_after_the_run_leaves_the_review_usable(open_panel) -> None:
    import builders
    import slicer
    from PETDiffusionDenoiseLib import results

    builders.pet()
    widget = open_panel()
    nodes = results.of_denoised(denoised(widget))
    for node in (nodes.tables["lesions"], nodes.uncertainty):
        slicer.mrmlScene.RemoveNode(node)
    widget.ui.compareButton.click()
    widget.ui.uncertaintyButton.click()
    widget.ui.differenceButton.click()
    assert "uncertainty" not in widget.panel.review.review.views
    combo = widget.ui.numbersCombo
    combo.setCurrentIndex(max(combo.findText("Table: lesions"), 0))


@pytest.mark.parametrize(
    "field, words", [("denoised", "was denoised already (smooth)"), ("difference", "is the difference of a result"),
                     ("uncertainty", "is the uncertainty of a result")],
)  # fmt: skip
def test_a_result_that_is_chosen_as_the_scan_is_told_to_be_one(open_panel, field, words) -> None:
    import builders
    from PETDiffusionDenoiseLib import results

    pet = builders.pet()
    widget = open_panel()
    nodes = results.of_denoised(denoised(widget))
    assert "already" not in widget.ui.unitLabel.text
    widget.ui.petSelector.setCurrentNode(getattr(nodes, field))
    assert words in widget.ui.unitLabel.text and widget.ui.applyButton.enabled
    widget.ui.petSelector.setCurrentNode(pet)
    assert "result" not in widget.ui.unitLabel.text


def layout() -> int:
    import slicer

    return slicer.app.layoutManager().layoutLogic().GetLayoutNode().GetViewArrangement()


def test_closing_the_scene_during_the_review_gives_the_views_back(open_panel) -> None:
    """Otherwise the review's own, empty views would stay, and the next review would go back to them."""
    import builders
    import slicer

    builders.pet()
    widget = open_panel()
    slicer.app.layoutManager().setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView)
    denoised(widget)
    widget.ui.compareButton.click()
    slicer.mrmlScene.Clear()
    assert layout() == slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView


def test_a_scene_saved_in_review_opens_in_another_session_with_its_views(open_panel, tmp_path, monkeypatch) -> None:
    import builders
    import bundle
    import slicer
    import slicer_app
    from PETDiffusionDenoiseLib import results, review, samples

    import PETDiffusionDenoise

    builders.pet()
    widget = open_panel()
    denoised(widget)
    widget.ui.compareButton.click()
    in_review = layout()
    bundle.save(tmp_path / "case.mrb")
    new_scene = slicer_app.new_scene

    def fresh_session():
        """Slicer as it starts with the extension."""
        scene = new_scene()
        slicer.app.layoutManager().setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView)
        slicer.modules.petdiffusiondenoise = types.SimpleNamespace(logic=lambda: types.SimpleNamespace())
        PETDiffusionDenoise.on_startup()
        return scene

    monkeypatch.setattr(samples, "register", lambda: None)
    monkeypatch.setattr(slicer_app, "new_scene", fresh_session)
    bundle.load(tmp_path / "case.mrb", tmp_path / "cache")
    node = slicer.app.layoutManager().layoutLogic().GetLayoutNode()
    assert layout() == in_review and node.IsLayoutDescription(in_review) and node.GetLayoutRootElement() is not None
    found = next(n for n in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode") if results.is_result(n))
    again = review.Review()
    again.show(results.of_denoised(found))
    again.leave()
    assert layout() == slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView


BENDING = ((0, 0, 0), (90, 0, 0), (0, 90, 0), (0, 0, 90), (30, 30, 30)), (9, -4, 6)


def test_a_result_that_was_put_under_a_bending_transform_is_reviewed_as_any_other(open_panel) -> None:
    """Registered to another examination, for example: a new run cannot be made of it, but what is there is shown."""
    import builders

    pet = builders.pet()
    widget = open_panel()
    given, result = widget.panel.parameters, denoised(widget)
    given.result = None
    for node in (pet, result):
        builders.bend(node, *BENDING)
    pet.GetDisplayNode().SetAutoWindowLevel(True)
    widget.ui.resultSelector.setCurrentNode(result)
    assert not widget.ui.applyButton.enabled and "bends space" in widget.ui.reasonLabel.text
    widget.ui.compareButton.click()
    assert shown_in("denoised", widget) == ["PET", result.GetName()]
    widget.ui.petSelector.setCurrentNode(builders.pet(name="Another"))
    assert widget.ui.applyButton.enabled


def test_a_review_that_cannot_be_shown_leaves_the_button_true(open_panel, monkeypatch) -> None:
    import builders

    builders.pet()
    widget = open_panel()
    assert widget.ui.applyButton.enabled

    def fail() -> None:
        raise ValueError("cannot be listed")

    monkeypatch.setattr(widget.panel.review, "refresh", fail)
    with pytest.raises(ValueError, match="cannot be listed"):
        widget.panel.parameters.pet = None
        widget.panel.refresh()
    assert not widget.ui.applyButton.enabled and "Choose the low-count PET" in widget.ui.reasonLabel.text
