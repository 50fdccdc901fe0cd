"""Everything that can be wrong with what comes in or where it goes out.

Each case must raise its named error, name the offending value, say what to do, change no input and leave no output.
"""

from __future__ import annotations

import os
from types import SimpleNamespace

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from petdiffusion import read, suv
from petdiffusion.errors import (
    GeometryError,
    InputError,
    OptionError,
    ResourceError,
    UnitError,
)
from petdiffusion.volume import BQML, SUVBW, Facts, Geometry, LabelMap, Volume
from petdiffusion.write import labels
from support import dicom_factory as factory
from support import io_bad as bad
from support.io_bad import refused

SHEARED = np.array([[2, 0.5, 0, 0], [0, 2, 0, 0], [0, 0, 3, 0], [0, 0, 0, 1.0]])
BIDS = {"Units": "Bq/mL", "InjectedRadioactivity": 370, "InjectedRadioactivityUnits": "MBq"}
GRID = Geometry((4, 5, 6), (2, 2, 3))


def volume(unit=SUVBW, **facts):
    return Volume(bad.values((6, 5, 4)), GRID, unit, Facts(**facts))


def label_map():
    return LabelMap(np.arange(120).reshape(6, 5, 4) % 3, GRID, {1: "liver"})


SEGMENTS_IN_LAYERS = b"\n".join((
    b"NRRD0005", b"type: unsigned char", b"dimension: 4", b"space: left-posterior-superior", b"sizes: 2 4 5 6",
    b"space directions: none (4,0,0) (0,4,0) (0,0,4)", b"kinds: list domain domain domain", b"encoding: raw",
    b"space origin: (0,0,0)", b"Segment0_Name:=liver", b"Segment0_Layer:=0", b"Segment0_LabelValue:=1",
    b"Segment1_Name:=tumour", b"Segment1_Layer:=1", b"Segment1_LabelValue:=1", b"", bytes(range(2)) * 120,
))  # fmt: skip
"""As 3D Slicer writes them: each voxel has a value for every layer."""


