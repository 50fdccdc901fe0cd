"""A click in a list leads to the voxel that the run meant, wherever the images were moved since."""

from __future__ import annotations

import numpy as np
import pytest

VOXEL = (8, 10, 5)
"""x, y, z: in the lesion of `builders.pet`."""
MOVES = ("nothing", "shift", "turn", "hardened", "bend")


@pytest.fixture
def run(scene):
    """A result on an oblique grid that was under a transform at its run, and the place of a voxel then."""
    import builders
    from PETDiffusionDenoiseLib import results
    from PETDiffusionDenoiseLib import scene as volumes

    node = builders.pet(name="Denoised")
    builders.move(node, builders.oblique(spacing=(1, 1, 1), degrees=(15.0, 40.0, 0.0)))
    record = {"input": {"geometry": volumes.geometry_of(node).to_json()}}
    return results.ResultNodes(node, record=record), in_world(node, VOXEL)


def in_world(node, voxel) -> tuple[float, ...]:
    """By Slicer's own transforms."""
    import vtk

    matrix, world = vtk.vtkMatrix4x4(), [0.0, 0.0, 0.0]
    node.GetIJKToRASMatrix(matrix)
    node.TransformPointToWorld(matrix.MultiplyPoint([*voxel, 1.0])[:3], world)
    return tuple(world)


def moved(node, how: str) -> None:
    import builders

    if how == "shift":
        shift = np.eye(4)
        shift[:3, 3] = 50, 0, 100
        builders.move(node, shift)
    elif how in ("turn", "hardened"):
        builders.move(node, builders.oblique(spacing=(1, 1, 1), origin=(5, 6, 7), degrees=(70.0, -20.0, 0.0)))
    elif how == "bend":
        builders.bend(node, ((0, 0, 0), (90, 0, 0), (0, 90, 0), (0, 0, 90), (30, 30, 30)), (9, -4, 6))
    if how == "hardened":
        node.HardenTransform()


@pytest.mark.parametrize("how", MOVES)
def test_a_place_of_the_run_is_where_its_voxel_is_now_and_back(run, how) -> None:
    from PETDiffusionDenoiseLib import places

    nodes, place = run
    moved(nodes.denoised, how)
    now = in_world(nodes.denoised, VOXEL)
    assert places.now(nodes, place) == pytest.approx(now, abs=1e-3)
    assert places.then(nodes, now) == pytest.approx(place, abs=0.05)
    if how == "nothing":
        assert places.now(nodes, place) is place or places.now(nodes, place) == place, "to the last digit"
    else:
        assert np.linalg.norm(np.subtract(now, place)) > 5, "this test would not see a place that stays"


def test_a_whole_slice_is_followed_by_the_height_of_its_middle(scene) -> None:
    import builders
    from PETDiffusionDenoiseLib import places, results
    from PETDiffusionDenoiseLib import scene as volumes

    node = builders.pet(matrix=builders.oblique(degrees=(0, 0, 0)))
    nodes = results.ResultNodes(node, record={"input": {"geometry": volumes.geometry_of(node).to_json()}})
    assert places.now(nodes, (None, None, 35.0)) == (None, None, 35.0)
    moved(node, "shift")
    assert places.now(nodes, (None, None, 35.0)) == (None, None, pytest.approx(135.0))


def test_of_a_region_the_record_says_where_it_began(fake_backend) -> None:
    import builders
    from PETDiffusionDenoiseLib import places, scripted
    from PETDiffusionDenoiseLib import scene as volumes

    matrix = builders.oblique(degrees=(0, 0, 0))
    pet = builders.pet(matrix=matrix)
    ends = [matrix @ [2, 3, 4, 1], matrix @ [9, 11, 8, 1]]
    region = builders.roi(np.minimum(*ends)[:3], np.maximum(*ends)[:3])
    nodes = scripted.denoise(pet, "smooth", region=region)
    box = volumes.cropped(volumes.volume_of(pet), volumes.region_of(region, volumes.geometry_of(pet)))
    assert nodes.record["region"] == [2, 3, 4] and "region" not in scripted.denoise(pet, "smooth").record
    nodes.record["input"] = {"geometry": box.geometry.to_json()}
    place = in_world(nodes.denoised, VOXEL)
    moved(nodes.denoised, "turn")
    assert places.now(nodes, place) == pytest.approx(in_world(nodes.denoised, VOXEL), abs=1e-3)
    del nodes.record["region"]
    assert places.now(nodes, place) == place, "as older scenes have it: nobody knows where the box began"


@pytest.mark.parametrize("record", [{}, {"input": None}, {"input": {"unit": "SUVbw"}}])
def test_a_record_without_a_grid_leaves_the_places_as_they_are(run, record) -> None:
    from PETDiffusionDenoiseLib import places

    nodes, place = run
    nodes.record = record
    moved(nodes.denoised, "shift")
    assert places.now(nodes, place) == place and places.then(nodes, place) == place
