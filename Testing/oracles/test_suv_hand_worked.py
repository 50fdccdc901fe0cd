"""SUV factors worked out by hand, and the headers that must be refused.

The series of the factory: 370 MBq, 70 kg, half-life 6586.2 s, injected 09:30, scanned 10:30. By hand:
2^(3600 / 6586.2) = 1.46064, 70000 g / 370e6 Bq = 1.891892e-4 g/Bq, so the factor is 2.763367e-4 ml/Bq.
"""

import numpy as np
import pytest
from petdiffusion import suv
from petdiffusion.errors import UnitError
from petdiffusion.suv.tracers import half_life
from petdiffusion.volume import BQML, SUVBW, Facts, Geometry, Volume
from support import dicom_factory as factory

WEIGHT_OVER_DOSE = 70000 / 370e6
ONE_HOUR = 2.763367e-4


def headers(tmp_path, vendor="Siemens", edit=None, units="BQML", shape=(4, 5, 6)):
    return factory.pet(tmp_path / "pet", vendor, geometry=factory.grid(shape), edit=edit, units=units).datasets


def info(ds):
    return ds.RadiopharmaceuticalInformationSequence[0]


def times(series_time="103000", injected="093000", acquired=None, decay=None, **more):
    """Sets the clock; without `acquired` all slices were acquired when the series began."""
    def edit(ds, k):
        ds.SeriesTime, info(ds).RadiopharmaceuticalStartTime = series_time, injected
        ds.AcquisitionTime = acquired or series_time
        ds.DecayFactor = decay or "1.0"
        for name, value in more.items():
            setattr(info(ds) if name.startswith("Radio") else ds, name, value)
    return edit


@pytest.mark.parametrize("vendor", ["Siemens", "GE", "Philips"])
def test_one_hour_of_fdg(tmp_path, vendor):
    assert suv.factor_from_dicom(headers(tmp_path, vendor)) == pytest.approx(ONE_HOUR, rel=1e-6)


def test_after_one_half_life_the_factor_has_doubled(tmp_path):
    series = headers(tmp_path, edit=times(injected="084013.8"))
    assert suv.factor_from_dicom(series) == pytest.approx(2 * WEIGHT_OVER_DOSE, rel=1e-6)


def test_injection_before_midnight_by_time_alone(tmp_path):
    series = headers(tmp_path, edit=times("003000", "233000"))
    assert suv.factor_from_dicom(series) == pytest.approx(ONE_HOUR, rel=1e-6)


def test_injection_before_midnight_by_date(tmp_path):
    series = headers(tmp_path, edit=times("003000", "233000", RadiopharmaceuticalStartDateTime="20240101233000.00"))
    assert suv.factor_from_dicom(series) == pytest.approx(ONE_HOUR, rel=1e-6)


def test_only_the_date_time_is_given(tmp_path):
    def edit(ds, k):
        del info(ds).RadiopharmaceuticalStartTime
        info(ds).RadiopharmaceuticalStartDateTime = "20240102093000.000000+0100"
    assert suv.factor_from_dicom(headers(tmp_path, edit=edit)) == pytest.approx(ONE_HOUR, rel=1e-6)


def test_long_lived_tracers_are_dated_by_the_date_time(tmp_path):
    """Zr-89 (282276 s) three days after the injection: 2^(259200 / 282276) = 1.88982."""
    def edit(ds, k):
        del info(ds).RadionuclideCodeSequence
        times("093000", "093000", RadionuclideHalfLife=282276, RadiopharmaceuticalStartDateTime="20231230093000")(ds, k)
    assert suv.factor_from_dicom(headers(tmp_path, edit=edit)) == pytest.approx(1.88982 * WEIGHT_OVER_DOSE, rel=1e-5)


def test_admin_needs_no_decay(tmp_path):
    def edit(ds, k):
        ds.DecayCorrection, ds.DecayFactor = "ADMIN", "1.47"
    assert suv.factor_from_dicom(headers(tmp_path, edit=edit)) == pytest.approx(WEIGHT_OVER_DOSE, rel=1e-9)


def test_philips_counts_use_the_private_factors(tmp_path):
    series = headers(tmp_path, "Philips", units="CNTS")
    assert suv.factor_from_dicom(series) == pytest.approx(0.000381 / 1.25, rel=1e-9)


def test_a_series_made_later_falls_back_to_the_acquisition_its_decay_factor_proves(tmp_path):
    """A reprocessed series carries the time it was made at; the first slice's factor of 1.0095 fits its own start."""
    series = headers(tmp_path, edit=times("150000", acquired="103000", decay="1.0095"))
    assert suv.factor_from_dicom(series) == pytest.approx(ONE_HOUR, rel=1e-6)


def test_a_series_time_some_seconds_late_is_still_the_start(tmp_path):
    """20 s are 0.2 % of decay: no reason to refuse."""
    def edit(ds, k):
        times("103020", acquired="103000")(ds, k)
        del ds.DecayFactor
    assert suv.factor_from_dicom(headers(tmp_path, edit=edit)) == pytest.approx(ONE_HOUR, rel=3e-3)


