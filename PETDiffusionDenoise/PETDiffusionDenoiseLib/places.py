"""Where the places of a run are now: tables have them where the scan lay then, and images may have been moved since."""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer.util
import vtk
from petdiffusion.volume import Geometry

from . import results, scene
from .review_lists import Place

REGION = "region"
"""The record's word on where the scan that was handed over begins in the node's own, in voxels x, y, z."""
SAME_MM = 0.01


def now(nodes: results.ResultNodes, place: Place) -> Place:
    """A place of the run, as it is in the scene at present. Of a whole slice, the height of its middle."""
    grid = _run_to_index(nodes)
    if grid is None:
        return place
    middle = np.linalg.inv(grid) @ [*_middle(nodes.denoised), 1.0]
    point = tuple(float(m) if here is None else here for here, m in zip(place, middle))
    moved = _same_or(_to_world(nodes.denoised, grid, point), point)
    return tuple(None if here is None else there for here, there in zip(place, moved))


def then(nodes: results.ResultNodes, point: tuple[float, float, float]) -> tuple[float, float, float]:
    """A point of the scene at present, as it was at the run."""
    grid = _run_to_index(nodes)
    if grid is None:
        return point
    transform = nodes.denoised.GetParentTransformNode()
    local = point
    if transform is not None:
        from_world = vtk.vtkGeneralTransform()
        transform.GetTransformFromWorld(from_world)
        local = from_world.TransformPoint(point)
    found = np.linalg.inv(grid) @ np.linalg.inv(_index_to_local(nodes.denoised)) @ [*local, 1.0]
    return _same_or(tuple(map(float, found[:3])), point)


def _run_to_index(nodes: results.ResultNodes) -> np.ndarray | None:
    """From RAS at the run to voxels of the result; None where the record does not say it."""
    known, image = (nodes.record.get("input") or {}).get("geometry"), nodes.denoised.GetImageData()
    if not known or image is None:
        return None
    handed, start = Geometry(**known), nodes.record.get(REGION)
    if start is None and handed.size != tuple(image.GetDimensions()):
        return None  # of a region whose place older scenes do not keep
    to_index = np.linalg.inv(handed.affine) @ scene.LPS_FROM_RAS
    to_index[:3, 3] += start or (0, 0, 0)
    return to_index


def _to_world(node: Any, to_index: np.ndarray, point: tuple[float, float, float]) -> tuple[float, float, float]:
    local = (_index_to_local(node) @ to_index @ [*point, 1.0])[:3]
    transform = node.GetParentTransformNode()
    if transform is None:
        return tuple(map(float, local))
    to_world = vtk.vtkGeneralTransform()  # one that bends space too
    transform.GetTransformToWorld(to_world)
    return to_world.TransformPoint(local)


def _index_to_local(node: Any) -> np.ndarray:
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return slicer.util.arrayFromVTKMatrix(matrix)


def _middle(node: Any) -> np.ndarray:
    return (np.asarray(node.GetImageData().GetDimensions()) - 1) / 2


def _same_or(moved: tuple[float, ...], place: tuple[float, ...]) -> tuple[float, ...]:
    """The numbers of the table where nothing was moved."""
    return place if np.allclose(moved, place, rtol=0, atol=SAME_MM) else moved
