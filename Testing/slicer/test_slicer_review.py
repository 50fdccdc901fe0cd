"""The review over Slicer's real layout, slice logics and displayable managers, looked at as pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from petdiffusion.volume import BQML

REFERENCES = Path(__file__).resolve().with_name("references")
CLOSE = 3.0
"""Mean absolute difference of grey values (0 to 255) that drivers may make."""


@pytest.fixture
def shown(scene):
    """A result in review."""
    import patients
    from PETDiffusionDenoiseLib import review

    nodes, found = patients.result(), review.Review()
    found.show(nodes)
    return found, nodes


def voxel_of(node, view_node):
    """The voxel at the centre of a slice view."""
    from PETDiffusionDenoiseLib import scene as volumes

    centre = [view_node.GetSliceToRAS().GetElement(i, 3) for i in range(3)]
    return np.rint(np.linalg.inv(volumes.matrix_of(node)) @ [*centre, 1])[:3][::-1].astype(int)


def test_low_count_denoised_and_normal_dose_lie_side_by_side(shown) -> None:
    import slicer

    found, nodes = shown
    assert found.views == ("low", "denoised", "reference")
    backgrounds = [found.composite(view).GetBackgroundVolumeID() for view in found.views]
    assert backgrounds == [
        slicer.util.getNode(n).GetID() for n in ("Low-count PET", "Low-count PET", "Normal-dose PET")
    ]
    middle = found.composite("denoised")
    assert middle.GetForegroundVolumeID() == nodes.denoised.GetID() and middle.GetForegroundOpacity() == 1.0
    assert all(found.composite(view).GetLinkedControl() for view in found.views)
    assert {found.slice_node(view).GetViewGroup() for view in found.views} == {7390}


def test_all_views_share_one_suv_window_also_when_the_mouse_sets_it(shown) -> None:
    found, _ = shown
    windows = {name: node.GetDisplayNode() for name, node in found.volumes().items()}
    found.set_window(9.0)
    assert {(d.GetWindowLevelMin(), d.GetWindowLevelMax()) for d in windows.values()} == {(0.0, 9.0)}
    windows["reference"].SetWindowLevelMinMax(1.0, 5.0)
    assert {(d.GetWindowLevelMin(), d.GetWindowLevelMax()) for d in windows.values()} == {(1.0, 5.0)}
    assert len({d.GetColorNodeID() for d in windows.values()}) == 1


def test_one_window_in_suv_for_scans_in_different_units(scene) -> None:
    import patients
    from PETDiffusionDenoiseLib import review, units

    nodes = patients.result()
    reference = nodes.denoised.GetNodeReference("PETDiffusion.Reference")
    units.mark(reference, BQML, 2e-4)
    found = review.Review()
    found.show(nodes)
    found.set_window(6.0)
    assert reference.GetDisplayNode().GetWindowLevelMax() == pytest.approx(30000.0)
    assert nodes.denoised.GetDisplayNode().GetWindowLevelMax() == 6.0


@pytest.mark.parametrize("orientation, normal", [("Axial", (0, 0, 1)), ("Coronal", (0, 1, 0)), ("Sagittal", (1, 0, 0))])
def test_every_orientation_is_set_in_all_views(shown, orientation, normal) -> None:
    found, _ = shown
    found.set_orientation(orientation)
    for view in found.views:
        matrix = found.slice_node(view).GetSliceToRAS()
        assert tuple(abs(round(matrix.GetElement(i, 2))) for i in range(3)) == normal
        assert not found.slice_node(view).GetSlabReconstructionEnabled()


def test_the_mip_is_the_maximum_along_the_body(shown) -> None:
    """Against numpy's maximum: the brightest column of the picture is the bladder's."""
    import patients
    import render

    found, _ = shown
    found.set_orientation("MIP")
    found.set_window(9.0)
    picture = render.slice_view("PETDiffusionDenoised", (160, 180)).mean(axis=2)
    truth = patients.smooth(patients.truth()[0], 1).max(axis=1)[::-1]
    profile = np.interp(np.linspace(0, 1, 60), np.linspace(0, 1, truth.shape[0]), truth.max(axis=1))
    dark = (255 - picture).max(axis=1)
    rows = np.flatnonzero(dark > 20)
    seen = np.interp(np.linspace(0, 1, 60), np.linspace(0, 1, len(rows)), dark[rows]) / 255 * 9.0
    assert np.corrcoef(profile, seen)[0, 1] > 0.9
    assert found.slice_node("denoised").GetSlabReconstructionThickness() > 400


def test_a_click_on_a_lesion_goes_there_in_all_views(shown) -> None:
    import patients
    from PETDiffusionDenoiseLib import review

    found, nodes = shown
    for row, centre in zip(review.lesion_rows(nodes), patients.LESIONS):
        found.jump(*review.place_of(row))
        for view in found.views:
            assert tuple(voxel_of(nodes.denoised, found.slice_node(view))) == centre


def test_fade_and_fusion(shown) -> None:
    import slicer

    found, nodes = shown
    found.set_fade(0.3)
    assert found.composite("denoised").GetForegroundOpacity() == pytest.approx(0.3)
    ct = slicer.util.getNode("CT")
    found.set_underlay(ct)
    for view in found.views:
        assert found.composite(view).GetBackgroundVolumeID() == ct.GetID()
    low = slicer.util.getNode("Low-count PET")
    assert found.composite("denoised").GetForegroundVolumeID() == low.GetID()
    found.set_fade(1.0)
    assert found.composite("denoised").GetForegroundVolumeID() == nodes.denoised.GetID()
    assert nodes.denoised.GetDisplayNode().GetColorNodeID().endswith("PET-Heat")


def test_outlines_of_found_and_given_masks_are_shown_on_request(scene) -> None:
    import patients
    import slicer
    from PETDiffusionDenoiseLib import results, review

    nodes, found = patients.result(), review.Review()
    given = results.add_segmentation(
        patients.load()[3], results.Inputs(results.input_of(nodes.denoised), None), "Given organs", False
    )
    nodes.denoised.SetNodeReferenceID(results.LABELS, given.GetID())
    displays = {"lesions": nodes.lesions.GetDisplayNode(), "given": given.GetDisplayNode()}
    fill = displays["given"].GetOpacity2DFill()
    found.show(nodes)
    assert {name: bool(d.GetVisibility()) for name, d in displays.items()} == {"lesions": True, "given": False}
    found.set_outlines(False, True)
    assert {name: bool(d.GetVisibility()) for name, d in displays.items()} == {"lesions": False, "given": True}
    assert displays["given"].GetOpacity2DFill() == 0
    found.set_orientation("MIP")
    assert not displays["given"].GetVisibility(), "a projection has no outlines"
    found.leave()
    assert displays["given"].GetVisibility() and displays["given"].GetOpacity2DFill() == fill
    assert slicer.mrmlScene.IsNodePresent(given)


def test_a_result_without_a_reference_has_two_views(scene) -> None:
    import patients
    from PETDiffusionDenoiseLib import review

    found = review.Review()
    found.show(patients.result(reference=False), difference=True)
    assert found.views == ("low", "denoised", "difference")


def test_leaving_puts_everything_back(scene) -> None:
    import patients
    import slicer
    from PETDiffusionDenoiseLib import review

    layout = slicer.app.layoutManager().layoutLogic().GetLayoutNode()
    slicer.app.layoutManager().setLayout(layout.SlicerLayoutFourUpView)
    nodes = patients.result()
    low = slicer.util.getNode("Low-count PET").GetDisplayNode()
    low.SetWindowLevel(3.0, 1.0)
    before = (low.GetWindow(), low.GetLevel(), low.GetColorNodeID())
    found = review.Review()
    found.show(nodes, difference=True, chart=True)
    found.set_window(12.0)
    found.leave()
    assert (low.GetWindow(), low.GetLevel(), low.GetColorNodeID()) == before
    assert layout.GetViewArrangement() == layout.SlicerLayoutFourUpView and not found.active
    low.SetWindowLevel(5.0, 2.0)
    assert nodes.denoised.GetDisplayNode().GetWindow() != 5.0, "windows are no longer tied"


def test_the_chart_is_shown_on_request(scene) -> None:
    import patients
    import slicer
    from PETDiffusionDenoiseLib import review

    found, nodes = review.Review(), patients.result()
    found.show(nodes, chart=True)
    view = slicer.mrmlScene.GetSingletonNode(review.PLOT_TAG, "vtkMRMLPlotViewNode")
    assert view.GetPlotChartNodeID() == nodes.charts["lesions"].GetID()


def test_prompts_of_a_text_guided_method_follow_the_slice(scene) -> None:
    import patients
    from PETDiffusionDenoiseLib import results, review

    nodes = patients.result()
    rows = [{"z_mm": 0.0, "prompt": "liver, spleen"}, {"z_mm": 60.0, "prompt": "heart, lungs"}]
    nodes.tables |= results.add_tables({"prompts": rows}, "x")[0]
    assert review.prompt_at(nodes, 55.0) == "heart, lungs" and review.prompt_at(nodes, -80.0) == "liver, spleen"


@pytest.mark.parametrize(
    "name, view, setting",
    [
        ("low", "low", {}),
        ("denoised", "denoised", {}),
        ("reference", "reference", {}),
        ("mip", "denoised", {"mip": True}),
        ("fused", "denoised", {"fused": True}),
        ("difference", "difference", {}),
    ],
)
def test_the_views_look_as_they_should(scene, name, view, setting) -> None:
    """Compared with pictures that were looked at; they are made anew by deleting them and running this test."""
    import patients
    import render
    import slicer
    from PETDiffusionDenoiseLib import review

    found, nodes = review.Review(), patients.result()
    found.show(nodes, difference=True)
    found.set_window(7.0)
    if setting.get("fused"):
        found.set_underlay(slicer.util.getNode("CT"))
    if setting.get("mip"):
        found.set_orientation("MIP")
    logic = slicer.app.applicationLogic().GetSliceLogicByLayoutName(review.TAGS[view])
    logic.ResizeSliceNode(200, 220)
    logic.FitSliceToAll()
    logic.GetSliceNode().JumpSliceByOffsetting(*review.place_of(review.lesion_rows(nodes)[0]))
    picture = render.picture(logic, logic.GetSliceNode(), (200, 220))
    path = REFERENCES / f"{name}.png"
    if not path.exists():
        REFERENCES.mkdir(exist_ok=True)
        render.write(picture, path)
        pytest.fail(f"{path.name} was made; look at it and run again")
    assert np.abs(picture.astype(float) - render.read(path)).mean() < CLOSE
