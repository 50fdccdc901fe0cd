"""The panel over a PythonQt-like `qt` and a real MRML scene, with a backend that behaves in every way."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from petdiffusion.volume import BQML, SUVBW

FAKE = Path(__file__).resolve().with_name("fake_backend")


# --- what is shown ---------------------------------------------------------------------------------------------


def test_a_new_method_appears_by_its_card(open_panel) -> None:
    combo = open_panel().ui.methodCombo
    shown = [combo.itemData(i) for i in range(combo.count) if combo.itemData(i) is not None]
    assert shown == ["diffuse", "prompted", "smooth", "guided"], "families in order, from the cards alone"


def unfold(widget) -> None:
    for name in ("scans", "optional", "method", "settings", "results", "review", "setup", "log"):
        getattr(widget.ui, f"{name}Section").collapsed = False


@pytest.mark.parametrize(
    "method, shown, hidden",
    [
        (
            "smooth",
            ("settingsSection", "tablesCheck", "differenceCheck"),
            ("ctSelector", "mrSelector", "modelCombo", "presetCombo", "deviceCombo", "seedSpin", "uncertaintyCheck",
             "masksCheck"),
        ),
        ("guided", ("ctSelector", "registerCheck"), ("mrSelector", "modelCombo", "promptEdit")),
        (
            "diffuse",
            ("mrSelector", "modelCombo", "presetCombo", "deviceCombo", "seedSpin", "doseSpin", "uncertaintyCheck",
             "masksCheck"),
            ("ctSelector",),
        ),
        ("prompted", ("promptEdit", "deviceCombo"), ("ctSelector", "modelCombo")),
    ],
)
def test_only_what_the_method_uses_is_shown(open_panel, method, shown, hidden) -> None:
    widget = open_panel()
    widget.panel.parameters.method = method  # while the sections are folded, as they are at first
    unfold(widget)
    assert [name for name in shown if getattr(widget.ui, name).isHidden()] == []
    assert [name for name in hidden if not getattr(widget.ui, name).isHidden()] == []


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


def test_no_widget_got_an_attribute_that_pythonqt_refuses(open_panel) -> None:
    """Ruled out by the stand-in itself: this shows that it refuses."""
    widget = open_panel()
    with pytest.raises(AttributeError):
        widget.ui.applyButton.myFlag = 1
    with pytest.raises(TypeError):
        widget.ui.applyButton.text()


NARROW = 420
"""Pixels; Slicer's module panel is about 500 wide on a screen of 1280."""


def test_the_panel_fits_a_narrow_window_with_every_method(scene) -> None:
    """With the real cards, everything unfolded, and a long name in every selector."""
    import builders
    from petdiffusion import registry

    from PETDiffusionDenoise import PETDiffusionDenoiseWidget

    pet = builders.pet(name="A very long name as DICOM series have them, of a patient with many words " * 2)
    widget = PETDiffusionDenoiseWidget()
    unfold(widget)
    widget.ui.modelButton.setChecked(True)
    widget.panel.parameters.pet = pet
    wide = {}
    for name in registry.cards():
        widget.panel.parameters.method = name
        width = widget.parent.minimumSizeHint().width()
        if width > NARROW:
            wide[name] = width
    widget.cleanup()
    assert wide == {}


def test_every_selector_follows_the_scene(open_panel) -> None:
    import builders

    widget = open_panel()
    node = builders.pet(name="Later")
    for name in ("pet", "ct", "mr", "reference"):
        selector = getattr(widget.ui, f"{name}Selector")
        selector.setCurrentNode(node)
        assert selector.currentNode() is node, f"{name} selector gets no scene"


# --- when Denoise can be clicked -------------------------------------------------------------------------------


