"""From nodes to nodes through a child process, with a backend that succeeds or fails in every way."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from petdiffusion.errors import OptionError, PETDiffusionError, UnitError
from petdiffusion.volume import BQML, SUVBW

FAKE = Path(__file__).resolve().with_name("fake_backend")


@pytest.fixture
def setting(scene, monkeypatch):
    import cards

    cards.use(monkeypatch)

    def choose(mode: str):
        from PETDiffusionDenoiseLib import backend

        monkeypatch.setenv("FAKE_BACKEND", mode)
        return backend.Backend("", FAKE)

    return choose


def temporary_files() -> list[Path]:
    import slicer

    return list(Path(slicer.app.temporaryPath).glob("PETDiffusion-*"))


def run(python, pet, method="smooth", **given):
    from PETDiffusionDenoiseLib import jobs

    job = jobs.DenoiseJob(jobs.request_of(pet, method, **given), python)
    job.start()
    return job.wait()


def values(node):
    import slicer.util

    return slicer.util.arrayFromVolume(node)


def nodes_in_scene() -> set[str]:
    import slicer.util

    return {node.GetID() for node in slicer.util.getNodesByClass("vtkMRMLNode")}


def test_a_run_brings_everything_into_the_scene_and_leaves_no_file(setting) -> None:
    import builders

    pet = builders.pet()
    nodes = run(setting("success"), pet)
    assert np.allclose(values(nodes.denoised), builders.pet_array() * 0.5, rtol=1e-6)
    assert np.allclose(values(nodes.uncertainty), builders.pet_array() * 0.1, rtol=1e-6)
    assert np.allclose(values(nodes.difference), builders.pet_array() * -0.5, rtol=1e-6)
    assert nodes.lesions.GetSegmentation().GetNthSegment(0).GetName() == "Lesion 1"
    assert set(nodes.tables) == {"lesions", "image"} and nodes.warnings == ("A warning.",)
    assert nodes.denoised.GetAttribute("PETDiffusion.Version") == "9.9"
    assert nodes.record["request"]["pet"] == "node 'PET'"
    assert temporary_files() == []


def test_whatever_a_method_explains_itself_with_comes_too(setting) -> None:
    import builders
    from PETDiffusionDenoiseLib import results, tables

    nodes = run(setting("explains"), builders.pet())
    assert set(nodes.extras) == {"grad_cam"}
    assert np.allclose(values(nodes.extras["grad_cam"]), builders.pet_array() * 0.2, rtol=1e-6)
    assert nodes.extras["grad_cam"].GetDisplayNode().GetColorNode().GetName().startswith("PETDiffusion")
    assert [row["z_mm"] for row in tables.rows_of(nodes.tables["prompts"])] == [0.0, 40.0, 80.0]
    found = results.of_denoised(nodes.denoised)
    assert set(found.extras) == {"grad_cam"} and "prompts" in found.tables


def test_a_patient_without_lesions_can_be_measured_but_not_one_without_organs(setting) -> None:
    import builders
    import slicer

    pet, python = builders.pet(), setting("success")
    empty = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Empty")
    assert "--lesions" in run(python, pet, lesions=empty).record["argv"]
    with pytest.raises(PETDiffusionError, match="has no segments"):
        run(python, pet, labels=empty)


def test_masks_that_were_given_do_not_come_back_as_found_ones(setting) -> None:
    import builders
    from PETDiffusionDenoiseLib import scene as volumes

    pet = builders.pet()
    lesions = builders.node_of((builders.pet_array() > 4).astype(np.int16), "Mine", kind=volumes.LABELS)
    assert run(setting("success"), pet, lesions=lesions).lesions is None
    assert run(setting("success"), pet).lesions is not None


def test_organs_that_a_method_draws_itself_come_beside_those_that_were_given(setting, monkeypatch) -> None:
    from dataclasses import replace

    import builders
    import cards
    from PETDiffusionDenoiseLib import scene as volumes

    pet, python = builders.pet(), setting("draws")
    labels = builders.node_of((builders.pet_array() > 2).astype(np.int16), "Mine", kind=volumes.LABELS)
    assert run(python, pet, labels=labels).organs is None, "measured with, and there already"
    monkeypatch.setitem(cards.ALL, "smooth", replace(cards.SMOOTH, outputs=("denoised", "organs")))
    assert run(python, pet, labels=labels).organs is not None


def test_only_the_outputs_that_were_asked_for_come(setting) -> None:
    import builders

    nodes = run(setting("success"), builders.pet(), outputs=frozenset({"tables"}))
    assert nodes.uncertainty is nodes.lesions is nodes.difference is None and nodes.tables


def test_a_region_is_denoised_and_the_rest_stays(setting) -> None:
    import builders
    from PETDiffusionDenoiseLib import scene as volumes

    matrix = builders.oblique(degrees=(0, 0, 0))
    pet = builders.pet(matrix=matrix)
    ends = [matrix @ [2, 3, 4, 1], matrix @ [6, 9, 8, 1]]
    region = builders.roi(np.minimum(*ends)[:3], np.maximum(*ends)[:3])
    nodes = run(setting("success"), pet, region=region)
    box, low = volumes.region_of(region, volumes.geometry_of(pet)), builders.pet_array()
    expected = low.copy()
    expected[box] *= 0.5
    assert np.allclose(values(nodes.denoised), expected, rtol=1e-6)
    assert np.count_nonzero(values(nodes.uncertainty)) == np.count_nonzero(low[box])


def test_a_moved_pet_gives_a_result_in_the_same_place(setting) -> None:
    import builders
    from PETDiffusionDenoiseLib import scene as volumes

    pet = builders.pet()
    builders.move(pet, builders.oblique(spacing=(1, 1, 1), degrees=(15.0, 40.0, 0.0)))
    nodes = run(setting("success"), pet)
    assert volumes.geometry_of(nodes.denoised) == volumes.geometry_of(pet)


@pytest.mark.parametrize(
    "unit, factor, method, words, handed",
    [
        (SUVBW, 0.0, "smooth", "--unit=SUVbw", 1.0),
        (BQML, 2e-4, "smooth", "--unit=SUVbw", 2e-4),
        (BQML, 0.0, "smooth", "--unit=Bq/ml", 1.0),
        (BQML, 2e-4, "diffuse", "--unit=SUVbw", 2e-4),
    ],
)
def test_the_backend_gets_suv_where_it_can_and_the_node_keeps_its_unit(
    setting, unit, factor, method, words, handed
) -> None:
    import builders
    import slicer
    from PETDiffusionDenoiseLib import exchange, jobs

    pet = builders.pet(unit)
    nodes = run(setting("success"), pet, method, suv_factor=factor)
    assert words in nodes.record["argv"]
    assert np.allclose(values(nodes.denoised), builders.pet_array() * 0.5, rtol=1e-5)
    assert nodes.denoised.GetVoxelValueUnits().GetCodeValue() == pet.GetVoxelValueUnits().GetCodeValue()
    request = jobs.request_of(pet, method, suv_factor=factor)
    folder = Path(slicer.app.temporaryPath)
    written = exchange.write(request.sources, folder, request.card.needs_suv, ())
    import SimpleITK as sitk

    assert np.allclose(sitk.GetArrayFromImage(sitk.ReadImage(written.pet)), builders.pet_array() * handed, rtol=1e-6)
    assert written.unit in words


@pytest.mark.parametrize(
    "unit, method, words",
    [(None, "smooth", "neither the volume nor DICOM"), (BQML, "diffuse", "SUV factor is not known")],
)
def test_an_unclear_unit_is_refused_before_anything_starts(setting, unit, method, words) -> None:
    import builders

    pet = builders.pet(unit)
    before = nodes_in_scene()
    with pytest.raises(UnitError, match=words):
        run(setting("success"), pet, method)
    assert temporary_files() == [] and nodes_in_scene() == before


def test_the_reference_is_brought_to_the_unit_of_the_pet(setting) -> None:
    import builders
    import SimpleITK as sitk
    import slicer
    from PETDiffusionDenoiseLib import exchange, units

    pet, reference = builders.pet(SUVBW), builders.pet(BQML, "Normal dose", seed=3)
    units.mark(reference, BQML, 0.01)
    handed = exchange.write(
        exchange.Sources(pet, reference=reference), Path(slicer.app.temporaryPath), False, ("reference",)
    )
    array = sitk.GetArrayFromImage(sitk.ReadImage(handed.files["reference"]))
    assert np.allclose(array, builders.pet_array(3) * 0.01, rtol=1e-6)


def test_a_reference_has_the_unit_that_the_user_said_and_its_own_factor(setting) -> None:
    """Another dose was given for it: the factor of the low-count PET is not its own."""
    import builders
    import SimpleITK as sitk
    import slicer
    from PETDiffusionDenoiseLib import exchange, units

    pet, reference = builders.pet(None), builders.pet(None, "Normal dose", seed=3)
    for node, factor in ((pet, "0.01"), (reference, "0.02")):
        node.SetAttribute(units.FACTOR_ATTRIBUTE, factor)
    sources = exchange.Sources(pet, reference=reference, unit_choice=BQML)
    handed = exchange.write(sources, Path(slicer.app.temporaryPath), False, ("reference",))
    array = sitk.GetArrayFromImage(sitk.ReadImage(handed.files["reference"]))
    assert np.allclose(array, builders.pet_array(3) * 0.02, rtol=1e-6)


def test_what_was_handed_over_is_read_by_the_backend_as_meant(setting) -> None:
    """The other end is the real reader: grid, unit, label names."""
    import builders
    import slicer
    from petdiffusion import read
    from PETDiffusionDenoiseLib import exchange
    from PETDiffusionDenoiseLib import scene as volumes

    pet = builders.pet()
    labels = np.zeros(builders.SHAPE, np.uint8)
    labels[builders.LIVER] = 1
    organs = builders.node_of(labels, "organs", kind="vtkMRMLLabelMapVolumeNode")
    handed = exchange.write(
        exchange.Sources(pet, ct=builders.ct(), labels=organs), Path(slicer.app.temporaryPath), False, ("ct", "labels")
    )
    image = read.image(handed.pet, "pet", unit=handed.unit)
    assert np.array_equal(image.array, builders.pet_array()) and image.unit == SUVBW
    assert image.geometry.close_to(volumes.geometry_of(pet))
    assert read.image(handed.files["ct"], "ct").geometry.close_to(volumes.geometry_of(pet))
    assert read.labels(handed.files["labels"]).present().keys() == {1}


@pytest.mark.parametrize(
    "mode",
    [
        "named_error",
        "garbage",
        "out_of_memory",
        "crash",
        "nothing",
        "wrong_grid",
        "half_a_result",
        "not_numbers",
        "missing_package",
    ],
)
def test_a_failed_run_leaves_the_scene_and_the_disk_as_they_were(setting, mode) -> None:
    import builders
    from PETDiffusionDenoiseLib.process import Failure

    pet = builders.pet()
    before = nodes_in_scene()
    outcome = run(setting(mode), pet)
    assert isinstance(outcome, Failure) and outcome.what and outcome.remedy
    assert nodes_in_scene() == before and temporary_files() == []


def test_a_crash_after_the_result_takes_nothing_away(setting) -> None:
    import builders

    assert run(setting("crash_after_result"), builders.pet()).denoised is not None


def test_a_cancelled_run_leaves_nothing(setting) -> None:
    import builders
    from PETDiffusionDenoiseLib import jobs

    pet = builders.pet()
    before = nodes_in_scene()
    job = jobs.DenoiseJob(jobs.request_of(pet, "smooth"), setting("hang"))
    seen = []
    job.stage.connect(lambda text: (seen.append(text), job.cancel()))
    job.start()
    assert job.wait() is None and seen == ["Denoising: fake"]
    assert nodes_in_scene() == before and temporary_files() == []


def test_the_input_may_be_removed_while_the_job_runs(setting) -> None:
    import builders
    import slicer
    from PETDiffusionDenoiseLib import jobs

    pet = builders.pet()
    job = jobs.DenoiseJob(jobs.request_of(pet, "smooth"), setting("success"))
    job.start()
    slicer.mrmlScene.RemoveNode(pet)
    assert "removed" in str(job.wait())


def test_the_input_may_be_replaced_by_another_grid_while_the_job_runs(setting) -> None:
    import builders
    import slicer.util
    from PETDiffusionDenoiseLib import jobs

    pet = builders.pet()
    job = jobs.DenoiseJob(jobs.request_of(pet, "smooth"), setting("success"))
    job.start()
    slicer.util.updateVolumeFromArray(pet, np.zeros((3, 3, 3), np.float32))
    before = nodes_in_scene()
    assert "Keep the input unchanged" in str(job.wait())
    assert nodes_in_scene() == before


def test_paths_with_spaces_and_letters_of_other_scripts_work(setting, tmp_path, monkeypatch) -> None:
    import builders
    import slicer

    folder = tmp_path / "Étude Ω 研究 with spaces"
    folder.mkdir()
    monkeypatch.setattr(type(slicer.app), "temporaryPath", property(lambda self: str(folder)))
    assert run(setting("success"), builders.pet(name="PÉT ü")).denoised is not None
    assert list(folder.iterdir()) == []


def test_an_unknown_option_is_an_error_before_the_start(setting) -> None:
    import builders

    with pytest.raises(OptionError, match="Did you mean 'fwhm'"):
        run(setting("success"), builders.pet(), fwmh=3.0)


def test_a_failure_becomes_the_named_error_of_a_script() -> None:
    from petdiffusion.errors import ModelError
    from PETDiffusionDenoiseLib import jobs
    from PETDiffusionDenoiseLib.process import Failure

    assert isinstance(jobs.as_error(Failure("ModelError", "a", "b", "c")), ModelError)
    for odd in ("Crash", "annotations", "", "np"):
        assert type(jobs.as_error(Failure(odd, "a", "b", "c"))) is PETDiffusionError


def test_a_file_that_is_still_held_for_a_moment_is_removed_all_the_same(setting, monkeypatch) -> None:
    """As on Windows, by the process that was just ended."""
    import builders
    from PETDiffusionDenoiseLib import child

    real, refused = child.shutil.rmtree, []

    def rmtree(folder, **how):
        if len(refused) < 3:
            refused.append(folder)
        else:
            real(folder, **how)

    monkeypatch.setattr(child.shutil, "rmtree", rmtree)
    run(setting("success"), builders.pet())
    assert len(refused) == 3 and temporary_files() == []


def test_scans_that_a_slicer_left_behind_are_removed_by_the_next_and_those_of_a_living_one_are_not(setting) -> None:
    import builders
    import psutil
    import slicer

    gone = max(psutil.pids()) + 100_000
    names = [f"PETDiffusion-{gone}-abc", f"PETDiffusion-{os.getppid()}-abc", "PETDiffusion-ofsomeone"]
    for name in names:
        (Path(slicer.app.temporaryPath) / name).mkdir()
        (Path(slicer.app.temporaryPath) / name / "pet.mha").write_bytes(b"patient data")
    try:
        run(setting("success"), builders.pet())
        assert sorted(folder.name for folder in temporary_files()) == sorted(names[1:])
    finally:
        for folder in temporary_files():
            shutil.rmtree(folder)
