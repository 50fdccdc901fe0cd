"""Between MRML nodes and Volumes: the one place where Slicer's RAS meets the program's LPS."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import slicer
import slicer.util
import vtk
from petdiffusion.errors import GeometryError, InputError
from petdiffusion.volume import ARBITRARY, Facts, Geometry, LabelMap, Volume

LPS_FROM_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
ROUNDING = 1e-6
RIM = 0.1
"""Part of a segment that may lie in a larger one: outlines of neighbours often share a rim."""
SCALAR, LABELS, SEGMENTATION = "vtkMRMLScalarVolumeNode", "vtkMRMLLabelMapVolumeNode", "vtkMRMLSegmentationNode"
COLORS = "vtkMRMLColorTableNode"


def matrix_of(node: Any, under: Any = None) -> np.ndarray:
    """4x4 from voxel index to world RAS, with the linear transforms the node is under; or those of another node
    instead, for a frame of a sequence, which itself is under none."""
    ijk_to_ras = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(ijk_to_ras)
    return _to_world(node if under is None else under) @ slicer.util.arrayFromVTKMatrix(ijk_to_ras)


def _to_world(node: Any) -> np.ndarray:
    transform = node.GetParentTransformNode()
    if transform is None:
        return np.eye(4)
    if not transform.IsTransformToWorldLinear():
        raise GeometryError(f"'{node.GetName()}'", "is under a transform that bends space",
                            "Harden the transform, or take the image out of it, and try again.")
    matrix = vtk.vtkMatrix4x4()
    transform.GetMatrixTransformToWorld(matrix)
    return slicer.util.arrayFromVTKMatrix(matrix)


def geometry_of(node: Any, under: Any = None) -> Geometry:
    image = node.GetImageData()
    if image is None or 0 in image.GetDimensions():
        raise InputError(f"'{node.GetName()}'", "holds no image", "Choose another volume, or load it again.")
    affine = LPS_FROM_RAS @ matrix_of(node, under)
    try:
        return Geometry.from_affine(image.GetDimensions(), affine)
    except GeometryError as error:
        raise _of_node(error, node if under is None else under) from None


def _of_node(error: GeometryError, node: Any) -> GeometryError:
    """Whose grid it is. The scanner is not to blame for what a transform does; to harden it would keep the shear."""
    transform = node.GetParentTransformNode()
    if transform is None:
        return GeometryError(f"{error.what} of '{node.GetName()}'", error.why, error.remedy)
    return GeometryError(f"'{node.GetName()}' under the transform '{transform.GetName()}'",
                         "has no grid with axes at right angles",
                         "Take the image out of the transform, or resample it to a grid with such axes first.")


def volume_of(node: Any, unit: str = ARBITRARY, facts: Facts | None = None, under: Any = None) -> Volume:
    """A scalar volume node as a Volume; the values are copied. `under` is as in `matrix_of`."""
    array = _voxels(node)
    if array.ndim != 3:
        raise InputError(f"'{node.GetName()}'", f"has {array.shape[-1]} values per voxel",
                         "Choose one frame or channel of it.")
    array = array.astype(np.float32)
    if not np.isfinite(array).all():
        raise InputError(f"'{node.GetName()}'", "holds values that are not numbers (NaN or infinite)",
                         "Load the image again, or repair it, for example with the Volumes module.")
    return Volume(array, geometry_of(node, under), unit, facts or Facts())


def labels_of(node: Any, reference: Any, may_be_empty: bool = False) -> LabelMap:
    """A label map or a segmentation with its names; a segmentation is drawn on the reference's grid."""
    if node.IsA(SEGMENTATION):
        return _labels_of_segmentation(node, reference, may_be_empty)
    array = _voxels(node)
    return LabelMap(array, geometry_of(node), _names_of_labels(node, array))


def _voxels(node: Any) -> np.ndarray:
    geometry_of(node)
    return slicer.util.arrayFromVolume(node)


def _names_of_labels(node: Any, array: np.ndarray) -> dict[int, str]:
    colors = node.GetDisplayNode().GetColorNode() if node.GetDisplayNode() else None
    values = [int(v) for v in np.unique(array) if v]
    names = {v: colors.GetColorName(v) for v in values} if _names_anatomy(colors) else {}
    return {v: name for v, name in names.items() if name}


def _names_anatomy(colors: Any) -> bool:
    """Somebody's own colour table. Slicer's are on every label map that has no other, and call any 3 'Brain'."""
    if colors is None or not colors.IsA(COLORS) or colors.GetSingletonTag():
        return False
    return colors.GetType() in (colors.User, colors.File)


def _labels_of_segmentation(node: Any, reference: Any, may_be_empty: bool) -> LabelMap:
    segmentation = node.GetSegmentation()
    ids = list(segmentation.GetSegmentIDs())
    if not ids and not may_be_empty:
        raise InputError(f"'{node.GetName()}'", "has no segments", "Draw or load a segment first.")
    geometry = geometry_of(reference)
    merged, names, found = np.zeros(geometry.shape, np.int16), {}, []
    for value, id_ in enumerate(ids, 1):
        mask = slicer.util.arrayFromSegmentBinaryLabelmap(node, id_, reference)
        if mask is not None:
            names[value] = segmentation.GetSegment(id_).GetName()
            found.append((value, np.flatnonzero(mask)))
    for value, voxels in sorted(found, key=lambda one: len(one[1]), reverse=True):
        taken, shared = np.unique(merged.flat[voxels], return_counts=True)
        for other, count in zip(taken.tolist(), shared.tolist()):
            if other and count > RIM * len(voxels):
                raise _overlap(node, names[other], names[value])
        merged.flat[voxels] = value  # a shared rim is the smaller one's: it would miss it most
    return LabelMap(merged, geometry, names)


