"""Clocks as real headers have them: dates that were shifted, zones, injections within the scan, damaged times.

The series of the factory: 370 MBq, 70 kg, half-life 6586.2 s, injected 09:30, scanned 10:30; its factor is 2.763367e-4.
"""

import pytest
from petdiffusion import suv
from support import dicom_factory as factory

ONE_HOUR = 2.763367e-4


def headers(tmp_path, edit=None, vendor="Siemens"):
    return factory.pet(tmp_path / "pet", vendor, geometry=factory.grid((4, 5, 6)), edit=edit).datasets


def info(ds):
    return ds.RadiopharmaceuticalInformationSequence[0]


@pytest.mark.parametrize("day", ["19600102", "20991231"])
def test_a_private_date_that_was_not_shifted_with_the_others_is_dropped(tmp_path, day):
    """GE's (0009,100d) stays in 2024: so far away that the decay is no number any more."""
    def edit(ds, k):
        ds.StudyDate = ds.SeriesDate = ds.AcquisitionDate = ds.ContentDate = day
        info(ds).RadiopharmaceuticalStartDateTime = day + "093000"
    assert suv.factor_from_dicom(headers(tmp_path, edit, "GE")) == pytest.approx(ONE_HOUR, rel=1e-6)
