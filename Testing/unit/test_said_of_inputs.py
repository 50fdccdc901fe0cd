"""What is told of what was given: impossible SUVs, unused images, empty findings, where a scan comes from."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import petdiffusion
import pytest
from petdiffusion import measure, quantifying, read
from petdiffusion.cli import main
from petdiffusion.errors import GeometryError, UnitError
from petdiffusion.measure.cautions import cautions
from petdiffusion.phantoms import commands
from petdiffusion.physics import dose
from petdiffusion.prepare.upright import Turn
from petdiffusion.progress import Run
from petdiffusion.volume import BQML, DIGITAL_PATIENT, REDUCED_DOSE, Geometry, LabelMap
from petdiffusion.write import images
from petdiffusion.write.tables import read_csv
from support import dicom_factory
from support.scans import GEOMETRY, small_patient, write_patient


@pytest.fixture(scope="module")
def scans():
    return small_patient()


def test_a_mean_suv_that_no_patient_has_is_told(scans):
    run = Run()
    petdiffusion.denoise(scans["pet"].with_array(scans["pet"].array * 3000), "gaussian", run=run)
    assert any("which no patient has" in text for text in run.warnings)
    run = Run()
    quantifying.quantify(scans["pet"].with_array(scans["pet"].array * 3000), lesions=scans["lesions"], run=run)
    assert any("which no patient has" in text for text in run.warnings)
    run = Run()
    petdiffusion.denoise(scans["pet"], "gaussian", run=run)
    assert run.warnings == []


@pytest.mark.parametrize(("shift", "said"), [(0.0, False), (600.0, False), (1024.0, True)])
def test_a_ct_that_shows_no_air_is_told(scans, shift, said):
    """As of one that was saved without its intercept of -1024."""
    run = Run()
    read.image(scans["ct"].with_array(scans["ct"].array + shift), "ct", run=run)
    assert [text for text in run.warnings if "without its intercept" in text] == run.warnings
    assert len(run.warnings) == said


@pytest.mark.parametrize("role", ["pet", "reference"])
def test_no_warning_names_a_file_or_a_folder(tmp_path, scans, role):
    """They go into the report, and a file's name may be the patient's."""
    own, counts = dicom_factory.pet(tmp_path / "DOE"), dicom_factory.pet(tmp_path / "DOE_2", units="CNTS")
    low = scans["pet"].with_array(scans["pet"].array, BQML)
    beside = images.write(scans["pet"], tmp_path / "doe.nii.gz")
    run = Run()
    for source, said in ((own.folder, {"weight_kg": 90, "unit": "kBq/ml"}), (counts.folder, {"unit": "Bq/ml"}),
                         (images.write(low, tmp_path / "DOE.nii.gz"), {"weight_kg": 90}), (beside, {"weight_kg": 90})):
        read.image(source, role, **said, run=run)
    for told in ("says a weight of 70 kg; 90 kg was given and is used", "says its unit itself", "looks like SUV",
                 "are taken for Bq/ml", "changes nothing"):  # fmt: skip
        assert any(told in text for text in run.warnings), told
    assert not [text for text in run.warnings if "doe" in text.lower()]
    called = "The PET" if role == "pet" else "The reference"
    assert all(text.startswith((called, "No SUV")) for text in run.warnings), run.warnings


@pytest.mark.parametrize(("after", "said"), [(30.0, True), (31.0, True), (29.0, False), (None, False)])
def test_noise_that_did_not_fall_is_told(after, said):
    rows = [{"image": "low", "local_noise_percent": 30.0}, {"image": "denoised", "local_noise_percent": after}]
    assert bool(cautions({"image": rows})) is said


def test_an_image_that_the_method_does_not_use_is_told(tmp_path, capsys):
    files = write_patient(tmp_path / "p")
    words = ["denoise", files["pet"], "--ct", files["ct"], "--text", "liver", "--out"]
    assert main([*words, str(tmp_path / "a"), "--method", "gaussian"]) == 0
    said = capsys.readouterr().err
    assert "Gaussian filter does not use the CT" in said and "Gaussian filter does not use the text" in said
    assert main([*words, str(tmp_path / "b"), "--method", "anatomy"]) == 0
    said = capsys.readouterr().err
    assert "does not use the CT" not in said and "does not use the text" in said


def test_a_threshold_says_what_it_leaves_out_and_when_nothing_is_above_it(scans):
    run = Run()
    quantifying.quantify(scans["pet"], find_above_suv=4, run=run)
    assert any("at or above 4, at least 0.5 ml: physiological" in text for text in run.warnings)
    run = Run()
    found = quantifying.quantify(scans["pet"], find_above_suv=90, run=run)
    assert run.warnings == ["There is no connected region of SUV at or above 90, at least 0.5 ml."]
    assert found["lesion_totals"][0]["lesions"] == 0


def test_bqml_without_the_dose_is_measured_in_bqml_and_no_number_is_called_suv(scans):
    pet = scans["pet"].with_facts(suv_factor=None).with_array(scans["pet"].array * 5000, unit=BQML)
    run = Run()
    row = quantifying.quantify(pet, lesions=scans["lesions"], run=run)["lesions"][0]
    inside = scans["lesions"].array > 0
    assert row["mean_PET"] == pytest.approx(pet.array[inside].mean(), rel=1e-5)
    assert not any(key.startswith("SUV") for key in row) and any("Measured in Bq/ml" in text for text in run.warnings)
    with pytest.raises(UnitError, match="the SUV of this one is not known"):
        quantifying.quantify(pet, find_above_suv=4)


def test_labels_of_another_place_are_refused_and_not_measured_as_nothing(scans):
    far = Geometry(scans["lesions"].geometry.size, (4.0, 4.0, 5.0), (3000.0, 0.0, 0.0))
    with pytest.raises(GeometryError, match="lesion mask: covers only 0%"):
        quantifying.quantify(scans["pet"], lesions=LabelMap(scans["lesions"].array, far))


@pytest.mark.parametrize(("changed", "told"), [({"sex": "M"}, "sex M, not F"), ({"weight_kg": 92.0}, "weight 92 kg"),
                                               ({"weight_kg": 74.0}, ""), ({}, "")])
def test_every_command_tells_a_second_image_of_another_patient(scans, tmp_path, changed, told):
    own, other = ({name: image.with_facts(**{"sex": "F", "weight_kg": 70.0, **more})
                   for name, image in scans.items() if name in ("pet", "reference", "ct")}
                  for more in ({}, changed))  # fmt: skip
    ct, pet = images.write(other["ct"].with_facts(modality="CT"), tmp_path / "ct.nii.gz"), tmp_path / "pet.nii.gz"
    images.write(own["pet"], pet)

    def denoised(run):
        petdiffusion.denoise(own["pet"], "gaussian", tune=other["reference"], run=run)

    for name, than, asked in (
        ("reference", "PET", lambda run: quantifying.quantify(own["pet"], lesions=scans["lesions"],
                                                           reference=other["reference"], run=run)),
        ("image 2", "reference", lambda run: quantifying.compare([own["pet"], other["pet"]], own["reference"],
                                                                      run=run)),
        ("CT", "PET", lambda run: commands.simulate_dose(pet, 0.5, 1, tmp_path / "low", counts=1e6, ct=ct, run=run)),
        ("validation PET", "PET", denoised),
    ):  # fmt: skip
        asked(run := Run())
        said = [text for text in run.warnings if "another patient" in text]
        assert len(said) == bool(told), name
        assert not told or said[0].startswith(f"The {name} seems to be of another patient than the {than} ({told}")


def test_a_given_weight_mends_that_of_a_ct_that_gives_the_attenuation(scans, tmp_path):
    pet = images.write(scans["pet"].with_facts(weight_kg=50.0), tmp_path / "pet.nii.gz")
    ct = images.write(scans["ct"].with_facts(modality="CT", weight_kg=50.0), tmp_path / "ct.nii.gz")
    commands.simulate_dose(pet, 0.5, 1, tmp_path / "low", counts=1e6, ct=ct, weight_kg=72.0, run=(run := Run()))
    assert not any("another patient" in text for text in run.warnings)


def test_an_image_that_is_resampled_is_named(scans):
    moved = replace(scans["pet"], geometry=replace(GEOMETRY, origin=(-53.0, -50.0, 10.0)))
    quantifying.compare([scans["pet"], moved], scans["reference"], run=(run := Run()))
    assert any(text.startswith("The image 2 lies on another grid") for text in run.warnings)


def test_an_image_that_is_stored_the_other_way_round_is_compared_voxel_by_voxel(scans):
    """As NIfTI of one program and of another: flipped, or with its axes in another order."""
    turn = Turn((1, 2, 0), (True, False, True), scans["pet"].geometry)
    rows = quantifying.compare([turn.image(scans["reference"])], scans["reference"], run=(run := Run()))["image"]
    assert not any("resampled" in text for text in run.warnings) and rows[0]["RMSE"] == 0


def test_a_dot_in_a_name_is_no_end_of_it(scans, tmp_path):
    for name in ("low_0.1.nii.gz", "low_0.25.NII.GZ"):
        images.write(scans["pet"], tmp_path / name)
    rows = quantifying.compare([tmp_path / "low_0.1.nii.gz", tmp_path / "low_0.25.NII.GZ"], scans["reference"])["image"]
    assert [row["image"] for row in rows] == ["low_0.1", "low_0.25", "reference"]


def test_a_simulation_stays_known_through_files_doses_and_results(scans, tmp_path, capsys):
    real = scans["reference"].with_facts(injected_dose_bq=3e8, frame_seconds=120.0)
    reduced = dose.reduce_dose(real, 0.25)
    assert reduced.facts.simulated == REDUCED_DOSE and dose.reduce_dose(real, 1).facts.simulated is None
    digital = real.with_facts(simulated=DIGITAL_PATIENT)
    assert dose.reduce_dose(digital, 0.25).facts.simulated == DIGITAL_PATIENT
    path = images.write(digital, tmp_path / "pet.nii.gz")
    assert main(["denoise", str(path), "--method", "gaussian", "--out", str(tmp_path / "o")]) == 0
    assert "A digital patient: every number here is from a simulation" in capsys.readouterr().out
    assert read.image(tmp_path / "o" / "denoised.nii.gz").facts.simulated == DIGITAL_PATIENT
    record = json.loads((tmp_path / "o" / "record.json").read_text())
    assert record["input"]["facts"]["simulated"] == DIGITAL_PATIENT and record["warnings"] == []


def test_an_evaluation_keeps_scans_apart_by_what_they_say_of_themselves(scans, tmp_path):
    lines = ["id,pet,reference"]
    for name, simulated in (("a", DIGITAL_PATIENT), ("b", REDUCED_DOSE), ("c", None)):
        images.write(scans["pet"].with_facts(simulated=simulated), tmp_path / f"{name}.nii.gz")
        images.write(scans["reference"], tmp_path / f"{name}_ref.nii.gz")
        lines.append(f"{name},{name}.nii.gz,{name}_ref.nii.gz")
    (tmp_path / "cases.csv").write_text("\n".join(lines) + "\n")
    words = ["--manifest", str(tmp_path / "cases.csv"), "--methods", "gaussian", "--out", str(tmp_path / "o")]
    assert main(["evaluate", *words, "--quiet"]) == 0
    data = {row["case"]: row["data"] for row in read_csv(tmp_path / "o" / "tables" / "cases.csv")}
    assert data == {"a": "digital patients (simulated)", "b": "scans at simulated reduced doses", "c": "scans as given"}


def test_a_methods_own_lesions_are_kept_beside_those_given(scans, tmp_path, monkeypatch):
    """A method that marks lesions, run with a reader's mask: both masks are written, each by its name."""
    from petdiffusion import registry
    from petdiffusion.methods.contract import MethodCard, Output

    mark = np.zeros_like(scans["lesions"].array)
    mark[2:4, 10:12, 10:12] = 1

    def denoise(case, options, run):
        return Output(case.pet, lesions=LabelMap(mark, case.pet.geometry, {1: "lesion 1"}))

    card = MethodCard("marker", "Marker", "Marks.", "x:y", outputs=("denoised", "lesions"))
    monkeypatch.setattr(MethodCard, "load", lambda self: denoise)
    monkeypatch.setattr(registry, "card", lambda name: card)
    petdiffusion.denoise(scans["pet"], "marker", lesions=scans["lesions"], out=tmp_path / "o")
    np.testing.assert_array_equal(read.labels(tmp_path / "o" / "lesions_marked.nii.gz").array, mark)
    np.testing.assert_array_equal(read.labels(tmp_path / "o" / "lesions.nii.gz").array, scans["lesions"].array)
    petdiffusion.denoise(scans["pet"], "marker", out=tmp_path / "p")
    assert not (tmp_path / "p" / "lesions_marked.nii.gz").exists()


