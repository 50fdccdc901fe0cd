"""Dynamic PETs of the scene that are not plain: other units, transforms, browsers, moments, folders."""

from __future__ import annotations

import json
from pathlib import Path

import builders
import numpy as np
import pytest
from dynamics import STARTS, dynamic, opened_panel, organs, settle
from petdiffusion.errors import GeometryError, InputError, OutputError, UnitError
from petdiffusion.volume import BQML

BQ_OF_SUV = 5000.0


@pytest.fixture
def widget(scene):
    yield from opened_panel()


@pytest.fixture
def logic(scene):
    from PETDiffusionDenoise import PETDiffusionDenoiseLogic

    return PETDiffusionDenoiseLogic()


def in_bqml(*of_suv: float):
    """The three frames in Bq/ml, each with its SUV factor; and their SUVs."""
    import slicer
    from PETDiffusionDenoiseLib import units

    node, browser, shown = dynamic(unit=False)
    suvs = []
    for number, scale in enumerate(of_suv):
        frame = node.GetNthDataNode(number)
        suvs.append(slicer.util.arrayFromVolume(frame).copy())
        slicer.util.updateVolumeFromArray(frame, suvs[-1] * np.float32(scale))
        units.mark(frame, BQML, 1 / scale)
    for number in (1, 0):
        browser.SetSelectedItemNumber(number)
    return node, browser, shown, suvs


def start(widget, shown, folder) -> None:
    given = widget.panel.parameters
    given.choose_pet(shown)
    given.all_frames, given.frames_folder = True, str(folder)
    widget.ui.applyButton.click()


def denoised(widget, shown, folder) -> str:
    start(widget, shown, folder)
    return settle(widget)


def means(sequence) -> list[float]:
    import slicer

    frames = [sequence.GetNthDataNode(number) for number in range(sequence.GetNumberOfDataNodes())]
    return [float(slicer.util.arrayFromVolume(frame).mean()) for frame in frames]


def shift(node, *by):
    matrix = np.eye(4)
    matrix[:3, 3] = by
    return builders.move(node, matrix)


def test_frames_in_bqml_come_back_in_bqml_with_the_window_of_the_scan_and_are_compared_in_suv(widget, tmp_path) -> None:
    from PETDiffusionDenoiseLib import results, review_content, units

    _, browser, shown, suvs = in_bqml(*[BQ_OF_SUV] * 3)
    shown.GetDisplayNode().SetAutoWindowLevel(False)
    shown.GetDisplayNode().SetWindowLevelMinMax(0.0, 30000.0)
    assert "3 frames" in denoised(widget, shown, tmp_path / "out")
    result = widget.panel.parameters.result
    assert (units.word(result), units.find(result).factor) == ("Bq/ml", 1 / BQ_OF_SUV)
    assert means(browser.GetSequenceNode(result)) == pytest.approx([BQ_OF_SUV * one.mean() for one in suvs], rel=0.1)
    assert result.GetDisplayNode().GetWindowLevelMax() == 30000.0
    found = results.of_denoised(result)
    assert [review_content.suv_in(found, node) for node in (shown, result)] == [1 / BQ_OF_SUV] * 2
    widget.ui.actionButton.click()
    review = widget.panel.review.review
    assert review.active and review.high == pytest.approx(6.0) and "SUV" in str(widget.ui.windowLabel.text)
    assert [node.GetDisplayNode().GetWindowLevelMax() for node in (shown, result)] == pytest.approx([30000.0] * 2)
    widget.panel.review.leave()


def test_each_frame_has_its_own_suv_factor(widget, tmp_path) -> None:
    from petdiffusion import read
    from PETDiffusionDenoiseLib import units

    node, browser, shown, suvs = in_bqml(BQ_OF_SUV, 1.3 * BQ_OF_SUV, 1.6 * BQ_OF_SUV)
    denoised(widget, shown, tmp_path / "out")
    handed = read.frames(tmp_path / "out" / "input" / "scan.mha")
    result = widget.panel.parameters.result
    sequence = browser.GetSequenceNode(result)
    for number in range(3):
        np.testing.assert_allclose(handed.frame(number).array, suvs[number], rtol=1e-5)
        browser.SetSelectedItemNumber(number)
        assert units.find(result).factor == units.find(shown).factor == units.find(node.GetNthDataNode(number)).factor
    np.testing.assert_allclose(means(sequence), means(node), rtol=0.1)


