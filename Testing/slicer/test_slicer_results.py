"""Results as nodes: geometry, unit, window, colours, terms, tables, history; and all of it after saving as .mrb."""

from __future__ import annotations

import numpy as np
import pytest
from petdiffusion.volume import BQML, SUVBW, LabelMap

ORGAN_ROWS = [
    {
        "organ": "liver",
        "volume_ml": 1500.5,
        "unit": SUVBW,
        "SUVmean_low": 2.1,
        "SUVmean_denoised": 2.2,
        "SUVmean_reference": 2.15,
        "SUVmean_denoised_vs_low_percent": 4.8,
        "CoV_percent_low": 20.0,
    },
    {
        "organ": "spleen",
        "volume_ml": 210.0,
        "unit": SUVBW,
        "SUVmean_low": 1.8,
        "SUVmean_denoised": None,
        "SUVmean_reference": 1.9,
        "SUVmean_denoised_vs_low_percent": None,
        "CoV_percent_low": 25.0,
    },
]
LESION_ROWS = [
    {
        "lesion": "lesion 1",
        "organ": "liver",
        "centre_x_mm": 1.0,
        "centre_y_mm": 2.0,
        "centre_z_mm": 3.0,
        "volume_ml": 4.0,
        "unit": SUVBW,
        "SUVmax_low": 9.0,
        "SUVmax_denoised": 8.0,
    }
]


@pytest.fixture
def made(scene):
    """A full set of results beside a PET that lies in a patient and study."""
    import builders
    import slicer
    from PETDiffusionDenoiseLib import results, units
    from PETDiffusionDenoiseLib import scene as volumes

    pet, reference = builders.pet(), builders.pet(name="Normal dose", seed=2)
    tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    study = tree.CreateStudyItem(tree.CreateSubjectItem(tree.GetSceneItemID(), "Patient"), "Study")
    tree.GetItemByDataNode(pet) or tree.CreateItem(study, pet)
    tree.SetItemParent(tree.GetItemByDataNode(pet), study)
    inputs = results.Inputs(pet, units.find(pet), reference=reference)
    low = builders.pet_array()
    labels = np.zeros(builders.SHAPE, np.int16)
    labels[builders.LIVER], labels[builders.LESION] = 5, 9
    geometry = volumes.geometry_of(pet)
    organs = LabelMap(labels * (labels == 5), geometry, {5: "liver"})
    lesions = LabelMap(labels * (labels == 9), geometry, {9: "lesion 1"})
    nodes = results.ResultNodes(
        results.add_denoised(low * 0.9, inputs, "NLM"), record={"seed": 3, "text": 'quotes " and; colons: ü'}
    )
    nodes.uncertainty = results.add_uncertainty(low * 0.1, inputs, "NLM")
    nodes.difference = results.add_difference(low * -0.1, inputs, pet, "NLM")
    nodes.organs = results.add_segmentation(organs, inputs, "Organs", False)
    nodes.lesions = results.add_segmentation(lesions, inputs, "Lesions", True)
    nodes.tables, nodes.charts = results.add_tables({"organs": ORGAN_ROWS, "lesions": LESION_ROWS, "empty": []}, "PET")
    results.sign(nodes, inputs, {"Method": "nlm", "Seed": "3"})
    return nodes, inputs


def test_the_result_is_the_input_with_other_values(made) -> None:
    import builders
    import slicer.util
    from PETDiffusionDenoiseLib import scene as volumes

    nodes, inputs = made
    node = nodes.denoised
    assert np.allclose(slicer.util.arrayFromVolume(node), builders.pet_array() * 0.9)
    assert np.array_equal(volumes.matrix_of(node), volumes.matrix_of(inputs.pet))
    assert node.GetVoxelValueUnits().GetCodeValue() == "{SUVbw}g/ml"
    ours, theirs = node.GetDisplayNode(), inputs.pet.GetDisplayNode()
    assert (ours.GetWindow(), ours.GetLevel()) == (theirs.GetWindow(), theirs.GetLevel()) == (6.0, 3.0)
    assert ours.GetColorNodeID() == theirs.GetColorNodeID()
    assert not ours.GetAutoWindowLevel()


def test_maps_have_fitting_windows_and_colours(made) -> None:
    nodes, _ = made
    sd, difference = nodes.uncertainty.GetDisplayNode(), nodes.difference.GetDisplayNode()
    assert sd.GetWindowLevelMin() == 0 and sd.GetWindowLevelMax() > 0
    assert difference.GetWindowLevelMin() == pytest.approx(-difference.GetWindowLevelMax())
    middle, end = [0.0] * 3, [0.0] * 3
    function = difference.GetColorNode().GetColorTransferFunction()
    function.GetColor(127.5, middle)
    function.GetColor(255, end)
    assert min(middle) > 0.9, "no change must be near white"
    assert end[0] > 2 * end[2], "added activity must be red"