def test_a_folder_named_like_an_image_is_refused_before_the_work(tmp_path, capsys):
    files = write_patient(tmp_path / "p")
    assert main(["denoise", files["pet"], "--method", "gaussian", "--out", str(tmp_path / "out.nii.gz")]) == 1
    assert "named like a file" in capsys.readouterr().err and not (tmp_path / "out.nii.gz").exists()


def test_organs_that_are_too_small_to_be_whole_are_told():
    organs = {"liver": 26.8, "muscle": 3.0, "spleen": 150.0}
    rows = [{"what": "organ", "name": name, "volume_ml": ml} for name, ml in organs.items()]
    rows.append({"what": "lesion", "name": "liver", "volume_ml": 1.0})
    (said,) = cautions({"clinical": rows})
    assert "liver (26.8\u00a0ml):" in said and "muscle" not in said and "spleen" not in said


@pytest.mark.parametrize(("noise", "said"), [(None, True), (0.14, True), (0.16, False)])
def test_a_mean_that_moved_within_two_sds_of_its_noise_is_not_held_against_the_output(noise, said):
    """6 % of 5 are 0.3, which is two SDs of 0.15; without a word of the noise, 5 % count."""
    row = {"organ": "rib", "volume_ml": 9.0, "SUVmean_low": 5.0, "SUVmean_denoised_vs_low_percent": -6.0}
    told = row if noise is None else row | {"SUVmean_noise_low": noise}
    liver = {"organ": "liver", "volume_ml": 900.0, "SUVmean_denoised_vs_low_percent": 1.0}
    texts = cautions({"organs": [told, liver]})
    assert (texts == ["The mean changed by more than 5 % in 1 of 2 structures: rib (−6.0\u00a0%)."]) is said
    assert bool(texts) is said


