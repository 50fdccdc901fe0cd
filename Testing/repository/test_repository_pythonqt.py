"""The Slicer side keeps PythonQt's rules; each rule is shown to catch what it is for."""

from __future__ import annotations

from pathlib import Path

import pytest

from repository.pythonqt_lint import problems, ui_problems

MODULE = Path(__file__).resolve().parents[2] / "PETDiffusionDenoise"
SOURCES = [MODULE / "PETDiffusionDenoise.py", *sorted((MODULE / "PETDiffusionDenoiseLib").glob("*.py"))]
UIS = sorted((MODULE / "Resources" / "UI").glob("*.ui"))


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.name)
def test_the_source_keeps_pythonqts_rules(path) -> None:
    assert list(problems(path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize("path", UIS, ids=lambda p: p.name)
def test_the_ui_files_are_wired(path) -> None:
    assert list(ui_problems(path.read_text(encoding="utf-8"))) == []


def test_there_is_a_ui_file() -> None:
    assert UIS


@pytest.mark.parametrize(
    "bad",
    [
        "self.ui.name.text()",
        "box.isHidden() or slider.value()",
        "w.clicked[bool].connect(f)",
        "s = qt.Signal(int)",
        "w.valueChanged.connect(f, qt.Qt.QueuedConnection)",
        "isinstance(w, qt.QWidget)",
        "isinstance(w, ctk.ctkSlider)",
        "import imp",
        "codec = qt.QTextCodec",
        "w.toggled.connect()",
    ],
)
def test_each_rule_catches_its_case(bad) -> None:
    assert len(list(problems(bad))) == 1


@pytest.mark.parametrize(
    "good",
    [
        "tableItem.text()",
        "w.setText('a')",
        "w.isEnabled()",
        'w.connect("clicked(bool)", f)',
        "w.clicked.connect(f)",
        "qt.QTimer.singleShot(0, f)",
        "isinstance(x, str)",
        "w.text.strip()",
    ],
)
def test_what_is_allowed_passes(good) -> None:
    assert list(problems(good)) == []


UI = """<ui><widget class="{root}" name="top"><widget class="qMRMLNodeComboBox" name="pet"/>
<widget class="QLabel" name="{second}"/></widget><customwidgets>{custom}</customwidgets>
<connections>{connection}</connections></ui>"""
CONNECTION = (
    "<connection><sender>top</sender><signal>mrmlSceneChanged(vtkMRMLScene*)</signal><receiver>pet</receiver>"
    "<slot>setMRMLScene(vtkMRMLScene*)</slot></connection>"
)
CUSTOM = "".join(f"<customwidget><class>{c}</class></customwidget>" for c in ("qMRMLWidget", "qMRMLNodeComboBox"))


@pytest.mark.parametrize(
    "change, words",
    [
        ({}, None),
        ({"connection": ""}, "gets no scene"),
        ({"root": "QWidget"}, "not a qMRMLWidget"),
        ({"second": "pet"}, "two widgets"),
        ({"custom": ""}, "not among the custom widgets"),
    ],
)
def test_each_rule_for_ui_files_catches_its_case(change, words) -> None:
    fields = {"root": "qMRMLWidget", "second": "label", "custom": CUSTOM, "connection": CONNECTION} | change
    found = list(ui_problems(UI.format(**fields)))
    assert (found == []) if words is None else any(words in text for text in found)
