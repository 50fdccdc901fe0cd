"""The panel over a PythonQt-like `qt` and a real MRML scene, with a backend that behaves in every way."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from petdiffusion import registry
from petdiffusion.volume import BQML, SUVBW

FAKE = Path(__file__).resolve().with_name("fake_backend")


# --- what is shown ---------------------------------------------------------------------------------------------


def methods_in(combo) -> list[str]:
    return [combo.itemData(i) for i in range(combo.count) if combo.itemData(i) is not None]


def test_a_new_method_appears_by_its_card(open_panel, monkeypatch) -> None:
    from PETDiffusionDenoiseLib import models

    monkeypatch.setattr(models, "having_one", lambda: {"diffuse"})
    shown = methods_in(open_panel().ui.methodCombo)
    assert shown == ["diffuse", "prompted", "smooth", "guided"], "families in order, from the cards alone"


def test_a_method_without_a_model_comes_last_and_says_so_until_it_has_one(open_panel, monkeypatch) -> None:
    from PETDiffusionDenoiseLib import models

    widget, known = open_panel(), {}
    monkeypatch.setattr(models, "installed", lambda card: known if card.needs_model else {})
    monkeypatch.setattr(models, "having_one", lambda: {"diffuse"} if known else set())
    combo, given = widget.ui.methodCombo, widget.panel.parameters
    given.method = "diffuse"
    assert methods_in(combo) == ["prompted", "smooth", "guided", "diffuse"]
    assert combo.currentText == "Residual diffusion (no model installed)"
    known["one"] = SimpleNamespace(id="one", sha256="a" * 64, summary="")
    monkeypatch.setattr(models, "text_of", lambda *given: "")
    widget.panel.refresh()
    assert methods_in(combo)[0] == "diffuse" and combo.currentText == "Residual diffusion"
    assert given.method == "diffuse"


def test_every_method_whose_model_is_bundled_has_one() -> None:
    from PETDiffusionDenoiseLib import models

    found = models.having_one()
    assert {"csrd", "amdiff", "unet-3d"} <= found and "la-gan" not in found
    assert all((card.name in found) == bool(models.installed(card)) for card in registry.cards().values())


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


def test_a_scan_of_a_dicom_study_is_known_by_its_item_in_the_subject_hierarchy(open_panel, monkeypatch) -> None:
    """Slicer's DICOM reader keeps the modality there; no header is opened for it."""
    import builders
    import slicer
    from PETDiffusionDenoiseLib import units

    tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    attribute = slicer.vtkMRMLSubjectHierarchyConstants.GetDICOMSeriesModalityAttributeName()
    pet, ct, mr = scans = builders.pet(unit=None), builders.ct(), builders.ct("MR")
    for node, modality in zip(scans, ("PT", "CT", "MR")):
        tree.SetItemAttribute(tree.CreateItem(tree.GetSceneItemID(), node), attribute, modality)
    opened = []
    monkeypatch.setattr(units, "dicom_headers", lambda node: opened.append(node) or [])
    given = open_panel().panel.parameters
    assert (given.pet, given.ct, given.mr) == (pet, ct, mr) and set(opened) <= {pet}


def test_of_several_scans_none_is_obvious(open_panel) -> None:
    import builders

    for name in ("one", "two"):
        builders.pet(name=f"PET {name}")
        builders.ct(f"CT {name}").SetAttribute("DICOM.Modality", "CT")
    widget = open_panel()
    assert widget.panel.parameters.pet is None and widget.panel.parameters.ct is None


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


def test_a_method_is_given_no_words_and_no_registration_that_it_has_no_use_for(open_panel) -> None:
    """They stay in the panel for the method that has; of another, the record would say that it was given them."""
    panel = open_panel().panel
    panel.parameters.text, panel.parameters.register = "a lesion", True

    def handed(method: str) -> tuple[str, bool]:
        panel.parameters.method = method
        request = panel.make_job().request
        return request.text, request.register

    found = {method: handed(method) for method in ("smooth", "prompted", "guided", "diffuse")}
    assert found == {"smooth": ("", False), "prompted": ("a lesion", False), "guided": ("", True),
                     "diffuse": ("", True)}  # fmt: skip


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
    assert given.options("diffuse") == {"samples": 8}
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


@pytest.mark.parametrize("given, seen", [(1234567, 1234567), (9999999999999, 2147483647), (-3, 0)])
def test_the_seed_that_is_shown_is_the_one_that_is_used(open_panel, given, seen) -> None:
    """A script or a scene may hold one that no box can show; the panel must not fail over it."""
    widget = open_panel()
    parameters = widget.panel.parameters
    parameters.method, parameters.seed = "diffuse", given
    widget.panel.refresh()
    assert widget.ui.seedSpin.value == parameters.seed == seen