def test_apply_says_why_not_step_by_step(open_panel, models) -> None:
    import builders
    import slicer

    widget = open_panel()
    ui, given = widget.ui, widget.panel.parameters

    def reason() -> str:
        assert ui.applyButton.enabled == (ui.reasonLabel.text == "")
        assert ui.reasonLabel.text in ("", ui.applyButton.toolTip)
        return ui.reasonLabel.text

    assert "low-count PET" in reason()
    empty = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "empty")
    ui.petSelector.setCurrentNode(empty)
    assert "holds no image" in reason()
    pet = builders.pet(None)
    ui.petSelector.setCurrentNode(pet)
    assert "unit of the PET is not known" in reason() and ui.unitCombo.isVisibleTo(ui.scansSection)
    ui.unitCombo.setCurrentIndex(ui.unitCombo.findData(BQML))
    assert reason() == ""
    given.method = "guided"
    assert "needs a CT" in reason() and ui.ctLabel.text == "CT (needed):"
    ui.ctSelector.setCurrentNode(pet)
    assert "also chosen as CT" in reason()
    ui.ctSelector.setCurrentNode(builders.ct())
    assert reason() == ""
    given.method = "prompted"
    assert "organ segmentation" in reason() and not ui.optionalSection.collapsed
    given.method = "diffuse"
    assert "works on SUV" in reason()
    ui.factorEdit.setText("0,0002")
    ui.factorEdit.editingFinished.emit()
    assert given.suv_factor == 0.0002 and reason() == ""
    widget.panel.setup.not_ready = "Packages are missing."
    widget.panel.refresh()
    assert reason() == "Packages are missing."


def test_a_method_without_its_model_says_so(open_panel, monkeypatch) -> None:
    import builders
    from petdiffusion.zoo import store

    monkeypatch.setattr(store, "models", lambda method=None: {})
    widget = open_panel()
    widget.ui.petSelector.setCurrentNode(builders.pet())
    widget.panel.parameters.method = "diffuse"
    assert "add one under 'Set-up'" in widget.ui.reasonLabel.text and not widget.ui.applyButton.enabled


def test_a_backend_that_cannot_run_blocks_the_button_and_points_to_set_up(open_panel, monkeypatch) -> None:
    import builders
    from PETDiffusionDenoiseLib import backend

    monkeypatch.setattr(backend, "chosen", lambda: backend.Backend("/no/such/python ü", FAKE))
    builders.pet()
    widget = open_panel()
    monkeypatch.setattr(backend, "chosen", lambda: backend.Backend("/no/such/python ü", FAKE))
    widget.panel.setup.check()
    widget.panel.setup.wait()
    assert "Set-up" in widget.ui.reasonLabel.text and "cannot run the program" in widget.ui.setupLabel.text


@pytest.mark.parametrize(
    "unit, words", [(SUVBW, "SUV (body weight), from the volume"), (BQML, "No SUV"), (None, "not known")]
)
def test_the_unit_line_says_what_was_recognised(open_panel, unit, words) -> None:
    import builders

    widget = open_panel()
    widget.ui.petSelector.setCurrentNode(builders.pet(unit))
    assert words in widget.ui.unitLabel.text


def test_the_obvious_scans_are_chosen_by_themselves(open_panel) -> None:
    import builders

    pet, ct = builders.pet(), builders.ct()
    ct.SetAttribute("DICOM.Modality", "CT")
    widget = open_panel()
    assert widget.ui.petSelector.currentNode() is pet and widget.panel.parameters.ct is ct
    assert widget.ui.applyButton.enabled


# --- settings --------------------------------------------------------------------------------------------------


def test_settings_are_the_cards_options_and_only_changes_are_kept(open_panel) -> None:
    widget = open_panel()
    given, form = widget.panel.parameters, widget.panel.method.form
    assert set(form.fields) == {"fwhm", "strength", "border"} and form.values() == {}
    assert form.fields["strength"].widget.text == "automatic"
    form.fields["fwhm"].widget.setValue(7.5)
    form.fields["strength"].widget.setValue(2.0)
    assert given.options("smooth") == {"fwhm": 7.5, "strength": 2.0}
    form.fields["strength"].widget.setValue(-99)
    assert given.options("smooth") == {"fwhm": 7.5}


@pytest.mark.parametrize("name, low, high", [("fwhm", 0.5, 20.0)])
def test_settings_keep_to_the_cards_range(open_panel, name, low, high) -> None:
    widget = open_panel().panel.method.form.fields[name].widget
    widget.setValue(1e9)
    assert widget.value == high
    widget.setValue(-1e9)
    assert widget.value == low


def test_advanced_settings_wait_until_they_are_asked_for(open_panel) -> None:
    import qt

    widget = open_panel()
    field = widget.panel.method.form.fields["border"].widget
    assert field.isHidden()
    boxes = widget.ui.optionsFrame.findChildren(qt.QCheckBox)
    next(box for box in boxes if "advanced" in box.text).click()
    assert not field.isHidden()