# name: (how it is made, error, part of the message[, role])
FILES = {
    "missing file": (lambda d: d / "absent.nii.gz", InputError, "absent.nii.gz"),
    "missing folder": (lambda d: d / "absent", InputError, "absent"),
    "empty NIfTI": (lambda d: bad.file(d, "pet.nii.gz", b""), InputError, "pet.nii.gz"),
    "empty DICOM": (lambda d: bad.file(d, "pet.dcm", b""), InputError, "pet.dcm"),
    "folder with an image's name": (lambda d: (d / "pet.nii.gz").mkdir() or d / "pet.nii.gz", InputError, "folder"),
    "garbage .nii.gz": (lambda d: bad.file(d, "pet.nii.gz"), InputError, "pet.nii.gz"),
    "garbage .nii": (lambda d: bad.file(d, "pet.nii"), InputError, "pet.nii"),
    "garbage .nrrd": (lambda d: bad.file(d, "pet.nrrd"), InputError, "pet.nrrd"),
    "garbage .mha": (lambda d: bad.file(d, "pet.mha"), InputError, "pet.mha"),
    "garbage .dcm": (lambda d: bad.file(d, "pet.dcm"), InputError, "pet.dcm"),
    "text file": (lambda d: bad.file(d, "notes.txt"), InputError, "notes.txt"),
    "screen shot": (lambda d: bad.file(d, "pet.png", b"\x89PNG\r\n\x1a\n" + b"\0" * 400), InputError, "pet.png"),
    "NIfTI cut off": (lambda d: bad.cut(bad.nifti(d, name="pet.nii")), InputError, "pet.nii"),
    "NIfTI cut off in its header": (lambda d: bad.cut(bad.nifti(d, name="pet.nii"), 0.1), InputError, "pet.nii"),
    "compressed NIfTI cut off": (lambda d: bad.cut(bad.nifti(d)), InputError, "pet.nii.gz"),
    "NRRD cut off": (lambda d: bad.cut(bad.itk(d)), InputError, "pet.nrrd"),
    "MHA cut off": (lambda d: bad.cut(bad.itk(d, "pet.mha")), InputError, "pet.mha"),
    "MHD without its raw file": (lambda d: _without_raw(d), InputError, "pet.mhd"),
    "folder without files": (lambda d: (d / "empty").mkdir() or d / "empty", InputError, "empty"),
    "folder of NIfTI": (lambda d: bad.nifti(d).parent, InputError, "pet.nii.gz"),
    "path with a zero byte": (lambda d: str(d) + "/a\0b.nii", InputError, "does not exist"),
    "very long name": (lambda d: d / ("n" * 300 + ".nii.gz"), InputError, "nnn"),
    "not an image object": (lambda d: 42, InputError, "int"),
    "bare array": (lambda d: bad.values(), InputError, "ndarray"),
    "nothing": (lambda d: None, InputError, "NoneType"),
    "2D": (lambda d: bad.nifti(d, bad.values((6, 5))), InputError, "2 dimensions"),
    "2D NRRD": (lambda d: bad.itk(d, array=bad.values((6, 5))), InputError, "2 dimensions"),
    "several frames": (lambda d: bad.nifti(d, bad.values((6, 5, 4, 3))), InputError, "3 frames"),
    "5D": (lambda d: bad.nifti(d, bad.values((6, 5, 4, 1, 3))), InputError, "(6, 5, 4, 1, 3)"),
    "no slices": (lambda d: nibabel.Nifti1Image(np.zeros((6, 5, 0), np.float32), np.eye(4)), InputError, "(6, 5, 0)"),
    "RGB": (lambda d: bad.nifti(d, np.zeros((6, 5, 4), [("R", "u1"), ("G", "u1"), ("B", "u1")])), InputError, "RGB"),
    "complex": (lambda d: bad.nifti(d, bad.values().astype(np.complex64)), InputError, "complex"),
    "complex in memory": (lambda d: sitk.GetImageFromArray(bad.values().astype(np.complex64)), InputError, "complex"),
    "vector NRRD": (lambda d: bad.itk(d, array=bad.values((6, 5, 4, 3)), vector=True), InputError, "3 components"),
    "NaN": (lambda d: bad.nifti(d, _with(np.nan)), InputError, "1 of 120 voxels"),
    "infinite": (lambda d: bad.itk(d, array=_with(-np.inf)), InputError, "1 of 120 voxels"),
    "too large for float32": (lambda d: bad.nifti(d, _with(1e300, np.float64)), InputError, "infinite"),
    "absurdly large": (lambda d: bad.nifti(d, _with(1e35)), UnitError, "1e+35"),
    "all zero": (lambda d: bad.nifti(d, np.zeros((6, 5, 4), np.float32)), InputError, "all voxels are 0"),
    "constant": (lambda d: bad.nifti(d, np.full((6, 5, 4), 3, np.int16)), InputError, "all voxels are 3"),
    "constant MR": (lambda d: bad.nifti(d, np.full((6, 5, 4), 3, np.int16)), InputError, "all voxels are 3", "mr"),
    "CT as PET": (lambda d: bad.nifti(d, _ct()), InputError, "is this a CT"),
    "normalised CT": (lambda d: bad.nifti(d), InputError, "Hounsfield", "ct"),
    "NIfTI label map as PET": (lambda d: bad.nifti(d, intent_code=1002), InputError, "label map"),
    "segmentation as PET": (lambda d: labels.write(label_map(), d / "a.seg.nrrd"), InputError, "segmentation"),
    "label map as PET": (lambda d: bad.nifti(d, np.kron(np.arange(12).reshape(2, 3, 2), np.ones((6, 6, 6)))),
                         InputError, "label map"),
    "sheared axes": (lambda d: bad.nifti(d, affine=SHEARED), GeometryError, "right angles"),
    "sheared NRRD": (lambda d: bad.nrrd_header(d, "(2,0,0) (0.7,2,0) (0,0,3)"), GeometryError, "right angles"),
    "flat axis": (lambda d: bad.nifti(d, affine=np.diag([2.0, 0, 3, 1])), GeometryError, "zero"),
    "axes not numbers": (lambda d: bad.nifti(d, affine=np.diag([2.0, np.nan, 3, 1])), GeometryError, "pet.nii.gz"),
    "flat NRRD": (lambda d: bad.nrrd_header(d, "(2,0,0) (0,0,0) (0,0,3)"), (InputError, GeometryError), "pet.nrrd"),
    "larger than memory": (lambda d: bad.huge_nifti(d), ResourceError, "64000.0 GB"),
    "NRRD larger than memory": (lambda d: bad.nrrd_header(d, "(2,0,0) (0,2,0) (0,0,3)", "20000 20000 20000"),
                                ResourceError, "64000.0 GB"),
    "sidecar not JSON": (lambda d: bad.nifti(d, sidecar="{'Units': "), InputError, "pet.json"),
    "sidecar a list": (lambda d: bad.nifti(d, sidecar=[1, 2]), InputError, "pet.json"),
    "sidecar not UTF-8": (lambda d: (bad.file(d, "pet.json", b'{"a": "\xff\xfe"}'), bad.nifti(d))[1], InputError,
                          "pet.json"),
    "sidecar unit unknown": (lambda d: bad.nifti(d, sidecar={"Units": "counts"}), UnitError, "counts"),
    "sidecar unit a number": (lambda d: bad.nifti(d, sidecar={"Units": 3}), UnitError, "3"),
    "sidecar SUV of lean mass": (lambda d: bad.nifti(d, sidecar={"Units": "SUL"}), UnitError, "SUL"),
    "sidecar tracer a number": (lambda d: bad.nifti(d, sidecar={**BIDS, "TracerName": 18}), InputError, "TracerName"),
    "sidecar says MR": (lambda d: bad.nifti(d, sidecar={"Modality": "MR"}), InputError, "MR"),
    "own facts damaged": (lambda d: bad.nifti(d, sidecar={"PETDiffusion": {"facts": {"weight_kg": "70"}}}), InputError,
                          "weight_kg"),
    "own header damaged": (lambda d: bad.itk(d, fields={"petdiffusion": "{oops"}), InputError, "pet.nrrd"),
    "DICOM unit in NRRD unknown": (lambda d: bad.itk(d, fields={"0054|1001": "CNTS"}), UnitError, "CNTS"),
    "Volume in HU as PET": (lambda d: volume("HU"), UnitError, "HU"),
    "PET volume as CT": (lambda d: volume(BQML), UnitError, "Bq/ml", "ct"),
}