def test_outputs_lie_beside_the_input_in_the_subject_hierarchy(made) -> None:
    import slicer

    nodes, _ = made
    tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    for node in nodes.all():
        parent = tree.GetItemParent(tree.GetItemByDataNode(node))
        assert tree.GetItemName(parent) == "Study", node.GetName()


@pytest.mark.parametrize(
    "kind, term, title", [("organs", "SCT^10200004^Liver", "Liver"), ("lesions", "SCT^4147007^Mass", "Lesion 1")]
)
def test_segments_have_terms_colours_and_the_right_voxels(made, kind, term, title) -> None:
    import builders
    import slicer.util
    import vtk

    nodes, inputs = made
    segmentation = getattr(nodes, kind).GetSegmentation()
    assert segmentation.GetNumberOfSegments() == 1
    segment, text = segmentation.GetNthSegment(0), vtk.reference("")
    assert segment.GetTag(segment.GetTerminologyEntryTagName(), text) and term in str(text)
    assert segment.GetName() == title
    mask = slicer.util.arrayFromSegmentBinaryLabelmap(getattr(nodes, kind), segmentation.GetNthSegmentID(0), inputs.pet)
    wanted = np.zeros(builders.SHAPE, bool)
    wanted[builders.LIVER if kind == "organs" else builders.LESION] = True
    assert np.array_equal(mask > 0, wanted)


def test_masks_of_a_pet_that_was_moved_lie_on_it(scene) -> None:
    """Registered PETs lie under a transform; masks that were off by it would mark the wrong place."""
    import builders
    import slicer.util
    from PETDiffusionDenoiseLib import results, units
    from PETDiffusionDenoiseLib import scene as volumes

    pet = builders.pet()
    turned = builders.oblique(spacing=(-1, -1, 1), origin=(30.0, -20.0, 10.0), degrees=(0.0, 25.0, 0.0))
    builders.move(pet, turned)
    liver = np.zeros(builders.SHAPE, np.int16)
    liver[builders.LIVER] = 1
    labels = LabelMap(liver, volumes.geometry_of(pet), {1: "liver"})
    node = results.add_segmentation(labels, results.Inputs(pet, units.find(pet)), "Organs", False)
    assert node.GetTransformNodeID() == pet.GetTransformNodeID()
    id_ = node.GetSegmentation().GetNthSegmentID(0)
    assert np.array_equal(slicer.util.arrayFromSegmentBinaryLabelmap(node, id_, pet), liver)


def test_tables_keep_numbers_and_unknowns_and_speak_in_words(made) -> None:
    from PETDiffusionDenoiseLib import tables

    nodes, _ = made
    assert set(nodes.tables) == {"organs", "lesions"}
    assert tables.rows_of(nodes.tables["organs"]) == ORGAN_ROWS
    assert tables.title_of("SUVmean_denoised_vs_low_percent") == "SUVmean denoised, change from before (%)"
    assert tables.title_of("SUVmax_reference") == "SUVmax normal dose"
    assert tables.title_of("SUVmax_low95") == "SUVmax, 95 % from"
    assert tables.title_of("volume_ml_high95") == "Volume (ml), 95 % to"


def test_charts_show_before_after_and_reference_side_by_side(made) -> None:
    from PETDiffusionDenoiseLib import tables

    nodes, _ = made
    chart = nodes.charts["organs"]
    columns = [chart.GetNthPlotSeriesNode(i).GetYColumnName() for i in range(chart.GetNumberOfPlotSeriesNodes())]
    assert columns == ["SUVmean_low", "SUVmean_denoised", "SUVmean_reference"]
    series = chart.GetNthPlotSeriesNode(0)
    assert [row["organ"] for row in tables.rows_of(series.GetTableNode())] == ["liver", "spleen"]
    assert series.GetLabelColumnName() == "organ" and series.GetPlotType() == series.PlotTypeBar


