"""The projector against closed forms, lines worked out by hand, and Siddon's recipe in its original form."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.physics_scenes import (
    disc,
    disc_projection,
    gaussian,
    gaussian_projection,
    rectangle_chords,
    siddon_by_sorting,
)
from petdiffusion.physics import matrices, recon
from petdiffusion.physics.geometry import ScanGeometry
from petdiffusion.physics.projector import Projector, SparseProduct

PAPER = ScanGeometry(128, 2.0)
OBLONG = ScanGeometry((20, 31), (2.5, 1.7), n_radial=37, n_angles=23, radial_mm=1.9)
GEOMETRIES = [PAPER, OBLONG, ScanGeometry(33, 3.0, 40, 24, rays_per_bin=3), OBLONG.subset(2, 5),
              ScanGeometry(16, 1.0, 8, 7, first_angle_deg=11.0)]
geometries = st.builds(
    ScanGeometry, st.tuples(st.integers(1, 9), st.integers(1, 9)),
    st.tuples(st.floats(0.5, 4.0), st.floats(0.5, 4.0)), st.integers(1, 12), st.integers(1, 9),
    first_angle_deg=st.floats(-180, 180))


def test_bc_dpm_geometry_is_the_default() -> None:
    assert Projector(PAPER).shapes == ((128, 128), (192, 160))


def test_off_centre_disc_projects_to_its_chords() -> None:
    geometry = ScanGeometry(256, 1.0, 240, 48, rays_per_bin=1)
    image = torch.tensor(disc(geometry, 25.0, -40.0, 50.0), dtype=torch.float32)
    expected = disc_projection(geometry, 25.0, -40.0, 50.0)
    error = Projector(geometry).forward(image).numpy() - expected
    assert np.sqrt((error**2).mean()) < 0.003 * expected.max()
    inside = expected > 60
    assert np.abs(error[inside]).max() < 0.012 * expected.max()


def test_gaussian_projects_to_a_gaussian() -> None:
    """Angles away from the pixel rows, along which a line meets all pixels at the same distance from their centres."""
    geometry = ScanGeometry((220, 250), (1.0, 0.9), 200, 17, first_angle_deg=4.1)
    image = torch.tensor(gaussian(geometry, -20.0, 15.0, 14.0), dtype=torch.float32)
    expected = gaussian_projection(geometry, -20.0, 15.0, 14.0)
    error = Projector(geometry).forward(image).numpy() - expected
    assert np.abs(error).max() < 0.004 * expected.max() and np.sqrt((error**2).mean()) < 5e-4 * expected.max()


def test_lines_through_one_pixel_worked_out_by_hand() -> None:
    """3 x 3 pixels of 2 mm, only the middle one is 1; angles 0, 45, 90, 135 degrees, central ray and one 1.5 mm off."""
    geometry = ScanGeometry(3, 2.0, n_radial=3, n_angles=4, radial_mm=1.5)
    image = torch.zeros(3, 3)
    image[1, 1] = 1
    diagonal, off = 2 * math.sqrt(2), 2 * math.sqrt(2) - 2 * 1.5
    expected = [[0, 2, 0], [max(off, 0), diagonal, max(off, 0)]] * 2
    assert Projector(geometry).forward(image).numpy() == pytest.approx(np.array(expected), abs=1e-6)


def test_axes_and_signs() -> None:
    """At 0 degrees bins run along x, at 90 along y, both upwards."""
    geometry = ScanGeometry((5, 7), 1.0, n_radial=7, n_angles=2, radial_mm=1.0)
    image = torch.zeros(5, 7)
    image[1, 5] = 1
    assert Projector(geometry).forward(image).argmax(1).tolist() == [5, 1 + 1]


def test_a_ray_along_a_pixel_edge_is_shared_by_both_neighbours() -> None:
    geometry = ScanGeometry(2, 1.0, n_radial=1, n_angles=2, radial_mm=1.0)
    dense = matrices.path_lengths(geometry).toarray()
    assert dense == pytest.approx(np.full((2, 4), 0.5), abs=1e-6)


@given(geometries)
@settings(max_examples=60, deadline=None)
def test_every_ray_is_as_long_as_its_chord_of_the_image(geometry) -> None:
    lengths = np.asarray(matrices.path_lengths(geometry).sum(1)).reshape(geometry.sinogram_shape)
    chords = rectangle_chords(geometry)
    grazing = np.abs(lengths - chords) > 1e-4 * geometry.diagonal_mm
    # A ray exactly along a side of the image is counted half; nothing else may differ.
    assert np.allclose(lengths[grazing], chords[grazing] / 2, rtol=1e-4)
    on_a_side = np.isclose(np.abs(geometry.radial_positions[None] * np.cos(geometry.angles)[:, None]),
                           geometry.size_mm[1] / 2) | np.isclose(
        np.abs(geometry.radial_positions[None] * np.sin(geometry.angles)[:, None]), geometry.size_mm[0] / 2)
    assert not (grazing & ~on_a_side).any()


@pytest.mark.parametrize("geometry", [OBLONG, ScanGeometry(12, 1.3, 16, 9), OBLONG.subset(1, 3)], ids=str)
def test_path_lengths_are_siddons(geometry) -> None:
    dense = matrices.path_lengths(geometry).toarray()
    assert np.abs(dense - siddon_by_sorting(geometry)).max() < 1e-4


def test_several_rays_a_bin_are_the_mean_of_their_lines() -> None:
    wide = ScanGeometry(24, 1.0, 15, 11, radial_mm=2.4, rays_per_bin=3)
    fine = ScanGeometry(24, 1.0, 45, 11, radial_mm=0.8)
    image = torch.rand(4, 24, 24, generator=torch.Generator().manual_seed(1))
    lines = Projector(fine).forward(image).reshape(4, 11, 15, 3).mean(-1)
    assert torch.allclose(Projector(wide).forward(image), lines, atol=1e-4)


@pytest.mark.parametrize("backend", ["torch", "scipy"])
@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
def test_back_projection_is_the_transpose(geometry, backend) -> None:
    projector = Projector(geometry, backend=backend)
    rng = torch.Generator().manual_seed(3)
    x = torch.randn(5, *geometry.image_shape, generator=rng)
    y = torch.randn(5, *geometry.sinogram_shape, generator=rng)
    left = (projector.forward(x).double() * y).sum()
    right = (x.double() * projector.back(y)).sum()
    size = projector.forward(x).norm().double() * y.norm()
    assert abs(left - right) <= 1e-5 * abs(left) + 1e-7 * size


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
def test_both_backends_agree(geometry) -> None:
    x = torch.rand(3, *geometry.image_shape, generator=torch.Generator().manual_seed(4))
    one, other = (Projector(geometry, backend=b).forward(x) for b in ("torch", "scipy"))
    assert torch.allclose(one, other, rtol=1e-5, atol=1e-5)


def test_the_gradient_is_right() -> None:
    projector = Projector(ScanGeometry((4, 5), 1.0, 6, 3), dtype=torch.float64)
    x = torch.rand(2, 4, 5, dtype=torch.float64, requires_grad=True)
    y = torch.rand(2, 3, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda v: projector.forward(v).square(), (x,))
    assert torch.autograd.gradcheck(lambda v: projector.back(v).square(), (y,))
    assert torch.autograd.gradgradcheck(lambda v: projector.forward(v).square(), (x,))


def test_the_gradient_of_fbp_is_its_transpose() -> None:
    geometry = ScanGeometry(16, 1.0, 24, 20)
    rng = torch.Generator().manual_seed(9)
    y = torch.rand(20, 24, generator=rng).requires_grad_()
    x = torch.rand(16, 16, generator=rng)
    (recon.fbp(y, geometry) * x).sum().backward()
    other = torch.rand(20, 24, generator=rng)
    assert float((y.grad * other).sum()) == pytest.approx(float((recon.fbp(other, geometry) * x).sum()), rel=1e-4)


def test_the_stored_transpose_does_the_gradient() -> None:
    """Not torch's own sparse gradient, which is some 30 times slower."""
    x = torch.rand(2, 128, 128, requires_grad=True)
    node = Projector(PAPER).forward(x).grad_fn
    names = set()
    while node is not None:
        names.add(type(node).__name__)
        node = node.next_functions[0][0] if node.next_functions else None
    assert f"{SparseProduct.__name__}Backward" in names and not any("Mm" in n or "Sparse_" in n for n in names)


