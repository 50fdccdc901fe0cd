"""Which files of a folder make the series that is meant: damaged slices, copies without header, overviews, raw data."""

import os

import numpy as np
import pydicom
import pytest
from petdiffusion import read
from petdiffusion.errors import InputError, ResourceError
from petdiffusion.progress import Run
from petdiffusion.write import dicom_pet
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian, generate_uid
from support import dicom_factory as factory

RAW_DATA = "1.2.840.10008.5.1.4.1.1.66"
SYNTAXES = {"implicit": ImplicitVRLittleEndian, "explicit": ExplicitVRLittleEndian, "big endian": ExplicitVRBigEndian}


def renamed(series, name):
    """As archives name files: without a suffix, or by the UID, whose last number looks like one."""
    for number, file in enumerate(series.files):
        series.files[number] = file.rename(file.with_name(name(number)))
    return series


NAMES = {"no suffix": lambda number: f"IM{number:04d}", "UID": lambda number: f"1.2.826.0.1.{number + 1}"}
LEFT = {"nothing": lambda data: b"", "a part of the preamble": lambda data: data[:100],
        "a part of the header": lambda data: data[:400], "half of the pixels": lambda data: data[:-500],
        "noise behind the mark": lambda data: data[:132] + b"\xff" * 40}  # fmt: skip


@pytest.mark.parametrize("left", LEFT)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("role", ["pet", "ct"])
def test_a_damaged_slice_at_the_end_does_not_make_the_scan_shorter(tmp_path, role, name, left):
    series = renamed(getattr(factory, role)(tmp_path / "series"), NAMES[name])
    assert read.image(series.folder, role).geometry.size[2] == 6
    series.files[-1].write_bytes(LEFT[left](series.files[-1].read_bytes()))
    with pytest.raises(InputError) as caught:
        read.image(series.folder, role)
    assert series.files[-1].name in str(caught.value)


@pytest.mark.parametrize("other", ["notes.txt", "README", "table.csv", "empty.log", ".hidden", "link", "pipe"])
def test_what_else_lies_in_the_folder_is_no_slice(tmp_path, other):
    series = renamed(factory.pet(tmp_path / "series"), NAMES["no suffix"])
    content = {"empty.log": b"", ".hidden": b""}.get(other, b"Not DICOM, and longer than a preamble. " * 9)
    if other == "link":
        (series.folder / other).symlink_to(tmp_path / "absent")
    elif other == "pipe":
        os.mkfifo(series.folder / other)
    else:
        (series.folder / other).write_bytes(content)
    assert read.image(series.folder).geometry.size[2] == 6


@pytest.mark.parametrize("name", ["README", "LOCK", "0", "a.1"])
def test_an_empty_file_without_a_suffix_is_a_slice_only_among_such(tmp_path, name):
    """What is left of a copy that broke off has a name like the others'."""
    suffixed, bare = factory.pet(tmp_path / "a"), renamed(factory.pet(tmp_path / "b"), NAMES["no suffix"])
    for folder in (tmp_path, suffixed.folder):
        (folder / name).touch()
        assert read.image(suffixed.folder).geometry.size[2] == 6
    (suffixed.folder.parent / "b" / name).touch()
    with pytest.raises(InputError, match=name):
        read.image(bare.folder)
    for file in (tmp_path / name, bare.folder / name):
        file.unlink()
    (tmp_path / name).touch()
    for file in bare.files:
        file.unlink()
    assert read.image(tmp_path).geometry.size[2] == 6


def test_a_dicomdir_beside_the_slices_is_no_slice(tmp_path):
    """Its class stands in the file's own header alone."""
    series = factory.pet(tmp_path / "series")
    ds = pydicom.dcmread(series.files[0], stop_before_pixels=True)
    for keyword in ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID"):
        del ds[keyword]
    ds.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.1.3.10"
    ds.save_as(series.folder / "DICOMDIR", enforce_file_format=False)
    for source in (series.folder, series.folder / "DICOMDIR"):
        assert read.image(source).geometry.size[2] == 6


@pytest.mark.parametrize("suffix", [".dcm", ""])
@pytest.mark.parametrize("syntax", SYNTAXES)
def test_a_dataset_without_a_header_of_the_file_is_read(tmp_path, syntax, suffix):
    """Its encoding is known from how it could be read."""
    series = factory.pet(tmp_path / "series")
    for file in series.files:
        ds = pydicom.dcmread(file)
        pixels = ds.pixel_array
        bare = pydicom.Dataset({tag: ds[tag] for tag in ds.keys()})
        if syntax == "big endian":
            bare.PixelData = pixels.astype(">u2").tobytes()
        file.unlink()
        pydicom.dcmwrite(file.with_suffix(suffix), bare, implicit_vr=syntax == "implicit",
                         little_endian=syntax != "big endian", enforce_file_format=False)  # fmt: skip
        assert file.with_suffix(suffix).read_bytes()[128:132] != b"DICM"
    volume = read.image(series.folder)
    np.testing.assert_allclose(volume.array, series.array, rtol=1e-6)
    dicom_pet.write(volume, tmp_path / "out", series.folder)
    np.testing.assert_allclose(read.image(tmp_path / "out").array, series.array, atol=series.array.max() * 2e-5)


