"""What scripts call: one PET node, or a manifest of many patients."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import qt
import slicer
from petdiffusion import registry
from petdiffusion.errors import Cancelled, ConditionError, InputError

from . import backend, batches, jobs, results, scene, sequences, validity
from .process import Failure

POLL_MS = 100
_VOLUME, _MASK = ("scalar volume", (scene.SCALAR,)), ("segmentation or label map", (scene.SEGMENTATION, scene.LABELS))
KINDS = {"pet": _VOLUME, "ct": _VOLUME, "mr": _VOLUME, "reference": _VOLUME, "labels": _MASK, "lesions": _MASK,
         "region": ("region of interest", ("vtkMRMLMarkupsROINode",))}


def denoise(pet: Any, method: str | None = None, wait: bool = True, python: backend.Backend | None = None,
            **given: Any) -> results.ResultNodes | jobs.DenoiseJob:
    """See `PETDiffusionDenoiseLogic.denoise`."""
    request = jobs.request_of(pet, method or registry.DEFAULT_METHOD, **given)
    _refuse(request)
    job = jobs.DenoiseJob(request, python)
    job.start()
    if not wait:
        _run_with_the_application(job)
        return job
    return _waited(job)


def _refuse(request: jobs.JobRequest) -> None:
    """What can be seen to be wrong before anything is written: no node, a node of another kind, an image missing."""
    for role, (words, kinds) in KINDS.items():
        node = getattr(request.sources, role)
        if node is None and role != "pet":
            continue
        if not any(hasattr(node, "IsA") and node.IsA(kind) for kind in kinds):
            raise InputError(f"No {role.upper() if role == 'pet' else role}", f"a {words} node is needed",
                             "Give slicer.util.getNode('name').")
        if not slicer.mrmlScene.IsNodePresent(node):
            raise InputError(f"{role} = '{node.GetName()}'", "is not in the scene", "Load it again.")
    for kind, words in validity.NAMES.items():
        if request.card.requires(kind) and getattr(request.sources, kind) is None:
            raise ConditionError(f"Method '{request.method}'", f"needs {words}", f"Give {kind}=a node.")


def denoise_batch(manifest: str | Path | Iterable[Mapping[str, Any]], out: str | Path, method: str | None = None,
                  wait: bool = True, python: backend.Backend | None = None, say: batches.Say = print,
                  show: bool = True, **given: Any) -> batches.Rows | batches.BatchJob:
    """See `PETDiffusionDenoiseLogic.denoiseBatch`. `say` gets a line for every stage; `show` adds the table node."""
    job = batches.BatchJob(manifest, out, method or registry.DEFAULT_METHOD, python, say, show, given)
    job.start()
    if not wait:
        _run_with_the_application(job)
        return job
    return _waited(job, "Call it again to go on where it was.")


def denoise_frames(pet: Any, out: str | Path, method: str | None = None, wait: bool = True,
                   python: backend.Backend | None = None, say: batches.Say = print,
                   **given: Any) -> sequences.FramesNodes | sequences.FramesJob:  # fmt: skip
    """See `PETDiffusionDenoiseLogic.denoiseFrames`."""
    job = sequences.FramesJob(pet, out, method or registry.DEFAULT_METHOD, python, say, given)
    job.start()
    if not wait:
        _run_with_the_application(job)
        return job
    return _waited(job, "Call it again to go on where it was.")


def _run_with_the_application(job: Any) -> None:
    """Poll from a timer that lives as long as the job."""
    timer = qt.QTimer()
    timer.setInterval(POLL_MS)
    timer.timeout.connect(job.poll)
    job.ended.connect(lambda outcome: timer.stop())
    job.timer = timer
    timer.start()


def _waited(job: Any, remedy: str = "") -> Any:
    outcome = jobs.waited(job)
    if outcome is None:
        raise Cancelled(remedy=remedy) if remedy else Cancelled()
    if isinstance(outcome, Failure):
        raise jobs.as_error(outcome)
    return outcome
