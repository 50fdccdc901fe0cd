"""Clocks that anonymisers and archives leave: at midnight, without a decay factor, of another day or zone, or not alike
in all slices. What may be wrong by more than 2 % costs the SUV; what is only odd is told.

The series of the factory: 370 MBq, 70 kg, half-life 6586.2 s, injected 09:30, scanned 10:30; its factor is 2.763367e-4.
"""

import re

import pytest
from petdiffusion import read, suv
from petdiffusion.errors import UnitError
from petdiffusion.progress import Run
from petdiffusion.volume import BQML
from support import dicom_factory as factory

ONE_HOUR, WEIGHT_OVER_DOSE = 2.763367e-4, 70000 / 370e6
LAST_SLICE = 5


def series(folder, edit=None, vendor="Siemens"):
    return factory.pet(folder / "pet", vendor, geometry=factory.grid((LAST_SLICE + 1, 5, 6)), edit=edit)


def factor(folder, edit=None, vendor="Siemens"):
    return suv.factor_from_dicom(series(folder, edit, vendor).datasets)


def setting(only=None, **values):
    """Of every slice or of one; None removes the tag."""
    def edit(ds, k):
        if only not in (None, k):
            return
        for name, value in values.items():
            target = ds.RadiopharmaceuticalInformationSequence[0] if name.startswith("Radio") else ds
            if value is not None:
                setattr(target, name, value)
            elif name in target:
                delattr(target, name)
    return edit


def both(*edits):
    def edit(ds, k):
        for one in edits:
            one(ds, k)
    return edit


UNPROVEN = setting(DecayFactor=None)


def said(folder, edit=None, vendor="Siemens"):
    """The SUV factor and the warnings, as a user sees them: the image is there whatever its clocks are."""
    run = Run()
    pet = read.image(series(folder, edit, vendor).folder, run=run)
    assert pet.unit == BQML
    return pet.facts, run.warnings


@pytest.mark.parametrize(("began", "right"), [("102800", True), ("102955", True), ("095000", False), ("100000", False),
                                              ("000000", False)])
def test_without_a_decay_factor_a_series_time_long_before_the_scan_is_not_believed(tmp_path, began, right):
    """Two minutes are 1.3 % of decay; half an hour would make the SUV a fifth too low."""
    edit = both(UNPROVEN, setting(SeriesTime=began))
    if right:
        assert factor(tmp_path, edit) == pytest.approx(ONE_HOUR, rel=0.02)
    else:
        with pytest.raises(UnitError, match="10:30:00 by the first AcquisitionTime"):
            factor(tmp_path, edit)


def test_without_a_decay_factor_the_frame_of_a_dynamic_scan_goes_by_its_series_time(tmp_path):
    """Forty minutes into a scan that began with the injection: corrected to that beginning."""
    edit = both(UNPROVEN, setting(SeriesType=["DYNAMIC", "IMAGE"], AcquisitionTime="101000", SeriesTime="093000"))
    assert factor(tmp_path, edit) == pytest.approx(WEIGHT_OVER_DOSE, rel=1e-6)


@pytest.mark.parametrize("decay", ["1.0095", "0", None])
def test_a_series_made_later_is_taken_for_the_scan_only_where_a_decay_factor_proves_it(tmp_path, decay):
    edit = setting(SeriesTime="150000", AcquisitionTime="103000", DecayFactor=decay)
    if decay == "1.0095":
        assert factor(tmp_path, edit) == pytest.approx(ONE_HOUR, rel=1e-6)
    else:
        with pytest.raises(UnitError, match="15:00:00"):
            factor(tmp_path, edit)


def test_a_series_time_two_minutes_late_gives_way_to_the_acquisition(tmp_path):
    """1.3 % of decay: less than what is refused, and still not the scan's start."""
    edit = setting(SeriesTime="103200", AcquisitionTime="103000", DecayFactor="1.0095")
    assert factor(tmp_path, edit) == pytest.approx(ONE_HOUR, rel=1e-6)


