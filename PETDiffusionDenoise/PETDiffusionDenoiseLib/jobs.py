"""A denoising job from nodes to nodes: hands over, watches the child, brings the results into the scene, cleans up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import slicer
import slicer.util
from petdiffusion import errors, registry
from petdiffusion.errors import InputError, PETDiffusionError
from petdiffusion.methods.contract import MethodCard

from . import backend, exchange, organs_cut, places, results, scene
from .child_job import ChildJob
from .process import Failure

MASKS = {"organs": "organs", "lesions": "lesions", "lesions_marked": "marked"}
"""Files of the backend, and the field of the result that each goes into."""
CHANGED = ("The PET was changed while the job ran. The result is of the scan as it was; the difference, and what lies "
           "outside a region, are of the scan as it is now.")
OUTPUTS = ("uncertainty", "masks", "tables", "difference")
KNOWN_FILES = {"denoised", "uncertainty", *MASKS, "report", "record", "reference"}


@dataclass(frozen=True)
class JobRequest:
    """What to denoise, how, and which results to bring into the scene."""

    sources: exchange.Sources
    method: str
    options: Mapping[str, Any] = field(default_factory=dict)
    model: str = ""
    seed: int = 0
    device: str = "auto"
    text: str = ""
    dose_fraction: float | None = None
    register: bool = False
    outputs: frozenset[str] = frozenset(OUTPUTS)

    @property
    def card(self) -> MethodCard:
        return registry.card(self.method)

    def wanted(self) -> tuple[str, ...]:
        """The images that go along: those the method uses, and those the tables use."""
        used = [kind for kind in ("ct", "mr", "labels") if self.card.uses(kind)]
        return (*dict.fromkeys([*used, "labels", "lesions", "reference"]),)


class DenoiseJob(ChildJob):
    """Runs one request. `ended` gets ResultNodes, a Failure, or None for a cancelled run."""

    outcome: results.ResultNodes | Failure | None

    def __init__(self, request: JobRequest, python: backend.Backend | None = None) -> None:
        super().__init__(python)
        self.request = request
        self.warning.connect(lambda text: self._warnings.append(text))
        self._warnings: list[str] = []
        self._handed: exchange.Handed | None = None
        self._seen = 0

    def start(self) -> None:
        """Hand the images over and start the child. Errors that can be seen beforehand are raised here."""
        self.request.card.resolve(self.request.options)
        self._begin(self._hand_over)

    def _hand_over(self) -> list[str]:
        self._handed = exchange.write(self.request.sources, self._scratch, self.request.card.needs_suv,
                                      self.request.wanted())
        self._warnings += (*self._handed.found.doubts, *self._handed.told, *organs_cut.told(self._handed.organs))
        self._seen = _stamp(self.request.sources.pet)
        return self._arguments()

    def _arguments(self) -> list[str]:
        request, handed = self.request, self._handed
        return backend.denoise_arguments(
            handed.pet, str(self._scratch / "out"), request.method, handed.files, unit=handed.unit,
            options=request.options, model=request.model, seed=request.seed, device=request.device,
            text=request.text, dose_fraction=request.dose_fraction, register=request.register)

    def _bring_in(self, result: Mapping[str, Any]) -> results.ResultNodes:
        if not slicer.mrmlScene.IsNodePresent(self.request.sources.pet):
            raise InputError("The PET", "was removed from the scene while the job ran", "Load it again and repeat.")
        if _stamp(self.request.sources.pet) != self._seen:
            self._warnings.append(CHANGED)
        return bring_in(result, self.request, self._handed, tuple(self._warnings))


def waited(job: Any) -> Any:
    """What a job comes to, the application alive meanwhile. Closing Slicer ends the job: Slicer would otherwise stay,
    unseen, until the wait is over."""
    closed, end = getattr(slicer.app, "lastWindowClosed", None), job.kill
    if closed is not None:
        closed.connect(end)
    try:
        return job.wait(slicer.app.processEvents)
    except BaseException:
        end()
        raise
    finally:
        if closed is not None:
            closed.disconnect(end)


def _stamp(node: Any) -> int:
    """Changes with every change of the voxels."""
    image = node.GetImageData()
    return image.GetMTime() if image is not None else 0


def bring_in(answer: Mapping[str, Any], request: JobRequest, handed: exchange.Handed,
             warnings: tuple[str, ...] = ()) -> results.ResultNodes:
    """The backend's answer as nodes. If anything fails half-way, no node is left."""
    with scene.whole_or_nothing():
        return _bring_in(answer, request, handed, warnings)


