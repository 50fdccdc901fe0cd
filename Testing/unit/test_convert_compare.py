"""`convert` into DICOM, and `compare` of images that do not lie on one another."""

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from petdiffusion import compare, convert, denoise, quantify, read, suv
from petdiffusion.cli import main
from petdiffusion.errors import GeometryError, OptionError, OutputError, UnitError
from petdiffusion.progress import Run
from petdiffusion.volume import SUVBW, Geometry, LabelMap, Volume
from petdiffusion.write import images, labels
from scipy.spatial.transform import Rotation
from support import dicom_factory as factory
from support.blobs import blobs
from support.scans import small_patient, write_patient


@pytest.fixture
def series(tmp_path):
    return factory.pet(tmp_path / "series")


def test_an_image_becomes_a_dicom_series_of_the_patient_that_it_is_like(series, tmp_path):
    """A NIfTI that another program made of the scan, in SUV; the series is in Bq/ml."""
    original = read.image(series.folder)
    convert(series.folder, tmp_path / "pet.nii.gz", to=SUVBW)
    half = read.image(tmp_path / "pet.nii.gz")
    images.write(half.with_array(half.array / 2), tmp_path / "half.nii.gz")
    made = convert(tmp_path / "half.nii.gz", tmp_path / "dicom", like=series.folder)
    back = read.image(made)
    assert back.unit == original.unit and back.geometry.close_to(original.geometry, 0.01)
    np.testing.assert_allclose(back.array, original.array / 2, atol=original.array.max() / 60000)
    one, other = (pydicom.dcmread(next(folder.glob("*.dcm"))) for folder in (made, series.folder))
    assert one.StudyInstanceUID == other.StudyInstanceUID and one.SeriesInstanceUID != other.SeriesInstanceUID
    assert one.PatientID == other.PatientID and "Converted" in one.SeriesDescription


@pytest.mark.parametrize("order", ["LPS", "RAS", "LAS", "SPL"])
def test_an_image_may_run_along_the_axes_of_the_series_the_other_way(series, tmp_path, order):
    """As of programs that turn rows round, or bring every image into the order of NIfTI."""
    import nibabel

    original = read.image(series.folder)
    image = original.to_nibabel()
    stored = nibabel.orientations.axcodes2ornt(nibabel.aff2axcodes(image.affine))
    turned = image.as_reoriented(nibabel.orientations.ornt_transform(stored, nibabel.orientations.axcodes2ornt(order)))
    nibabel.save(turned, tmp_path / "pet.nii.gz")
    made = convert(tmp_path / "pet.nii.gz", tmp_path / "dicom", like=series.folder, unit="Bq/ml")
    back = read.image(made)
    assert back.geometry == original.geometry
    np.testing.assert_allclose(back.array, original.array, atol=original.array.max() / 60000)


def bare_suv(volume, folder):
    """Only the voxels, as many programs write them."""
    images.write(volume, folder / "suv.nii.gz")
    (folder / "suv.json").unlink()
    return folder / "suv.nii.gz"


def test_an_suv_image_that_tells_nothing_goes_by_the_series_it_is_like(series, tmp_path):
    """Its SUVs are what any program finds on the new series, whatever weight was said: that reads the old one's."""
    original = suv.to_suv(read.image(series.folder))
    image = bare_suv(original.with_array(original.array / 2), tmp_path)
    for weight_kg, told in ((None, 0), (140.0, 1)):
        run = Run()
        made = convert(image, tmp_path / f"dicom{told}", like=series.folder, unit="SUVbw", weight_kg=weight_kg, run=run)
        back = suv.to_suv(read.image(made))
        np.testing.assert_allclose(back.array, original.array / 2, atol=original.array.max() / 60000)
        assert sum("140 kg was given and changes nothing" in text for text in run.warnings) == told


def test_what_the_series_lacks_too_is_asked_for(tmp_path):
    def without_weight(ds, k):
        del ds.PatientWeight

    series = factory.pet(tmp_path / "series", edit=without_weight)
    original = suv.to_suv(read.image(series.folder, weight_kg=60.0))
    image = bare_suv(original, tmp_path)
    with pytest.raises(UnitError, match="weight: is not known"):
        convert(image, tmp_path / "dicom", like=series.folder, unit="SUVbw")
    made = convert(image, tmp_path / "dicom", like=series.folder, unit="SUVbw", weight_kg=60.0)
    np.testing.assert_allclose(read.image(made).array, series.array, atol=series.array.max() / 30000)


