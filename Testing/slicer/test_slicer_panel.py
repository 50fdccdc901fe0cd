"""The panel over a PythonQt-like `qt` and a real MRML scene, with a backend that behaves in every way."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from petdiffusion.volume import BQML, SUVBW

FAKE = Path(__file__).resolve().with_name("fake_backend")


@pytest.fixture
def open_panel(scene, monkeypatch):
    """Opens the module's widget; the backend's behaviour is chosen by name."""
    import cards
    from PETDiffusionDenoiseLib import backend

    from PETDiffusionDenoise import PETDiffusionDenoiseWidget

    cards.use(monkeypatch)
    monkeypatch.setattr(backend, "chosen", lambda: backend.Backend("", FAKE))
    opened = []

    def open_(mode: str = "success"):
        monkeypatch.setenv("FAKE_BACKEND", mode)
        widget = PETDiffusionDenoiseWidget()
        opened.append(widget)
        widget.enter()
        widget.panel.setup.wait()
        return widget

    yield open_
    for widget in opened:
        widget.cleanup()


@pytest.fixture
def models(monkeypatch):
    """Pretends that a model for 'diffuse' is installed."""
    from petdiffusion.zoo import store
    from petdiffusion.zoo.card import ModelCard

    card = ModelCard(
        "tiny-1",
        "diffuse",
        "1.0",
        "a" * 64,
        10,
        "A small model.",
        "Digital patients.",
        "CC0",
        "CC0",
        ("FDG",),
        (1.5, 5.0),
        (0.05, 0.5),
        "Research.",
        "Not for brains.",
    )
    known = {card.id: store.Model(card, Path("x"), True)}
    monkeypatch.setattr(store, "models", lambda method=None: known if method in (None, "diffuse") else {})


def settle(widget, seconds: float = 20.0) -> None:
    """Let the application run until the job has ended."""
    import slicer

    deadline = time.monotonic() + seconds
    while widget.panel.run.running:
        slicer.app.processEvents()
        assert time.monotonic() < deadline, "the job did not end"
        time.sleep(0.005)


def run(widget) -> str:
    widget.ui.applyButton.click()
    settle(widget)
    return str(widget.ui.messageLabel.text)


# --- what is shown ---------------------------------------------------------------------------------------------


def test_a_new_method_appears_by_its_card(open_panel) -> None:
    combo = open_panel().ui.methodCombo
    shown = [combo.itemData(i) for i in range(combo.count) if combo.itemData(i) is not None]
    assert shown == ["diffuse", "prompted", "smooth", "guided"], "families in order, from the cards alone"


@pytest.mark.parametrize(
    "method, shown, hidden",
    [
        (
            "smooth",
            ("settingsSection",),
            ("ctSelector", "mrSelector", "modelCombo", "presetCombo", "deviceCombo", "seedSpin"),
        ),
        ("guided", ("ctSelector", "registerCheck"), ("mrSelector", "modelCombo", "promptEdit")),
        (
            "diffuse",
            ("mrSelector", "modelCombo", "presetCombo", "deviceCombo", "seedSpin", "doseSpin"),
            ("ctSelector",),
        ),
        ("prompted", ("promptEdit", "deviceCombo"), ("ctSelector", "modelCombo")),
    ],
)
def test_only_what_the_method_uses_is_shown(open_panel, method, shown, hidden) -> None:
    widget = open_panel()
    widget.panel.parameters.method = method
    assert [name for name in shown if getattr(widget.ui, name).isHidden()] == []
    assert [name for name in hidden if not getattr(widget.ui, name).isHidden()] == []


def test_the_card_of_the_model_is_shown(open_panel, models) -> None:
    widget = open_panel()
    widget.panel.parameters.method = "diffuse"
    text = widget.ui.modelText.text
    assert [
        word for word in ("Digital patients", "FDG", "5 to 50 %", "Not for brains", "Research") if word not in text
    ] == []


def test_devices_come_with_their_free_memory(open_panel) -> None:
    combo = open_panel().ui.deviceCombo
    assert [combo.itemText(i) for i in range(combo.count)] == [
        "Automatic",
        "Processor (CPU), 12.5 GB free",
        "NVIDIA H200, 100 GB free",
    ]


def test_no_widget_got_an_attribute_that_pythonqt_refuses(open_panel) -> None:
    """Ruled out by the stand-in itself: this shows that it refuses."""
    widget = open_panel()
    with pytest.raises(AttributeError):
        widget.ui.applyButton.myFlag = 1
    with pytest.raises(TypeError):
        widget.ui.applyButton.text()


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


# --- running ---------------------------------------------------------------------------------------------------


def test_a_click_denoises_shows_progress_and_offers_the_review(open_panel) -> None:
    import builders
    import slicer

    builders.pet()
    widget = open_panel("slow")
    ui = widget.ui
    ui.applyButton.click()
    seen = []
    deadline = time.monotonic() + 20
    while widget.panel.run.running and time.monotonic() < deadline:
        slicer.app.processEvents()
        if widget.panel.run.running and ui.progressBar.maximum:
            seen.append((ui.stageLabel.text, ui.progressBar.value, ui.timeLabel.text, ui.applyButton.text))
        time.sleep(0.01)
    assert {text for text, *_ in seen} >= {"Denoising: fake"} and {button for *_, button in seen} == {"Cancel"}
    values = [value for _, value, *_ in seen]
    assert values == sorted(values) and max(values) == 950 and len(set(values)) > 5
    assert any("left" in left for _, _, left, _ in seen)
    assert "PET denoised (Smoothing)" in ui.messageLabel.text and "A warning." in ui.messageLabel.text
    assert ui.applyButton.text == "Denoise" and ui.applyButton.enabled and ui.progressFrame.isHidden()
    assert ui.actionButton.text == "Compare side by side" and not ui.reviewSection.collapsed
    assert widget.panel.parameters.result.GetName() == "PET denoised (Smoothing)"


def test_the_application_stays_alive_while_a_job_runs(open_panel) -> None:
    """A timer of the application fires at least ten times a second all along."""
    import builders
    import qt

    builders.pet()
    widget = open_panel("slow")
    beats = []
    timer = qt.QTimer()
    timer.setInterval(20)
    timer.timeout.connect(lambda: beats.append(time.monotonic()))
    timer.start()
    widget.ui.applyButton.click()
    settle(widget)
    timer.stop()
    during = beats[3:-3]
    assert len(during) > 20 and sorted(b - a for a, b in itertools.pairwise(during))[-3] < 0.35


@pytest.mark.parametrize(
    "mode, words, remedy",
    [
        ("named_error", "Model &#x27;x&#x27;: is damaged", "Add it again"),
        ("out_of_memory", "memory ran out", "fewer samples"),
        ("crash", "crashed", "CPU"),
        ("garbage", "without a result", "log"),
        ("nothing", "without a result", "log"),
        ("wrong_grid", "another grid", "report"),
        ("not_numbers", "not numbers", "device"),
        ("missing_package", "not installed", "Set-up"),
    ],
)
def test_every_failure_is_explained_and_the_user_can_go_on(open_panel, monkeypatch, mode, words, remedy) -> None:
    import builders

    builders.pet()
    widget = open_panel(mode)
    ui = widget.ui
    text = run(widget)
    assert words in text and remedy in text
    assert not ui.messageFrame.isHidden() and not ui.copyButton.isHidden() and not ui.actionButton.isHidden()
    assert ui.applyButton.text == "Denoise" and ui.applyButton.enabled
    monkeypatch.setenv("FAKE_BACKEND", "success")
    assert "Done" in run(widget), "the next run works"


def test_the_details_can_be_copied(open_panel) -> None:
    import builders
    import qt

    builders.pet()
    widget = open_panel("crash")
    run(widget)
    widget.ui.copyButton.click()
    text = qt.QApplication.clipboard().text()
    assert "crashed" in text and "about to fail" in text


@pytest.mark.parametrize("mode", ["hang", "stubborn", "polite", "endless_line"])
def test_cancel_always_works(open_panel, monkeypatch, mode) -> None:
    import builders
    import slicer
    from PETDiffusionDenoiseLib import process

    monkeypatch.setattr(process, "GRACE_S", 0.5)
    builders.pet()
    widget = open_panel(mode)
    before = slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode")
    widget.ui.applyButton.click()
    deadline = time.monotonic() + 10
    while widget.ui.progressBar.maximum == 0 and time.monotonic() < deadline:
        slicer.app.processEvents()
        time.sleep(0.01)
    widget.ui.applyButton.click()
    assert not widget.ui.applyButton.enabled and widget.ui.stageLabel.text == "Stopping"
    settle(widget)
    assert "Cancelled" in widget.ui.messageLabel.text and widget.ui.applyButton.enabled
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") == before


def test_closing_the_scene_ends_the_job_and_leaves_a_usable_panel(open_panel) -> None:
    import builders
    import slicer

    builders.pet()
    widget = open_panel("hang")
    widget.ui.applyButton.click()
    process = widget.panel.run.job._process._process
    slicer.mrmlScene.Clear()
    assert not widget.panel.run.running and process.poll() is not None
    assert list(Path(slicer.app.temporaryPath).glob("PETDiffusion-*")) == []
    assert "low-count PET" in widget.ui.reasonLabel.text
    builders.pet()
    widget.enter()
    assert widget.ui.applyButton.enabled


def test_closing_the_application_ends_the_job(open_panel) -> None:
    import builders
    import slicer

    builders.pet()
    widget = open_panel("stubborn")
    widget.ui.applyButton.click()
    process = widget.panel.run.job._process._process
    slicer.app.moduleManager().moduleAboutToBeUnloaded.emit("PETDiffusionDenoise")
    assert process.poll() is not None and list(Path(slicer.app.temporaryPath).glob("PETDiffusion-*")) == []


def test_a_job_that_says_nothing_is_told_to_the_user(open_panel, monkeypatch) -> None:
    import builders
    import slicer
    from PETDiffusionDenoiseLib import panel_run

    monkeypatch.setattr(panel_run, "SILENT_S", 0.2)
    builders.pet()
    widget = open_panel("hang")
    widget.ui.applyButton.click()
    deadline = time.monotonic() + 10
    while "nothing heard" not in widget.ui.timeLabel.text:
        slicer.app.processEvents()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    widget.panel.run.kill()


def test_an_image_that_cannot_be_handed_over_is_said_at_once(open_panel) -> None:
    import builders
    import numpy as np
    import slicer.util

    pet = builders.pet()
    widget = open_panel()
    array = builders.pet_array()
    array[0] = np.inf
    slicer.util.updateVolumeFromArray(pet, array)
    text = run(widget)
    assert "infinite" in text and widget.ui.applyButton.enabled


def test_what_is_chosen_is_what_is_asked_of_the_backend(open_panel, models) -> None:
    import builders

    pet = builders.pet(BQML)
    widget = open_panel()
    given = widget.panel.parameters
    given.pet, given.mr, given.reference = pet, builders.ct("MR"), builders.pet(SUVBW, "Full")
    given.method, given.seed, given.device, given.suv_factor, given.dose_fraction = "diffuse", 5, "cuda:0", 2e-4, 0.1
    given.set_options("diffuse", {"steps": 30, "augment": True})
    run(widget)
    words = json.loads(given.result.GetAttribute("PETDiffusion.Record"))["argv"]
    pairs = dict(itertools.pairwise(words))
    assert (pairs["--method"], pairs["--seed"], pairs["--device"]) == ("diffuse", "5", "cuda:0")
    assert {"--unit=SUVbw", "--model=tiny-1", "--dose-fraction=0.1", "--json-lines", "steps=30", "augment=true"} <= set(
        words
    )
    assert "--mr" in words and "--reference" in words and "--ct" not in words


def test_the_panel_works_in_a_slicer_that_has_none_of_our_packages() -> None:
    """Before set-up the panel must open, and with another Python it must do everything."""
    script = Path(__file__).resolve().with_name("standin") / "bare_slicer.py"
    environment = {**os.environ, "FAKE_BACKEND": "success"}
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, env=environment, check=False)
    assert "SAID <b>Done" in done.stdout, done.stderr[-2000:]
