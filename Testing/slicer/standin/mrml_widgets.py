"""Stand-ins for Slicer's MRML widgets over a real MRML scene."""

from __future__ import annotations

import qt
from qt import custom_widget


@custom_widget
class qMRMLWidget(qt.QWidget):
    mrmlSceneChanged = qt.Signal(object)

    def __init__(self, *args):
        super().__init__(*args)
        self._scene, self._scene_receivers = None, []

    def setMRMLScene(self, scene):
        self._scene = scene
        for name in self._scene_receivers:
            self.findChild(qt.QWidget, name).setMRMLScene(scene)
        self.mrmlSceneChanged.emit(scene)

    def mrmlScene(self):
        return self._scene


@custom_widget
class qMRMLNodeComboBox(qt.QWidget):
    """A selector of nodes. Without a scene it stays empty, as the real one does."""

    currentNodeChanged = qt.Signal(object)
    currentNodeIDChanged = qt.Signal(str)

    def __init__(self, *args):
        super().__init__(*args)
        self._types, self._scene, self._id, self._flags, self._tags, self._attributes = [], None, "", {}, [], []
        self._none = "None"
        self._combo = qt.QComboBox(self)
        self._combo.setSizeAdjustPolicy(qt.QComboBox.AdjustToMinimumContentsLengthWithIcon)
        layout = qt.QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._combo)
        self._combo.activated.connect(lambda i: self.setCurrentNodeID(self._combo.itemData(i) or ""))

    def setMRMLScene(self, scene):
        for tag in self._tags:
            self._scene.RemoveObserver(tag)
        self._scene, self._tags = scene, []
        if scene is not None:
            self._tags = [
                scene.AddObserver(event, lambda caller, event: self._refill())
                for event in (scene.NodeAddedEvent, scene.NodeRemovedEvent, scene.EndCloseEvent, scene.EndImportEvent)
            ]
        self._refill()

    def mrmlScene(self):
        return self._scene

    def _nodes(self):
        if self._scene is None:
            return []
        nodes = [
            self._scene.GetNthNodeByClass(i, kind)
            for kind in self._types
            for i in range(self._scene.GetNumberOfNodesByClass(kind))
        ]
        return [n for n in nodes if self._shows(n)]

    def _shows(self, node):
        if node.GetClassName() not in self._types and not self._flags.get("showChildNodeTypes", True):
            return False
        if node.GetHideFromEditors() and not self._flags.get("showHidden"):
            return False
        return all(
            node.GetAttribute(name) == value if value is not None else node.GetAttribute(name) is not None
            for kind, name, value in self._attributes
            if node.IsA(kind)
        )

    def _refill(self):
        self._combo.blockSignals(True)
        self._combo.clear()
        nodes = self._nodes()
        if self._flags.get("noneEnabled"):
            self._combo.addItem(self._none, "")
        for node in nodes:
            self._combo.addItem(node.GetName(), node.GetID())
        self._combo.blockSignals(False)
        ids = [node.GetID() for node in nodes]
        if self._id not in ids:
            self.setCurrentNodeID("" if self._flags.get("noneEnabled") or not ids else ids[0])
        self._combo.setCurrentIndex(self._combo.findData(self._id))

    def setCurrentNodeID(self, id_):
        id_ = id_ or ""
        if id_ == self._id:
            return
        self._id = id_
        if self._combo.findData(id_) < 0:
            self._refill()
        self._combo.setCurrentIndex(self._combo.findData(id_))
        self.currentNodeChanged.emit(self.currentNode())
        self.currentNodeIDChanged.emit(id_)

    def setCurrentNode(self, node):
        self.setCurrentNodeID(node.GetID() if node is not None else "")

    def currentNode(self):
        return self._scene.GetNodeByID(self._id) if self._scene is not None and self._id else None

    def nodeCount(self):
        return len(self._nodes())

    def addNode(self, kind=None):
        node = self._scene.AddNewNodeByClass(kind or self._types[0], self._flags.get("baseName") or "")
        self.setCurrentNode(node)
        return node

    def addAttribute(self, kind, name, value=None):
        self._attributes.append((kind, name, value))
        self._refill()

    def _set_types(self, value):
        self._types = list(value)
        self._refill()

    def _set_none(self, value):
        self._none = value
        self._refill()

    nodeTypes = qt.Property("QStringList", lambda self: list(self._types), _set_types)
    currentNodeID = qt.Property(str, lambda self: self._id, setCurrentNodeID)
    noneDisplay = qt.Property(str, lambda self: self._none, _set_none)
    baseName = qt.Property(
        str,
        lambda self: self._flags.get("baseName", ""),
        lambda self, value: self._flags.__setitem__("baseName", value),
    )

    def _flag(name):
        def put(self, value):
            self._flags[name] = bool(value)
            self._refill()

        return qt.Property(bool, lambda self: self._flags.get(name, False), put)

    noneEnabled, addEnabled, removeEnabled = _flag("noneEnabled"), _flag("addEnabled"), _flag("removeEnabled")
    renameEnabled, editEnabled, showHidden = _flag("renameEnabled"), _flag("editEnabled"), _flag("showHidden")
    showChildNodeTypes, selectNodeUponCreation = _flag("showChildNodeTypes"), _flag("selectNodeUponCreation")


WIDGETS = (qMRMLWidget, qMRMLNodeComboBox)
