"""The panel: its parts, and what each must know of the others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt
import slicer
from petdiffusion.errors import PETDiffusionError

from . import exchange, jobs, models, panel_inputs, results, sequences, theme, validity
from .child_job import ChildJob
from .frames_results import FramesNodes
from .panel_inputs import InputsPart
from .panel_method import MethodPart
from .panel_review import ReviewPart
from .panel_run import RunPart
from .panel_setup import SetupPart
from .parameters import Parameters
from .process import Failure
from .signals import Signal
from .widgets import paragraph, quiet

TUTORIAL = "Help/tutorial.html"


class Panel:
    """Everything is shown from the parameters; every change by the user goes into the parameters first."""

    def __init__(self, ui: Any, resource: Callable[[str], str]) -> None:
        self.ui, self._resource = ui, resource
        self.parameters: Parameters | None = None
        self._stop_observing: Callable[[], None] | None = None
        self._refreshing = False
        changed = Signal()
        self.inputs, self.method = InputsPart(ui, changed), MethodPart(ui, changed)
        self.run = RunPart(ui, self.make_job)
        self.review = ReviewPart(ui)
        self.setup = SetupPart(ui, self.run.log, self.run.say, self._say_error)
        self.run.finished.connect(self._on_finished)
        self.setup.changed.connect(self._on_setup)
        self.setup.sampled.connect(self._on_sample)
        for name in jobs.OUTPUTS:
            getattr(ui, f"{name}Check").toggled.connect(lambda on, name=name: self._on_output(name, on))
        ui.tutorialButton.clicked.connect(lambda: self._open_tutorial())
        theme.dress(ui)
        self.set_parameters(None)

    def set_parameters(self, parameters: Parameters | None) -> None:
        """Follow another parameter node; None while a scene is closed."""
        if self._stop_observing is not None:
            self._stop_observing()
        self.parameters = parameters
        for part in (self.inputs, self.method, self.review):
            part.parameters = parameters
        self._stop_observing = parameters.observe(self.refresh) if parameters is not None else None
        self.refresh()

    def refresh(self) -> None:
        """Show what the parameters say. Changes that come while showing are shown in the same go."""
        if self.parameters is None or self._refreshing:
            return
        self._refreshing = True
        try:
            self.inputs.refresh(self.method.card)
            self.method.refresh(self.inputs.unit)
            for name in jobs.OUTPUTS:
                check = getattr(self.ui, f"{name}Check")
                with quiet(check):
                    check.setChecked(getattr(self.parameters, f"make_{name}"))
            try:
                self.review.refresh()
            finally:  # whatever a result cannot show, the button says whether the next run can start
                self.run.refresh(self.reason())
        finally:
            self._refreshing = False

    def reason(self) -> str | None:
        """Why Denoise cannot be clicked now."""
        card = self.method.card
        known = models.installed(card) if card is not None and card.needs_model else {}
        return validity.reason(self.parameters, card, self.inputs.unit, known, self.setup.not_ready)

    def make_job(self) -> ChildJob:
        """A job from what is chosen."""
        given, card = self.parameters, self.method.card
        if sequences.asked_for_all(given):
            model = given.model if given.model in models.installed(card) else models.AUTOMATIC
            return sequences.job_of(given, card.name, self.method.options(), model, self.setup.backend)
        sources = exchange.Sources(given.pet, given.ct, given.mr, given.labels, given.lesions, given.reference,
                                   given.region, given.unit, given.suv_factor)
        outputs = frozenset(name for name in jobs.OUTPUTS if getattr(given, f"make_{name}"))
        model = given.model if given.model in models.installed(card) else models.AUTOMATIC
        request = jobs.JobRequest(sources, card.name, self.method.options(), model, given.seed, given.device,
                                  given.text if card.uses("text") else "", given.dose_fraction or None,
                                  given.register and (card.uses("ct") or card.uses("mr")), outputs)
        return jobs.DenoiseJob(request, self.setup.backend)

    def _on_output(self, name: str, on: bool) -> None:
        if self.parameters is not None:
            setattr(self.parameters, f"make_{name}", bool(on))

    def _on_finished(self, outcome: results.ResultNodes | FramesNodes | Failure | None) -> None:
        if isinstance(outcome, FramesNodes):
            outcome = outcome.result
        if isinstance(outcome, results.ResultNodes):
            self.parameters.result = outcome.denoised
            self.run.offer("Compare side by side", lambda: self._compare(outcome.denoised))
            self.ui.reviewSection.collapsed = False
        elif isinstance(outcome, Failure):
            if outcome.type == "DependencyError":
                self.run.offer("Open Set-up", self._open_setup)
            else:
                self.run.offer("Show log", self._open_log)
        self.refresh()

    def _on_setup(self) -> None:
        self.method.devices = self.setup.devices
        self.inputs.forget_unit()
        if self.parameters is not None:
            panel_inputs.suggest(self.parameters)
        self.refresh()

    def _on_sample(self, nodes: dict[str, Any], anatomy: str) -> None:
        """Practice data go straight into the selectors."""
        if self.parameters is None:
            return
        with self.parameters.together():
            self.parameters.choose_pet(nodes.get("low"))
            self.parameters.reference = nodes.get("normal")
            self.parameters.ct = nodes.get("anatomy") if anatomy == "CT" else None
            self.parameters.mr = nodes.get("anatomy") if anatomy == "MR" else None
            self.parameters.labels, self.parameters.lesions = nodes.get("organs"), nodes.get("lesions")

    def _compare(self, denoised: Any) -> None:
        """The result that the message speaks of, whichever was chosen since."""
        if self.parameters is None or not slicer.mrmlScene.IsNodePresent(denoised):
            return
        self.parameters.result = denoised
        self.ui.reviewSection.collapsed = False
        self.review.compare()

    def _open_setup(self) -> None:
        self.ui.setupSection.collapsed = False

    def _open_log(self) -> None:
        self.ui.logSection.collapsed = False

    def _open_tutorial(self) -> None:
        qt.QDesktopServices.openUrl(qt.QUrl.fromLocalFile(self._resource(TUTORIAL)))

    def _say_error(self, error: PETDiffusionError) -> None:
        self.run.log(f"{type(error).__name__}: {error}")
        title = f"{error.what}: {error.why}" if error.why else error.what
        self.run.say("error", f"<b>{paragraph(title.rstrip('.'))}.</b><br>{paragraph(error.remedy)}", str(error))

    def enter(self) -> None:
        """The user came to the module."""
        theme.dress(self.ui)
        if self.parameters is not None:
            panel_inputs.suggest(self.parameters)
        self.refresh()

    def scene_closing(self) -> None:
        """Nothing may hold on to nodes of a scene that goes away."""
        self.run.kill()
        self.run.forget()
        self.review.scene_closed()
        self.set_parameters(None)

    def close(self) -> None:
        """The application or the module goes away."""
        self.run.close()
        self.review.close()
        self.setup.close()
        self.set_parameters(None)
