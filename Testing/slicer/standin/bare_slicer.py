"""A fresh Slicer: only the packages that Slicer brings can be imported. Opens the panel and runs a job in it.

Run by a test in a process of its own; prints what the panel says at the end.
"""

from __future__ import annotations

import importlib.abc
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ABSENT = (
    "torch scipy nibabel skimage matplotlib psutil safetensors pysuv mahotas PIL monai lightning highdicom nilearn ray "
    "diffusers open_clip pandas"
).split()


class Absent(importlib.abc.MetaPathFinder):
    """Packages that a fresh Slicer does not have."""

    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ABSENT:
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)
        return None


def main() -> None:
    sys.meta_path.insert(0, Absent())
    sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parents[2] / "PETDiffusionDenoise")]
    import slicer
    import slicer_app

    slicer_app.start(tempfile.mkdtemp())
    import builders
    from PETDiffusionDenoiseLib import backend

    from PETDiffusionDenoise import PETDiffusionDenoiseWidget

    backend.chosen = lambda: backend.Backend("", HERE.parent / "fake_backend")
    builders.pet()
    widget = PETDiffusionDenoiseWidget()
    widget.enter()
    widget.panel.setup.wait()
    widget.panel.parameters.lesions = None
    widget.ui.applyButton.click()
    while widget.panel.run.running:
        slicer.app.processEvents()
        time.sleep(0.01)
    print(f"SAID {widget.ui.messageLabel.text}")
    widget.cleanup()


if __name__ == "__main__":
    main()
