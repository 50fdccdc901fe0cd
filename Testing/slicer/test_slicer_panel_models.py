"""Which model the panel takes for a scan and what it says of it, which device does the work, and models on their way
in and out."""

from __future__ import annotations

from dataclasses import replace

import pytest
from petdiffusion.volume import SUVBW


def test_the_card_of_the_model_is_shown(open_panel, models) -> None:
    widget = open_panel()
    widget.panel.parameters.method = "diffuse"
    text = widget.ui.modelText.text
    assert [
        word
        for word in ("Digital patients", "body; FDG", "5 to 50 %", "Nothing but a body", "Research")
        if word not in text
    ] == []
    assert "SHA-256" not in text
    widget.ui.modelButton.setChecked(True)
    whole = widget.ui.modelText.text
    assert "Apache-2.0" in whole and "a" * 16 in whole and "liver bias percent:</span> -0.4" in whole


def scan(name: str, side_mm: float, spacing: float):
    """A cube of activity in air."""
    import builders
    import numpy as np
    from PETDiffusionDenoiseLib import units

    n = round(side_mm / spacing)
    array = np.zeros((n + 12,) * 3, np.float32)
    array[6:-6, 6:-6, 6:-6] = np.random.default_rng(0).gamma(20.0, 0.1, (n, n, n))
    node = builders.node_of(array, name, np.diag([-spacing, -spacing, spacing, 1.0]))
    units.mark(node, SUVBW)
    return node


def test_of_two_models_the_one_made_for_the_scan_is_taken_and_shown(open_panel, two_models) -> None:
    head, body = scan("Head", 160.0, 3.0), scan("Body", 340.0, 4.0)
    widget = open_panel()
    ui, given = widget.ui, widget.panel.parameters
    given.method, given.pet = "diffuse", head
    combo = ui.modelCombo
    assert [combo.itemData(i) for i in range(combo.count)] == ["", "tiny-body", "tiny-brain"]
    assert combo.itemText(0) == "Automatic: tiny-brain" and "for the brain" in ui.modelText.text
    given.pet = body
    assert combo.itemText(0) == "Automatic: tiny-body" and "for the body" in ui.modelText.text
    assert "Not trained for this scan" not in ui.modelText.text
    assert widget.panel.make_job().request.model == "", "the backend chooses by the same rule"
    combo.setCurrentIndex(combo.findData("tiny-brain"))
    assert "Not trained for this scan: it shows a body" in ui.modelText.text
    assert widget.panel.make_job().request.model == "tiny-brain" and ui.applyButton.enabled


def test_a_model_that_needs_a_ct_is_taken_where_a_ct_is_chosen(open_panel, two_models, monkeypatch) -> None:
    from PETDiffusionDenoiseLib import models

    installed, body = models.installed, scan("Body", 340.0, 4.0)

    def told(card):
        """A third model, for the body with its CT, whose name comes last."""
        found = installed(card)
        return found and found | {"tiny-ct": replace(found["tiny-body"], id="tiny-ct", needs=("ct",))}

    monkeypatch.setattr(models, "installed", told)
    widget = open_panel()
    given, combo = widget.panel.parameters, widget.ui.modelCombo
    given.method, given.pet = "diffuse", body
    assert combo.itemText(0) == "Automatic: tiny-body"
    given.ct = body
    assert combo.itemText(0) == "Automatic: tiny-ct"


def test_a_scans_noise_is_measured_before_it_is_held_against_a_model(open_panel, two_models) -> None:
    """Of two scans alike but for their noise, 22 % and next to none, the quiet one is what no training scan was."""
    from dataclasses import replace

    import slicer.util
    from petdiffusion.zoo import store

    for model in store.models("diffuse").values():
        object.__setattr__(model, "card", replace(model.card, seen={"noise_percent": (10.0, 100.0)}))
    noisy, quiet = scan("Noisy", 340.0, 4.0), scan("Quiet", 340.0, 4.0)
    array = slicer.util.arrayFromVolume(quiet)
    array[:] = 2.0 * (array > 0)
    slicer.util.arrayFromVolumeModified(quiet)
    widget = open_panel()
    given = widget.panel.parameters
    given.method, given.pet = "diffuse", noisy
    assert "Not trained for this scan" not in widget.ui.modelText.text
    given.pet = quiet
    assert "Not trained for this scan: its noise is" in widget.ui.modelText.text


def test_before_a_scan_is_chosen_both_models_are_named(open_panel, two_models) -> None:
    widget = open_panel()
    widget.panel.parameters.method = "diffuse"
    assert widget.ui.modelCombo.itemText(0) == "Automatic, by what the scan shows"
    assert "for the brain" in widget.ui.modelText.text and "for the body" in widget.ui.modelText.text
    assert widget.ui.modelButton.isHidden(), "there is no one card to show"