_SOP = {"RTSTRUCT": "1.2.840.10008.5.1.4.1.1.481.3", "SEG": "1.2.840.10008.5.1.4.1.1.66.4"}
DICOM = {
    "CT as PET": (lambda d: factory.ct(d / "ct").folder, InputError, "CT test"),
    "PET as CT": (lambda d: bad.dicom(d), InputError, "PT test", "ct"),
    "PET as MR": (lambda d: bad.dicom(d), InputError, "needed as MR", "mr"),
    "structure set": (lambda d: bad.not_image(d, "RTSTRUCT", _SOP["RTSTRUCT"]), InputError, "RTSTRUCT"),
    "PT object without an image": (lambda d: bad.not_image(d, "PT", factory.CLASSES["PT"]), InputError, "one.dcm"),
    "two PET series": (lambda d: (factory.pet(d / "a"), factory.pet(d / "b"))[0].folder.parent, InputError,
                       "2 PT series"),
    "slice missing": (lambda d: bad.afterwards(d, os.remove), GeometryError, "6.54 mm"),
    "dynamic": (lambda d: bad.frames(d, "FrameReferenceTime", lambda n: str(1000 * n + 1)), InputError,
                "3 time frames"),
    "gated": (lambda d: bad.frames(d, "TriggerTime", lambda n: 100 * n + 1), InputError, "3 gates"),
    "positions twice": (lambda d: bad.frames(d, "", str), InputError, "9 slices at 3 positions"),
    "two sizes": (lambda d: bad.mixed(d, shape=(4, 8, 7)), InputError, "Rows"),
    "two voxel sizes": (lambda d: bad.mixed(d, grid={"spacing": (2.0, 2.0, 3.27)}), InputError, "PixelSpacing"),
    "two directions": (lambda d: bad.mixed(d, grid={"direction": (1, 0, 0, 0, 1, 0, 0, 0, 1)}), InputError,
                       "ImageOrientationPatient"),
    "two stations far apart": (lambda d: bad.mixed(d), GeometryError, "gap"),
    "two units": (lambda d: bad.dicom(d, bad.setting(only=1, Units="GML")), UnitError, "BQML, GML"),
    "unequal spacing": (lambda d: bad.dicom(d, lambda ds, k: _shift(ds, 2, 1.2) if k == 3 else None), GeometryError,
                        "regular spacing"),
    "tilted gantry": (lambda d: bad.dicom(d, lambda ds, k: _shift(ds, 0, 1.0 * k)), GeometryError, "sideways"),
    "no position": (lambda d: bad.dicom(d, bad.setting(ImagePositionPatient=None)), GeometryError,
                    "ImagePositionPatient"),
    "no orientation": (lambda d: bad.dicom(d, bad.setting(ImageOrientationPatient=None)), GeometryError,
                       "ImageOrientationPatient"),
    "no voxel size": (lambda d: bad.dicom(d, bad.setting(PixelSpacing=None)), GeometryError, "PixelSpacing"),
    "voxel size zero": (lambda d: bad.dicom(d, bad.setting(PixelSpacing=[0, 0])), GeometryError, "0.0"),
    "axes not at right angles": (lambda d: bad.dicom(d, bad.setting(ImageOrientationPatient=[1, 0, 0, 0.5, 1, 0])),
                                 GeometryError, "ImageOrientationPatient"),
    "single slice without thickness": (lambda d: bad.dicom(d, bad.setting(SliceThickness=None),
                                                           geometry=factory.grid((1, 6, 7))), GeometryError,
                                       "thickness"),
    "several frames in one file": (lambda d: bad.dicom(d, bad.setting(NumberOfFrames=3)), InputError, "3 frames"),
    "colour": (lambda d: bad.dicom(d, bad.setting(SamplesPerPixel=3, PhotometricInterpretation="RGB")), InputError,
               "RGB"),
    "no pixels": (lambda d: bad.afterwards(d, lambda f: bad.resaved(f, lambda ds: ds.__delitem__("PixelData"))),
                  InputError, "holds no pixels"),
    "pixels cut off": (lambda d: bad.afterwards(d, lambda f: bad.cut(f, 0.9)), InputError, "PT_0004.dcm"),
    "header cut off": (lambda d: bad.afterwards(d, lambda f: bad.cut(f, 0.3)), InputError, "PT_0004.dcm"),
    "file in the series garbage": (lambda d: bad.afterwards(d, lambda f: f.write_bytes(b"x" * 999)), InputError,
                                   "PT_0004.dcm"),
    "file in the series empty": (lambda d: bad.afterwards(d, lambda f: f.write_bytes(b"")), InputError, "PT_0004.dcm"),
    "unknown compression": (lambda d: bad.afterwards(d, lambda f: bad.resaved(f, _mpeg)), InputError, "MPEG"),
    "no rescale slope": (lambda d: bad.dicom(d, bad.setting(RescaleSlope=None)), UnitError, "(0028,1053)"),
    "CT without rescale slope": (lambda d: factory.ct(d / "ct", edit=bad.setting(RescaleSlope=None)).folder, UnitError,
                                 "(0028,1053)", "ct"),
    "CT without intercept": (lambda d: factory.ct(d / "ct", edit=bad.setting(RescaleIntercept=None)).folder, UnitError,
                             "(0028,1052)", "ct"),
    "negative slope": (lambda d: bad.dicom(d, bad.setting(RescaleSlope="-0.5")), UnitError, "-0.5"),
    "slope zero": (lambda d: bad.dicom(d, bad.setting(RescaleSlope="0")), UnitError, "slope of 0"),
    "slope not a number": (lambda d: bad.afterwards(d, lambda f: _patch(f, b"\x28\x00\x53\x10DS")), InputError,
                           "RescaleSlope"),
    "counts": (lambda d: bad.dicom(d, units="CNTS"), UnitError, "CNTS"),
    "counts per second": (lambda d: bad.dicom(d, units="CPS"), UnitError, "CPS"),
    "unit missing": (lambda d: bad.dicom(d, bad.setting(Units=None)), UnitError, "Units"),
    "SUV of lean mass": (lambda d: bad.dicom(d, bad.setting(SUVType="LBM"), units="GML"), UnitError, "LBM"),
    "Philips factors differ": (lambda d: bad.dicom(d, _philips_factor, vendor="Philips", units="CNTS"), UnitError,
                               "7053"),
    "Bq/ml called SUV": (lambda d: bad.dicom(d, units="GML", values=factory.activity((6, 20, 24), highest=3e5)),
                         UnitError, "SUVbw"),
}

