"""Real files that other programs wrote. Skipped where the scans of a developer's machine are absent."""

from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from petdiffusion import read, suv
from petdiffusion.read.totalsegmentator import TOTAL
from petdiffusion.volume import SUVBW, Geometry
from petdiffusion.write import dicom_pet, images
from support import dicom_factory as factory

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
pytestmark = [pytest.mark.realdata, pytest.mark.skipif(not DATA.is_dir(), reason="../shared/data is absent")]


def test_totalsegmentators_own_names_and_table():
    organs = read.labels(DATA / "totalseg_ct" / "example_seg.nii.gz", allow_empty=False)
    assert dict(organs.names) == TOTAL
    assert {"liver", "spleen", "aorta"} <= set(organs.present().values())


def test_ct_and_its_label_map_share_a_grid():
    ct = read.image(DATA / "totalseg_ct" / "example_ct_sm.nii.gz", "ct")
    organs = read.labels(DATA / "totalseg_ct" / "example_seg.nii.gz")
    assert ct.geometry.close_to(organs.geometry)
    liver = ct.array[organs.mask("liver")]
    assert 20 < np.median(liver) < 160  # HU of a liver, with or without contrast


@pytest.mark.parametrize("patient", ["STS_002", "STS_020", "STS_036"])
def test_real_pet_reads_as_in_other_libraries_and_survives_every_format(tmp_path, patient):
    file = DATA / "sts" / patient / "pet_suv.nii.gz"
    pet = read.image(file, unit="SUVbw")
    np.testing.assert_array_equal(pet.array, nibabel.load(file).get_fdata(dtype=np.float32).transpose(2, 1, 0))
    assert Geometry.of_sitk(sitk.ReadImage(str(file))).close_to(pet.geometry, 1e-3)
    for suffix in (".nii.gz", ".nrrd", ".mha"):
        back = read.image(images.write(pet, tmp_path / f"pet{suffix}"))
        np.testing.assert_array_equal(back.array, pet.array)
        assert back.geometry.close_to(pet.geometry, 1e-3) and back.unit == SUVBW
    assert read.labels(file.with_name("tumour.nii.gz")).geometry.close_to(pet.geometry)


def test_real_voxels_through_dicom(tmp_path):
    """A real PET as a DICOM series of the factory, denoised series written and read: SUVs to 16 bits a slice."""
    pet = read.image(DATA / "sts" / "STS_002" / "pet_suv.nii.gz", unit="SUVbw").with_facts(suv_factor=2.763367e-4)
    series = factory.pet(tmp_path / "in", geometry=pet.geometry, values=np.clip(suv.to_bqml(pet).array, 0, None))
    original = read.image(series.folder)
    dicom_pet.write(original, tmp_path / "out", series.folder)
    back = suv.to_suv(read.image(tmp_path / "out"))
    peaks = pet.array.max(axis=(1, 2), keepdims=True)
    assert (np.abs(back.array - np.clip(pet.array, 0, None)) / peaks).max() < 1e-4