ZERO = {"SeriesTime": "000000", "AcquisitionTime": "000000", "StudyTime": "000000"}


@pytest.mark.parametrize("times", [
    {**ZERO, "RadiopharmaceuticalStartTime": "000000", "DecayFactor": "1.0095"},
    {**ZERO, "RadiopharmaceuticalStartTime": "000000", "DecayFactor": None},
    {**ZERO, "DecayFactor": "1.0095"},
    {"RadiopharmaceuticalStartTime": "000000"},
    {"RadiopharmaceuticalStartTime": None, "RadiopharmaceuticalStartDateTime": "20240102000000.00"},
    {"RadiopharmaceuticalStartTime": "000000", "SeriesTime": "080000", "AcquisitionTime": "080000",
     "DecayFactor": "1.0095"}])
def test_clocks_at_zero_cost_the_suv(tmp_path, times):
    """Injection and scan both at midnight would be no decay at all; an injection at midnight alone, ten hours of it."""
    facts, warnings = said(tmp_path, setting(**times))
    assert facts.suv_factor is None and facts.uptake_minutes is None
    assert any(text.startswith("No SUV:") and "at 00:00:00" in text for text in warnings)


def test_zirconium_dated_without_a_time_of_day_costs_the_suv(tmp_path):
    """Half a day more or less is a tenth of its activity."""
    edit = setting(RadionuclideCodeSequence=None, RadionuclideHalfLife=282276, DecayFactor=None,
                   RadiopharmaceuticalStartTime=None, RadiopharmaceuticalStartDateTime="20231230000000")
    with pytest.raises(UnitError, match="00:00:00"):
        factor(tmp_path, edit)


@pytest.mark.parametrize(("injected", "began", "minutes"), [("000000", "010000", 60), ("230000", "000000", 60),
                                                            ("000000", "052000", 320)])
def test_an_ordinary_scan_at_midnight_keeps_its_suv(tmp_path, injected, began, minutes):
    edit = setting(RadiopharmaceuticalStartTime=injected, SeriesTime=began, AcquisitionTime=began, DecayFactor="1.0095")
    facts, warnings = said(tmp_path, edit)
    expected = WEIGHT_OVER_DOSE * 2 ** (minutes * 60 / factory.HALF_LIFE_S)
    assert facts.suv_factor == pytest.approx(expected, rel=1e-6) and not warnings


@pytest.mark.parametrize(("injected", "told"), [("103000", "at one time (10:30:00)"), ("042900", "(3.3 half-lives)"),
                                                ("102800", None), ("061500", None)])
def test_an_injection_at_the_scan_or_long_before_it_is_told(tmp_path, injected, told):
    facts, warnings = said(tmp_path, setting(RadiopharmaceuticalStartTime=injected))
    assert facts.suv_factor and len(warnings) == (told is not None)
    assert told is None or told in warnings[0]


def nuclide(name, half_life_s):
    """A tracer whose slices tell no factor of decay."""
    def edit(ds, k):
        info = ds.RadiopharmaceuticalInformationSequence[0]
        info.RadionuclideHalfLife = half_life_s
        info.RadionuclideCodeSequence[0].CodeMeaning = name
        del ds.DecayFactor
    return edit


@pytest.mark.parametrize(("name", "half_life_s", "injected", "told"), [
    ("^11^Carbon", "1223", "20240102092000", None), ("^11^Carbon", "1223", "20240102085500", "(4.7 half-lives)"),
    ("^64^Copper", "45720", "20231231103000", None), ("^64^Copper", "45720", "20231230093000", "(5.7 half-lives)"),
    ("^82^Rubidium", "75.5", "20240102103000", None), ("^13^Nitrogen", "597.9", "20240102103000", None),
    ("^11^Carbon", "1223", "20240102103000", "at one time")])
