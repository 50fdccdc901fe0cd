"""The turning MIP: one hot voxel is seen from everywhere, where it lies, however large the scan is."""

from types import SimpleNamespace

import numpy as np
import pytest
from petdiffusion.write.report import turning
from petdiffusion.write.report.turning import ANGLES, block_maxima, facts, projections

SHAPE, SPACING = (37, 22, 31), (4.0, 3.0, 2.0)
VIEWS = SimpleNamespace(shape=SHAPE, turn=SimpleNamespace(spacing=SPACING))


@pytest.fixture(params=[400, 20, 12])
def factor(request, monkeypatch):
    monkeypatch.setattr(turning, "LARGEST", request.param)
    return -(-max(SHAPE) // request.param)


@pytest.mark.parametrize("voxel", [(0, 0, 0), (36, 21, 30), (10, 4, 25), (36, 0, 3)])
def test_a_hot_voxel_is_seen_from_everywhere_where_it_lies(voxel, factor):
    image = np.zeros(SHAPE, np.uint8)
    image[voxel] = 200
    frames, said = projections(VIEWS, image), facts(VIEWS)
    assert frames.shape == (ANGLES, said["h"], said["w"]) == (said["frames"], said["h"], said["w"])
    assert (frames.max(axis=(1, 2)) == 200).all() and ((frames > 0).sum(axis=(1, 2)) == 1).all()
    _, row, column = (np.array(place) for place in np.nonzero(frames))
    width_mm, height_mm = said["mm"]
    block = np.array(SPACING) * factor
    head_mm = (SHAPE[0] - 1 - voxel[0]) * SPACING[0]
    np.testing.assert_allclose((row + 0.5) / said["h"] * height_mm, head_mm, atol=2 * block[0])
    back, left = ((voxel[a] - (SHAPE[a] - 1) / 2) * SPACING[a] for a in (1, 2))
    angles = np.arange(ANGLES) * 2 * np.pi / ANGLES
    across = left * np.cos(angles) - back * np.sin(angles)
    np.testing.assert_allclose((column + 0.5) / said["w"] * width_mm - width_mm / 2, across, atol=2 * block[1:].max())


def test_no_column_of_the_picture_stays_empty(factor):
    for frame in projections(VIEWS, np.full(SHAPE, 9, np.uint8)):
        first, last = np.flatnonzero(frame.any(axis=0))[[0, -1]]
        assert (frame[:, first : last + 1] == 9).all()


@pytest.mark.parametrize("factor", [1, 2, 3, 5])
def test_blocks_maxima_are_those_of_each_block(factor):
    image = np.random.default_rng(3).integers(0, 255, (7, 5, 11)).astype(np.uint8)
    found = block_maxima(image, factor)
    assert found.shape == tuple(-(-n // factor) for n in image.shape)
    for place in np.ndindex(found.shape):
        block = image[tuple(slice(factor * p, factor * (p + 1)) for p in place)]
        assert found[place] == block.max()


@pytest.mark.parametrize(("turn", "from_", "left", "right"), [
    (0, "the front", "R", "L"), (9, "the right", "P", "A"), (18, "the back", "L", "R"), (27, "the left", "A", "P"),
    (4, "the front", "RP", "LA"),
])  # fmt: skip
def test_the_sides_turn_with_the_picture(turn, from_, left, right):
    """As a voxel far to each side is seen: the side named at the right edge is the one drawn to the right."""
    said = facts(VIEWS)
    assert said["from"][turn] == from_ and said["edges"][turn] == (left, right, "H", "F")
    mid = [n // 2 for n in SHAPE]
    sides = {"L": (mid[1], SHAPE[2] - 1), "R": (mid[1], 0), "P": (SHAPE[1] - 1, mid[2]), "A": (0, mid[2])}
    for letters, right_half in ((left, False), (right, True)):
        for letter in letters:
            image = np.zeros(SHAPE, np.uint8)
            image[(mid[0], *sides[letter])] = 200
            column = projections(VIEWS, image)[turn].max(axis=0).argmax()
            assert (column > said["w"] / 2) == right_half, letter
