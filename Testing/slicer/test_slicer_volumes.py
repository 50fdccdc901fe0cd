"""MRML nodes to Volumes and back: geometry against nibabel's and SimpleITK's reading of the same image."""

from __future__ import annotations

import numpy as np
import pytest
from petdiffusion.errors import GeometryError, InputError


@pytest.fixture
def lib(scene):
    import builders
    from PETDiffusionDenoiseLib import scene as volumes

    return volumes, builders


@pytest.mark.parametrize("turned", [(0.0, 0.0, 0.0), (20.0, 35.0, 0.0)])
def test_a_voxel_lies_where_mrml_says(lib, turned) -> None:
    volumes, build = lib
    matrix = build.oblique(degrees=turned)
    volume = volumes.volume_of(build.pet(matrix=matrix))
    index = np.array([3, 5, 7, 1.0])
    by_mrml = (matrix @ index)[:3] * [-1, -1, 1]
    assert np.allclose((volume.geometry.affine @ index)[:3], by_mrml, atol=1e-4)
    assert np.allclose(volume.to_sitk().TransformIndexToPhysicalPoint((3, 5, 7)), by_mrml, atol=1e-4)
    assert np.allclose(volume.to_nibabel().affine @ index, matrix @ index, atol=1e-4)


def test_the_voxels_are_the_nodes_own(lib) -> None:
    volumes, build = lib
    volume = volumes.volume_of(build.pet(), "SUVbw")
    assert np.array_equal(volume.array, build.pet_array()) and volume.unit == "SUVbw"


def test_round_trip_is_exact(lib) -> None:
    volumes, build = lib
    node = build.pet()
    again = volumes.add_volume(volumes.volume_of(node).array, node, "copy")
    assert np.array_equal(volumes.matrix_of(again), volumes.matrix_of(node))
    assert volumes.volume_of(again).geometry == volumes.volume_of(node).geometry


def test_a_linear_transform_moves_the_volume_and_its_result(lib) -> None:
    volumes, build = lib
    node = build.pet()
    still = volumes.geometry_of(node).affine
    turn = build.oblique(spacing=(1, 1, 1), origin=(5, 6, 7), degrees=(90.0, 0.0, 0.0))
    build.move(node, turn)
    flip = np.diag([-1.0, -1.0, 1.0, 1.0])
    assert np.allclose(volumes.geometry_of(node).affine, flip @ turn @ flip @ still, atol=1e-6)
    result = volumes.add_volume(build.pet_array(1), node, "result")
    assert volumes.geometry_of(result) == volumes.geometry_of(node)


def test_a_bending_transform_is_refused(lib) -> None:
    volumes, build = lib
    node = build.pet()
    build.bend(node)
    with pytest.raises(GeometryError, match=r"bends space.*Harden"):
        volumes.volume_of(node)


def test_for_a_shear_of_a_transform_the_scanner_is_not_blamed(lib) -> None:
    """Hardening keeps the shear, so it is not the remedy either."""
    volumes, build = lib
    node, shear = build.pet(), np.eye(4)
    shear[0, 1] = 0.3
    build.move(node, shear)
    with pytest.raises(GeometryError, match=r"'PET' under the transform 'Move': .*right angles.*out of the transform"):
        volumes.volume_of(node)
    node.HardenTransform()
    with pytest.raises(GeometryError, match=r"Image axes of 'PET': are not at right angles.*Resample"):
        volumes.volume_of(node)


def test_not_a_number_is_refused(lib) -> None:
    volumes, build = lib
    array = build.pet_array()
    array[0, 0, 0] = np.nan
    with pytest.raises(InputError, match="NaN"):
        volumes.volume_of(build.node_of(array))


def test_several_values_per_voxel_are_refused(lib) -> None:
    volumes, build = lib
    node = build.node_of(np.zeros((*build.SHAPE, 3), np.float32), kind="vtkMRMLVectorVolumeNode")
    with pytest.raises(InputError, match="3 values per voxel"):
        volumes.volume_of(node)


def test_an_empty_volume_is_refused(lib) -> None:
    import slicer

    volumes, _ = lib
    with pytest.raises(InputError, match="holds no image"):
        volumes.volume_of(slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "empty"))


