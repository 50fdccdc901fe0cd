"""Clocks as real headers have them: dates that were shifted, zones, injections within the scan, damaged times.

The series of the factory: 370 MBq, 70 kg, half-life 6586.2 s, injected 09:30, scanned 10:30; its factor is 2.763367e-4.
"""

import pytest
from petdiffusion import read, suv
from petdiffusion.errors import PETDiffusionError, UnitError
from petdiffusion.progress import Run
from petdiffusion.volume import BQML
from support import dicom_factory as factory
from support import io_bad as bad

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
    ("20240102093000+0100", "+0100"), ("20240102093000", "+0100"), ("20240102093000.00+0100", None)])
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


def dynamic(injected, acquired="111000", began="103000", late_s=2400, dated=False, **more):
    """A frame of three minutes of a scan that began earlier, corrected to that beginning."""
    def edit(ds, k):
        ds.SeriesTime, ds.AcquisitionTime = began, acquired
        ds.DecayFactor = f"{2 ** ((late_s + 90) / factory.HALF_LIFE_S):.12f}"
        info(ds).RadiopharmaceuticalStartTime = injected
        if dated:
            info(ds).RadiopharmaceuticalStartDateTime = "20240102" + injected
        for name, value in more.items():
            setattr(ds, name, value)
    return edit


@pytest.mark.parametrize("dated", [False, True])
@pytest.mark.parametrize(("injected", "after_s"), [("103010", 10), ("103500", 300), ("111000", 2400)])
def test_a_scan_that_was_running_when_the_tracer_was_given(tmp_path, injected, after_s, dated):
    """At the time the image is corrected to, the dose was the larger by the decay until the injection: by hand
    70000 / (370e6 * 2^(10 / 6586.2)) = 1.889902e-4 for ten seconds."""
    series = headers(tmp_path, dynamic(injected, dated=dated))
    expected = 70000 / (370e6 * 2 ** (after_s / 6586.2))
    assert suv.factor_from_dicom(series) == pytest.approx(expected, rel=1e-6)
    if after_s == 10:
        assert expected == pytest.approx(1.889902e-4, rel=1e-6)


def test_a_running_scan_over_midnight(tmp_path):
    edit = dynamic("000500", acquired="003000", began="235500", late_s=2100, AcquisitionDate="20240103")
    assert suv.factor_from_dicom(headers(tmp_path, edit)) == pytest.approx(
        70000 / (370e6 * 2 ** (600 / 6586.2)), rel=1e-6)  # fmt: skip


def test_a_running_scan_over_midnight_without_a_day(tmp_path):
    def edit(ds, k):
        dynamic("000500", acquired="003000", began="235500", late_s=2100)(ds, k)
        info(ds).RadiopharmaceuticalStartDateTime = "20240103000500"
        del ds.StudyDate, ds.SeriesDate, ds.AcquisitionDate
    assert suv.factor_from_dicom(headers(tmp_path, edit)) == pytest.approx(
        70000 / (370e6 * 2 ** (600 / 6586.2)), rel=1e-6)  # fmt: skip


@pytest.mark.parametrize(("injected", "dated", "said"), [("111100", False, "23.3 h before"),
                                                         ("111100", True, "41.0 min after")])
def test_an_injection_after_the_frame_itself_is_refused(tmp_path, injected, dated, said):
    with pytest.raises(UnitError, match=said):
        suv.factor_from_dicom(headers(tmp_path, dynamic(injected, dated=dated)))


def test_a_frame_of_another_year_is_no_scan_that_was_running(tmp_path):
    """The acquisition's date was shifted otherwise, and no decay factor tells: the injection was the day before."""
    def edit(ds, k):
        ds.AcquisitionDate = "20270102"
        del ds.DecayFactor
        info(ds).RadiopharmaceuticalStartTime = "103500"
    with pytest.raises(UnitError, match=r"23\.9 h before"):
        suv.factor_from_dicom(headers(tmp_path, edit))


def test_a_running_scan_has_no_uptake_to_show(tmp_path):
    series = factory.pet(tmp_path, geometry=factory.grid((4, 5, 6)), edit=dynamic("103010"))
    facts = read.image(series.folder).facts
    assert facts.suv_factor == pytest.approx(1.889902e-4, rel=1e-6) and facts.uptake_minutes is None


@pytest.mark.parametrize(("starts", "known"), [([2400], True), (2400.0, True), ([0], False), ([0, 2400], False)])
def test_a_frame_of_a_running_scan_by_its_sidecar(tmp_path, starts, known):
    """PET-BIDS counts all times from one zero: injected ten seconds after it, the frame began at `starts`."""
    path = bad.nifti(tmp_path, sidecar={
        "Units": "Bq/mL", "BodyWeight": 70, "InjectedRadioactivity": 370, "InjectedRadioactivityUnits": "MBq",
        "TracerRadionuclide": "F18", "ImageDecayCorrected": True, "ImageDecayCorrectionTime": 0, "InjectionStart": 10,
        "ScanStart": 0, "FrameTimesStart": starts})  # fmt: skip
    facts = read.image(path).facts
    assert facts.suv_factor == (pytest.approx(1.889902e-4, rel=1e-6) if known else None)
    assert facts.uptake_minutes is None


def clocks(value):
    def edit(ds, k):
        info(ds).RadiopharmaceuticalStartTime = value
    return edit


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("value", ["09:30:00", "09:30:00.000", "093000.0000000", "0930", " 093000 "])
def test_times_as_older_files_write_them(tmp_path, value):
    """With colons as in ACR-NEMA, and with more than microseconds."""
    assert suv.factor_from_dicom(headers(tmp_path, clocks(value))) == pytest.approx(ONE_HOUR, rel=1e-6)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("keyword", "value"), [
    ("RadiopharmaceuticalStartTime", "ANON"), ("RadiopharmaceuticalStartTime", "240000"), ("SeriesTime", "ANON"),
    ("AcquisitionTime", "093000-094000"), ("AcquisitionDate", "ANON"), ("SeriesDate", "20241301"),
    ("RadiopharmaceuticalStartDateTime", "ANONYMISED.ON.20240102")])
def test_a_damaged_time_costs_the_suv_and_not_the_image(tmp_path, keyword, value):
    def edit(ds, k):
        setattr(info(ds) if keyword.startswith("Radio") else ds, keyword, value)
    run = Run()
    pet = read.image(factory.pet(tmp_path, edit=edit).folder, run=run)
    assert pet.unit == BQML and pet.facts.suv_factor is None and pet.facts.injected_dose_bq == factory.DOSE_BQ
    named = "(0018,1078)" if keyword.endswith("StartDateTime") else keyword
    assert [text for text in run.warnings if text.startswith("No SUV:") and named in text]
    with pytest.raises(UnitError):
        suv.to_suv(pet)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("tag", [b"\x10\x00\x30\x10DS", b"\x10\x00\x20\x10DS", b"\x18\x00\x74\x10DS"])
def test_a_damaged_number_of_the_patient_costs_no_image(tmp_path, tag):
    """Weight, height and dose, overwritten by an anonymiser with letters."""
    series, run = factory.pet(tmp_path), Run()
    for file in series.files:
        content = bytearray(file.read_bytes())
        at = content.index(tag) + 8
        content[at:at + 2] = b"XX"
        file.write_bytes(bytes(content))
    pet = read.image(series.folder, run=run)
    assert pet.unit == BQML and any("is damaged" in text for text in run.warnings)
    assert (pet.facts.suv_factor is None) is (tag[2:4] != b"\x20\x10")