def test_a_volume_that_shows_a_frame_has_the_unit_of_that_frame(scene) -> None:
    from PETDiffusionDenoiseLib import units

    node, browser, shown, _ = in_bqml(*[BQ_OF_SUV] * 3)
    units.mark(node.GetNthDataNode(1), "SUVbw")
    said = []
    for number in range(3):
        browser.SetSelectedItemNumber(number)
        said.append(units.word(shown))
    assert said == ["Bq/ml", "SUV", "Bq/ml"]


def test_frames_in_a_scanners_own_scale_come_back_in_the_unit_that_it_tells(scene) -> None:
    """No word says what such values are: of 20 counts of 0.5 Bq/ml each, handed over as SUV, 10 Bq/ml come back."""
    from PETDiffusionDenoiseLib import dynamic_scan, units

    found, written = units.Unit(BQML, "from DICOM", 0.5, 0.01), np.full((1, 1, 1), 20 * 0.5 * 0.01, np.float32)
    scan = dynamic_scan.DynamicScan(None, None, ("0",), (None,), (found,), (found.to_suv,))
    assert scan.given_back(written, 0)[0, 0, 0] == pytest.approx(10.0)
    node = builders.pet(None)
    units.mark_as(node, found)
    assert (units.word(node), units.find(node).to_suv) == ("Bq/ml", 0.01)


@pytest.mark.parametrize("said", ["SUV", "no factor"])
def test_frames_in_several_units_are_refused(widget, tmp_path, said) -> None:
    from PETDiffusionDenoiseLib import units

    node, _, shown, _ = in_bqml(*[BQ_OF_SUV] * 3)
    if said == "SUV":
        units.mark(node.GetNthDataNode(1), "SUVbw")
    else:
        node.GetNthDataNode(1).RemoveAttribute(units.FACTOR_ATTRIBUTE)
    message = denoised(widget, shown, tmp_path / "out")
    wanted = "Frame 2: is in SUV, the first in Bq/ml" if said == "SUV" else "with an SUV factor and frames without"
    assert wanted in message and "choose the unit under 'Scans'" in message
    assert not (tmp_path / "out").exists() and widget.panel.parameters.result is None


def test_a_scan_under_a_transform_is_measured_where_it_is_shown_and_its_result_lies_there(widget, tmp_path) -> None:
    import SimpleITK as sitk

    _, _, shown = dynamic()
    masks = organs()
    for node in (shown, masks):
        shift(node, 40.0, 20.0, 0.0)
    widget.panel.parameters.choose_pet(shown)
    widget.panel.parameters.labels = masks
    assert "3 frames" in denoised(widget, shown, tmp_path / "out")
    files = [sitk.ReadImage(str(tmp_path / "out" / "input" / name)) for name in ("scan.mha", "labels.mha")]
    assert [file.GetOrigin()[:3] for file in files] == [pytest.approx((-51.0, -13.0, 23.0))] * 2
    result = widget.panel.parameters.result
    assert result.GetTransformNodeID() == shown.GetTransformNodeID()
    bounds = [[0.0] * 6 for _ in range(2)]
    for node, box in zip((shown, result), bounds):
        node.GetRASBounds(box)
    assert bounds[0] == pytest.approx(bounds[1], abs=1e-3)


def test_a_transform_that_bends_space_is_refused_in_scripts_too(logic, tmp_path) -> None:
    node, _, shown = dynamic()
    builders.bend(shown)
    with pytest.raises(GeometryError, match="bends space"):
        logic.denoiseFrames(node, str(tmp_path / "out"), "gaussian", labels=organs())


