"""Scans across midnight whose slices all bear the date of one day.

The series of the factory: 370 MBq, 70 kg, half-life 6586.2 s; an hour from injection to scan gives 2.763367e-4, and the
decay of the beds by hand from there.
"""

import pytest
from petdiffusion import read, suv
from petdiffusion.errors import UnitError
from petdiffusion.volume import BQML
from support import dicom_factory as factory
from support.dynamic_dicom import dynamic

ONE_HOUR = 2.763367e-4
FRAME_S = 180.0


def factor_after(seconds):
    return 2 ** ((seconds + FRAME_S / 2) / factory.HALF_LIFE_S)


def night(beds=(("235900", 0), ("000300", 240)), began="235900", injected="225900", **more):
    """Beds by their clock and the seconds since the first, all dated 2 January."""
    def edit(ds, k):
        ds.AcquisitionTime, late_s = beds[0 if k < 3 else 1]
        ds.SeriesTime, ds.DecayFactor = began, f"{factor_after(late_s):.12f}"
        ds.RadiopharmaceuticalInformationSequence[0].RadiopharmaceuticalStartTime = injected
        for name, value in more.items():
            setattr(ds, name, value)
    return edit


def series(tmp_path, edit):
    return factory.pet(tmp_path / "pet", geometry=factory.grid((4, 5, 6)), edit=edit)


@pytest.mark.parametrize("upside_down", [False, True])
def test_beds_before_and_after_midnight_of_one_date_have_the_suv_of_one_scan(tmp_path, upside_down):
    beds = (("235900", 0), ("000300", 240))
    made = series(tmp_path, night(beds[::-1] if upside_down else beds))
    assert read.image(made.folder).facts.suv_factor == pytest.approx(ONE_HOUR, rel=1e-6)
    assert suv.factor_from_dicom(made.datasets) == pytest.approx(ONE_HOUR, rel=1e-6)
    assert {ds.AcquisitionDate for ds in made.datasets} == {"20240102"}


def test_the_date_may_be_that_of_the_day_after(tmp_path):
    """The series was put together at 00:20 on 2 January: the first bed is of 1 January, as its injection is."""
    def edit(ds, k):
        night(began="002000")(ds, k)
        ds.RadiopharmaceuticalInformationSequence[0].RadiopharmaceuticalStartDateTime = "20240101225900"
    assert read.image(series(tmp_path, edit).folder).facts.suv_factor == pytest.approx(ONE_HOUR, rel=1e-6)


def test_a_decay_factor_that_is_not_of_the_night_is_still_refused(tmp_path):
    made = series(tmp_path, night((("235900", 0), ("000300", 9000))))
    with pytest.raises(UnitError, match="cannot be that of all slices"):
        suv.factor_from_dicom(made.datasets)


def test_hours_between_two_beds_of_a_day_are_left_alone(tmp_path):
    """Twelve hours apart at most: both readings would have the clock run on."""
    made = series(tmp_path, night((("090000", 0), ("210000", 43200)), began="090000", injected="080000"))
    assert suv.factor_from_dicom(made.datasets) == pytest.approx(ONE_HOUR, rel=1e-6)


def test_frames_across_midnight_of_one_date_follow_one_another(tmp_path):
    clocks = ("235950", "000000", "000010")
    folder, _ = dynamic(tmp_path, AcquisitionTime=lambda number, k: clocks[number],
                        SeriesTime=lambda number, k: "235950", FrameReferenceTime=lambda number, k: "0")  # fmt: skip
    frames = read.frames(folder)
    assert [time.start_s for time in frames.times] == [0.0, 10.0, 20.0]
    assert frames.frame(2).unit == BQML