@pytest.mark.parametrize("low, high", [((2, 3, 1), (6, 9, 4)), ((0, 0, 0), (0, 0, 0)), ((5, 0, 9), (11, 13, 9))])
def test_a_region_covers_the_voxels_whose_centres_it_holds(lib, low, high) -> None:
    """The region is drawn half a voxel around the voxels `low` to `high`, on a grid that is not turned."""
    volumes, build = lib
    matrix = build.oblique(degrees=(0, 0, 0))
    node = build.pet(matrix=matrix)
    ends = [matrix @ [*(np.array(low) - 0.49), 1], matrix @ [*(np.array(high) + 0.49), 1]]
    region = build.roi(np.minimum(*ends)[:3], np.maximum(*ends)[:3])
    geometry = volumes.geometry_of(node)
    box = volumes.region_of(region, geometry)
    assert [(s.start, s.stop - 1) for s in box[::-1]] == list(zip(low, high))
    part = volumes.cropped(volumes.volume_of(node), box)
    first = geometry.affine @ [*low, 1]
    assert np.allclose(part.geometry.origin, first[:3]) and part.array.shape == tuple(np.subtract(high, low)[::-1] + 1)


def test_a_region_thinner_than_a_voxel_has_the_one_that_it_lies_in(lib) -> None:
    volumes, build = lib
    matrix = build.oblique(degrees=(0, 0, 0))
    middle = (matrix @ [4.4, 6.3, 5.4, 1])[:3]
    region = build.roi(middle - 0.15, middle + 0.15)
    box = volumes.region_of(region, volumes.geometry_of(build.pet(matrix=matrix)))
    assert box == (slice(5, 6), slice(6, 7), slice(4, 5))


def test_a_region_beside_the_pet_is_refused(lib) -> None:
    volumes, build = lib
    geometry = volumes.geometry_of(build.pet())
    with pytest.raises(GeometryError, match="outside the PET"):
        volumes.region_of(build.roi((900, 900, 900), (950, 950, 950)), geometry)


def test_labels_of_a_label_map_take_the_names_of_its_colours(lib) -> None:
    import slicer

    volumes, build = lib
    array = np.zeros(build.SHAPE, np.uint8)
    array[build.LIVER] = 2
    node = build.node_of(array, "organs", kind="vtkMRMLLabelMapVolumeNode")
    colors = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLColorTableNode", "names")
    colors.SetTypeToUser()
    colors.SetNumberOfColors(3)
    colors.SetColor(2, "liver", 1, 0, 0, 1)
    node.GetDisplayNode().SetAndObserveColorNodeID(colors.GetID())
    labels = volumes.labels_of(node, build.pet())
    assert labels.present() == {2: "liver"} and np.array_equal(labels.array, array)


@pytest.mark.parametrize(
    "colors", [None, "vtkMRMLColorTableNodeLabels", "vtkMRMLColorTableNodeRandom",
               "vtkMRMLProceduralColorNodeRandomIntegers"],
)  # fmt: skip
def test_colours_that_slicer_brings_itself_name_no_organ(lib, colors) -> None:
    """Its own table calls 3 'Brain' and 6 'Tumor', whatever somebody numbered so."""
    import slicer

    volumes, build = lib
    array = np.zeros(build.SHAPE, np.uint8)
    array[build.LIVER], array[build.LESION] = 3, 6
    node = slicer.util.addVolumeFromArray(array, name="script's", nodeClassName="vtkMRMLLabelMapVolumeNode")
    if colors is not None:
        node.GetDisplayNode().SetAndObserveColorNodeID(colors)
    assert volumes.labels_of(node, build.pet()).present() == {3: "label 3", 6: "label 6"}


def test_a_colour_table_from_a_file_names_organs(lib) -> None:
    import slicer

    volumes, build = lib
    array = np.zeros(build.SHAPE, np.uint8)
    array[build.LIVER], array[build.LESION] = 2, 1
    node = build.node_of(array, "organs", kind="vtkMRMLLabelMapVolumeNode")
    colors = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLColorTableNode", "names")
    colors.SetTypeToFile()
    colors.SetNumberOfColors(3)
    colors.SetColor(2, "liver", 1, 0, 0, 1)
    node.GetDisplayNode().SetAndObserveColorNodeID(colors.GetID())
    assert volumes.labels_of(node, build.pet()).names == {2: "liver"}
    colors.SetSingletonTag("GenericColors")  # as those that Slicer loads when it starts
    assert volumes.labels_of(node, build.pet()).names == {}


