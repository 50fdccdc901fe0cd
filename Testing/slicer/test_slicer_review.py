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
    yield found, nodes
    found.forget()


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
    from PETDiffusionDenoiseLib import review_lists

    found, nodes = shown
    for place, centre in zip(review_lists.lists(nodes)["lesions"].places, patients.LESIONS):
        found.jump(*place)
        for view in found.views:
            assert tuple(voxel_of(nodes.denoised, found.slice_node(view))) == centre


def test_fade_and_fusion(shown) -> None:
    import slicer

    found, nodes = shown
    found.set_fade(0.3)
    assert found.composite("denoised").GetForegroundOpacity() == pytest.approx(0.3)
    ct = slicer.util.getNode("CT")
    found.set_fusion(underlay=ct)
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
    found.show(patients.result(reference=False), maps=("difference",))
    assert found.views == ("low", "denoised", "difference")


@pytest.mark.parametrize("automatic", [0, 1])
def test_leaving_puts_everything_back(scene, automatic) -> None:
    import patients
    import slicer
    from PETDiffusionDenoiseLib import review

    layout = slicer.app.layoutManager().layoutLogic().GetLayoutNode()
    slicer.app.layoutManager().setLayout(layout.SlicerLayoutFourUpView)
    nodes = patients.result()
    low = slicer.util.getNode("Low-count PET").GetDisplayNode()
    low.SetWindowLevel(3.0, 1.0)
    low.SetAutoWindowLevel(automatic)
    before = (low.GetWindow(), low.GetLevel(), low.GetAutoWindowLevel(), low.GetColorNodeID())
    found = review.Review()
    found.show(nodes, maps=("difference",), below="chart lesions")
    found.set_window(12.0)
    found.leave()
    assert (low.GetWindow(), low.GetLevel(), low.GetAutoWindowLevel(), low.GetColorNodeID()) == before
    assert layout.GetViewArrangement() == layout.SlicerLayoutFourUpView and not found.active
    low.SetWindowLevel(5.0, 2.0)
    assert nodes.denoised.GetDisplayNode().GetWindow() != 5.0, "windows are no longer tied"


@pytest.mark.parametrize(
    "below, tag, kind", [("chart lesions", "PLOT_TAG", "Plot"), ("table lesions", "TABLE_TAG", "Table")]
)
def test_charts_and_tables_are_shown_below_on_request(scene, below, tag, kind) -> None:
    import patients
    import slicer
    from PETDiffusionDenoiseLib import review, review_content, review_layout

    found, nodes = review.Review(), patients.result()
    found.show(nodes, below=below)
    view = slicer.mrmlScene.GetSingletonNode(getattr(review_layout, tag), f"vtkMRML{kind}ViewNode")
    shown = view.GetPlotChartNodeID() if kind == "Plot" else view.GetTableNodeID()
    assert shown == review_content.numbers(nodes)[below][1].GetID()


def legends(node) -> list[str]:
    displays = [node.GetNthDisplayNode(i) for i in range(node.GetNumberOfDisplayNodes())]
    return [d.GetTitleText() for d in displays if d.IsA("vtkMRMLColorLegendDisplayNode")]


def test_maps_have_views_of_their_own_and_legends_while_they_are_looked_at(shown) -> None:
    found, nodes = shown
    assert legends(nodes.difference) == legends(nodes.uncertainty) == []
    for _ in range(2):
        found.show(nodes, maps=("difference", "uncertainty"))
        assert found.views == ("low", "denoised", "reference", "uncertainty", "difference")
        assert found.composite("uncertainty").GetBackgroundVolumeID() == nodes.uncertainty.GetID()
        assert legends(nodes.difference) == ["SUV change"] and legends(nodes.uncertainty) == ["SUV, 1 SD"]
    found.show(nodes, maps=("difference",))
    assert legends(nodes.uncertainty) == []
    found.leave()
    assert legends(nodes.difference) == []


def test_more_than_three_views_stand_in_two_rows(scene) -> None:
    from PETDiffusionDenoiseLib import review_layout

    five = ("low", "denoised", "reference", "uncertainty", "difference")
    assert review_layout.rows(five[:3]) == [five[:3]]
    assert review_layout.rows(five[:4]) == [five[:2], five[2:4]] and review_layout.rows(five) == [five[:3], five[3:]]
    numbers = {review_layout.number(five[:n], below) for n in range(1, 6) for below in ("", "chart", "table")}
    assert len(numbers) == 15 and all(map(review_layout.is_ours, numbers))
    assert not review_layout.is_ours(min(numbers) - 8) and not review_layout.is_ours(7390 + 96)


def test_a_projection_leaves_the_difference_a_slice(shown) -> None:
    """The maximum of a difference shows what was added and hides what was taken away."""
    found, nodes = shown
    found.show(nodes, maps=("difference", "uncertainty"))
    found.set_orientation("MIP")
    projected = {view: bool(found.slice_node(view).GetSlabReconstructionEnabled()) for view in found.views}
    assert projected.pop("difference") is False and all(projected.values())


def test_a_map_over_the_denoised_pet_leaves_free_where_it_is_low(shown) -> None:
    import slicer

    found, nodes = shown
    found.set_fusion(overlay=nodes.uncertainty)
    middle = found.composite("denoised")
    assert middle.GetBackgroundVolumeID() == nodes.denoised.GetID()
    assert middle.GetForegroundVolumeID() == nodes.uncertainty.GetID() and middle.GetForegroundOpacity() == 0.5
    assert found.composite("low").GetForegroundVolumeID() is None
    display = nodes.uncertainty.GetDisplayNode()
    assert display.GetApplyThreshold() and display.GetLowerThreshold() > 0 and legends(nodes.uncertainty)
    found.set_fade(0.0)
    assert middle.GetBackgroundVolumeID() == slicer.util.getNode("Low-count PET").GetID()
    found.set_fusion()
    assert not display.GetApplyThreshold() and not legends(nodes.uncertainty)
    assert middle.GetForegroundOpacity() == 0.0, "the fade is kept"


