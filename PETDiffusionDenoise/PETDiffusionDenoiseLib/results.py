"""A finished job as citizens of the scene: volumes, masks, tables and charts beside the input, with their history."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
import slicer
import slicer.util
from petdiffusion.methods.contract import MethodCard
from petdiffusion.volume import LabelMap

from . import colors, scene, tables, terminology, units

DENOISED = "denoised"
INPUT, REFERENCE, RESULT = "PETDiffusion.Input", "PETDiffusion.Reference", "PETDiffusion.Result"
CT, MR = "PETDiffusion.CT", "PETDiffusion.MR"
LABELS, LESIONS = "PETDiffusion.Labels", "PETDiffusion.Lesions"
ROLE, RECORD, DATE = "PETDiffusion.Role", "PETDiffusion.Record", "PETDiffusion.Date"
MASK_OPACITY = 0.45
MARKED_COLOR = (0.05, 0.75, 0.85)
MAP = "map_"
"""How the backend begins the name of an image that a method explains itself with."""
SPELLED = {"grad_cam": "Grad-CAM", "gradcam": "Grad-CAM", "map_matches": "Best matches (Grad-CAM)",
           "image": "whole image", "organ_errors": "organs, errors against the normal dose",
           "lesion_totals": "lesions, totals", "lesions_marked": "marked lesions",
           "clinical": "marked lesions and organs", "trust": "doubts",
           "intervals": "95 % intervals", "quality": "quality control", "prompts": "prompts of the slices",
           "matches": "best matches of the slices", "transitions": "search of the transitions",
           "time_activity": "activity over time", "patlak": "rate of uptake (Patlak)", "ki": "Ki (Patlak)"}
"""What a reader looks for; the names themselves are those of the files."""
CHARTS = {"organs": ("organ", ("SUVmean", "mean")), "lesions": ("lesion", ("SUVmax", "max"))}


@dataclass
class ResultNodes:
    """What a run added to the scene; a field is None where the method gives no such thing."""

    denoised: Any
    uncertainty: Any = None
    difference: Any = None
    organs: Any = None
    lesions: Any = None
    marked: Any = None
    """Lesions that the method marked itself, where others were given to measure in."""
    tables: dict[str, Any] = field(default_factory=dict)
    charts: dict[str, Any] = field(default_factory=dict)
    extras: dict[str, Any] = field(default_factory=dict)
    """Further images that a method gives, such as a Grad-CAM, by name."""
    warnings: tuple[str, ...] = ()
    record: Mapping[str, Any] = field(default_factory=dict)

    def all(self) -> list[Any]:
        single = (self.denoised, self.uncertainty, self.difference, self.organs, self.lesions, self.marked)
        several = (*self.tables.values(), *self.charts.values(), *self.extras.values())
        return [*(node for node in single if node is not None), *several]


@dataclass(frozen=True)
class Inputs:
    """The nodes that a run was made of; of a PET that was a file there is none."""

    pet: Any
    unit: units.Unit | None
    ct: Any = None
    mr: Any = None
    reference: Any = None
    labels: Any = None
    lesions: Any = None


def title_of(name: str) -> str:
    """`trust` as `doubts`, `grad_cam` as `Grad-CAM`; what is new is called by its own name."""
    return SPELLED.get(name, name.removeprefix(MAP).replace("_", " "))


def add_denoised(array: np.ndarray, inputs: Inputs, title: str) -> Any:
    node = _volume(array, inputs, f"{inputs.pet.GetName()} denoised ({title})")
    units.copy(node, inputs.pet, inputs.unit)
    colors.like_input(node, inputs.pet)
    node.SetAttribute("DICOM.Modality", inputs.pet.GetAttribute("DICOM.Modality") or "PT")
    return node


def add_uncertainty(array: np.ndarray, inputs: Inputs, title: str) -> Any:
    node = _volume(array, inputs, f"{inputs.pet.GetName()} uncertainty ({title})")
    units.copy(node, inputs.pet, inputs.unit)
    colors.as_uncertainty(node, array)
    return node


def add_extra(array: np.ndarray, inputs: Inputs, name: str, title: str) -> Any:
    """An image that explains a result, such as what a network looked at."""
    node = _volume(array, inputs, f"{inputs.pet.GetName()} {title_of(name)} ({title})")
    colors.as_uncertainty(node, array)
    return node


def add_difference(array: np.ndarray, inputs: Inputs, against: Any, title: str) -> Any:
    """Result minus the other image, on the PET's grid."""
    node = _volume(array, inputs, f"{against.GetName()} difference ({title})")
    units.copy(node, inputs.pet, inputs.unit)
    colors.as_difference(node, array)
    return node


def _volume(array: np.ndarray, inputs: Inputs, name: str) -> Any:
    return scene.add_volume(array.astype(np.float32), inputs.pet, name)


def add_segmentation(labels: LabelMap, inputs: Inputs, name: str, lesions: bool) -> Any:
    """A segmentation with a SNOMED term and a colour per structure; empty structures are left out."""
    map_node = scene.add_volume(np.asarray(labels.array), inputs.pet, "PETDiffusion labels", scene.LABELS)
    node = slicer.mrmlScene.AddNewNodeByClass(scene.SEGMENTATION, slicer.mrmlScene.GenerateUniqueName(name))
    try:
        node.CreateDefaultDisplayNodes()
        # First of all: both calls below bring the world into the node's own space, by the transform it has by then.
        node.SetAndObserveTransformNodeID(inputs.pet.GetTransformNodeID())
        node.SetReferenceImageGeometryParameterFromVolumeNode(inputs.pet)
        slicer.vtkSlicerSegmentationsModuleLogic.ImportLabelmapToSegmentationNode(map_node, node)
    finally:
        slicer.mrmlScene.RemoveNode(map_node)
    _name_segments(node.GetSegmentation(), labels, lesions)
    node.GetDisplayNode().SetOpacity2DFill(0.0 if lesions else MASK_OPACITY)
    node.GetDisplayNode().SetOpacity2DOutline(1.0)
    return node