def test_what_is_usual_for_a_tracer_is_not_told(tmp_path, name, half_life_s, injected, told):
    """PiB at seventy minutes, copper after two days, rubidium that is given on the scanner."""
    facts, warnings = said(tmp_path, both(nuclide(name, half_life_s), dated(injected, injected[8:])))
    assert facts.suv_factor and len(warnings) == (told is not None)
    assert told is None or told in warnings[0]


@pytest.mark.parametrize(("edit", "vendor"), [
    (setting(DecayCorrection="ADMIN", DecayFactor=None), "Siemens"), (setting(SeriesType=["DYNAMIC", "IMAGE"]), "GE")])
def test_where_no_decay_hangs_on_it_the_injection_at_the_scan_is_not_told(tmp_path, edit, vendor):
    edit = both(edit, setting(RadiopharmaceuticalStartTime="103000",
                              RadiopharmaceuticalStartDateTime="20240102103000.00"))
    facts, warnings = said(tmp_path, edit, vendor)
    assert facts.suv_factor == pytest.approx(WEIGHT_OVER_DOSE, rel=1e-6) and not warnings


def test_ordinary_series_of_three_vendors_have_nothing_told(tmp_path):
    for vendor in ("Siemens", "GE", "Philips"):
        facts, warnings = said(tmp_path / vendor, vendor=vendor)
        assert facts.suv_factor == pytest.approx(ONE_HOUR, rel=1e-6) and not warnings


# DecayCorrection ADMIN

def administered(seconds):
    return setting(DecayCorrection="ADMIN", DecayFactor=f"{2 ** (seconds / factory.HALF_LIFE_S):.9f}")


def test_admin_goes_with_the_decay_since_the_injection(tmp_path):
    assert factor(tmp_path, administered(3690)) == pytest.approx(WEIGHT_OVER_DOSE, rel=1e-9)


@pytest.mark.parametrize("seconds", [90, 2000, 6000])
def test_admin_with_decay_factors_of_another_time_is_refused(tmp_path, seconds):
    """90 s are those of START: the SUV would be a third too low."""
    with pytest.raises(UnitError, match=re.escape("'ADMIN': cannot be: the slices were multiplied by 1.")):
        factor(tmp_path, administered(seconds))


@pytest.mark.parametrize("times", [
    {"RadiopharmaceuticalStartTime": None}, {"RadiopharmaceuticalStartTime": "000000"}, ZERO,
    {"AcquisitionTime": "000000"}, {"RadiopharmaceuticalStartTime": "104000"}])
def test_admin_needs_no_clock_that_an_anonymiser_took(tmp_path, times):
    edit = both(administered(3690), setting(**times))
    assert factor(tmp_path, edit) == pytest.approx(WEIGHT_OVER_DOSE, rel=1e-9)


def test_the_uptake_of_an_admin_series_made_later_is_that_of_the_scan(tmp_path):
    facts, _ = said(tmp_path, both(administered(3690), setting(SeriesTime="150000", AcquisitionTime="103000")))
    assert facts.uptake_minutes == pytest.approx(60.0)


# Zones and dates

def dated(stamp, clock=None):
    return setting(RadiopharmaceuticalStartDateTime=stamp, RadiopharmaceuticalStartTime=clock)


@pytest.mark.parametrize("stamp", ["20240102083000+0000", "20240102093000.00-0000"])
def test_a_time_in_greenwich_is_none_at_the_scanner_unless_the_header_says_so(tmp_path, stamp):
    """08:30 there may be 09:30 here: the SUV would be 46 % too high."""
    facts, warnings = said(tmp_path, dated(stamp))
    assert facts.suv_factor is None and any("(0008,0201)" in text for text in warnings)


def test_a_zone_of_the_injection_alone_is_told(tmp_path):
    facts, warnings = said(tmp_path, dated("20240102093000.00+0100"))
    assert facts.suv_factor == pytest.approx(ONE_HOUR, rel=1e-6)
    assert len(warnings) == 1 and "(0008,0201)" in warnings[0]