@pytest.mark.parametrize("n", [1, 3, 24, 5])
def test_subsets_put_together_are_the_whole(n) -> None:
    geometry = ScanGeometry(20, 1.0, 24, 24)
    x = torch.rand(2, 20, 20, generator=torch.Generator().manual_seed(5))
    whole, projector = Projector(geometry).forward(x), Projector(geometry)
    for i in range(n):
        assert torch.allclose(projector.subset(i, n).forward(x), whole[:, i::n], atol=1e-5)


def test_a_slice_does_not_depend_on_how_many_go_with_it() -> None:
    projector = Projector(PAPER)
    x = torch.rand(150, 128, 128, generator=torch.Generator().manual_seed(6))
    many = projector.forward(x)
    assert torch.allclose(many[[0, 77, 149]], torch.stack([projector.forward(x[i]) for i in (0, 77, 149)]), rtol=1e-5)
    back = projector.back(many)
    assert torch.allclose(back[149], projector.back(many[149]), rtol=1e-5)


def test_the_norm_is_the_largest_singular_value() -> None:
    projector = Projector(OBLONG)
    dense = matrices.path_lengths(OBLONG).toarray()
    assert projector.norm == pytest.approx(np.linalg.norm(dense, 2), rel=1e-4)


def test_matrices_are_built_once_for_a_geometry() -> None:
    one, other = Projector(ScanGeometry(17, 1.0, 19, 5)), Projector(ScanGeometry(17, 1.0, 19, 5))
    assert one._pair is other._pair
    assert Projector(ScanGeometry(17, 1.5, 19, 5))._pair is not one._pair


def test_indices_take_four_bytes() -> None:
    matrix = Projector(PAPER)._pair[0]
    assert matrix.col_indices().dtype == matrix.crow_indices().dtype == torch.int32