SUV = {
    "weight missing": (bad.setting(PatientWeight=None), "weight"),
    "negative dose": (bad.setting(RadionuclideTotalDose=-370e6), "-3.7e+08 Bq"),
    "injection after the scan": (bad.setting(RadiopharmaceuticalStartTime="104500"), "23.8 h"),
    "no attenuation correction": (bad.setting(CorrectedImage=["DECY"]), "ATTN"),
    "decay not corrected": (bad.setting(DecayCorrection="NONE"), "NONE"),
    "half-life missing": (bad.setting(RadionuclideHalfLife=None, RadionuclideCodeSequence=None), "half-life"),
}

UNITS = {
    "unit unknown": ("becquerels", "pet", "becquerels"), "unit of another modality": ("HU", "pet", "HU"),
    "SUV for a CT": ("SUVbw", "ct", "SUVbw"), "lean body mass": ("SUVlbm", "pet", "SUVlbm"),
    "unit not a word": (7, "pet", "7"),
}

LABELS = {
    "missing": (lambda d: d / "organs.nii.gz", InputError, "organs.nii.gz"),
    "not whole numbers": (lambda d: bad.nifti(d, bad.values(), name="organs.nii.gz"), InputError, "whole numbers"),
    "negative": (lambda d: bad.nifti(d, -np.ones((6, 5, 4), np.int16), name="organs.nii.gz"), InputError, "-1"),
    "too large": (lambda d: bad.itk(d, "organs.nrrd", np.full((6, 5, 4), 40000, np.int32)), InputError, "40000"),
    "NaN": (lambda d: bad.nifti(d, _with(np.nan), name="organs.nii.gz"), InputError, "organs.nii.gz"),
    "several frames": (lambda d: bad.nifti(d, np.ones((6, 5, 4, 2), np.uint8)), InputError, "number for each"),
    "segments in layers": (lambda d: bad.file(d, "b.seg.nrrd", SEGMENTS_IN_LAYERS), InputError, "overlapping segments"),
    "DICOM folder": (lambda d: bad.dicom(d), InputError, "series"),
    "empty": (lambda d: bad.nifti(d, np.zeros((6, 5, 4), np.uint8), name="organs.nii.gz"), InputError, "no structure"),
    "names not JSON": (lambda d: bad.nifti(d, np.ones((6, 5, 4), np.uint8), sidecar="{"), InputError, "pet.json"),
    "name table damaged": (lambda d: (bad.nifti(d, np.ones((6, 5, 4), np.uint8)),
                                      bad.file(d, "pet.csv", b"value,name\none,liver\n"))[0], InputError, "pet.csv"),
    "half a value in the name table": (lambda d: (bad.nifti(d, np.ones((6, 5, 4), np.uint8)),
                                                  bad.file(d, "pet.csv", b"1.5,liver\n"))[0], InputError, "1.5"),
    "infinite value in the name table": (lambda d: (bad.nifti(d, np.ones((6, 5, 4), np.uint8)),
                                                    bad.file(d, "pet.csv", b"inf,liver\n"))[0], InputError, "inf"),
    "negative value in the name table": (lambda d: (bad.nifti(d, np.ones((6, 5, 4), np.uint8)),
                                                    bad.file(d, "pet.csv", b"-1,liver\n"))[0], InputError, "-1"),
    "overlapping segments": (lambda d: bad.itk(d, "a.seg.nrrd", np.ones((6, 5, 4), np.uint8),
                                               fields={"Segment0_Name": "a", "Segment0_LabelValue": "1",
                                                       "Segment0_Layer": "1"}), InputError, "layers"),
    "not an image object": (lambda d: "liver".encode, InputError, "method"),
}


