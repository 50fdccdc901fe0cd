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


def browser_of(sequence: Any, shown: Any = None) -> Any:
    """The browser that plays a sequence, and shows it in this volume where several do; None where none plays it."""
    playing = [browser for browser in browsers() if browser.GetProxyNode(sequence) is not None]
    here = [one for one in playing if shown is not None and one.GetProxyNode(sequence).GetID() == shown.GetID()]
    return next(iter(here or playing), None)


def shown_by(sequence: Any, shown: Any = None) -> Any:
    """The volume that shows a frame of a sequence: this one, where it does."""
    browser = browser_of(sequence, shown)
    return browser.GetProxyNode(sequence) if browser is not None else None


def units_entry_of(node: Any) -> Any:
    """What a volume says of its unit. One that shows a frame says nothing, since Slicer hands over voxels and
    attributes of the frame, and not this: the frame itself is asked."""
    entry = node.GetVoxelValueUnits()
    sequence = sequence_of(node) if entry is None and node.GetID() else None
    if sequence is None:
        return entry
    browser = browser_of(sequence, node)
    item = max(browser.GetSelectedItemNumber(), 0)
    value = browser.GetMasterSequenceNode().GetNthIndexValue(item)
    frame = sequence.GetDataNodeAtValue(value, False)  # none where the index is of words, and it has not this one
    return frame.GetVoxelValueUnits() if frame is not None else None