def test_the_result_goes_into_the_browser_of_the_volume_that_was_chosen(widget, tmp_path) -> None:
    import slicer
    from PETDiffusionDenoiseLib import results

    node, first, shown = dynamic()
    second = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", "Second")
    second.SetAndObserveMasterSequenceNodeID(node.GetID())
    chosen = second.GetProxyNode(node)
    shift(chosen, 5.0, 0.0, 0.0)
    assert "'Second' plays them" in denoised(widget, chosen, tmp_path / "out")
    result = widget.panel.parameters.result
    assert chosen is not shown and results.input_of(result) is chosen
    assert result.GetTransformNodeID() == chosen.GetTransformNodeID()
    assert second.IsProxyNodeID(result.GetID()) and not first.IsProxyNodeID(result.GetID())


def test_frames_of_a_sequence_that_was_changed_meanwhile_keep_their_moments_and_play_by_themselves(widget,
                                                                                                   tmp_path) -> None:
    from PETDiffusionDenoiseLib import frames_results, playing, results

    node, browser, shown = dynamic()
    before = means(node)
    start(widget, shown, tmp_path / "out")
    node.RemoveDataNodeAtValue("0.0")
    said = settle(widget)
    assert frames_results.CHANGED in said and "'Dynamic ü denoised browser' plays them" in said
    result = widget.panel.parameters.result
    assert not browser.IsProxyNodeID(result.GetID()) and results.input_of(result) is None
    sequence = playing.sequence_of(result)
    assert [float(sequence.GetNthIndexValue(number)) for number in range(3)] == list(STARTS)
    assert means(sequence) == pytest.approx(before, rel=0.1)


def test_some_frames_play_by_themselves_since_the_scan_shows_other_moments(logic, tmp_path) -> None:
    import slicer

    node, browser, shown = dynamic()
    nodes = logic.denoiseFrames(node, str(tmp_path / "out"), "gaussian", each=True, frames="2-3")
    assert nodes.browser is not browser and nodes.browser.GetNumberOfItems() == 2
    assert means(nodes.denoised) == pytest.approx(means(node)[1:], rel=0.1)
    assert [float(nodes.denoised.GetNthIndexValue(number)) for number in range(2)] == list(STARTS[1:])
    window = [one.GetDisplayNode().GetWindowLevelMax() for one in (nodes.result.denoised, shown)]
    assert window[0] == window[1] and slicer.mrmlScene.IsNodePresent(nodes.result.denoised)


def test_one_frame_of_a_loaded_scene_is_denoised_in_its_unit(logic, tmp_path) -> None:
    """The file of a sequence keeps the attributes of a frame, and not its entry of the unit."""
    import bundle
    import slicer
    from PETDiffusionDenoiseLib import units

    dynamic()
    bundle.save(tmp_path / "case.mrb")
    bundle.load(tmp_path / "case.mrb", tmp_path / "cache")
    (browser,) = slicer.util.getNodesByClass("vtkMRMLSequenceBrowserNode")
    shown = browser.GetProxyNode(browser.GetMasterSequenceNode())
    result = logic.denoise(shown, "gaussian", fwhm_mm=6.0).denoised
    assert units.word(result) == "SUV" and units.find(result).suv_known


def test_a_word_alone_is_handed_on_with_its_thousands(scene) -> None:
    from PETDiffusionDenoiseLib import units

    pet, result = builders.pet(None), builders.pet(None, "result")
    units.mark(pet, BQML, 2e-4, 1e3)
    units.copy(result, pet, units.find(pet))
    assert (units.word(result), units.find(result).to_suv) == ("kBq/ml", pytest.approx(0.2))


def test_a_folder_that_cannot_be_made_is_refused_with_a_remedy(widget, logic, tmp_path) -> None:
    node, _, shown = dynamic()
    file = tmp_path / "file"
    file.write_text("x")
    given = widget.panel.parameters
    given.choose_pet(shown)
    given.all_frames, given.frames_folder = True, str(file)
    assert "is a file: choose a folder" in str(widget.ui.reasonLabel.text) and not widget.ui.applyButton.enabled
    for folder in (file, file / "sub"):
        with pytest.raises(OutputError, match=r"cannot be written to.*Choose another folder"):
            logic.denoiseFrames(node, str(folder), "gaussian")