def _with(value, dtype=np.float32):
    array = bad.values().astype(dtype)
    array[2, 2, 2] = value
    return array


def _ct():
    return np.where(bad.values() > 0.5, 40, -1000).astype(np.int16)


def _without_raw(folder):
    path = bad.itk(folder, "pet.mhd")
    path.with_suffix(".raw").unlink()
    return path


def _shift(ds, axis, by):
    position = [float(v) for v in ds.ImagePositionPatient]
    position[axis] += by
    ds.ImagePositionPatient = [f"{v:.6f}" for v in position]


def _mpeg(ds):
    from pydicom.encaps import encapsulate
    from pydicom.uid import MPEG2MPML

    ds.PixelData = encapsulate([b"\0" * 100])
    ds["PixelData"].is_undefined_length = True
    ds.file_meta.TransferSyntaxUID = MPEG2MPML


def _patch(file, tag):
    """Overwrites a number in the raw bytes with letters."""
    content = bytearray(file.read_bytes())
    at = content.index(tag) + 8
    content[at:at + 4] = b"abcd"
    file.write_bytes(bytes(content))


def _philips_factor(ds, k):
    ds.private_block(0x7053, "Philips PET Private Group")[0x09].value = str(1.0 + 0.1 * k)


@pytest.mark.parametrize("case", FILES)
def test_files_and_objects(tmp_path, case):
    make, error, named, *role = FILES[case]
    source = make(tmp_path)
    refused(tmp_path, error, named, lambda: read.image(source, *role))


