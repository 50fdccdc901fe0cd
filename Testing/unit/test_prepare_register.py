"""A known displacement is found again, the same way every time."""

import threading

import numpy as np
import pytest
from petdiffusion.errors import Cancelled, GeometryError
from petdiffusion.prepare.grids import resample, world_points
from petdiffusion.prepare.register import rigid
from petdiffusion.progress import Run
from scipy.spatial.transform import Rotation
from support.blobs import blobs

PATIENT = blobs((45, 44, 60), (4.0, 4.0, 5.0), arms=True, relative_noise=0.4)


def movement(volume, shift_mm, degrees):
    """4x4 that turns about the image's centre and shifts, LPS mm."""
    centre = world_points((np.array([volume.array.shape]) - 1) / 2, volume.geometry)[0]
    turn = Rotation.from_rotvec(np.deg2rad(degrees) * np.array([1, 1, 1]) / np.sqrt(3)).as_matrix()
    matrix = np.eye(4)
    matrix[:3, :3] = turn
    matrix[:3, 3] = centre - turn @ centre + np.array([1, -1, 0.5]) / 1.5 * shift_mm
    return matrix


@pytest.mark.parametrize("image", ["ct", "mr"])
@pytest.mark.parametrize("shift, degrees", [(0.0, 0.0), (8.0, 4.0), (15.0, 2.0)])
def test_known_displacement_is_recovered(image, shift, degrees):
    still = getattr(PATIENT, image)
    moved_by = movement(still, shift, degrees)
    moved = resample(still, still.geometry, transform=moved_by)
    found = rigid(moved, PATIENT.noisy)
    points = world_points(np.argwhere(PATIENT.body)[::20], still.geometry)
    points = np.c_[points, np.ones(len(points))].T
    error = np.linalg.norm((moved_by @ found.matrix @ points - points)[:3], axis=0)
    assert error.max() < 4.0  # one voxel
    assert error.mean() < 1.5
    assert found.shift_mm == pytest.approx(shift, abs=1.5)
    assert found.volume.geometry.close_to(PATIENT.noisy.geometry)
    if shift:
        away, back = (np.abs(v.array - still.array)[PATIENT.body].mean() for v in (moved, found.volume))
        assert back < 0.6 * away


def test_same_matrix_every_time():
    moved = resample(PATIENT.ct, PATIENT.ct.geometry, transform=movement(PATIENT.ct, 6.0, 2.0))
    first, second = rigid(moved, PATIENT.noisy), rigid(moved, PATIENT.noisy)
    np.testing.assert_array_equal(first.matrix, second.matrix)
    assert first.metric == second.metric


def test_images_in_other_coordinates_are_brought_together():
    from dataclasses import replace

    geometry = PATIENT.mr.geometry
    away = replace(PATIENT.mr, geometry=replace(geometry, origin=tuple(o + 900 for o in geometry.origin)))
    found = rigid(away, PATIENT.noisy)
    np.testing.assert_allclose(found.matrix[:3, 3] - 900, 0, atol=40)
    assert np.corrcoef(found.volume.array[PATIENT.body], PATIENT.mr.array[PATIENT.body])[0, 1] > 0.9


def test_thin_images_are_refused():
    thin = blobs((1, 48, 56), (4.0, 4.0, 4.0))
    with pytest.raises(GeometryError, match="thin"):
        rigid(thin.ct, thin.noisy)


def test_cancel():
    stop = threading.Event()

    def on_event(event):
        if event["event"] == "progress" and event["fraction"] > 0.2:
            stop.set()

    with pytest.raises(Cancelled):
        rigid(PATIENT.ct, PATIENT.noisy, Run(report=on_event, cancelled=stop))