def test_images_that_cannot_be_written_are_a_refusal_too(logic, tmp_path) -> None:
    node, _, _ = dynamic()
    (tmp_path / "out" / "input" / "scan.mha").mkdir(parents=True)
    (tmp_path / "out" / "input" / "written-by-petdiffusion.txt").write_text("ours")
    with pytest.raises(OutputError, match=r"could not be handed to the backend.*Make space on the disk"):
        logic.denoiseFrames(node, str(tmp_path / "out"), "gaussian")


def test_a_folder_field_that_was_emptied_asks_for_a_folder_again(widget, tmp_path) -> None:
    given = widget.panel.parameters
    given.choose_pet(dynamic()[2])
    widget.ui.framesCheck.click()
    widget.ui.framesFolder.currentPath = str(tmp_path / "out")
    assert given.frames_folder == str(tmp_path / "out") and widget.ui.applyButton.enabled
    widget.ui.framesFolder.currentPath = ""
    assert given.frames_folder == "" and not widget.ui.applyButton.enabled
    assert "folder" in str(widget.ui.reasonLabel.text)


def test_a_full_folder_is_refused_in_words_of_the_panel(widget, tmp_path) -> None:
    _, _, shown = dynamic()
    denoised(widget, shown, tmp_path / "out")
    said = denoised(widget, shown, tmp_path / "out")
    assert "--" not in said and "remove what is in it (in a script: overwrite=True)" in said


def test_the_record_in_the_scene_names_the_node_and_no_path_of_this_computer(logic, tmp_path) -> None:
    from PETDiffusionDenoiseLib import results

    node, _, _ = dynamic()
    nodes = logic.denoiseFrames(node, str(tmp_path / "out"), "gaussian", each=True)
    frame = nodes.denoised.GetNthDataNode(1)
    record = json.loads(frame.GetAttribute(results.RECORD))
    assert record["source"]["pet"] == "node 'Dynamic ü'" and record["source"]["sha256"]
    assert str(tmp_path) not in frame.GetAttribute(results.RECORD)
    scan = tmp_path / "out" / "input" / "scan.mha"
    assert str(scan) in (tmp_path / "out" / "dynamic.json").read_text(encoding="utf-8"), "the folder's own has it"
    again = logic.denoiseFrames(str(scan), str(tmp_path / "two"), "gaussian", each=True)
    assert again.result.record["source"]["pet"] == "scan.mha"


def test_frames_on_several_grids_are_refused(logic, tmp_path) -> None:
    import slicer

    def moved(*origin):
        matrix = slicer.util.vtkMatrixFromArray(builders.oblique(origin=origin))
        node.GetNthDataNode(1).SetIJKToRASMatrix(matrix)

    node, _, _ = dynamic()
    moved(0.0, 0.0, 0.0)
    with pytest.raises(InputError, match="lie on different grids"):
        logic.denoiseFrames(node, str(tmp_path / "out"), "gaussian")
    moved(11.0, -7.0, 23.01)  # a rounding apart
    assert logic.denoiseFrames(node, str(tmp_path / "out"), "gaussian", each=True).denoised is not None


def test_an_index_of_words_comes_back_as_words(logic, tmp_path) -> None:
    node, browser, _ = dynamic()
    node.SetIndexType(node.TextIndex)
    nodes = logic.denoiseFrames(node, str(tmp_path / "out"), "gaussian", each=True)
    assert nodes.denoised.GetIndexType() == node.TextIndex and nodes.browser is browser
    assert [nodes.denoised.GetNthIndexValue(n) for n in range(3)] == [node.GetNthIndexValue(n) for n in range(3)]


def test_a_sequence_of_one_volume_offers_no_frames(scene) -> None:
    import slicer
    from PETDiffusionDenoiseLib import playing

    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceNode", "One")
    node.SetDataNodeAtValue(builders.pet(), "0")
    browser = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", "Player")
    browser.SetAndObserveMasterSequenceNodeID(node.GetID())
    assert browser.GetProxyNode(node) is not None and playing.sequence_of(browser.GetProxyNode(node)) is None