def _bring_in(answer: Mapping[str, Any], request: JobRequest, handed: exchange.Handed,
              warnings: tuple[str, ...]) -> results.ResultNodes:
    files = answer.get("files") or {}
    if "denoised" not in files:
        raise InputError("The backend's answer", "holds no denoised image", "Copy the log and report it.")
    source, title = request.sources, request.method
    inputs = results.Inputs(source.pet, handed.found, source.ct, source.mr, source.reference, source.labels,
                            source.lesions)
    low = slicer.util.arrayFromVolume(source.pet).astype(np.float32)
    denoised = exchange.read_image(files["denoised"], handed, low)
    warnings = organs_cut.without_doubles([*warnings, *answer.get("warnings", ())], handed.organs)
    nodes = results.ResultNodes(results.add_denoised(denoised, inputs, title), warnings=warnings,
                                record=_record(answer, source, handed) | {"warnings": list(warnings)})
    if "uncertainty" in request.outputs and "uncertainty" in files:
        sd = exchange.read_image(files["uncertainty"], handed, np.zeros_like(low))
        nodes.uncertainty = results.add_uncertainty(sd, inputs, title)
    for name in sorted(set(files) - KNOWN_FILES):
        if str(files[name]).endswith(exchange.SUFFIX):
            extra = exchange.read_image(files[name], replace(handed, scale=1.0), np.zeros_like(low))
            nodes.extras[name] = results.add_extra(extra, inputs, name, title)
    if "difference" in request.outputs:
        nodes.difference = results.add_difference(denoised - low, inputs, source.pet, title)
    if "masks" in request.outputs:
        found = {kind: path for kind, path in files.items() if kind in MASKS and not _was_given(kind, request)}
        _add_masks(nodes, found, handed, inputs, low.shape, title)
    if "tables" in request.outputs:
        name = f"{source.pet.GetName()} ({title})"
        given = dict(answer.get("tables") or {})
        if "organs" in given:
            given["organs"] = organs_cut.marked(given["organs"], handed.organs)
        nodes.tables, nodes.charts = results.add_tables(given, name)
    facts = results.facts_of(request.card, request.model, request.seed, nodes.record)
    results.sign(nodes, inputs, facts)
    return nodes


def _was_given(mask: str, request: JobRequest) -> bool:
    """The backend writes the masks it measured with; those that came from the scene are there already."""
    if mask != "organs":
        return mask == "lesions" and request.sources.lesions is not None
    return request.sources.labels is not None and mask not in request.card.outputs


def _add_masks(nodes: results.ResultNodes, files: Mapping[str, str], handed: exchange.Handed, inputs: results.Inputs,
               shape: tuple[int, ...], title: str) -> None:
    for kind, field_ in MASKS.items():
        if kind in files:
            labels = exchange.read_labels(files[kind], handed, shape)
            if labels.present():
                name = f"{inputs.pet.GetName()} {results.title_of(kind)} ({title})"
                setattr(nodes, field_, results.add_segmentation(labels, inputs, name, kind != "organs"))
    if nodes.marked is not None:
        results.color_marks(nodes.marked)


def _record(answer: Mapping[str, Any], source: exchange.Sources, handed: exchange.Handed) -> dict[str, Any]:
    """The run record, with node names where the backend saw temporary files, and what it saw of the PET."""
    record = dict(answer.get("record") or {})
    asked = dict(record.get("request") or {})
    for name in ("pet", "ct", "mr", "labels", "lesions", "reference"):
        node = getattr(source, name)
        if asked.get(name):
            asked[name] = f"node '{node.GetName()}'" if node is not None else None
    region = {places.REGION: [side.start for side in reversed(handed.box)]} if handed.box is not None else {}
    return record | {"request": asked} | region


def as_error(failure: Failure) -> PETDiffusionError:
    """A Failure as the error to raise in a script."""
    kind = getattr(errors, failure.type, PETDiffusionError)
    kind = kind if isinstance(kind, type) and issubclass(kind, PETDiffusionError) else PETDiffusionError
    return kind(failure.what, failure.why, failure.remedy)


def request_of(pet: Any, method: str, **given: Any) -> JobRequest:
    """A request from a script's keywords: images, settings, and anything else as an option of the method."""
    of_sources = {k: given.pop(k) for k in exchange.Sources.__dataclass_fields__ if k in given}
    of_job = {k: given.pop(k) for k in JobRequest.__dataclass_fields__ if k in given and k != "options"}
    options = {**(given.pop("options", None) or {}), **given}
    of_job["outputs"] = _outputs(of_job["outputs"]) if "outputs" in of_job else JobRequest.outputs
    request = JobRequest(exchange.Sources(pet, **of_sources), method, **of_job)
    request.card.resolve(options)
    return replace(request, options=options)


def _outputs(given: Any) -> frozenset[str]:
    wanted = frozenset([given] if isinstance(given, str) else given)
    if unknown := sorted(wanted - set(OUTPUTS)):
        raise errors.OptionError(f"outputs = {', '.join(map(str, unknown))}", "are no results that can be asked for",
                                 f"Known are {', '.join(OUTPUTS)}; the denoised PET always comes.")
    return wanted