def test_a_chart_of_many_organs_shows_those_that_are_read_most(scene) -> None:
    from PETDiffusionDenoiseLib import results, tables

    names = [*(f"rib_left_{i}" for i in range(1, 13)), "Kidney, left", "liver", "spleen", "colon"]
    rows = [
        {"organ": n, "unit": SUVBW, "volume_ml": 900.0 if n == "colon" else 10.0, "SUVmean_low": 1.0} for n in names
    ]
    nodes, charts = results.add_tables({"organs": rows}, "PET")
    shown = [row["organ"] for row in tables.rows_of(charts["organs"].GetNthPlotSeriesNode(0).GetTableNode())]
    assert len(shown) == 10 and shown[-4:] == ["Kidney L", "liver", "spleen", "colon"]
    assert charts["organs"].GetXAxisTitle() == "Organ (the 10 main ones of 16)"
    assert len(tables.rows_of(nodes["organs"])) == 16


def test_tables_without_an_suv_are_charted_in_their_own_unit(scene) -> None:
    from PETDiffusionDenoiseLib import results

    rows = [{"organ": "liver", "unit": BQML, "mean_low": 9000.0, "mean_denoised": 9100.0}]
    _, charts = results.add_tables({"organs": rows}, "PET")
    assert charts["organs"].GetYAxisTitle() == f"mean ({BQML})"


def test_everything_survives_saving_and_loading(made, tmp_path) -> None:
    import bundle
    import slicer
    import vtk
    from PETDiffusionDenoiseLib import results, tables
    from PETDiffusionDenoiseLib import scene as volumes

    nodes, inputs = made
    matrix, names = volumes.matrix_of(inputs.pet), sorted(n.GetName() for n in nodes.all())
    voxels = slicer.util.arrayFromVolume(nodes.denoised).copy()
    high = nodes.difference.GetDisplayNode().GetWindowLevelMax()
    bundle.save(tmp_path / "case ü.mrb")
    bundle.load(tmp_path / "case ü.mrb", tmp_path / "cache")

    denoised = next(n for n in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode") if results.is_result(n))
    found = results.of_denoised(denoised)
    assert sorted(n.GetName() for n in found.all()) == names
    assert np.allclose(slicer.util.arrayFromVolume(denoised), voxels)
    assert np.allclose(volumes.matrix_of(denoised), matrix, atol=1e-5)
    assert denoised.GetVoxelValueUnits().GetCodeValue() == "{SUVbw}g/ml"
    assert denoised.GetAttribute("PETDiffusion.Method") == "nlm" and found.record["text"] == 'quotes " and; colons: ü'
    assert results.input_of(denoised).GetName() == "PET"
    assert results.reference_of(denoised).GetName() == "Normal dose"
    segment, term = found.organs.GetSegmentation().GetNthSegment(0), vtk.reference("")
    segment.GetTag(segment.GetTerminologyEntryTagName(), term)
    assert "SCT^10200004^Liver" in str(term)
    assert tables.rows_of(found.tables["organs"])[0]["SUVmean_low"] == pytest.approx(2.1)
    assert found.charts["organs"].GetNumberOfPlotSeriesNodes() == 3
    display = found.difference.GetDisplayNode()
    assert display.GetWindowLevelMax() == pytest.approx(high, rel=1e-4)
    middle = [0.0] * 3
    display.GetColorNode().GetColorTransferFunction().GetColor(127.5, middle)
    assert min(middle) > 0.9


def test_a_scene_that_is_saved_during_the_review_can_be_reviewed_again(scene, tmp_path) -> None:
    import bundle
    import patients
    import slicer
    from PETDiffusionDenoiseLib import results, review

    review.Review().show(patients.result(), maps=("difference", "uncertainty"))
    bundle.save(tmp_path / "case.mrb")
    bundle.load(tmp_path / "case.mrb", tmp_path / "cache")
    denoised = next(n for n in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode") if results.is_result(n))
    nodes, found = results.of_denoised(denoised), review.Review()
    assert nodes.uncertainty.GetDisplayNode().GetColorNode().GetName() == "PETDiffusion uncertainty"
    found.show(nodes, maps=("difference", "uncertainty"))
    legends = slicer.util.getNodesByClass("vtkMRMLColorLegendDisplayNode")
    assert sorted(node.GetTitleText() for node in legends) == ["SUV change", "SUV, 1 SD"]
    found.leave()
    assert slicer.util.getNodesByClass("vtkMRMLColorLegendDisplayNode") == []


def test_a_second_run_leaves_the_first_alone(made) -> None:
    import builders
    from PETDiffusionDenoiseLib import results

    nodes, inputs = made
    second = results.add_denoised(np.zeros(builders.SHAPE, np.float32), inputs, "NLM")
    assert second.GetName() != nodes.denoised.GetName()
    assert results.of_denoised(nodes.denoised).uncertainty.GetID() == nodes.uncertainty.GetID()
