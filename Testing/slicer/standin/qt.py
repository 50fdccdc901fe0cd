"""A `qt` that behaves as Slicer's PythonQt does, over PySide6, for tests without Slicer.

Read from PythonQt's source and kept where a panel could trip over it:
- Qt properties are attributes and hide the getter of the same name: `w.text` is a str, `w.text()` a TypeError.
- A C++ object takes no attribute that it does not have, and no value of a wrong type: both raise AttributeError.
- `obj.connect("clicked(bool)", f)` chooses an overload; `sig.connect(f)` takes one argument and `sig[...]` fails.
- All names lie flat in this module.
"""

from __future__ import annotations

import ctypes
import inspect
import re
import sys
import xml.etree.ElementTree as ElementTree
from typing import Any

from PySide6 import QtCore, QtGui, QtUiTools, QtWidgets

if sys.version_info < (3, 12):
    # PySide6 6.12 takes None for immortal, which it is from Python 3.12 on, and gives away a reference to it with
    # every call that returns nothing; Python 3.11 ends when none is left.
    ctypes.c_ssize_t.from_address(id(None)).value += 1 << 40

for _module in (QtCore, QtGui, QtWidgets):
    globals().update({name: getattr(_module, name) for name in dir(_module) if not name.startswith("_")})

METHODS = {"sizeHint", "minimumSizeHint", "singleShot"}
"""Property names that stay methods: virtual ones, and QTimer.singleShot."""
_property, _set_property = QtCore.QObject.property, QtCore.QObject.setProperty


def _as_attribute(name: str, writable: bool, type_name: str) -> property:
    def get(self: Any) -> Any:
        return _property(self, name)

    def put(self: Any, value: Any) -> None:
        if not _set_property(self, name, value):
            raise AttributeError(
                f"Property '{name}' of type '{type_name}' does not accept an object of type "
                f"{type(value).__name__} ({value!r})"
            )

    return property(get, put if writable else None)


def _subclasses(of: type, seen: set[type]) -> set[type]:
    for cls in of.__subclasses__():
        if cls not in seen:
            seen.add(cls)
            _subclasses(cls, seen)
    return seen


def _expose_properties(cls: type) -> None:
    meta = cls.staticMetaObject
    for i in range(meta.propertyOffset(), meta.propertyCount()):
        known = meta.property(i)
        if known.name() not in METHODS:
            setattr(cls, known.name(), _as_attribute(known.name(), known.isWritable(), known.typeName()))


def _is_cpp(cls: type) -> bool:
    """A class that is C++ in Slicer: PySide's own, and the stand-ins for ctk and qMRML widgets."""
    return cls.__module__.startswith("PySide6") or "_cpp" in cls.__dict__


def _strict(self: Any, name: str, value: Any) -> None:
    cls = type(self)
    if _is_cpp(cls) and not name.startswith("_") and not QUiLoader.loading:
        known = inspect.getattr_static(cls, name, None)
        # PySide itself keeps a signal of an object that C++ made under the signal's name.
        can_be_set = isinstance(known, (property, QtCore.Property, QtCore.Signal))
        if not can_be_set and name not in [bytes(n).decode() for n in self.dynamicPropertyNames()]:
            raise AttributeError(f"'{cls.__name__}' object has no attribute '{name}' that can be set")
    _store(self, name, value)


def _store(obj: Any, name: str, value: Any) -> None:
    known = inspect.getattr_static(type(obj), name, None)
    if isinstance(known, property):
        known.__set__(obj, value)
    elif isinstance(known, QtCore.Property):
        known.fset(obj, value)
    else:
        obj.__dict__[name] = value


_CLASSES = [
    cls
    for cls in _subclasses(QtCore.QObject, set())
    if cls.__module__.startswith("PySide6") and not issubclass(cls, QtCore.QCoreApplication)
]
for _cls in (QtCore.QObject, *_CLASSES):
    _expose_properties(_cls)
    _cls.__setattr__ = _strict