@pytest.mark.parametrize(("drawn", "organ"), [(False, "liver"), (True, "")])
def test_organs_that_the_method_drew_do_not_tell_where_a_lesion_lies(scans, drawn, organ):
    every = LabelMap(np.full_like(scans["lesions"].array, 5), scans["lesions"].geometry, {5: "liver"})
    rows = measure.tables({"low": scans["pet"]}, None, every, scans["lesions"], drawn=drawn)["lesions"]
    assert rows[0]["organ"] == organ


def test_a_ct_to_convert_is_told_how(tmp_path, capsys):
    files = write_patient(tmp_path / "p")
    ct = tmp_path / "ct.nii.gz"
    images.write(small_patient()["ct"].with_facts(modality="CT"), ct)
    assert main(["convert", str(ct), str(tmp_path / "ct.mha")]) == 1
    assert "needs --role" in capsys.readouterr().err
    assert main(["convert", str(ct), str(tmp_path / "ct.mha"), "--role", "ct"]) == 0
    assert main(["convert", files["pet"], str(tmp_path / "pet.mha")]) == 0


@pytest.mark.parametrize(("stated", "told"), [(0.1, True), (0.5, False), (None, False)])
def test_a_dose_that_was_given_is_the_one_reported_and_a_contradiction_is_told(scans, stated, told):
    result = petdiffusion.denoise(scans["pet"].with_facts(dose_fraction=stated), "gaussian", dose_fraction=0.5)
    assert result.low.facts.dose_fraction == result.pet.facts.dose_fraction == 0.5
    assert result.record["input"]["facts"]["dose_fraction"] == 0.5
    assert any("says 10 % of the normal dose; 50 % was given" in text for text in result.warnings) is told


