"""Small scans as MRML nodes, for the tests of the Slicer side."""

from __future__ import annotations

import numpy as np
import slicer
import slicer.util
import vtk
from petdiffusion.volume import SUVBW
from PETDiffusionDenoiseLib import units

SHAPE = (10, 14, 12)
LIVER, LESION = (slice(3, 6), slice(4, 8), slice(3, 7)), (slice(4, 6), slice(9, 11), slice(7, 9))


def oblique(spacing=(2.0, 3.0, 4.0), origin=(11.0, -7.0, 23.0), degrees=(20.0, 35.0, 0.0)):
    """IJK to RAS of an anisotropic grid turned twice."""
    a, b, _ = np.radians(degrees)
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_z = np.array([[np.cos(b), -np.sin(b), 0], [np.sin(b), np.cos(b), 0], [0, 0, 1]])
    matrix = np.eye(4)
    matrix[:3, :3] = about_z @ about_x @ np.diag([-1, -1, 1]) * np.asarray(spacing)
    matrix[:3, 3] = origin
    return matrix


def node_of(array, name="PET", matrix=None, kind="vtkMRMLScalarVolumeNode"):
    node = slicer.mrmlScene.AddNewNodeByClass(kind, name)
    slicer.util.updateVolumeFromArray(node, np.ascontiguousarray(array))
    node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(oblique() if matrix is None else matrix))
    node.CreateDefaultDisplayNodes()
    return node


def pet_array(seed=0, shape=SHAPE):
    rng = np.random.default_rng(seed)
    array = rng.gamma(4.0, 0.25, shape).astype(np.float32)
    array[LIVER] += 2.0
    array[LESION] += 7.0
    return array


def pet(unit=SUVBW, name="PET", seed=0, matrix=None, shape=SHAPE):
    node = node_of(pet_array(seed, shape), name, matrix)
    display = node.GetDisplayNode()
    display.SetAutoWindowLevel(False)
    display.SetWindowLevelMinMax(0.0, 6.0)
    display.SetAndObserveColorNodeID("vtkMRMLColorTableNodeInvertedGrey")
    if unit is not None:
        units.mark(node, unit)
    return node


def ct(name="CT"):
    """Soft tissue and air in Hounsfield units, on the PET's grid."""
    array = np.full(SHAPE, -1000.0, np.float32)
    array[1:-1, 2:-2, 2:-2] = 40.0
    return node_of(array, name)


def roi(low, high):
    """A region of interest over the box of world RAS coordinates `low` to `high`."""
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "Region")
    node.SetSize(*(h - l for l, h in zip(low, high)))
    node.SetCenter([(h + l) / 2 for l, h in zip(low, high)])
    return node


def move(node, matrix):
    """Put a node under a linear transform."""
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "Move")
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
    node.SetAndObserveTransformNodeID(transform.GetID())
    return transform


def bend(node, landmarks=(), by=(0, 0, 0)):
    """Put a node under a transform that bends space: the last of the landmarks goes elsewhere, the others stay."""
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTransformNode", "Bend")
    points, ends = vtk.vtkThinPlateSplineTransform(), (vtk.vtkPoints(), vtk.vtkPoints())
    for number, landmark in enumerate(landmarks, 1):
        ends[0].InsertNextPoint(landmark)
        ends[1].InsertNextPoint(np.add(landmark, by if number == len(landmarks) else 0))
    if landmarks:
        points.SetSourceLandmarks(ends[0])
        points.SetTargetLandmarks(ends[1])
        points.SetBasisToR()
    transform.SetAndObserveTransformToParent(points)
    node.SetAndObserveTransformNodeID(transform.GetID())
    return transform