def test_labels_of_a_segmentation_lie_on_the_pet(lib) -> None:
    import slicer

    volumes, build = lib
    array = np.zeros(build.SHAPE, np.uint8)
    array[build.LIVER], array[build.LESION] = 1, 2
    map_node, pet = build.node_of(array, "organs", kind="vtkMRMLLabelMapVolumeNode"), build.pet()
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "drawn")
    slicer.vtkSlicerSegmentationsModuleLogic.ImportLabelmapToSegmentationNode(map_node, node)
    for i, name in enumerate(("liver", "lesion")):
        node.GetSegmentation().GetNthSegment(i).SetName(name)
    labels = volumes.labels_of(node, pet)
    assert labels.names == {1: "liver", 2: "lesion"} and np.array_equal(labels.array, array)


def segmentation(build, **masks):
    """Segments on layers of their own, so that they may overlap."""
    import slicer

    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "drawn")
    for name, place in masks.items():
        array = np.zeros(build.SHAPE, np.uint8)
        array[place] = 1
        map_node = build.node_of(array, name, kind="vtkMRMLLabelMapVolumeNode")
        slicer.vtkSlicerSegmentationsModuleLogic.ImportLabelmapToSegmentationNode(map_node, node)
        count = node.GetSegmentation().GetNumberOfSegments()
        node.GetSegmentation().GetNthSegment(count - 1).SetName(name)
    return node


@pytest.mark.parametrize("outer", ["before", "after"])
def test_segments_that_overlap_are_refused_by_name(lib, outer) -> None:
    """A voxel of a label map has one value: the later of two would silently erase the earlier."""
    volumes, build = lib
    inside, body = {"lesion 1": build.LESION}, {"body": (slice(1, -1),) * 3}
    node = segmentation(build, **(body | inside if outer == "before" else inside | body))
    with pytest.raises(InputError, match=r"'drawn'.*'(lesion 1|body)' and '(lesion 1|body)' overlap.*own segmentation"):
        volumes.labels_of(node, build.pet())


@pytest.mark.parametrize("first", ["small", "large"])
def test_a_shared_rim_is_the_smaller_ones(lib, first) -> None:
    volumes, build = lib
    boxes = {"large": (slice(1, 5), slice(1, 5), slice(1, 5)), "small": (slice(4, 6), slice(4, 7), slice(4, 7))}
    order = {first: boxes.pop(first)} | boxes
    labels = volumes.labels_of(segmentation(build, **order), build.pet())
    assert [labels.mask(name).sum() for name in ("small", "large")] == [18, 63]


@pytest.mark.parametrize("shared, overlaps", [(1, False), (2, True)])
def test_a_tenth_of_the_smaller_is_the_most_that_is_a_rim(lib, shared, overlaps) -> None:
    volumes, build = lib
    node = segmentation(build, large=(slice(1, 5),) * 3, small=(4, slice(5 - shared, 15 - shared), 4))
    if overlaps:
        with pytest.raises(InputError, match="overlap"):
            volumes.labels_of(node, build.pet(shape=build.SHAPE))
    else:
        assert volumes.labels_of(node, build.pet()).mask("small").sum() == 10


def test_segments_on_layers_of_their_own_are_all_handed_over(lib) -> None:
    volumes, build = lib
    labels = volumes.labels_of(segmentation(build, liver=build.LIVER, lesion=build.LESION), build.pet())
    assert [labels.mask(name).sum() for name in ("liver", "lesion")] == [48, 8]


def test_an_empty_segmentation_is_refused(lib) -> None:
    import slicer

    volumes, build = lib
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "empty")
    with pytest.raises(InputError, match="no segments"):
        volumes.labels_of(node, build.pet())


def test_a_result_of_another_size_is_refused(lib) -> None:
    volumes, build = lib
    with pytest.raises(GeometryError, match="does not fit"):
        volumes.add_volume(np.zeros((2, 2, 2), np.float32), build.pet(), "wrong")
