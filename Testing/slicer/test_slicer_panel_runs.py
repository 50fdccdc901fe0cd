"""Running a job from the panel: progress, cancel, and every way in which a backend can fail."""

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
    assert any("left in this step" in left for _, _, left, _ in seen), "other steps follow, of which nothing is known"
    assert "PET denoised (smooth)" in ui.messageLabel.text and "A warning." in ui.messageLabel.text
    assert "Model: tiny-1. Computed on the processor in 4 overlapping pieces." in ui.messageLabel.text
    assert "• The mean of the liver changed." in ui.messageLabel.text
    assert "• Check 3 is a long …<br>In full" in ui.messageLabel.text and "- sentence." in widget.panel.run._details
    assert ui.applyButton.text == "Denoise" and ui.applyButton.enabled and ui.progressFrame.isHidden()
    assert ui.actionButton.text == "Compare side by side" and not ui.reviewSection.collapsed
    assert widget.panel.parameters.result.GetName() == "PET denoised (smooth)"


def test_the_application_stays_alive_while_a_job_runs(open_panel) -> None:
    """Between any two reports of progress the application's own timer has fired."""
    import builders
    import qt

    builders.pet()
    widget = open_panel("slow")
    happened = []
    timer = qt.QTimer()
    timer.setInterval(10)
    timer.timeout.connect(lambda: happened.append("beat"))
    timer.start()
    progress = widget.panel.run._on_progress
    widget.panel.run._on_progress = lambda *values: (happened.append("progress"), progress(*values))
    widget.ui.applyButton.click()
    settle(widget)
    timer.stop()
    reports = [i for i, what in enumerate(happened) if what == "progress"]
    between = [happened[a + 1 : b].count("beat") for a, b in itertools.pairwise(reports)]
    assert len(reports) == 20 and sum(count > 0 for count in between) > len(between) / 2


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
    given.model = "tiny-1"
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