def test_a_scan_is_looked_at_again_only_when_it_has_changed(open_panel, two_models, monkeypatch) -> None:
    """To find the body and the noise of a whole-body scan takes seconds, in which Slicer stands still."""
    import slicer.util
    from petdiffusion.prepare import mask
    from petdiffusion.zoo import choose

    looks, held = [], []
    body_mask, misfits = mask.body_mask, choose.misfits
    monkeypatch.setattr(mask, "body_mask", lambda volume: looks.append(1) or body_mask(volume))
    monkeypatch.setattr(choose, "misfits", lambda card, case: held.append(1) or misfits(card, case))
    node = scan("Head", 160.0, 3.0)
    widget = open_panel()
    given = widget.panel.parameters
    given.pet, given.method = node, "diffuse"
    for seed in range(3):
        given.seed = seed
    assert (len(looks), len(held)) == (1, 2), "two models are held against it once"
    given.dose_fraction = 0.01
    assert "dose fraction" in widget.ui.modelText.text
    given.method = "prompted"
    given.method = "diffuse"
    given.dose_fraction = 0.02
    assert len(looks) == 1
    slicer.util.arrayFromVolume(node)[:] = 0
    slicer.util.arrayFromVolumeModified(node)
    widget.panel.refresh()
    assert len(looks) == 2


def test_a_scan_too_large_to_be_looked_at_at_once_is_not_waited_for(open_panel, two_models, monkeypatch) -> None:
    from PETDiffusionDenoiseLib import models

    node = scan("Head", 160.0, 3.0)
    widget = open_panel()
    given, points = widget.panel.parameters, node.GetImageData().GetNumberOfPoints()
    monkeypatch.setattr(models, "LARGEST", points - 1)
    given.method, given.pet = "diffuse", node
    assert widget.ui.modelCombo.itemText(0) == "Automatic, by what the scan shows"
    monkeypatch.setattr(models, "LARGEST", points)
    node.GetImageData().Modified()
    widget.panel.refresh()
    assert widget.ui.modelCombo.itemText(0) == "Automatic: tiny-brain"


def test_a_model_of_the_scene_that_is_not_installed_is_said(open_panel, two_models) -> None:
    widget = open_panel()
    given = widget.panel.parameters
    given.pet, given.method, given.model = scan("Head", 160.0, 3.0), "diffuse", "somebody-elses"
    assert 'model "somebody-elses" that was chosen is not installed' in widget.ui.modelText.text
    assert widget.panel.make_job().request.model == ""


def test_devices_come_with_their_names_and_free_memory(open_panel) -> None:
    combo = open_panel().ui.deviceCombo
    assert [(combo.itemData(i), combo.itemText(i)) for i in range(combo.count)] == [
        ("auto", "Automatic"),
        ("cuda", "NVIDIA H200, 100 GB free"),
        ("cpu", "Processor (CPU), 12.5 GB free"),
    ]


def test_the_tests_backend_speaks_of_devices_as_the_real_one(open_panel) -> None:
    from petdiffusion import doctor

    facts = {"bf16": True, "device": "cuda", "name": "NVIDIA H200", "threads": 8}
    real = [doctor._device("cuda", 100_000_000_000, facts), doctor._device("cpu", 12_500_000_000, facts)]
    assert list(open_panel().panel.setup.devices) == real


def test_a_device_of_another_computer_is_shown_as_what_it_is_and_can_be_left(open_panel) -> None:
    """A scene says 'cuda:1' of the workstation it was saved on."""
    widget = open_panel()
    combo, given = widget.ui.deviceCombo, widget.panel.parameters
    given.method, given.device = "diffuse", "cuda:1"
    assert combo.currentText == "cuda:1 (not found here)"
    combo.setCurrentIndex(0)
    assert given.device == "auto" and combo.findData("cuda:1") < 0


MODEL_BUTTONS = ("addFolderButton", "addZipButton", "removeModelButton")


@pytest.mark.parametrize("again", ["checkButton", "deviceButton", "pythonCombo"])
def test_a_check_does_not_stop_a_model_on_its_way(open_panel, monkeypatch, again) -> None:
    """From a slow disk that takes its time, and a copy cut off says nothing."""
    panel = open_panel().panel
    ui, setup = panel.ui, panel.setup
    monkeypatch.setattr(setup, "_removable", {"tiny-1"})
    monkeypatch.setattr(setup, "_selected_model", lambda: "tiny-1")
    monkeypatch.setattr(setup, "_fill_models", lambda: None)
    setup._add_model("/some/model.zip")
    copying = setup._command
    assert copying.running and not any(getattr(ui, name).enabled for name in MODEL_BUTTONS)
    if again == "pythonCombo":
        setup._on_python()
    else:
        getattr(ui, again).click()
    checking = setup._query
    assert copying.running and checking.running
    setup.check()
    assert copying.running and not checking.running, "an earlier check is answered by the later one"
    setup.wait()
    assert ui.messageLabel.text.startswith("Did add") and "Ready." in ui.setupLabel.text
    assert all(getattr(ui, name).enabled for name in MODEL_BUTTONS)


def test_an_answer_that_comes_when_the_panel_is_gone_is_not_shown(open_panel) -> None:
    panel = open_panel().panel
    setup = panel.setup
    setup.check()
    setup._add_model("/some/model.zip")
    asked, shown = (setup._query, setup._command), (panel.ui.setupLabel.text, panel.ui.messageLabel.text)
    setup.close()
    assert not any(one.running for one in asked)
    assert (panel.ui.setupLabel.text, panel.ui.messageLabel.text) == shown