def uncorrected(ds, k):
    ds.CorrectedImage = ["NORM", "DTIM", "DECY", "RAN"]


def test_of_two_pet_series_the_one_that_is_corrected_for_attenuation_is_read_and_told(tmp_path):
    series = factory.pet(tmp_path / "ac")
    factory.pet(tmp_path / "nac", seed=1, edit=uncorrected)
    factory.ct(tmp_path / "ct")
    run = Run()
    np.testing.assert_allclose(read.image(tmp_path, run=run).array, series.array, rtol=1e-6)
    assert run.warnings == ["The PET: of 2 series the one that is corrected for attenuation is read."]
    made = dicom_pet.write(read.image(tmp_path), tmp_path.with_name("derived"), tmp_path)
    assert pydicom.dcmread(made[0]).StudyInstanceUID == series.datasets[0].StudyInstanceUID


def test_uncorrected_series_alone_or_two_corrected_ones_are_not_chosen_from(tmp_path):
    alone = factory.pet(tmp_path / "a" / "nac", edit=uncorrected)
    run = Run()
    assert read.image(tmp_path / "a", run=run).geometry.size[2] == 6
    assert not [text for text in run.warnings if "of 2 series" in text]
    factory.pet(tmp_path / "a" / "1")
    factory.pet(tmp_path / "a" / "2")
    with pytest.raises(InputError, match="2 PT series"):
        read.image(tmp_path / "a")
    np.testing.assert_allclose(read.image(alone.files[0]).array, alone.array, rtol=1e-6)


def raw_data(series):
    """As PET scanners keep their sinograms: of the PET's modality, with no image in it."""
    ds = pydicom.dcmread(series.files[0])
    for keyword in ("PixelData", "Rows", "Columns", "BitsAllocated", "ImagePositionPatient"):
        del ds[keyword]
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = RAW_DATA
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4"
    ds.SeriesInstanceUID = "1.2.3.5"
    ds.save_as(series.folder / "raw.dcm")


def test_raw_data_beside_the_images_are_no_second_series(tmp_path):
    series = factory.pet(tmp_path / "series")
    raw_data(series)
    run = Run()
    np.testing.assert_allclose(read.image(series.folder, run=run).array, series.array, rtol=1e-6)
    assert run.warnings == []


def localizer(series, **changes):
    """An overview from the side, larger than a slice."""
    ds = pydicom.dcmread(series.files[0])
    ds.ImageType, ds.ImageOrientationPatient = ["ORIGINAL", "PRIMARY", "LOCALIZER"], [0, 1, 0, 0, 0, -1]
    ds.Rows, ds.Columns, ds.PixelData = 30, 40, b"\0" * 2400
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4"
    for keyword, value in changes.items():
        setattr(ds, keyword, value)
    ds.save_as(series.folder / "000_overview.dcm")
    return series.folder / "000_overview.dcm"


def test_a_localizer_in_the_series_of_the_ct_is_left_out_and_told(tmp_path):
    series = factory.ct(tmp_path / "ct")
    localizer(series)
    run = Run()
    volume = read.image(series.folder, "ct", run=run)
    np.testing.assert_array_equal(volume.array, series.array)
    assert run.warnings == ["The CT: its series holds 1 localizer, which is left out."]


def test_a_localizer_of_no_series_is_refused_by_name(tmp_path):
    series = factory.ct(tmp_path / "ct")
    ds = pydicom.dcmread(series.files[0])
    ds.ImageType, ds.SOPInstanceUID = ["ORIGINAL", "PRIMARY", "LOCALIZER"], generate_uid()
    del ds.SeriesInstanceUID
    ds.save_as(series.folder / "overview.dcm")
    with pytest.raises(InputError, match=r"overview\.dcm: belongs to no series"):
        read.image(series.folder, "ct")


def test_a_series_of_localizers_is_no_second_ct(tmp_path):
    series = factory.ct(tmp_path / "ct")
    alone = localizer(series, SeriesInstanceUID="1.2.3.5")
    run = Run()
    np.testing.assert_array_equal(read.image(series.folder, "ct", run=run).array, series.array)
    assert run.warnings == []
    with pytest.raises(InputError, match="Hounsfield"):  # the overview is empty: it was read
        read.image(alone, "ct")


def test_the_memory_is_asked_for_before_all_slices_are_loaded(tmp_path, monkeypatch):
    import psutil
    from petdiffusion.read import series as module

    series = factory.ct(tmp_path / "ct")
    localizer(series)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("Memory", (), {"available": 20 * 24 * 6 * 6 - 1}))
    with pytest.raises(ResourceError, match="24 x 20 x 6"):
        module.load(module.find(series.folder, "ct"))
