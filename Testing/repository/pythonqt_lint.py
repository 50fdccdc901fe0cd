"""Rules that Slicer's PythonQt enforces at run time, found by reading the source instead."""

from __future__ import annotations

import ast
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator

PROPERTIES = frozenset(
    """text title checked enabled visible value minimum maximum currentText currentIndex count
toolTip objectName icon plainText collapsed currentPath windowTitle size pos width height rowCount columnCount
singleStep decimals interval readOnly html placeholderText suffix prefix font palette geometry cursor styleSheet
checkable flat currentNodeID nodeTypes active""".split()
)
SIGNALS = frozenset(
    """clicked toggled triggered pressed released valueChanged currentIndexChanged currentTextChanged
textChanged textEdited editingFinished activated currentNodeChanged currentPathChanged cellClicked itemSelectionChanged
currentCellChanged timeout finished contentsCollapsed buttonClicked stateChanged""".split()
)
NOT_OF_WIDGETS = re.compile(r"item|Item")
"""QTableWidgetItem and its like are no QObjects: their getters stay methods."""
NOT_IN_PYTHONQT = {
    "Signal": "declare signals in plain Python",
    "Slot": "a plain function is enough",
    "Property": "a Python class cannot add Qt properties",
    "QTextCodec": "gone in Qt 6",
    "pyqtSignal": "this is not PyQt",
}


def problems(source: str) -> Iterator[str]:
    """What PythonQt would refuse, with line numbers."""
    for node in ast.walk(ast.parse(source)):
        for rule in (_getter_called, _signal_indexed, _not_there, _two_argument_connect, _isinstance_of_widget, _imp):
            if text := rule(node):
                yield f"line {node.lineno}: {text}"


def _getter_called(node: ast.AST) -> str | None:
    if not (
        isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and not node.args and not node.keywords
    ):
        return None
    owner = ast.unparse(node.func.value)
    if node.func.attr not in PROPERTIES or NOT_OF_WIDGETS.search(owner):
        return None
    return f"{owner}.{node.func.attr}() calls a property; write {owner}.{node.func.attr}"


def _signal_indexed(node: ast.AST) -> str | None:
    if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Attribute) and node.value.attr in SIGNALS:
        return f'{ast.unparse(node)}: choose an overload with obj.connect("{node.value.attr}(type)", f)'
    return None


def _not_there(node: ast.AST) -> str | None:
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in ("qt", "ctk"):
        reason = NOT_IN_PYTHONQT.get(node.attr)
        return f"{node.value.id}.{node.attr}: {reason}" if reason else None
    return None


def _two_argument_connect(node: ast.AST) -> str | None:
    if (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "connect"
        and (len(node.args) + len(node.keywords)) != 1
    ):
        first = node.args[0] if node.args else None
        if len(node.args) == 2 and isinstance(first, ast.Constant) and isinstance(first.value, str):
            return None
        return "connect takes one callable, or a signature and a callable"
    return None


def _isinstance_of_widget(node: ast.AST) -> str | None:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "isinstance":
        kind = ast.unparse(node.args[1])
        if re.search(r"\b(qt\.Q|ctk\.|slicer\.q)", kind):
            return f"isinstance of {kind} is False for ctk and qMRML widgets; use isWidgetType() or className()"
    return None


def _imp(node: ast.AST) -> str | None:
    names = [alias.name for alias in node.names] if isinstance(node, (ast.Import, ast.ImportFrom)) else []
    return "the module imp is gone in Python 3.12" if "imp" in names else None


SCENE = ("mrmlSceneChanged(vtkMRMLScene*)", "setMRMLScene(vtkMRMLScene*)")


def ui_problems(xml: str) -> Iterator[str]:
    """What makes a .ui fail or stay empty in Slicer."""
    root = ElementTree.fromstring(xml)
    top = root.find("widget")
    if top.get("class") != "qMRMLWidget":
        yield f"the root is a {top.get('class')}, not a qMRMLWidget"
    connected = {
        c.findtext("receiver")
        for c in root.iter("connection")
        if (c.findtext("signal"), c.findtext("slot")) == SCENE and c.findtext("sender") == top.get("name")
    }
    declared = {w.findtext("class") for w in root.iter("customwidget")}
    names: set[str] = set()
    for widget in root.iter("widget"):
        kind, name = widget.get("class"), widget.get("name")
        if name in names:
            yield f"two widgets are called {name}"
        names.add(name)
        if kind.startswith("qMRML") and widget is not top and name not in connected:
            yield f"{name} ({kind}) gets no scene: connect mrmlSceneChanged to its setMRMLScene"
        if not kind.startswith("Q") and kind not in declared:
            yield f"{name}: {kind} is not among the custom widgets"
    for receiver in sorted(connected - names):
        yield f"the scene is passed to {receiver}, which is not there"