def test_pet_colours_can_be_chosen_and_are_put_back(shown) -> None:
    import slicer
    from PETDiffusionDenoiseLib import colors

    found, nodes = shown
    displays = [node.GetDisplayNode() for node in found.volumes().values()]
    for color_id in colors.CHOICES:
        assert slicer.mrmlScene.GetNodeByID(color_id) is not None
        found.set_colors(color_id)
        found.set_fusion(underlay=slicer.util.getNode("CT"))
        assert {d.GetColorNodeID() for d in displays} == {color_id}
    found.set_colors("")
    assert {d.GetColorNodeID() for d in displays} == {colors.FUSION_COLORS}
    found.leave()
    assert nodes.denoised.GetDisplayNode().GetColorNodeID() not in {*colors.CHOICES, colors.FUSION_COLORS}


def test_the_first_window_is_the_scans_own_or_fits_the_part_that_it_shows(scene) -> None:
    import builders
    import patients
    from PETDiffusionDenoiseLib import review_content

    body, head = patients.load()[0], builders.pet()
    for node in (body, head):
        node.GetDisplayNode().SetAutoWindowLevel(True)
    assert review_content.window_of(body, 1.0) == 7.0
    assert review_content.window_of(head, 1.0) == np.ceil(np.percentile(builders.pet_array(), 99))
    head.GetDisplayNode().SetAutoWindowLevel(False)
    head.GetDisplayNode().SetWindowLevelMinMax(0.0, 4.5)
    assert review_content.window_of(head, 1.0) == 4.5


def test_a_result_that_is_deleted_during_the_review_ends_it_quietly(shown) -> None:
    import slicer

    found, nodes = shown
    slicer.mrmlScene.RemoveNode(nodes.denoised)
    assert not found.active
    found.set_fade(0.0)
    found.set_window(3.0)
    found.leave()
    assert found.nodes is None


def test_an_input_that_is_deleted_during_the_review_leaves_its_view_empty(shown) -> None:
    import slicer

    found, _ = shown
    slicer.mrmlScene.RemoveNode(slicer.util.getNode("Low-count PET"))
    found.set_fade(0.0)
    found.set_fusion()
    assert found.composite("low").GetBackgroundVolumeID() is None


def test_prompts_of_a_text_guided_method_follow_the_slice(scene) -> None:
    import patients
    from PETDiffusionDenoiseLib import results, review_content

    nodes = patients.result()
    rows = [{"z_mm": 0.0, "prompt": "liver, spleen"}, {"z_mm": 60.0, "prompt": "heart, lungs"}]
    nodes.tables |= results.add_tables({"prompts": rows}, "x")[0]
    assert review_content.prompt_at(nodes, 55.0) == "heart, lungs"
    assert review_content.prompt_at(nodes, -20.0) == "liver, spleen"
    assert review_content.prompt_at(nodes, -80.0) == "", "no slice of the method is there"
    assert [review_content.prompt_at(nodes, z) for z in (-30.0, -30.1, 90.0, 90.1)] == [
        "liver, spleen", "", "heart, lungs", "",
    ], "half the distance of two slices"  # fmt: skip


@pytest.mark.parametrize(
    "name, view, setting",
    [
        ("low", "low", {}),
        ("denoised", "denoised", {}),
        ("reference", "reference", {}),
        ("mip", "denoised", {"mip": True}),
        ("fused", "denoised", {"fused": True}),
        ("difference", "difference", {}),
        ("uncertainty", "uncertainty", {}),
        ("overlay", "denoised", {"overlay": True}),
    ],
)
def test_the_views_look_as_they_should(scene, name, view, setting) -> None:
    """Compared with pictures that were looked at; they are made anew by deleting them and running this test."""
    import patients
    import render
    import slicer
    from PETDiffusionDenoiseLib import review, review_lists

    found, nodes = review.Review(), patients.result()
    found.show(nodes, maps=("difference", "uncertainty"))
    found.set_window(7.0)
    if setting.get("overlay"):
        found.set_fusion(overlay=nodes.uncertainty)
    if setting.get("fused"):
        found.set_fusion(underlay=slicer.util.getNode("CT"))
    if setting.get("mip"):
        found.set_orientation("MIP")
    logic = slicer.app.applicationLogic().GetSliceLogicByLayoutName(review.TAGS[view])
    logic.ResizeSliceNode(200, 220)
    logic.FitSliceToAll()
    logic.GetSliceNode().JumpSliceByOffsetting(*review_lists.lists(nodes)["lesions"].places[0])
    picture = render.picture(logic, logic.GetSliceNode(), (200, 220))
    path = REFERENCES / f"{name}.png"
    if not path.exists():
        REFERENCES.mkdir(exist_ok=True)
        render.write(picture, path)
        pytest.fail(f"{path.name} was made; look at it and run again")
    assert np.abs(picture.astype(float) - render.read(path)).mean() < CLOSE


def test_numbers_of_the_lists_have_three_digits() -> None:
    from PETDiffusionDenoiseLib.review_lists import number

    assert [number(v) for v in (12, 11.42, 2, 0.75, 100.2, None)] == ["12.0", "11.4", "2.00", "0.750", "100", "–"]