def test_ge_states_its_scan_time_also_in_a_series_made_later(tmp_path):
    series = headers(tmp_path, "GE", edit=times("150000", acquired="103000", decay="1.0095"))
    assert suv.factor_from_dicom(series) == pytest.approx(ONE_HOUR, rel=1e-6)


def test_philips_frame_reference_wins_where_the_decay_factor_contradicts_the_series_time(tmp_path):
    """Series opened 30 min before the scan; frame reference and decay factor both say 10:30."""
    def edit(ds, k):
        ds.SeriesTime = "100000"
        ds.AcquisitionTime, ds.FrameReferenceTime, ds.DecayFactor = "103000", "90000", "1.0095"
    assert suv.factor_from_dicom(headers(tmp_path, "Philips", edit)) == pytest.approx(ONE_HOUR, rel=1e-4)


def test_user_facts_complete_the_header(tmp_path):
    def edit(ds, k):
        ds.PatientWeight = None
    series = headers(tmp_path, edit=edit)
    assert suv.factor_from_dicom(series, Facts(weight_kg=70.0)) == pytest.approx(ONE_HOUR, rel=1e-6)
    assert suv.factor_from_dicom(series, Facts(weight_kg=35.0)) == pytest.approx(ONE_HOUR / 2, rel=1e-6)


def _delete(name):
    def edit(ds, k):
        target = info(ds) if name in info(ds) else ds
        delattr(target, name)
    return edit


def _set(**values):
    def edit(ds, k):
        for name, value in values.items():
            setattr(info(ds) if name.startswith("Radio") else ds, name, value)
    return edit


def _from_slice_two(**values):
    def edit(ds, k):
        if k >= 2:
            _set(**values)(ds, k)
    return edit


def _only_dated(stamp):
    def edit(ds, k):
        _delete("RadiopharmaceuticalStartTime")(ds, k)
        _set(RadiopharmaceuticalStartDateTime=stamp)(ds, k)
    return edit


