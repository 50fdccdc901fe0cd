"""A dynamic PET in the scene, and the panel that denoises it, for the tests of frames.

Nothing of Slicer is imported before it is needed: these tests lie where Slicer's package looks for modules of its own.
"""

from __future__ import annotations

import html
import time

STARTS = (0.0, 60.0, 180.0)
PATIENCE_S = 120.0


def dynamic(name: str = "Dynamic ü", unit: bool = True):
    """A sequence whose browser shows the first of three frames; each has twice the activity of the one before."""
    import builders
    import numpy as np
    import slicer
    from petdiffusion.volume import SUVBW
    from PETDiffusionDenoiseLib import units

    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceNode", name)
    node.SetIndexName("time")
    node.SetIndexUnit("s")
    for number, start in enumerate(STARTS):
        frame = builders.pet(name="frame", seed=number)
        slicer.util.updateVolumeFromArray(frame, builders.pet_array(number) * np.float32(2**number))
        node.SetDataNodeAtValue(frame, str(start))
        slicer.mrmlScene.RemoveNode(frame)
        if unit:
            units.mark(node.GetNthDataNode(number), SUVBW)
    browser = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", "Player")
    browser.SetAndObserveMasterSequenceNodeID(node.GetID())
    return node, browser, browser.GetProxyNode(node)


def opened_panel():
    """For a fixture: the panel, with a filter that is quick."""
    from PETDiffusionDenoise import PETDiffusionDenoiseWidget

    opened = PETDiffusionDenoiseWidget()
    opened.panel.parameters.method = "gaussian"
    opened.panel.parameters.set_options("gaussian", {"fwhm_mm": 6.0})
    yield opened
    opened.cleanup()


def settle(widget) -> str:
    import slicer

    deadline = time.monotonic() + PATIENCE_S
    while widget.panel.run.running:
        slicer.app.processEvents()
        assert time.monotonic() < deadline, "the job did not end"
        time.sleep(0.02)
    return html.unescape(str(widget.ui.messageLabel.text))


def organs():
    """A label map of two structures on the grid of the frames."""
    import builders
    import numpy as np

    array = np.where(builders.pet_array() > 1, 1, 0).astype(np.int16)
    array[builders.LESION] = 2
    return builders.node_of(array, "Organs", kind="vtkMRMLLabelMapVolumeNode")
