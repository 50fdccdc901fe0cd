"""Which volume of the scene shows a frame of which sequence."""

from __future__ import annotations

from typing import Any

import slicer

SEQUENCE, BROWSER = "vtkMRMLSequenceNode", "vtkMRMLSequenceBrowserNode"


def browsers() -> list[Any]:
    found = slicer.mrmlScene.GetNodesByClass(BROWSER)
    found.UnRegister(slicer.mrmlScene)
    return [found.GetItemAsObject(number) for number in range(found.GetNumberOfItems())]


def sequence_of(node: Any) -> Any:
    """The sequence of which a volume of the scene shows one item; None where it shows none, or the only one."""
    for browser in browsers():
        sequence = browser.GetSequenceNode(node) if browser.IsProxyNodeID(node.GetID()) else None
        if sequence is not None and sequence.GetNumberOfDataNodes() > 1:
            return sequence
    return None


def units_entry_of(node: Any) -> Any:
    """What a volume says of its unit. One that shows a frame says nothing: Slicer hands over voxels and attributes of
    the frame, and not this; all frames are in one unit."""
    sequence = sequence_of(node) if node.GetVoxelValueUnits() is None and node.GetID() else None
    return (node if sequence is None else sequence.GetNthDataNode(0)).GetVoxelValueUnits()