def test_a_denoised_image_says_so_in_dicom_too(series, tmp_path):
    convert(series.folder, tmp_path / "pet.nii.gz")
    made = denoise(tmp_path / "pet.nii.gz", "gaussian", out=tmp_path / "out", report=False)
    assert main(["convert", made.files["denoised"], str(tmp_path / "dicom"), "--like", str(series.folder)]) == 0
    assert read.image(tmp_path / "dicom").facts.denoised == "Gaussian filter"
    assert main(["convert", made.files["denoised"], str(tmp_path / "dicom"), "--like", str(series.folder)]) == 1


def test_what_cannot_be_dicom_is_refused(series, tmp_path):
    values = np.arange(60, dtype=np.float32).reshape(3, 4, 5)
    images.write(Volume(values, Geometry((5, 4, 3), (1, 1, 1)), SUVBW), tmp_path / "other.nii.gz")
    with pytest.raises(GeometryError, match="does not lie on the grid"):
        convert(tmp_path / "other.nii.gz", tmp_path / "dicom", like=series.folder)
    with pytest.raises(OptionError, match="role = ct"):
        convert(series.folder, tmp_path / "dicom", like=series.folder, role="ct")
    with pytest.raises(OutputError, match="named like a file"):
        convert(series.folder, tmp_path / "dicom.nii.gz", like=series.folder)
    with pytest.raises(OutputError, match="DICOM folder that is read"):
        convert(series.folder, series.folder, like=series.folder)
    assert not (tmp_path / "dicom").exists()


def test_an_image_that_was_moved_is_compared_where_it_belongs():
    """The patient of the second image lies 12 mm aside and turned by six degrees."""
    subject = blobs(shape=(40, 48, 56), relative_noise=0.05)
    reference = subject.truth
    turn = np.eye(4)
    turn[:3, :3] = Rotation.from_euler("z", 6, degrees=True).as_matrix()
    turn[:3, 3] = [10.0, -6.0, 4.0]
    geometry = Geometry.from_affine(reference.geometry.size, turn @ reference.geometry.affine)
    moved = Volume(subject.noisy.array, geometry, SUVBW)
    there = Volume(subject.noisy.array, reference.geometry, SUVBW)
    run = Run()
    apart, registered, right = (_psnr(compare([image], reference, register=register, run=run))
                                for image, register in ((moved, False), (moved, True), (there, False)))  # fmt: skip
    assert apart < right - 6 and registered > right - 2
    assert any("was moved by" in text for text in run.warnings)


def test_masks_of_a_comparison_that_moves_images_are_said_to_be_the_references():
    subject, run = blobs(shape=(24, 28, 32)), Run()
    compare([subject.noisy], subject.truth, register=True, run=run)
    assert not [text for text in run.warnings if "drawn" in text]
    compare([subject.noisy], subject.truth, labels=subject.labels, register=True, run=run)
    assert sum("must be drawn on the reference" in text for text in run.warnings) == 1


def test_organs_that_are_lesions_altogether_are_told():
    subject, run = blobs(shape=(24, 28, 32)), Run()
    liver = subject.labels.mask("liver")
    lesions = LabelMap(liver.astype(np.int16), subject.labels.geometry)
    made = quantify(subject.truth, labels=subject.labels, lesions=lesions, run=run)
    assert "liver" not in [row["organ"] for row in made["organs"]]
    assert [text for text in run.warnings if "lies in lesions" in text] == [
        "No row of liver: all of it lies in lesions, whose voxels count for no organ."]  # fmt: skip


def _psnr(tables):
    return tables["image"][0]["PSNR_dB"]