REFUSED = {
    "weight missing": (_delete("PatientWeight"), "PatientWeight (0010,1030), sidecar BodyWeight"),
    "weight zero": (_set(PatientWeight=0), "0 kg"),
    "weight in grams": (_set(PatientWeight=70000), "70000 kg"),
    "dose missing": (_delete("RadionuclideTotalDose"), "dose"),
    "dose in MBq": (_set(RadionuclideTotalDose=370), "370 Bq"),
    "dose negative": (_set(RadionuclideTotalDose=-370e6), "-3.7e+08"),
    "half-life and nuclide missing": (lambda ds, k: (_delete("RadionuclideCodeSequence")(ds, k),
                                                     _delete("RadionuclideHalfLife")(ds, k)), "half-life"),
    "half-life of another nuclide": (_set(RadionuclideHalfLife=4062.6), "4062.6"),
    "no tracer at all": (_delete("RadiopharmaceuticalInformationSequence"), "half-life"),
    "decay correction NONE": (_set(DecayCorrection="NONE"), "NONE"),
    "decay correction missing": (_delete("DecayCorrection"), "absent"),
    "decay correction contradicted": (_set(CorrectedImage=["ATTN", "SCAT"]), "DECY"),
    "not attenuation-corrected": (_set(CorrectedImage=["DECY", "RAN"]), "ATTN"),
    "corrections missing": (_delete("CorrectedImage"), "empty"),
    "injection time missing": (_delete("RadiopharmaceuticalStartTime"), "(0018,1072)"),
    "injection after the scan": (_set(RadiopharmaceuticalStartTime="113000"), "23.0 h"),
    "injection after the scan by date": (_set(RadiopharmaceuticalStartDateTime="20240102103500",
                                              RadiopharmaceuticalStartTime="103500"), "5.0 min after"),
    "two injection times": (_set(RadiopharmaceuticalStartDateTime="20240102083000"), "(0018,1078)"),
    "dates changed by de-identification": (_only_dated("20190102093000"), "half-lives"),
    "long-lived tracer without a date": (lambda ds, k: (_delete("RadionuclideCodeSequence")(ds, k),
                                                        _set(RadionuclideHalfLife=282276, DecayFactor="")(ds, k)),
                                        "unknown day"),
    "series time after the scan, no decay factor": (lambda ds, k: (_set(SeriesTime="150000")(ds, k),
                                                                   _delete("DecayFactor")(ds, k)), "15:00:00"),
    "series time after the scan, decay from elsewhere": (times("150000", acquired="103000", decay="1.3"), "1.3"),
    "decay factor contradicts the series time": (times("100000", acquired="103000", decay="1.0095"), "10:00:00"),
    "no scan time": (lambda ds, k: (_delete("SeriesTime")(ds, k), _delete("AcquisitionTime")(ds, k)), "SeriesTime"),
    "slices of two weights": (_from_slice_two(PatientWeight=95), "70 and 95"),
    "slices of two doses": (_from_slice_two(RadionuclideTotalDose=100e6), "1e+08 and 3.7e+08"),
    "slices of two half-lives": (_from_slice_two(RadionuclideHalfLife=6600), "6586.2 and 6600"),
    "slices corrected to two times": (_from_slice_two(DecayCorrection="ADMIN"), "ADMIN and START"),
    "some slices without decay correction": (_from_slice_two(DecayCorrection="NONE"), "NONE"),
    "some slices without attenuation correction": (_from_slice_two(CorrectedImage=["DECY"]), "ATTN"),
    "some slices without decay correction by (0028,0051)": (_from_slice_two(CorrectedImage=["ATTN"]), "DECY"),
    "counts without factors": (_set(Units="CNTS"), None),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_rather_than_guessed(tmp_path, case):
    edit, named = REFUSED[case]
    if named is None:
        from petdiffusion.suv.dicom import stored_unit
        with pytest.raises(UnitError, match="CNTS"):
            stored_unit(headers(tmp_path, edit=edit))
        return
    with pytest.raises(UnitError) as caught:
        suv.factor_from_dicom(headers(tmp_path, edit=edit))
    assert named in str(caught.value) and caught.value.remedy


@pytest.mark.parametrize("stated", [None, 0])
@pytest.mark.parametrize("nuclide", ["^18^Fluorine", "F-18"])
def test_a_half_life_that_is_left_out_is_that_of_the_nuclide(tmp_path, stated, nuclide):
    def edit(ds, k):
        info(ds).RadionuclideHalfLife, info(ds).RadionuclideCodeSequence[0].CodeMeaning = stated, nuclide
    assert suv.factor_from_dicom(headers(tmp_path, edit=edit)) == pytest.approx(ONE_HOUR, rel=1e-6)


def test_a_weight_that_is_given_settles_slices_of_two_weights(tmp_path):
    series = headers(tmp_path, edit=_from_slice_two(PatientWeight=95))
    assert suv.factor_from_dicom(series, Facts(weight_kg=70.0)) == pytest.approx(ONE_HOUR, rel=1e-6)


def test_water_filled_patient_has_suv_one(tmp_path):
    """The whole dose spread evenly in 70 litres, decayed for an hour, is an SUV of 1 everywhere."""
    left = 370e6 * 0.5 ** (3600 / 6586.2)
    facts = Facts(injected_dose_bq=370e6, weight_kg=70.0, half_life_s=6586.2, uptake_minutes=60.0)
    water = Volume(np.full((2, 3, 4), left / 70000), Geometry((4, 3, 2), (1, 1, 1)), BQML, facts)
    np.testing.assert_allclose(suv.to_suv(water).array, 1.0, rtol=1e-6)
    np.testing.assert_allclose(suv.to_bqml(suv.to_suv(water)).array, water.array, rtol=3e-7)


@pytest.mark.parametrize(("changes", "named"), [
    ({"weight_kg": None}, "weight"), ({"injected_dose_bq": None}, "dose"), ({"half_life_s": None}, "half-life"),
    ({"uptake_minutes": None}, "time from injection"), ({"uptake_minutes": -5.0}, "5.0 min after"),
    ({"injected_dose_bq": float("nan")}, "nan"), ({"half_life_s": 0.0}, "0 s"), ({"weight_kg": "70"}, "'70'"),
    ({"uptake_minutes": 2000.0}, "33.3 h"),
])
def test_facts_are_refused_one_by_one(changes, named):
    facts = {"injected_dose_bq": 370e6, "weight_kg": 70.0, "half_life_s": 6586.2, "uptake_minutes": 60.0}
    assert suv.factor_from_facts(Facts(**facts)) == pytest.approx(ONE_HOUR, rel=1e-6)
    with pytest.raises(UnitError) as caught:
        suv.factor_from_facts(Facts(**{**facts, **changes}))
    assert named in str(caught.value) and caught.value.remedy


def test_units_that_are_no_pet_are_not_converted():
    image = Volume(np.ones((2, 2, 2)), Geometry((2, 2, 2), (1, 1, 1)))
    for convert in (suv.to_suv, suv.to_bqml):
        with pytest.raises(UnitError, match=r"a\.u\."):
            convert(image)
    known = Volume(np.ones((2, 2, 2)), image.geometry, SUVBW)
    assert suv.to_suv(known) is known


@pytest.mark.parametrize(("word", "unit", "scale"), [
    ("Bq/mL", BQML, 1.0), ("BQML", BQML, 1.0), ("kBq/ml", BQML, 1e3), (" SUV ", SUVBW, 1.0), ("g/ml", SUVBW, 1.0)])
def test_unit_words(word, unit, scale):
    assert suv.parse_unit(word) == (unit, scale)


@pytest.mark.parametrize("word", ["", "counts", "SUL", None, 3, "CNTS"])
def test_unknown_unit_words_are_refused(word):
    with pytest.raises(UnitError):
        suv.parse_unit(word)


@pytest.mark.parametrize(("word", "seconds"), [("18F", 6586.2), ("F-18", 6586.2), ("^18^Fluorine", 6586.2),
                                               ("68Ga", 4062.6), ("C11", 1222.8), ("Zr-89", 282276), ("99mTc", None),
                                               ("", None)])
def test_half_life_by_name(word, seconds):
    assert half_life(word) == (seconds if seconds is None else pytest.approx(seconds))