@pytest.mark.parametrize(("stamp", "clock", "zone"), [
    ("20240102093000.00+0000", "093000", None), ("20240102083000.00+0000", None, "+0100"),
    ("20240102093000.00+0000", None, "+0000")])
def test_a_zone_that_the_time_of_day_or_the_series_explains_is_not_told(tmp_path, stamp, clock, zone):
    facts, warnings = said(tmp_path, both(dated(stamp, clock), setting(TimezoneOffsetFromUTC=zone)))
    assert facts.suv_factor == pytest.approx(ONE_HOUR, rel=1e-6) and not warnings


@pytest.mark.parametrize("stamp", ["20190102093000", "20991231093000.00", "20190102000000", "20240102000000"])
def test_the_injections_own_date_or_midnight_gives_way_to_its_time_of_day_and_that_is_told(tmp_path, stamp):
    """The date was not shifted with the scan's, or its time of day was taken out: (0018,1072) has it still."""
    facts, warnings = said(tmp_path, dated(stamp, "093000"))
    assert facts.suv_factor == pytest.approx(ONE_HOUR, rel=1e-6)
    assert len(warnings) == 1 and "(0018,1078)" in warnings[0] and "09:30:00" in warnings[0]


@pytest.mark.parametrize("stamp", ["19000101", "20240104", "20240103093000", "20240103"])
def test_a_date_alone_or_one_of_the_day_after_gives_way_too(tmp_path, stamp):
    """A century before the scan, or 23 hours after it."""
    facts, warnings = said(tmp_path, dated(stamp, "093000"))
    assert facts.suv_factor == pytest.approx(ONE_HOUR, rel=1e-6)
    assert len(warnings) == 1 and "(0018,1078)" in warnings[0]


@pytest.mark.parametrize("stamp", ["20240102", "20240102093000"])
def test_where_the_scan_has_no_date_that_of_the_injection_says_nothing(tmp_path, stamp):
    undated = setting(StudyDate="", SeriesDate="", AcquisitionDate="", ContentDate="")
    facts, warnings = said(tmp_path, both(dated(stamp, "093000"), undated))
    assert facts.suv_factor == pytest.approx(ONE_HOUR, rel=1e-6) and not warnings


@pytest.mark.parametrize("stamp", ["20240102083000+0000", "20240101233000.00-1000", "20240102151500.00+0545",
                                   "20240102203000+1100"])
def test_where_nobody_tells_the_scanners_zone_the_time_of_day_holds(tmp_path, stamp):
    """(0018,1072) is on the scanner's clock, whatever zone (0018,1078) is written in."""
    facts, warnings = said(tmp_path, dated(stamp, "093000"))
    assert facts.suv_factor == pytest.approx(ONE_HOUR, rel=1e-6)
    assert len(warnings) == 1 and "09:30:00, 60 min before the scan, is taken" in warnings[0]


@pytest.mark.parametrize(("stamp", "zone"), [("20240102083300+0000", None), ("20240102083000", None),
                                             ("20240102073000+0000", "+0100")])
def test_what_no_zone_explains_is_refused(tmp_path, stamp, zone):
    """Three minutes beside a zone's quarter hours; a date-time that has no zone; one that the series' own explains."""
    with pytest.raises(UnitError, match="the two do not agree"):
        factor(tmp_path, both(dated(stamp, "093000"), setting(TimezoneOffsetFromUTC=zone)))


LONG_LIVED = setting(RadionuclideCodeSequence=None, RadionuclideHalfLife=282276, DecayFactor=None)


def test_a_zone_that_time_of_day_explains_dates_zirconium_unless_it_may_be_of_two_days(tmp_path):
    """Ten hours behind or fourteen ahead are the same time of day."""
    edit = both(dated("20231230233000+0000", "003000"), LONG_LIVED)
    after_s = 24 * 3600 * 2 + 10 * 3600
    assert factor(tmp_path, edit) == pytest.approx(WEIGHT_OVER_DOSE * 2 ** (after_s / 282276), rel=1e-6)
    with pytest.raises(UnitError, match="on which day is not known"):
        factor(tmp_path, both(dated("20231230193000+0000", "093000"), LONG_LIVED))