QObject = QtCore.QObject
QObject.name = property(lambda self: _property(self, "objectName"), lambda self, value: self.setObjectName(value))
QObject.className = lambda self: self.metaObject().className()
QObject.delete = lambda self: self.deleteLater()


def _signal(obj: Any, signature: str) -> Any:
    match = re.match(r"\s*(\w+)\s*(?:\((.*)\))?\s*$", signature)
    name, arguments = match.group(1), (match.group(2) or "").strip()
    norm = bytes(QtCore.QMetaObject.normalizedSignature(f"{name}({arguments})")).decode()
    if obj.metaObject().indexOfSignal(norm) < 0 and not _is_cpp_standin(type(obj)):
        raise RuntimeError(f"{obj.className()} has no signal {norm}")
    found = getattr(obj, name)
    if not arguments or _is_cpp_standin(type(obj)):
        return found
    return found.__getitem__(norm[norm.index("(") + 1 : -1])


def _is_cpp_standin(cls: type) -> bool:
    return any("_cpp" in base.__dict__ for base in cls.__mro__)


def _connect(obj: Any, signature: str, slot: Any) -> bool:
    return bool(_signal(obj, signature).connect(slot))


def _disconnect(obj: Any, signature: str, slot: Any = None) -> Any:
    found = _signal(obj, signature)
    return found.disconnect(slot) if slot is not None else found.disconnect()


def _with_string_connections(cls: type) -> None:
    """PySide wires `connect` into attribute access, so the PythonQt form has to be offered there."""
    original = cls.__getattribute__

    def getattribute(self: Any, name: str) -> Any:
        found = original(self, name)
        if name not in ("connect", "disconnect"):
            return found
        ours = _connect if name == "connect" else _disconnect
        return lambda *args: (
            ours(self, *args) if args and isinstance(args[0], str) and args[0][:1] not in "12" else found(*args)
        )

    cls.__getattribute__ = getattribute


for _cls in [cls for cls in _CLASSES if "__getattribute__" in cls.__dict__] + [QObject]:
    _with_string_connections(_cls)

CUSTOM_WIDGETS: dict[str, type] = {}


def custom_widget(cls: type) -> type:
    """Marks a stand-in for a C++ widget class, known to the .ui loader by its name."""
    cls._cpp = True
    CUSTOM_WIDGETS[cls.__name__] = cls
    return cls


SCENE_SIGNAL, SCENE_SLOT = "mrmlSceneChanged(vtkMRMLScene*)", "setMRMLScene(vtkMRMLScene*)"


class QUiLoader(QtUiTools.QUiLoader):
    """Loads a .ui; the scene is passed on along the connections declared there and along no others."""

    loading = False
    """PySide hangs every child on the root by its name, as PythonQt's look-up finds it there."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        for cls in CUSTOM_WIDGETS.values():
            self.registerCustomWidget(cls)

    def load(self, file: Any, parent: Any = None) -> Any:
        root = ElementTree.fromstring(bytes(file.readAll().data()))
        receivers = _take_scene_connections(root)
        buffer = QtCore.QBuffer()
        buffer.setData(ElementTree.tostring(root))
        buffer.open(QtCore.QIODevice.OpenModeFlag.ReadOnly)
        QUiLoader.loading = True
        try:
            widget = super().load(buffer, parent)
        finally:
            QUiLoader.loading = False
        if widget is not None:
            widget._scene_receivers = receivers
        return widget


def _take_scene_connections(root: ElementTree.Element) -> list[str]:
    receivers = []
    connections = root.find("connections")
    for connection in list(connections) if connections is not None else ():
        if connection.findtext("slot") == SCENE_SLOT and connection.findtext("signal") == SCENE_SIGNAL:
            receivers.append(connection.findtext("receiver"))
            connections.remove(connection)
    return receivers
