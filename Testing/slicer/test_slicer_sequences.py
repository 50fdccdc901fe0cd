"""A dynamic PET in the scene: a sequence out to the real backend, and the denoised one back."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from petdiffusion import read
from petdiffusion.errors import Cancelled, InputError, OptionError, OutputError
from support import dicom_factory as factory
from support.dynamic_dicom import dynamic

STARTS = (0.0, 60.0, 180.0)


@pytest.fixture
def logic(scene):
    import PETDiffusionDenoise

    return PETDiffusionDenoise.PETDiffusionDenoiseLogic()


def sequence(starts=STARTS, unit="s", name="Dynamic ü"):
    """Three frames in SUV, twice the activity in each as in the one before; the index says when each began."""
    import builders
    import slicer
    from petdiffusion.volume import SUVBW
    from PETDiffusionDenoiseLib import units

    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceNode", name)
    node.SetIndexName("time")
    node.SetIndexUnit(unit)
    for number, start in enumerate(starts):
        frame = builders.pet(name="frame", seed=number)
        slicer.util.updateVolumeFromArray(frame, builders.pet_array(number) * np.float32(2**number))
        node.SetDataNodeAtValue(frame, str(start))
        slicer.mrmlScene.RemoveNode(frame)
        units.mark(node.GetNthDataNode(number), SUVBW)  # a sequence takes a copy without it
    return node


def arrays(node):
    import slicer.util

    return [slicer.util.arrayFromVolume(node.GetNthDataNode(n)) for n in range(node.GetNumberOfDataNodes())]


def test_a_sequence_comes_back_as_a_sequence(logic, tmp_path) -> None:
    import slicer.util
    from PETDiffusionDenoiseLib import scene, units

    given = sequence()
    nodes = logic.denoiseFrames(given, str(tmp_path / "out"), "gaussian", labels=organs(), each=True)
    denoised = arrays(nodes.denoised)
    assert len(denoised) == 3 and nodes.denoised.GetName() == "Dynamic ü denoised"
    assert [nodes.denoised.GetNthIndexValue(n) for n in range(3)] == ["0.0", "60.0", "180.0"]
    assert nodes.denoised.GetIndexUnit() == "s"
    assert nodes.browser.GetMasterSequenceNode().GetID() == nodes.denoised.GetID()
    for number, (before, after) in enumerate(zip(arrays(given), denoised)):
        assert after.std() < 0.8 * before.std()
        assert after.mean() == pytest.approx(before.mean(), rel=0.1)
        old, new = given.GetNthDataNode(number), nodes.denoised.GetNthDataNode(number)
        assert np.allclose(scene.matrix_of(new), scene.matrix_of(old), atol=1e-3)
        assert units.word(new) == "SUV"
    assert nodes.time_activity.GetTable().GetNumberOfRows() == 3
    assert Path(nodes.files["report"]).is_file() and Path(nodes.files["denoised"]).is_file()
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") == 2  # labels, and what plays the frames


def test_a_file_is_taken_as_it_is_and_an_index_that_only_counts_is_no_time(logic, tmp_path) -> None:
    first = logic.denoiseFrames(sequence((0, 1, 2)), str(tmp_path / "one"), "gaussian", each=True)
    assert [first.denoised.GetNthIndexValue(n) for n in range(3)] == ["0", "1", "2"]
    scan = tmp_path / "one" / "input" / "scan.mha"
    again = logic.denoiseFrames(str(scan), str(tmp_path / "two"), "gaussian", each=True)
    for one, other in zip(arrays(first.denoised), arrays(again.denoised)):
        np.testing.assert_array_equal(one, other)
    assert again.denoised.GetName() == "scan denoised" and again.denoised.GetIndexName() == "frame"


def test_a_dicom_folder_in_bqml_comes_back_in_bqml_with_the_way_to_suv(logic, tmp_path) -> None:
    from PETDiffusionDenoiseLib import units

    folder, series = dynamic(tmp_path)
    nodes = logic.denoiseFrames(str(folder), str(tmp_path / "out"), "gaussian", each=True)
    for number, one in enumerate(series):
        node = nodes.denoised.GetNthDataNode(number)
        assert arrays(nodes.denoised)[number].mean() == pytest.approx(one.array.mean(), rel=0.3)
        found = units.find(node)
        assert units.word(node) == "Bq/ml" and (found.unit, found.scale) == ("Bq/ml", 1.0)
        waited = 2 ** (3600 / factory.HALF_LIFE_S)  # injected an hour before the scan
        assert found.factor == pytest.approx(waited * 1000 * factory.WEIGHT_KG / factory.DOSE_BQ, rel=1e-3)


@pytest.mark.parametrize(("factor", "written"), [(0.0, 1000.0), (0.002, 2.0)])
def test_a_sequence_in_thousands_reaches_the_backend_in_the_unit_that_its_file_says(logic, tmp_path, factor,
                                                                                    written) -> None:  # fmt: skip
    from PETDiffusionDenoiseLib import units

    given = sequence()
    nodes = logic.denoiseFrames(given, str(tmp_path / "out"), "gaussian", each=True, unit_choice="kBq/ml",
                                suv_factor=factor)  # fmt: skip
    handed = read.frames(tmp_path / "out" / "input" / "scan.mha")
    for number, (before, after) in enumerate(zip(arrays(given), arrays(nodes.denoised))):
        np.testing.assert_allclose(handed.frame(number).array, written * before, rtol=1e-6)
        assert after.mean() == pytest.approx(before.mean(), rel=0.1)
        denoised = nodes.denoised.GetNthDataNode(number)
        assert units.word(denoised) == "kBq/ml" and units.find(denoised).to_suv == (written if factor else None)


def organs():
    import builders

    return builders.node_of(np.where(builders.pet_array() > 1, 1, 0).astype(np.int16), "organs",
                            kind="vtkMRMLLabelMapVolumeNode")  # fmt: skip


def test_what_is_handed_over_replaces_no_file_of_the_user(logic, tmp_path) -> None:
    import builders

    own = [tmp_path / f"{name}.mha" for name in ("scan", "labels", "lesions", "ct", "mr")]
    for file in own:
        file.write_text("mine")
    masks = {"labels": organs(), "lesions": organs(), "ct": builders.ct(), "mr": builders.pet(name="MR")}
    logic.denoiseFrames(sequence(), str(tmp_path), "gaussian", each=True, **masks)
    assert {file.read_text() for file in own} == {"mine"}
    theirs = tmp_path / "other" / "input" / "labels.mha"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("mine")
    with pytest.raises(OutputError, match="was there before"):
        logic.denoiseFrames(sequence(), str(tmp_path / "other"), "gaussian", labels=masks["labels"])
    assert theirs.read_text() == "mine" and list(theirs.parent.iterdir()) == [theirs]


def test_a_run_that_was_stopped_goes_on_with_what_was_handed_over_before(logic, tmp_path) -> None:
    given = {"labels": organs(), "each": True}
    logic.denoiseFrames(sequence(), str(tmp_path), "gaussian", **given)
    for name in ("dynamic.json", "denoised.nii.gz", "denoised.json", "report.html", "tables/frames.csv",
                 "tables/time_activity.csv"):  # fmt: skip
        (tmp_path / name).unlink()
    done = {file: file.stat().st_mtime_ns for file in (tmp_path / "frames").rglob("record.json")}
    logic.denoiseFrames(sequence(), str(tmp_path), "gaussian", **given)
    assert len(done) == 3 and {file: file.stat().st_mtime_ns for file in done} == done


def test_the_index_is_a_time_unless_it_may_only_count(scene) -> None:
    """Slicer calls an index that counts seconds too; nobody counts in minutes."""
    from PETDiffusionDenoiseLib import dynamic_scan

    def starts(*index, unit):
        return dynamic_scan.times(sequence(index, unit=unit)).get("FrameTimesStart")

    assert starts(0.0, 2500.0, 9000.0, unit="ms") == [0.0, 2.5, 9.0]
    assert starts(5.0, 7.5, 9.0, unit="mm") is None
    assert starts(0, 1, 2, unit="min") == [0.0, 60.0, 120.0] and starts(1, 2, 3, unit="min") == [60.0, 120.0, 180.0]
    for unit in ("s", "ms"):
        assert starts(0, 1, 2, unit=unit) is None and starts(1, 2, 3, unit=unit) is None


def test_frames_that_began_close_together_come_back_apart(logic, tmp_path) -> None:
    from PETDiffusionDenoiseLib import frames_results

    given = sequence((100000.1, 100000.4, 100000.9))
    nodes = logic.denoiseFrames(given, str(tmp_path / "out"), "gaussian", each=True)
    assert [nodes.denoised.GetNthIndexValue(n) for n in range(3)] == ["100000.1", "100000.4", "100000.9"]
    # of two that began at one moment an index of times would keep one
    assert frames_results._times([{"start_s": 0.0}, {"start_s": 60.0}, {"start_s": 60.0}]) is None


def test_units_that_are_not_known_are_asked_for(logic, tmp_path) -> None:
    from petdiffusion.errors import UnitError
    from PETDiffusionDenoiseLib import units

    given = sequence()
    for number in range(3):
        given.GetNthDataNode(number).SetVoxelValueUnits(None)
        given.GetNthDataNode(number).RemoveAttribute(units.UNIT_ATTRIBUTE)
    with pytest.raises(UnitError, match="unit_choice"):
        logic.denoiseFrames(given, str(tmp_path / "out"), "gaussian")
    nodes = logic.denoiseFrames(given, str(tmp_path / "out"), "gaussian", each=True, unit_choice="SUVbw")
    assert len(arrays(nodes.denoised)) == 3


def test_a_volume_that_shows_a_frame_stands_for_its_sequence(logic, tmp_path) -> None:
    """Slicer gives it the sequence's name, and `getNode` of that name the volume."""
    import dynamics
    import slicer.util
    from PETDiffusionDenoiseLib import sequences

    node, _, _ = dynamics.dynamic("Sequence")
    other = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", "Another player")
    other.SetAndObserveMasterSequenceNodeID(node.GetID())
    shown = other.GetProxyNode(node)
    assert slicer.util.getNode("Sequence").GetClassName() == shown.GetClassName() == "vtkMRMLScalarVolumeNode"
    job = sequences.FramesJob(shown, str(tmp_path / "out"), "gaussian")
    assert job._shown is shown, "under whose transform the frames are"
    nodes = logic.denoiseFrames(slicer.util.getNode("Sequence"), str(tmp_path / "out"), "gaussian", each=True)
    assert len(arrays(nodes.denoised)) == 3 and nodes.denoised.GetName() == "Sequence denoised"


