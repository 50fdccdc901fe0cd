"""On plain headers the factor is pysuv's own; so it is on what this program writes."""

import warnings

import pysuv
import pytest
from petdiffusion import read, suv
from petdiffusion.write import dicom_pet
from pydicom import dcmread
from support import dicom_factory as factory


def pysuv_factor(ds):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pysuv.get_suv_factor(ds).suv_factor


@pytest.mark.parametrize("vendor", ["Siemens", "GE", "Philips"])
@pytest.mark.parametrize("injected", ["093000", "101500", "070000"])
@pytest.mark.parametrize("weight", [4.2, 70.0, 151.5])
def test_same_factor_as_pysuv(tmp_path, vendor, injected, weight):
    def edit(ds, k):
        ds.PatientWeight = weight
        info = ds.RadiopharmaceuticalInformationSequence[0]
        info.RadiopharmaceuticalStartTime = injected
        if "RadiopharmaceuticalStartDateTime" in info:
            info.RadiopharmaceuticalStartDateTime = "20240102" + injected
    series = factory.pet(tmp_path, vendor, geometry=factory.grid((2, 4, 4)), edit=edit)
    assert suv.factor_from_dicom(series.datasets) == pytest.approx(pysuv_factor(series.datasets[0]), rel=1e-9)


def test_philips_counts_become_the_suv_of_pysuv(tmp_path):
    series = factory.pet(tmp_path, "Philips", units="CNTS")
    volume = suv.to_suv(read.image(series.folder))
    brightest = series.array.max()
    assert volume.array.max() == pytest.approx(brightest * pysuv_factor(series.datasets[0]), rel=1e-6)


@pytest.mark.parametrize(("vendor", "units"), [("Siemens", "BQML"), ("GE", "BQML"), ("Philips", "BQML"),
                                               ("Philips", "CNTS")])
def test_pysuv_finds_the_same_factor_on_what_was_written(tmp_path, vendor, units):
    series = factory.pet(tmp_path / "in", vendor, units=units)
    volume = read.image(series.folder)
    files = dicom_pet.write(volume.with_array(volume.array * 0.9), tmp_path / "out", series.folder)
    for file in files:
        assert pysuv_factor(dcmread(file)) == pysuv_factor(series.datasets[0])
    assert read.image(tmp_path / "out").facts.suv_factor == volume.facts.suv_factor