@pytest.mark.parametrize("case", DICOM)
@pytest.mark.filterwarnings("ignore")
def test_dicom(tmp_path, case):
    make, error, named, *role = DICOM[case]
    source = make(tmp_path)
    refused(tmp_path, error, named, lambda: read.image(source, *role))


@pytest.mark.parametrize("case", SUV)
def test_suv(tmp_path, case):
    edit, named = SUV[case]
    pet = read.image(bad.dicom(tmp_path, edit))
    refused(tmp_path, UnitError, named, lambda: suv.to_suv(pet))


@pytest.mark.parametrize("case", UNITS)
def test_units(tmp_path, case):
    unit, role, named = UNITS[case]
    source = bad.nifti(tmp_path, _ct() if role == "ct" else None)
    refused(tmp_path, UnitError, named, lambda: read.image(source, role, unit=unit))


@pytest.mark.parametrize("case", LABELS)
def test_labels(tmp_path, case):
    make, error, named = LABELS[case]
    source = make(tmp_path)
    refused(tmp_path, error, named, lambda: read.labels(source, allow_empty=False))


def test_counts_and_a_flat_phantom_of_a_known_unit_are_a_pet(tmp_path):
    """Whole numbers alone make no label map."""
    counts = np.random.default_rng(0).poisson(5, (12, 12, 12))
    assert read.image(bad.nifti(tmp_path, counts.astype(np.int16))).array.max() == counts.max()
    flat = np.kron(np.arange(12).reshape(2, 3, 2), np.ones((6, 6, 6)))
    assert read.image(bad.nifti(tmp_path, flat), unit="SUVbw").array.max() == 11


def test_unknown_role(tmp_path):
    refused(tmp_path, OptionError, "spect", lambda: read.image(bad.values(), "spect"))


def test_suv_factor_not_a_number():
    for factor in (-1.0, 0.0, float("nan"), "2"):
        with pytest.raises(UnitError, match="SUV factor"):
            suv.to_suv(volume(BQML, suv_factor=factor))


def test_original_moved_away(tmp_path):
    pet = read.image(bad.dicom(tmp_path, bad.setting(PatientWeight=None)))
    (tmp_path / "series").rename(tmp_path / "elsewhere")
    refused(tmp_path, UnitError, "series", lambda: suv.to_suv(pet))


@pytest.mark.parametrize("kind", ["nifti", "nrrd", "dicom"])
def test_memory_is_checked_before_loading(tmp_path, monkeypatch, kind):
    import psutil

    source = {"nifti": bad.nifti, "nrrd": bad.itk, "dicom": bad.dicom}[kind](tmp_path)
    read.image(source)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=100))
    refused(tmp_path, ResourceError, "0.0 GB are available", lambda: read.image(source))