def test_what_the_panel_says_of_a_scan_goes_along_and_nothing_that_the_method_does_not_use(widget, tmp_path) -> None:
    from petdiffusion import read, registry
    from PETDiffusionDenoiseLib import sequences

    _, _, shown = dynamic(unit=False)
    given = widget.panel.parameters
    given.choose_pet(shown)
    given.unit, given.suv_factor, given.seed = BQML, 0.5, 7
    given.ct, given.mr, given.labels = builders.ct(), builders.pet(name="MR"), organs()
    given.all_frames, given.frames_folder = True, str(tmp_path / "out")
    for method in ("gaussian", "csrd"):
        given.frames_folder = str(tmp_path / method)
        words = sequences.job_of(given, method, {}, "", widget.panel.setup.backend)._words()
        assert "--seed=7" in words and "--labels" in words
        assert {kind for kind in ("ct", "mr") if f"--{kind}" in words} == {
            kind for kind in ("ct", "mr") if registry.card(method).uses(kind)}
        handed = read.frames(Path(given.frames_folder) / "input" / "scan.mha")
        np.testing.assert_allclose(handed.frame(0).array, 0.5 * builders.pet_array(0), rtol=1e-6)


def regions(*several):
    """Rows of two frames for regions (kind, number, name, volume)."""
    return [{"frame": f"frame_{frame}", "kind": kind, "number": number, "region": name, "volume_ml": volume,
             "mean_low": 1.0, "mean_denoised": 1.0} for frame in (1, 2) for kind, number, name, volume in several]


def test_the_largest_lesions_are_in_the_chart_and_regions_of_one_name_are_told_apart(scene) -> None:
    from PETDiffusionDenoiseLib import curves

    lesions = [("lesion", number, f"lesion {number}", volume) for number, volume in
               enumerate((3.0, 9.0, 1.0, 8.0, 7.0, 2.0, 6.0), start=1)]  # fmt: skip
    chart = curves.add_chart(regions(*lesions, ("organ", 1, "node", 5.0), ("organ", 2, "node", 4.0)), "curves")
    names = [chart.GetNthPlotSeriesNode(n).GetYColumnName() for n in range(chart.GetNumberOfPlotSeriesNodes())]
    wanted = ["Lesion 1", "Lesion 2", "Lesion 4", "Lesion 5", "Lesion 7", "Node (1)", "Node (2)"]
    assert names == [name + after for name in wanted for after in ("", curves.BEFORE)]


def test_without_a_word_on_the_unit_frames_are_refused_with_what_to_say(logic, tmp_path) -> None:
    node, _, _ = dynamic(unit=False)
    for number in range(3):
        frame = node.GetNthDataNode(number)
        frame.SetVoxelValueUnits(None)
        frame.RemoveAttribute("PETDiffusion.Unit")
    with pytest.raises(UnitError, match="In the panel choose the unit under 'Scans'; in a script give unit_choice"):
        logic.denoiseFrames(node, str(tmp_path / "out"), "gaussian")


def test_a_moment_that_a_sequence_has_no_frame_of_says_no_unit(scene) -> None:
    """An index of words has no nearest value."""
    import slicer
    from PETDiffusionDenoiseLib import units

    def of_words(name, words):
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceNode", name)
        node.SetIndexType(node.TextIndex)
        for number, word in enumerate(words):
            frame = builders.pet(name="frame", seed=number)
            node.SetDataNodeAtValue(frame, word)
            slicer.mrmlScene.RemoveNode(frame)
        return node

    master, pet = of_words("Master", "abc"), of_words("PET", "xy")
    browser = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", "Player")
    browser.SetAndObserveMasterSequenceNodeID(master.GetID())
    shown = browser.AddProxyNode(pet.GetNthDataNode(0), pet, True)
    shown.SetVoxelValueUnits(None)
    shown.RemoveAttribute(units.UNIT_ATTRIBUTE)
    assert units.word(shown) == "" and units.find(shown).unit is None
