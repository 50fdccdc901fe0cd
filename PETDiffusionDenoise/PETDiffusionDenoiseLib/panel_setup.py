"""The 'Set-up' section: which Python computes, what it lacks, models, and practice data."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import qt
import slicer
import slicer.util
from petdiffusion.errors import PETDiffusionError

from . import backend, install, samples
from .queries import Query
from .signals import Signal
from .theme import colored
from .widgets import beginning, choose_key, fill, fill_table, key_of, paragraph, quiet, show_row, to_clipboard

OWN, OTHER = "slicer", "other"
PYTHONS = {OWN: "Slicer's Python", OTHER: "Another Python"}
BLOCKING = ("Python", "numpy", "scipy", "SimpleITK")
NO_PATH = "No path of another Python is given: Slicer's Python computes."
PIP_LETTERS = 60
_GOOD, _BAD = "✓", "✗"


class SetupPart:
    """Asks the backend what it can do. `changed` tells that devices, models or readiness are new."""

    def __init__(self, ui: Any, log: Callable[[str], None], say: Callable[[str, str], None],
                 say_error: Callable[[PETDiffusionError], None]) -> None:
        self.ui, self._log, self._say, self._say_error = ui, log, say, say_error
        self.changed, self.sampled = Signal(), Signal()
        self.devices: tuple[Mapping[str, Any], ...] = ()
        self.not_ready = ""
        self._query: Query | None = None
        self._command: Query | None = None
        """On models; apart from the question what there is, which the next one stops."""
        self._sample: samples.Making | None = None
        fill(ui.pythonCombo, PYTHONS)
        ui.pythonCombo.connect("currentIndexChanged(int)", lambda index: self._on_python())
        ui.pythonPath.connect("currentPathChanged(QString)", lambda path: self._on_path(path))
        # a field that was emptied says so by this alone
        ui.pythonPath.connect("validInputChanged(bool)", lambda valid: valid or self._on_no_path())
        ui.checkButton.clicked.connect(lambda: self.check())
        ui.deviceButton.clicked.connect(lambda: self.check())
        ui.installButton.clicked.connect(lambda: self._install())
        ui.uninstallButton.clicked.connect(lambda: self._uninstall())
        ui.addFolderButton.clicked.connect(lambda: self._add_model(qt.QFileDialog.getExistingDirectory(
            None, "Folder with a model (.safetensors and .json)")))
        ui.addZipButton.clicked.connect(lambda: self._add_model(_file_of(qt.QFileDialog.getOpenFileName(
            None, "Zip with a model", "", "Models (*.zip *.safetensors)"))))
        ui.removeModelButton.clicked.connect(lambda: self._remove_model())
        ui.modelsTable.itemSelectionChanged.connect(lambda: self._refresh_buttons())
        for name in samples.SAMPLES:
            getattr(ui, f"{name}SampleButton").clicked.connect(lambda checked=False, name=name: self._make(name))
        self._show_python()
        self._fill_models()
        self._fill_checks([])
        self._refresh_buttons()

    @property
    def backend(self) -> backend.Backend:
        return backend.chosen()

    def _show_python(self) -> None:
        python = self.backend.python
        choose_key(self.ui.pythonCombo, OTHER if python else OWN)
        with quiet(self.ui.pythonPath):
            self.ui.pythonPath.currentPath = python
        self._show_path()

    def _show_path(self) -> None:
        other = self._asks_for_other()
        show_row(self.ui, ("pythonPathLabel", "pythonPath"), other)
        self.ui.installButton.setText("Copy install command" if other else "Install packages…")
        self.ui.uninstallButton.setVisible(not other)

    def _on_python(self) -> None:
        """The path of another Python stays in its field while Slicer's is chosen, and counts when it is shown again."""
        self._show_path()
        backend.choose(str(self.ui.pythonPath.currentPath) if self._asks_for_other() else "")
        self.check()

    def _on_path(self, path: str) -> None:
        if self._asks_for_other():
            backend.choose(str(path))

    def _on_no_path(self) -> None:
        if self._asks_for_other():
            backend.choose("")
            self.check()

    def _asks_for_other(self) -> bool:
        return key_of(self.ui.pythonCombo) == OTHER

    def check(self) -> None:
        """Ask the backend what it has; the answer comes later, the panel stays usable."""
        if self._query is not None and self._query.running:
            self._query.stop()
        self.ui.setupLabel.setText(f"Checking {paragraph(self.backend.title)} …")
        self.ui.checkButton.setEnabled(False)
        self._query = Query(self.backend, ["doctor", "--json"], self._on_doctor).start()

    def wait(self) -> None:
        """Until the answers are there, for tests and scripts."""
        for query in (self._query, self._command):
            if query is not None:
                query.wait(slicer.app.processEvents)

    def _on_doctor(self, found: Any, text: str, code: int | None) -> None:
        self.ui.checkButton.setEnabled(True)
        if not isinstance(found, dict) or "checks" not in found:
            self.devices = ()
            self._log(text)
            self._set_ready(self._why_not(text), usable=False)
            self._fill_checks([])
        else:
            self.devices = tuple(found.get("devices") or ())
            self._fill_checks(found["checks"])
            self._set_ready(str(found.get("verdict", "")), bool(found.get("usable")))
        self._fill_models()
        self._refresh_buttons()
        self.changed.emit()

    def _why_not(self, text: str) -> str:
        """Why a Python gives no answer: packages that are not installed yet, or its own last words."""
        missing = [] if self.backend.external else [name.split(">=")[0] for name in install.plan().packages]
        if missing:
            return f"Not installed yet: {', '.join(missing)}. Click 'Install packages'."
        last = text.strip().splitlines()[-1] if text.strip() else "no answer"
        return f"{self.backend.title} cannot run the program: {last}"

    def _set_ready(self, verdict: str, usable: bool) -> None:
        if self._asks_for_other() and not self.backend.external:
            verdict = f"{NO_PATH} {verdict}"
        self.ui.setupLabel.setText(f"{colored('good' if usable else 'bad', '●')} {paragraph(verdict)}")
        self.not_ready = "" if usable else "Packages are missing: open 'Set-up' and install them."

    def _fill_checks(self, checks: list[Mapping[str, Any]]) -> None:
        rows = sorted(checks, key=lambda row: bool(row.get("ok")))
        lines = [[_GOOD if r.get("ok") else _BAD, str(r.get("name", "")), str(r.get("found", ""))] for r in rows]
        fill_table(self.ui.checksTable, ("", "What", "Found"), lines, [str(r.get("remedy") or "") for r in rows])
        self.ui.checksTable.setVisible(bool(rows))

    def _fill_models(self) -> None:
        from petdiffusion.zoo import store

        try:
            found = store.models()
        except (PETDiffusionError, OSError) as error:
            found = {}
            self._log(f"Models: {error}")
        self._removable = {id_ for id_, model in found.items() if not model.bundled}
        cards = {id_: model.card for id_, model in found.items()}
        lines = [[id_, ", ".join(c.methods), ", ".join(c.tracers), c.licence] for id_, c in cards.items()]
        tips = [f"{c.summary}\n{c.limits}\nSHA-256 {c.sha256}" for c in cards.values()]
        fill_table(self.ui.modelsTable, ("Model", "Method", "Tracer", "Licence"), lines, tips)
        self.ui.modelsTable.setVisible(bool(lines))
        self.ui.modelsLabel.setText("Models" if lines else "Models: none installed. Filters need none.")

    def _refresh_buttons(self) -> None:
        free = self._command is None or not self._command.running
        for button in (self.ui.addFolderButton, self.ui.addZipButton):
            button.setEnabled(free)
        self.ui.removeModelButton.setEnabled(free and self._selected_model() in self._removable)
        self.ui.uninstallButton.setEnabled(bool(install.added_by_us()))

    def _selected_model(self) -> str:
        row = self.ui.modelsTable.currentRow()
        item = self.ui.modelsTable.item(row, 0) if row >= 0 else None
        return str(item.text()) if item is not None else ""

    def _install(self) -> None:
        if self._asks_for_other():
            to_clipboard(install.command_for(self.backend.python))
            self._say("note", "The command is on the clipboard. Paste it into a terminal, then click 'Check'.")
            return
        wanted = install.plan()
        if wanted.empty:
            self._say("done", "Everything is installed already.")
        elif slicer.util.confirmOkCancelDisplay(
                "These packages are downloaded and added to Slicer's Python. What Slicer brings itself is not changed, "
                "and 'Remove packages' takes them away again.\n\n" + wanted.text, "PETDiffusion: install packages"):
            self._do(lambda: f"Installed: {', '.join(install.install(wanted, self._tell)) or 'nothing new'}.")

    def _uninstall(self) -> None:
        names = "\n".join(f"- {name}" for name in sorted(install.added_by_us()))
        if slicer.util.confirmOkCancelDisplay(f"These packages are removed from Slicer's Python:\n\n{names}",
                                              "PETDiffusion: remove packages"):
            self._do(lambda: f"Removed: {', '.join(install.remove(self._tell)) or 'nothing'}.")

    def _tell(self, line: str) -> None:
        """Where pip is, in the line that will say whether all is ready."""
        self._log(line)
        if line.strip():
            self.ui.setupLabel.setText(paragraph(f"Working: {beginning(line.strip(), PIP_LETTERS)}"))
            slicer.app.processEvents()

    def _do(self, work: Callable[[], str]) -> None:
        """Some work of the user's choosing, told in the message line, followed by a new check."""
        buttons = (self.ui.installButton, self.ui.uninstallButton, self.ui.checkButton)
        for button in buttons:
            button.setEnabled(False)
        self._tell("The packages …")
        try:
            self._say("done", paragraph(work()))
        except PETDiffusionError as error:
            self._say_error(error)
        except Exception as error:
            self._say_error(PETDiffusionError("This did not work", f"{type(error).__name__}: {error}",
                                              "See the log for details."))
        finally:
            for button in buttons:
                button.setEnabled(True)
            self.check()

    def _add_model(self, source: Any) -> None:
        if source:
            self._ask(["models", "add", str(source)])

    def _remove_model(self) -> None:
        name = self._selected_model()
        if name and slicer.util.confirmOkCancelDisplay(f"Remove the model '{name}' from this computer?",
                                                       "PETDiffusion: remove model"):
            self._ask(["models", "remove", name])

    def _ask(self, arguments: list[str]) -> None:
        """A command on models; what it says is shown."""
        def answered(found: Any, text: str, code: int | None) -> None:
            said = text.strip().splitlines()
            self._log(text)
            if code == 0:
                self._say("done", paragraph(said[-1] if said else "Done."))
            else:
                self._say("error", paragraph(_plain(said[-1]) if said else "This did not work. See the log."))
            self._fill_models()
            self._refresh_buttons()
            self.changed.emit()

        self._command = Query(self.backend, arguments, answered).start()
        self._refresh_buttons()

    def _make(self, name: str) -> None:
        """Draw a digital patient and load it; a second click uses what was made before."""
        if self._sample is not None and self._sample.running:
            self._say("note", "The practice data are still being made.")
            return
        self._sample = samples.Making(name, self.backend, self._log)
        self._say("note", "Making a digital patient. This takes a minute the first time.")
        self._sample.ended.connect(self._on_sample)
        self._sample.start()

    def _on_sample(self, outcome: Any) -> None:
        if isinstance(outcome, PETDiffusionError):
            self._say_error(outcome)
        elif outcome is not None:
            self._say("done", f"{len(outcome)} images of a digital patient are in the scene.")
            self.sampled.emit(outcome, self._sample.sample.anatomy)

    def close(self) -> None:
        for query in (self._query, self._command):
            if query is not None and query.running:
                query.stop()
        if self._sample is not None:
            self._sample.kill()


def _plain(line: str) -> str:
    """`ModelError: Model 'x': is damaged.` without the name of the error, which is for programs."""
    return re.sub(r"^\w+Error: ", "", line)


def _file_of(answer: Any) -> str:
    """PythonQt gives the name alone, other bindings a pair with the filter."""
    return str(answer[0] if isinstance(answer, (tuple, list)) else answer or "")
