"""A region cuts organs: what of each lies outside is said, and stands in the table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

HERE = Path(__file__).resolve().parent
LIVER, SPLEEN, LUNG, BRAIN = 1, 2, 3, 4
NAMES = {LIVER: "liver", SPLEEN: "spleen", LUNG: "lung"}


def grid(size, spacing, origin=(0.0, 0.0, 0.0)):
    from petdiffusion.volume import Geometry

    return Geometry(size, spacing, origin)


@pytest.fixture
def organs(scene):
    """On voxels of 0.1 ml (5 x 5 x 4 mm): the liver 4 x 5 x 2 voxels, the spleen two, the lung elsewhere."""
    from petdiffusion.volume import LabelMap

    array = np.zeros((10, 10, 10), np.int16)
    array[2:4, 2:7, 1:5] = LIVER
    array[2, 2, 8:10] = SPLEEN
    array[8:, 8:, 8:] = LUNG
    array[2, 0, 1] = BRAIN
    return LabelMap(array, grid((10, 10, 10), (5.0, 5.0, 4.0)), NAMES)


def test_what_of_an_organ_lies_outside_a_region(organs) -> None:
    """The region holds x from 0 to 2 of the planes 2 and 3: of the liver's four columns two."""
    from PETDiffusionDenoiseLib import organs_cut

    found = organs_cut.volumes(organs, grid((3, 10, 2), (5.0, 5.0, 4.0), (0.0, 0.0, 8.0)))
    assert found == {(LIVER, "liver"): pytest.approx((4.0, 2.0)), (BRAIN, "label 4"): pytest.approx((0.1, 0.0))}
    assert organs_cut.told(found) == (
        "The region cuts organs, whose numbers are of the part inside it alone: liver (2.00 of 4.00 ml lie outside).",)


def test_an_organ_map_on_a_grid_of_its_own_is_cut_by_the_same_millimetres(organs) -> None:
    """Voxels of half the size in a region of the same place: the same volumes."""
    from petdiffusion.volume import LabelMap
    from PETDiffusionDenoiseLib import organs_cut

    fine = LabelMap(np.kron(organs.array, np.ones((2, 2, 2), np.int16)),
                    grid((20, 20, 20), (2.5, 2.5, 2.0), (-1.25, -1.25, -1.0)), NAMES)  # fmt: skip
    region = grid((3, 10, 2), (5.0, 5.0, 4.0), (0.0, 0.0, 8.0))
    for key, volumes in organs_cut.volumes(organs, region).items():
        assert organs_cut.volumes(fine, region)[key] == pytest.approx(volumes)


def test_no_word_on_organs_that_lie_wholly_inside_or_wholly_outside(organs) -> None:
    from PETDiffusionDenoiseLib import organs_cut

    found = organs_cut.volumes(organs, grid((10, 10, 5), (5.0, 5.0, 4.0)))
    rows = [{"organ": "liver", "label": LIVER, "volume_ml": 4.0}]
    assert (LUNG, "lung") not in found and organs_cut.told(found) == () and organs_cut.marked(rows, found) == rows


def test_ten_organs_are_named_those_that_are_read_most_and_the_largest(scene) -> None:
    from PETDiffusionDenoiseLib import organs_cut

    others = {(i, f"organ {i}"): (10.0 * i, 5.0) for i in range(1, 12)}
    others[12, "organ 12"] = (1200.0, 20.0)
    text, = organs_cut.told({**others, (20, "Kidney, left"): (1.5, 1.0)})
    named = ["organ 4 (5.00 of 40.0 ml lie outside)", "organ 12 (20.0 of 1200 ml", "Kidney, left (1.00 of 1.50 ml"]
    assert all(name in text for name in named) and "organ 3 " not in text and text.endswith(" and 3 more.")


def test_the_table_says_it_of_each_organ_that_was_given(fake_backend, monkeypatch) -> None:
    import builders
    import slicer
    from PETDiffusionDenoiseLib import scripted, tables

    monkeypatch.setenv("FAKE_BACKEND", "measures_organs")
    matrix = builders.oblique(degrees=(0, 0, 0))
    pet, array = builders.pet(matrix=matrix), np.zeros(builders.SHAPE, np.int16)
    array[builders.LIVER] = 1
    labels = builders.node_of(array, "Organs", matrix, "vtkMRMLLabelMapVolumeNode")
    colors = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLColorTableNode", "Mine")
    colors.SetTypeToUser()
    colors.SetNumberOfColors(2)
    colors.SetColor(1, "liver", 1, 0, 0, 1)
    labels.GetDisplayNode().SetAndObserveColorNodeID(colors.GetID())
    ends = [matrix @ [3, 4, 3, 1], matrix @ [4, 7, 5, 1]]  # half of the liver's columns
    region = builders.roi(np.minimum(*ends)[:3], np.maximum(*ends)[:3])
    nodes = scripted.denoise(pet, "smooth", labels=labels, region=region)
    liver, spleen = tables.rows_of(nodes.tables["organs"])
    half = 2 * 4 * 3 * 0.024
    assert liver["outside_region_ml"] == pytest.approx(half) and spleen["outside_region_ml"] is None
    assert [text for text in nodes.warnings if "The region cuts organs" in text and "liver (0.576 of 1.15 ml" in text]
    whole = scripted.denoise(pet, "smooth", labels=labels)
    assert "outside_region_ml" not in tables.rows_of(whole.tables["organs"])[0]
    assert not [text for text in whole.warnings if "region" in text]