def test_presets_set_steps_and_samples_and_own_changes_become_custom(open_panel, models) -> None:
    widget = open_panel()
    ui, given, form = widget.ui, widget.panel.parameters, widget.panel.method.form
    given.method = "diffuse"
    assert ui.presetCombo.count == 3
    ui.presetCombo.setCurrentIndex(ui.presetCombo.findData("Quick look"))
    assert given.options("diffuse") == {"steps": 9, "samples": 1} and form.fields["steps"].widget.value == 9
    ui.presetCombo.setCurrentIndex(ui.presetCombo.findData("Thorough"))
    assert given.options("diffuse") == {"steps": 36, "samples": 8}
    form.fields["steps"].widget.setValue(20)
    assert ui.presetCombo.itemData(ui.presetCombo.currentIndex) == "Custom"


def test_a_quick_look_takes_no_samples_where_the_image_needs_none() -> None:
    from dataclasses import replace

    import cards
    from PETDiffusionDenoiseLib import presets

    options = tuple(replace(o, minimum=0) if o.name == "samples" else o for o in cards.DIFFUSE.options)
    card = replace(cards.DIFFUSE, options=options)
    assert presets.presets(card)["Quick look"] == {"steps": 9, "samples": 0}
    assert presets.text_of("Quick look", card) == presets.WITHOUT_UNCERTAINTY
    assert presets.text_of("Quick look", cards.DIFFUSE) == presets.ONE_SAMPLE


def test_everything_that_was_set_survives_saving_and_loading_the_scene(open_panel, models, tmp_path) -> None:
    import builders
    import bundle

    from PETDiffusionDenoise import PETDiffusionDenoiseLogic

    widget = open_panel()
    given = widget.panel.parameters
    given.pet, given.reference, given.region = (
        builders.pet(),
        builders.pet(name="Full"),
        builders.roi((0, 0, 0), (9, 9, 9)),
    )
    given.method, given.model, given.seed, given.device, given.text = "diffuse", "tiny-1", 42, "cuda:0", "ü; a:b"
    given.unit, given.suv_factor, given.dose_fraction, given.register = BQML, 2.5e-4, 0.1, True
    given.make_masks = False
    given.orientation, given.colors = "MIP", "vtkMRMLPETProceduralColorNodePET-Heat"
    given.keep("window", 12.5)
    given.set_options("diffuse", {"steps": 30, "estimate": "sample"})
    bundle.save(tmp_path / "scene.mrb")
    bundle.load(tmp_path / "scene.mrb", tmp_path / "cache")
    again = PETDiffusionDenoiseLogic().parameters()
    assert (again.pet.GetName(), again.reference.GetName(), again.region.GetName()) == ("PET", "Full", "Region")
    assert (again.method, again.model, again.seed, again.device, again.text) == (
        "diffuse",
        "tiny-1",
        42,
        "cuda:0",
        "ü; a:b",
    )
    assert (again.unit, again.suv_factor, again.dose_fraction, again.register) == (BQML, 2.5e-4, 0.1, True)
    assert again.make_masks is False and again.make_tables is True
    assert (again.orientation, again.window) == ("MIP", 12.5) and again.colors.endswith("PET-Heat")
    assert again.options("diffuse") == {"steps": 30, "estimate": "sample"}


@pytest.mark.parametrize("name, text, back", [("seed", "many", 0), ("suv_factor", "x", 0.0), ("register", "", False)])
def test_damaged_settings_fall_back_to_the_default(open_panel, name, text, back) -> None:
    given = open_panel().panel.parameters
    given.node.SetParameter(name, text)
    assert getattr(given, name) == back


def test_settings_of_an_older_version_that_no_longer_fit_are_left_out(open_panel) -> None:
    widget = open_panel()
    widget.panel.parameters.node.SetParameter("options.smooth", '{"fwhm": 900, "gone": 1, "strength": 2}')
    assert widget.panel.method.options() == {"strength": 2.0}
    widget.panel.parameters.node.SetParameter("options.smooth", "not json")
    assert widget.panel.method.options() == {}
    widget.panel.parameters.method = "removed_method"
    assert widget.panel.method.card.name == "smooth"