def test_changed_structures_are_counted_and_the_most_changed_named():
    rows = [{"organ": f"rib_left_{n}", "volume_ml": 20.0, "SUVmean_denoised_vs_low_percent": float(n)}
            for n in range(1, 13)]  # fmt: skip
    (said,) = cautions({"organs": [*rows, {**rows[-1], "organ": "tiny", "volume_ml": 1.0}]})
    assert "by more than 5 % in 7 of 12 structures, most in: rib left 12 (+12" in said
    assert "rib left 7 " not in said
    few = cautions({"organs": rows[:7]})[0].replace("\u00a0", " ")
    assert few.endswith("in 2 of 7 structures: rib left 7 (+7.0 %), rib left 6 (+6.0 %).")


def held_against(how, pet, other):
    run = Run()
    if how == "compare":
        quantifying.compare([other], pet, run=run)
    elif how == "quantify":
        quantifying.quantify(pet, reference=other, find_above_suv=2.0, run=run)
    else:
        petdiffusion.denoise(pet, "gaussian", run=run, **{how: other})
    return [text for text in run.warnings if "same voxels" in text]


def in_bqml(pet):
    return replace(pet, array=pet.array / np.float32(pet.facts.suv_factor), unit=BQML)


@pytest.mark.parametrize("other", [lambda pet: pet, in_bqml, lambda pet: replace(pet, array=pet.array.copy())])
@pytest.mark.parametrize(("how", "said"), [
    ("compare", "The image has the same voxels as the reference"),
    ("quantify", "The reference has the same voxels as the PET"),
    ("reference", "The reference has the same voxels as the PET"),
    ("tune", "The validation PET has the same voxels as the PET")])  # fmt: skip
def test_a_scan_that_is_held_against_itself_is_told(scans, how, said, other):
    told, = held_against(how, scans["pet"], other(scans["pet"]))
    assert told.startswith(said) and "says nothing of quality" in told


@pytest.mark.parametrize("how", ["compare", "quantify", "reference", "tune"])
def test_one_voxel_makes_another_scan(scans, how):
    other = scans["pet"].array.copy()
    other[11, 12, 13] *= 1.001
    assert held_against(how, scans["pet"], scans["pet"].with_array(other)) == []


def test_a_scan_stored_the_other_way_round_is_the_same(scans):
    """Its rows run from the left to the right."""
    pet, grid = scans["pet"], scans["pet"].geometry
    first = (grid.origin[0] + (grid.size[0] - 1) * grid.spacing[0], *grid.origin[1:])
    turned = Geometry(grid.size, grid.spacing, first, (-1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0))
    assert len(held_against("compare", pet, replace(pet, array=pet.array[:, :, ::-1].copy(), geometry=turned))) == 1
