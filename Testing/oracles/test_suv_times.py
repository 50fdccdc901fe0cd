"""Clocks as real headers have them: dates that were shifted, zones, injections within the scan, damaged times.

The series of the factory: 370 MBq, 70 kg, half-life 6586.2 s, injected 09:30, scanned 10:30; its factor is 2.763367e-4.
"""

import pytest
from petdiffusion import suv
from petdiffusion.errors import PETDiffusionError
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


def in_zone(stamp, zone=None, clock=None):
    """The injection's date-time, the zone (0008,0201) of all clocks without one, and the injection's time of day."""
    def edit(ds, k):
        info(ds).RadiopharmaceuticalStartDateTime = stamp
        if zone:
            ds.TimezoneOffsetFromUTC = zone
        info(ds).RadiopharmaceuticalStartTime = clock
    return edit


@pytest.mark.parametrize(("stamp", "zone"), [
    ("20240102083000.00+0000", "+0100"), ("20240102083000-0500", "-0400"), ("20240102140000.00+0530", "+0100"),
    ("20240102093000+0100", "+0100"), ("20240102093000", "+0100"), ("20240102093000.00+0000", None)])
@pytest.mark.parametrize("clock", [None, "093000"])
def test_a_date_time_of_another_zone_is_brought_to_the_scans(tmp_path, stamp, zone, clock):
    """08:30 in Greenwich is 09:30 where the clocks are an hour ahead; without (0008,0201) the wall time stays."""
    assert suv.factor_from_dicom(headers(tmp_path, in_zone(stamp, zone, clock))) == pytest.approx(ONE_HOUR, rel=1e-6)


def test_the_zone_moves_the_day_too(tmp_path):
    def edit(ds, k):
        in_zone("20240101233000+0000", "+0100")(ds, k)
        ds.SeriesTime = ds.AcquisitionTime = "013000"
        ds.DecayFactor = "1.0"
    assert suv.factor_from_dicom(headers(tmp_path, edit)) == pytest.approx(ONE_HOUR, rel=1e-6)


def test_ge_states_its_scan_time_in_another_zone(tmp_path):
    """The series was made later, so GE's date-time alone says when the scan was."""
    def edit(ds, k):
        ds.SeriesTime, ds.AcquisitionTime, ds.DecayFactor = "150000", "103000", "1.0095"
        ds.TimezoneOffsetFromUTC = "+0100"
        ds.private_block(0x0009, "GEMS_PETD_01")[0x0D].value = "20240102093000.00+0000"
    assert suv.factor_from_dicom(headers(tmp_path, edit, "GE")) == pytest.approx(ONE_HOUR, rel=1e-6)


@pytest.mark.parametrize("zone", ["CET", "+9900"])
def test_a_zone_that_cannot_be_read_is_named(tmp_path, zone):
    with pytest.raises(PETDiffusionError, match="TimezoneOffsetFromUTC"):
        suv.factor_from_dicom(headers(tmp_path, in_zone("20240102083000+0000", zone)))