def test_a_date_of_midnight_still_dates_zirconium(tmp_path):
    """Three days and an hour before the scan, by the date of (0018,1078) and the time of (0018,1072)."""
    edit = both(dated("20231230000000", "093000"),
                setting(RadionuclideCodeSequence=None, RadionuclideHalfLife=282276, DecayFactor=None))
    assert factor(tmp_path, edit) == pytest.approx(WEIGHT_OVER_DOSE * 2 ** (73 * 3600 / 282276), rel=1e-6)


# Slices that do not say the same

@pytest.mark.parametrize("at", [0, 2, LAST_SLICE])
def test_slices_of_two_injections_are_refused(tmp_path, at):
    with pytest.raises(UnitError, match="08:30:00 and 09:30:00: occur in one series"):
        factor(tmp_path, setting(at, RadiopharmaceuticalStartTime="083000"))


@pytest.mark.parametrize("at", [0, 2, LAST_SLICE])
def test_slices_of_two_series_times_are_refused_unless_one_is_contradicted(tmp_path, at):
    early = setting(at, SeriesTime="100000")
    assert factor(tmp_path / "proven", early) == pytest.approx(ONE_HOUR, rel=1e-6)
    with pytest.raises(UnitError, match="10:00:00"):
        factor(tmp_path, both(UNPROVEN, early))


@pytest.mark.parametrize("shift", ["102955", "103000.5"])
def test_slices_some_seconds_apart_cost_nothing(tmp_path, shift):
    assert factor(tmp_path, setting(2, SeriesTime=shift)) == pytest.approx(ONE_HOUR, rel=1e-6)


def two_beds(start_of_second, **more):
    """Twenty minutes apart, ten each; the second was multiplied by the decay since `start_of_second`."""
    def edit(ds, k):
        second = k > LAST_SLICE // 2
        since_s = 300 + (1200 - start_of_second if second else 0)
        setting(AcquisitionTime="105000" if second else "103000", ActualFrameDuration=600_000,
                DecayFactor=f"{2 ** ((since_s + more.get('before', 0)) / factory.HALF_LIFE_S):.6f}")(ds, k)
    return edit


def test_beds_that_are_each_corrected_to_their_own_start_have_no_suv(tmp_path):
    """That of the second would be an eighth too low by the first one's."""
    assert factor(tmp_path / "one", two_beds(0)) == pytest.approx(ONE_HOUR, rel=1e-6)
    facts, warnings = said(tmp_path / "own", two_beds(1200))
    assert facts.suv_factor is None and facts.uptake_minutes is None
    assert sum("those acquired at 10:50:00 were multiplied by 1.03" in text for text in warnings) == 1


def test_beds_of_which_one_is_not_corrected_to_the_injection_have_no_suv(tmp_path):
    admin = setting(DecayCorrection="ADMIN")
    good = factor(tmp_path / "one", both(two_beds(0, before=3600), admin))
    assert good == pytest.approx(WEIGHT_OVER_DOSE, rel=1e-9)
    for name, first in (("own", "1.5075"), ("of one alone", "")):
        edit = both(two_beds(1200, before=3600), admin, *(setting(k, DecayFactor=first) for k in range(3)))
        with pytest.raises(UnitError, match=r"'ADMIN'.* multiplied by 1\.50.* to the scan 10:50:00"):
            factor(tmp_path / name, edit)


def test_a_decay_factor_that_nobody_wrote_or_one_time_for_all_beds_proves_nothing(tmp_path):
    assert factor(tmp_path / "one", both(two_beds(0), setting(DecayFactor="1"), setting(0, DecayFactor="1.03")))
    assert factor(tmp_path / "at", both(two_beds(0), setting(AcquisitionTime="103000"))) == pytest.approx(ONE_HOUR)
