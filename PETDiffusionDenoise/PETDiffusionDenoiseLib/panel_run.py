"""Apply and Cancel, progress, and the message that tells how a run ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import qt
from petdiffusion.errors import PETDiffusionError

from . import results, review_lists
from .child_job import ChildJob
from .frames_results import FramesNodes
from .process import Failure
from .signals import Signal
from .theme import color_frame
from .widgets import beginning, bring_into_view, clock, icon, paragraph, to_clipboard

POLL_MS = 100
SILENT_S = 90.0
STEPS = 1000
CHECK_LETTERS = 110
"""Of each check in the message; the review's list and the details have all."""


class RunPart:
    """Runs one job at a time. `finished` gets what came of it: nodes, a Failure, or None if cancelled."""

    def __init__(self, ui: Any, make_job: Callable[[], ChildJob]) -> None:
        self.ui, self._make_job = ui, make_job
        self.finished = Signal()
        self.job: ChildJob | None = None
        self.blocked: str | None = None
        self._details, self._action, self._began, self._left = "", None, 0.0, None
        self._lines: list[str] = []
        self._timer = qt.QTimer()
        self._timer.setInterval(POLL_MS)
        self._timer.timeout.connect(self._poll)
        ui.applyButton.clicked.connect(self._on_button)
        ui.copyButton.clicked.connect(lambda: to_clipboard(self._details))
        ui.actionButton.clicked.connect(lambda: self._action() if self._action is not None else None)
        ui.dismissButton.clicked.connect(lambda: ui.messageFrame.hide())
        ui.copyLogButton.clicked.connect(lambda: to_clipboard(str(ui.logText.plainText)))
        ui.clearLogButton.clicked.connect(lambda: ui.logText.clear())
        ui.progressFrame.hide()
        ui.messageFrame.hide()

    @property
    def running(self) -> bool:
        return self.job is not None

    def refresh(self, reason: str | None) -> None:
        """The button as it must be now: Denoise, why not, or Cancel."""
        self.blocked = reason
        button = self.ui.applyButton
        if self.running:
            return
        button.setText("Denoise")
        button.setIcon(icon("Start"))
        button.setEnabled(reason is None)
        button.setToolTip("Denoise the low-count PET." if reason is None else reason)
        self.ui.reasonLabel.setText(reason or "")
        self.ui.reasonLabel.setVisible(bool(reason))

    def _on_button(self) -> None:
        if self.running:
            self.cancel()
        else:
            self.start()

    def start(self) -> None:
        """Start a job now. What can be seen to be wrong beforehand is said without starting one."""
        if self.running or self.blocked:
            return
        self.ui.messageFrame.hide()
        self.log(f"--- {time.strftime('%H:%M:%S')} start")
        try:
            job = self._make_job()
            self._listen(job)
            self.job = job
            self._show_running()
            job.start()
        except PETDiffusionError as error:
            self._on_end(Failure(**error.to_json()))
        except Exception as error:
            self._on_end(Failure("Defect", "The job could not be started", f"{type(error).__name__}: {error}",
                                 "Copy the log and report it."))
        else:
            if self.job is not None:
                self._timer.start()

    def _listen(self, job: ChildJob) -> None:
        job.stage.connect(self._on_stage)
        job.progress.connect(self._on_progress)
        job.warning.connect(lambda text: self.log(f"Note: {text}"))
        job.log.connect(self.log)
        job.ended.connect(self._on_end)

    def _show_running(self) -> None:
        ui = self.ui
        self._began, self._left = time.monotonic(), None
        ui.applyButton.setText("Cancel")
        ui.applyButton.setIcon(icon("Stop"))
        ui.applyButton.setEnabled(True)
        ui.applyButton.setToolTip("Stop the job. Nothing is changed in the scene.")
        ui.reasonLabel.hide()
        ui.progressFrame.show()
        ui.progressBar.setRange(0, 0)
        ui.stageLabel.setText("Starting")
        ui.timeLabel.setText("")
        bring_into_view(ui.progressFrame)

    def _poll(self) -> None:
        job = self.job
        if job is None:
            self._timer.stop()
            return
        job.poll()
        self._flush_log()
        if self.job is not None and job.silent_seconds > SILENT_S:
            self.ui.timeLabel.setText(f"nothing heard for {clock(job.silent_seconds)}")

    def _on_stage(self, text: str) -> None:
        self.ui.stageLabel.setText(text)
        self.ui.timeLabel.setText("")
        self.ui.progressBar.setRange(0, 0)
        self.log(text)

    def _on_progress(self, fraction: float, seconds_left: float | None) -> None:
        self.ui.progressBar.setRange(0, STEPS)
        self.ui.progressBar.setValue(round(STEPS * min(max(fraction, 0.0), 1.0)))
        self.ui.timeLabel.setText("" if seconds_left is None else f"{clock(seconds_left)} left in this step")

    def cancel(self) -> None:
        """Ask the job to stop; the panel stays usable until it has."""
        if self.job is None:
            return
        self.ui.applyButton.setEnabled(False)
        self.ui.stageLabel.setText("Stopping")
        self.ui.progressBar.setRange(0, 0)
        self.job.cancel()

    def kill(self) -> None:
        """End the job at once, for closing the scene or the application."""
        if self.job is not None:
            self.job.kill()

    def _on_end(self, outcome: results.ResultNodes | FramesNodes | Failure | None) -> None:
        self._timer.stop()
        kept = self.job.kept_by_cancel if self.job is not None else ""
        self.job = None
        self._flush_log()
        self.ui.progressFrame.hide()
        self.refresh(self.blocked)
        seconds = time.monotonic() - self._began
        if outcome is None:
            self.log("Cancelled.")
            self.say("note", f"Cancelled. The scene was not changed. {kept}".strip())
        elif isinstance(outcome, Failure):
            self._say_failure(outcome)
        else:
            self._say_success(outcome, seconds)
        self.finished.emit(outcome)

    def _say_failure(self, failure: Failure) -> None:
        self.log(f"{failure.type}: {failure}")
        title = f"{failure.what}: {failure.why}" if failure.why else failure.what
        self.say("error", f"<b>{paragraph(title.rstrip('.'))}.</b><br>{paragraph(failure.remedy)}",
                 details=f"{failure.type}: {failure}\n\n{self.ui.logText.plainText}")

    def _say_success(self, outcome: results.ResultNodes | FramesNodes, seconds: float) -> None:
        self.log(f"Done in {seconds:.1f} s.")
        frames = outcome if isinstance(outcome, FramesNodes) else None
        nodes = frames.result if frames is not None else outcome
        text = f"<b>Done in {clock(seconds)}.</b> {paragraph(_came(nodes) if frames is None else _played(frames))}"
        text += paragraph(_how(nodes.record.get("details") or {}))
        checks = [review_lists.in_ras(str(check)) for check in nodes.record.get("check") or ()]
        shown = [*nodes.warnings, *(beginning(check, CHECK_LETTERS) for check in checks)]
        text += "".join(f"<br>• {paragraph(note)}" for note in shown)
        text += "<br>In full, with places to click: 'Review', 'List'." if checks else ""
        if frames is not None and "report" in frames.files:
            text += f'<br><a href="{qt.QUrl.fromLocalFile(frames.files["report"]).toString()}">Open the report</a>'
        self.say("warning" if shown else "done", text, details="\n".join([*nodes.warnings, *checks]))

    def say(self, kind: str, text: str, details: str = "") -> None:
        """Show a message under the button, with details to copy."""
        ui = self.ui
        color_frame(ui.messageFrame, kind)
        ui.messageLabel.setText(text)
        self._details, self._action = details, None
        ui.copyButton.setVisible(bool(details))
        ui.actionButton.hide()
        ui.messageFrame.show()
        bring_into_view(ui.messageFrame)

    def forget(self) -> None:
        """What was said of a scene that is gone is not true any more; the log keeps it."""
        self._details, self._action = "", None
        self.ui.messageFrame.hide()

    def offer(self, text: str, action: Callable[[], None]) -> None:
        """Add a next step to click to the message that is shown."""
        self._action = action
        self.ui.actionButton.setText(text)
        self.ui.actionButton.setVisible(True)

    def log(self, line: str) -> None:
        """A line for the log; while a job runs they are shown together, so that a flood does not slow the panel."""
        self._lines.append(line)
        if not self.running:
            self._flush_log()

    def _flush_log(self) -> None:
        if self._lines:
            self.ui.logText.appendPlainText("\n".join(self._lines))
            self._lines.clear()

    def close(self) -> None:
        self._timer.stop()
        self.kill()


def _came(nodes: results.ResultNodes) -> str:
    more = len(nodes.all()) - 1
    return f"'{nodes.denoised.GetName()}'{f' and {more} more results are' if more else ' is'} in the scene."


def _played(frames: FramesNodes) -> str:
    return (f"{frames.denoised.GetNumberOfDataNodes()} frames, '{frames.denoised.GetName()}', are in the scene; "
            f"'{frames.browser.GetName()}' plays them.")


def _how(details: Mapping[str, Any]) -> str:
    """Which model, on which device, in how many pieces: what was chosen by itself is said."""
    model, plan = details.get("model"), details.get("plan")
    said = f" Model: {model}." if model else ""
    if isinstance(plan, Mapping) and plan.get("device"):
        pieces = plan.get("patches") or 1
        where = "the processor" if plan["device"] == "cpu" else str(plan["device"])
        said += f" Computed on {where} in {'one piece' if pieces == 1 else f'{pieces} overlapping pieces'}."
    return said