def test_what_is_no_dynamic_pet_is_refused(logic, tmp_path) -> None:
    import builders

    with pytest.raises(InputError, match="neither a sequence node nor a path"):
        logic.denoiseFrames(None, str(tmp_path / "out"))
    # as its name gives it, so getNode of that name is no remedy
    with pytest.raises(InputError, match=r"'PET'.*shows no frame of a sequence.*getFirstNodeByClassByName"):
        logic.denoiseFrames(builders.pet(), str(tmp_path / "out"))
    with pytest.raises(InputError, match="two or more volumes"):
        logic.denoiseFrames(sequence((0.0,)), str(tmp_path / "out"), "gaussian")
    with pytest.raises(OptionError, match="fwhm"):
        logic.denoiseFrames(sequence(), str(tmp_path / "out"), "gaussian", fwhm=3)
    with pytest.raises(InputError, match="sequence, or give the path of a mask"):
        logic.denoiseFrames("dynamic.nii.gz", str(tmp_path / "out"), "gaussian", labels=builders.pet())
    assert not (tmp_path / "out" / "frames").exists()


def test_it_runs_beside_the_application_and_can_be_cancelled(logic, tmp_path) -> None:
    import slicer

    job = logic.denoiseFrames(sequence(), str(tmp_path / "out"), "gaussian", waitForCompletion=False)
    ended = []
    job.ended.connect(ended.append)
    job.cancel()
    deadline = time.monotonic() + 60
    while not ended and time.monotonic() < deadline:
        slicer.app.processEvents()
        time.sleep(0.02)
    assert ended == [None] and not job.running
    with pytest.raises(Cancelled):
        _interrupted(logic, tmp_path)


def _interrupted(logic, tmp_path):
    from PETDiffusionDenoiseLib import sequences

    start = sequences.FramesJob.start
    try:
        sequences.FramesJob.start = lambda self: (start(self), self.cancel())
        logic.denoiseFrames(sequence(), str(tmp_path / "out"), "gaussian")
    finally:
        sequences.FramesJob.start = start