def _overlap(node: Any, first: str, second: str) -> InputError:
    """Which of the two a shared voxel belongs to is not for this program to guess."""
    return InputError(f"'{node.GetName()}'", f"'{first}' and '{second}' overlap, and a voxel can count for only one",
                      "Put lesions into their own segmentation, or part the two in the Segment Editor, for example "
                      "with Logical operators, Subtract.")


def region_of(node: Any, geometry: Geometry) -> tuple[slice, slice, slice]:
    """The box (z, y, x) of the voxels whose centres lie in a region of interest; at least one voxel each way."""
    corners_ras = _corners(node)
    index = np.linalg.inv(geometry.affine) @ LPS_FROM_RAS @ corners_ras
    centre = np.rint(index[:3].mean(axis=1)).astype(int)
    low = np.ceil(index[:3].min(axis=1) - ROUNDING).astype(int)
    high = np.floor(index[:3].max(axis=1) + ROUNDING).astype(int)
    low, high = np.where(high < low, centre, low), np.where(high < low, centre, high)
    size = np.asarray(geometry.size)
    if np.any(high < 0) or np.any(low >= size):
        raise GeometryError(f"Region '{node.GetName()}'", "lies outside the PET", "Move it onto the PET.")
    low, high = np.clip(low, 0, size - 1), np.clip(high, 0, size - 1)
    return tuple(slice(int(low[i]), int(high[i]) + 1) for i in (2, 1, 0))


def _corners(node: Any) -> np.ndarray:
    """The eight corners of a ROI as columns of homogeneous world RAS."""
    to_world = vtk.vtkMatrix4x4()
    to_world.DeepCopy(node.GetObjectToWorldMatrix())
    signs = np.array(np.meshgrid((-0.5, 0.5), (-0.5, 0.5), (-0.5, 0.5))).reshape(3, 8)
    local = np.vstack([signs * np.asarray(node.GetSize())[:, None], np.ones(8)])
    return slicer.util.arrayFromVTKMatrix(to_world) @ local


def cropped(volume: Volume, box: tuple[slice, slice, slice]) -> Volume:
    """The part of a volume inside a box, on its own grid."""
    array = volume.array[box]
    start = np.array([box[2].start or 0, box[1].start or 0, box[0].start or 0, 1.0])
    geometry = Geometry(array.shape[::-1], volume.geometry.spacing,
                        tuple((volume.geometry.affine @ start)[:3]), volume.geometry.direction)
    return Volume(array, geometry, volume.unit, volume.facts)


def add_volume(array: np.ndarray, like: Any, name: str, kind: str = SCALAR) -> Any:
    """A new node on the grid of `like` and under its transform."""
    if array.shape != slicer.util.arrayFromVolume(like).shape:
        raise GeometryError(f"Result of {array.shape} voxels", f"does not fit '{like.GetName()}'",
                            "Keep the input unchanged while the job runs.")
    node = slicer.mrmlScene.AddNewNodeByClass(kind, slicer.mrmlScene.GenerateUniqueName(name))
    slicer.util.updateVolumeFromArray(node, np.ascontiguousarray(array))
    ijk_to_ras = vtk.vtkMatrix4x4()
    like.GetIJKToRASMatrix(ijk_to_ras)
    node.SetIJKToRASMatrix(ijk_to_ras)
    node.SetAndObserveTransformNodeID(like.GetTransformNodeID())
    return node


def new_volume(array: np.ndarray, geometry: Geometry, name: str) -> Any:
    """A scalar volume node from an array and its grid."""
    node = slicer.mrmlScene.AddNewNodeByClass(SCALAR, slicer.mrmlScene.GenerateUniqueName(name))
    slicer.util.updateVolumeFromArray(node, np.ascontiguousarray(array))
    node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(LPS_FROM_RAS @ geometry.affine))
    return node


def beside(node: Any, input_node: Any) -> None:
    """Put a node where the input is in the subject hierarchy."""
    tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    if tree is None:
        return
    of_input = tree.GetItemByDataNode(input_node) or tree.CreateItem(tree.GetSceneItemID(), input_node)
    parent = tree.GetItemParent(of_input)
    item = tree.GetItemByDataNode(node)
    if item:
        tree.SetItemParent(item, parent)
    else:
        tree.CreateItem(parent, node)


@contextmanager
def whole_or_nothing() -> Iterator[None]:
    """If anything fails half-way, no node that was added meanwhile is left."""
    before = {node.GetID() for node in slicer.util.getNodesByClass("vtkMRMLNode")}
    try:
        yield
    except Exception:
        for node in slicer.util.getNodesByClass("vtkMRMLNode"):
            if node.GetID() not in before and slicer.mrmlScene.IsNodePresent(node):
                slicer.mrmlScene.RemoveNode(node)
        raise