def color_marks(node: Any) -> None:
    """The method's marks in a colour of their own, beside lesions that were given."""
    segmentation = node.GetSegmentation()
    for id_ in segmentation.GetSegmentIDs():
        segmentation.GetSegment(id_).SetColor(*MARKED_COLOR)


def _name_segments(segmentation: Any, labels: LabelMap, lesions: bool) -> None:
    for id_ in segmentation.GetSegmentIDs():
        segment = segmentation.GetSegment(id_)
        name = labels.names.get(segment.GetLabelValue(), f"label {segment.GetLabelValue()}")
        known = terminology.LESION if lesions else terminology.term(name)
        segment.SetName(name.replace("_", " ").capitalize() if known is None or lesions else known.title)
        if known is not None:
            segment.SetTag(segment.GetTerminologyEntryTagName(), terminology.entry(known))
            segment.SetColor(*(channel / 255.0 for channel in known.color))
            segment.SetColorAutoGenerated(False)
            segment.SetNameAutoGenerated(False)
        segment.SetTag("PETDiffusion.Structure", name)


def add_tables(given: Mapping[str, tables.Rows], name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Table nodes by name, and a chart of the main number where there is one."""
    nodes, charts = {}, {}
    for kind, rows in given.items():
        if not rows:
            continue
        nodes[kind] = tables.add_table(rows, f"{name}: {title_of(kind)}")
        label, metrics = CHARTS.get(kind, ("", ()))
        for metric in metrics:
            chart = tables.add_chart(rows, label, metric, f"{name}: {metric} per {label}")
            if chart is not None:
                charts[kind] = chart
                break
    return nodes, charts


def sign(nodes: ResultNodes, inputs: Inputs, facts: Mapping[str, str]) -> None:
    """Write into every node what it is, what it came from and how it was made."""
    text = json.dumps(nodes.record, ensure_ascii=True, default=str)
    roles = {DENOISED: nodes.denoised, "uncertainty": nodes.uncertainty, "difference": nodes.difference,
             "organs": nodes.organs, "lesions": nodes.lesions, "marked": nodes.marked}
    roles |= {f"table {kind}": node for kind, node in nodes.tables.items()}
    roles |= {f"chart {kind}": node for kind, node in nodes.charts.items()}
    roles |= {f"extra {name}": node for name, node in nodes.extras.items()}
    for role, node in roles.items():
        if node is None:
            continue
        node.SetAttribute(ROLE, role)
        node.SetAttribute(DATE, datetime.now().isoformat(timespec="seconds"))
        for key, value in facts.items():
            node.SetAttribute(f"PETDiffusion.{key}", value)
        _refer(node, INPUT, inputs.pet)
        _refer(node, REFERENCE, inputs.reference)
        _refer(node, CT, inputs.ct)
        _refer(node, MR, inputs.mr)
        _refer(node, LABELS, inputs.labels)
        _refer(node, LESIONS, inputs.lesions)
        _refer(node, RESULT, nodes.denoised)
        if inputs.pet is not None:
            scene.beside(node, inputs.pet)
    nodes.denoised.SetAttribute(RECORD, text)


def signature(facts: Mapping[str, str]) -> tuple[str, ...]:
    """The attributes in which `sign` says what a denoised image is."""
    return (ROLE, RECORD, DATE, *(f"PETDiffusion.{key}" for key in facts))


def facts_of(card: MethodCard, model: str, seed: int, record: Mapping[str, Any]) -> dict[str, str]:
    """What every output node says of its making."""
    details = record.get("details") or {}
    found = {"Method": card.name, "MethodTitle": card.title, "Paper": card.paper,
             "Model": model or str(details.get("model") or ""),
             "ModelSHA256": str(details.get("model_sha256") or details.get("sha256") or ""),
             "Seed": str(seed), "Version": str(record.get("version") or ""), "ResearchUseOnly": "true"}
    return {key: value for key, value in found.items() if value}


def _refer(node: Any, role: str, other: Any) -> None:
    if other is not None and other is not node:
        node.SetNodeReferenceID(role, other.GetID())


def of_denoised(denoised: Any) -> ResultNodes:
    """Finds what belongs to a result in the scene; also after the scene was saved and loaded."""
    found = ResultNodes(denoised)
    for node in slicer.util.getNodesByClass("vtkMRMLNode"):
        if node.GetNodeReferenceID(RESULT) != denoised.GetID():
            continue
        kind, _, name = (node.GetAttribute(ROLE) or "").partition(" ")
        if kind in ("table", "chart", "extra"):
            getattr(found, f"{kind}s")[name] = node
        elif kind in ("uncertainty", "difference", "organs", "lesions", "marked"):
            setattr(found, kind, node)
    found.record = json.loads(denoised.GetAttribute(RECORD) or "{}")
    return found


def is_result(node: Any) -> bool:
    return node is not None and node.GetAttribute(ROLE) == DENOISED


def input_of(denoised: Any) -> Any:
    return denoised.GetNodeReference(INPUT)


def reference_of(denoised: Any) -> Any:
    return denoised.GetNodeReference(REFERENCE)