def test_the_command_registers_too(tmp_path, capsys):
    subject = blobs(shape=(24, 28, 32))
    images.write(subject.truth, tmp_path / "reference.nii.gz")
    images.write(subject.noisy, tmp_path / "pet.nii.gz")
    words = ["compare", str(tmp_path / "pet.nii.gz"), "--reference", str(tmp_path / "reference.nii.gz"), "--register"]
    assert main([*words, "--out", str(tmp_path / "out")]) == 0
    assert "Registering the image" in capsys.readouterr().err


def test_columns_go_up_as_many_folders_as_tell_the_images_apart(tmp_path):
    """`evaluate` lays them out as runs/METHOD/PATIENT/denoised.nii.gz."""
    subject = blobs(shape=(24, 28, 32))
    files = [tmp_path / "runs" / method / patient / "denoised.nii.gz" for method, patient in
             (("gaussian", "p1"), ("nlm", "p1"), ("nlm", "p2"))]  # fmt: skip
    files += [tmp_path / "one" / "x.nii.gz", tmp_path / "two" / "x.nii.gz", tmp_path / "runs" / "alone.nii.gz"]
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        images.write(subject.noisy, file)
    rows = compare([*files, subject.noisy, files[-1]], subject.truth)["image"]
    assert [row["image"] for row in rows] == [
        "gaussian/p1/denoised", "nlm/p1/denoised", "p2/denoised", "one/x", "two/x", "alone", "image 7", "alone 8",
        "reference"]  # fmt: skip


@pytest.mark.parametrize("name", ["pet.nrrd", "pet.mha"])
def test_to_see_whose_sidecar_it_is_no_voxels_are_loaded(tmp_path, monkeypatch, name):
    """Whole-body scans are large, and they are read once more for the conversion itself."""
    from petdiffusion.read import files

    source = images.write(small_patient()["pet"], tmp_path / name)
    loaded, opened = [], files.opened
    monkeypatch.setattr(files, "opened", lambda path: loaded.append(path) or opened(path))
    convert(source, tmp_path / "other.nii.gz", to=SUVBW)
    assert loaded == [source]
    (tmp_path / "bare.json").write_text("{}")
    sitk.WriteImage(sitk.ReadImage(str(source))[:, :, :], str(tmp_path / "bare.mha"))
    with pytest.raises(OutputError, match=r"bare\.json"):
        convert(tmp_path / "bare.mha", tmp_path / "bare.nii", unit=SUVBW, to=SUVBW, overwrite=True)


def test_names_that_this_program_wrote_beside_a_label_map_may_be_written_again(tmp_path):
    """As a sidecar of its own may; names from elsewhere, or of structures that are not kept, may not."""
    organs = LabelMap(np.eye(3, dtype=np.int16)[None] * [1, 2, 0], Geometry((3, 3, 1), (4.0, 4.0, 4.0)),
                      {1: "liver", 2: "spleen"})  # fmt: skip
    source, target = labels.write(organs, tmp_path / "m.nii.gz"), tmp_path / "m.nii"
    convert(source, target, role="labels", overwrite=True)
    assert read.labels(target).names == organs.names
    with pytest.raises(OutputError, match=r"m\.json"):
        convert(source, target, role="labels", only=["liver"], overwrite=True)
    (tmp_path / "m.json").write_text('{"1": "liver", "2": "spleen"}')
    with pytest.raises(OutputError, match=r"m\.json"):
        convert(source, target, role="labels", overwrite=True)


def test_one_image_may_be_compared_without_a_list(tmp_path):
    """A path by itself was taken letter by letter."""
    files = write_patient(tmp_path)
    listed = compare([files["pet"]], files["reference"])["image"]
    assert compare(files["pet"], files["reference"])["image"] == listed
    alone = compare(read.image(files["pet"]), files["reference"])["image"]
    assert [row["image"] for row in alone] == ["image 1", "reference"]
    assert alone[0]["PSNR_dB"] == pytest.approx(listed[0]["PSNR_dB"])


def test_lesions_of_a_mask_and_found_ones_are_not_asked_for_together(tmp_path):
    """The second was dropped without a word."""
    files = write_patient(tmp_path)
    with pytest.raises(OptionError, match=r"--lesions and --find-lesions.*Give one of them"):
        quantify(files["pet"], lesions=files["lesions"], find_above_suv=4)
