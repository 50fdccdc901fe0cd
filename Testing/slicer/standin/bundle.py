"""Saves the scene as .mrb and reads it into a new one, with what reading needs outside the application."""

from __future__ import annotations

import slicer
import slicer_app


def save(path) -> None:
    for i in range(slicer.mrmlScene.GetNumberOfNodes()):
        node = slicer.mrmlScene.GetNthNode(i)
        if node.IsA("vtkMRMLStorableNode") and node.GetSaveWithScene() and node.GetStorageNode() is None:
            node.AddDefaultStorageNode()
    if not slicer.mrmlScene.WriteToMRB(str(path)):
        raise AssertionError(f"{path} was not written")


def load(path, cache):
    """A new scene with what the bundle holds."""
    slicer_app.new_scene()
    return add(path, cache)


def add(path, cache):
    """The present scene with what the bundle holds beside what was there, as Slicer adds it where the user does not
    close the scene first: nodes whose IDs are taken get others."""
    scene = slicer.mrmlScene
    app = slicer.app.applicationLogic()
    remote = slicer.vtkMRMLRemoteIOLogic()
    remote.SetMRMLScene(scene)
    remote.GetCacheManager().SetRemoteCacheDirectory(str(cache))
    manager = slicer.vtkDataIOManagerLogic()
    manager.SetMRMLApplicationLogic(app)
    manager.SetAndObserveDataIOManager(remote.GetDataIOManager())
    remote.AddDataIOToScene()
    slicer.app._keep += [remote, manager]
    if not scene.ReadFromMRB(str(path)):
        raise AssertionError(f"{path} was not read")
    return scene
