"""Whose word on the unit counts: the file's with its scale, and a declaration only where the file says nothing."""

import json

import numpy as np
import pytest
from petdiffusion import quantifying, read, suv
from petdiffusion.errors import UnitError
from petdiffusion.progress import Run
from petdiffusion.volume import ARBITRARY, BQML, SUVBW, Geometry, Volume
from support import dicom_factory as factory
from support import io_bad as bad


def philips(folder):
    series = factory.pet(folder, "Philips", units="CNTS")
    return series.folder, series.array.max() * factory.PHILIPS_BQML


def siemens(folder):
    series = factory.pet(folder)
    return series.folder, series.array.max()


def sidecar(folder):
    return bad.nifti(folder, sidecar={"Units": "kBq/mL"}), bad.values().max() * 1000


def header(folder):
    return bad.itk(folder, fields={"0054|1001": "kBq/ml"}), bad.values().max() * 1000


def volume(folder):
    return Volume(bad.values((6, 5, 4)), Geometry((4, 5, 6), (2, 2, 3)), BQML), bad.values().max()


@pytest.mark.parametrize("declared", [None, "Bq/ml", "kBq/ml"])
@pytest.mark.parametrize("make", [philips, siemens, sidecar, header, volume])
def test_the_files_own_scale_stays_whatever_was_declared(tmp_path, make, declared):
    source, highest = make(tmp_path)
    image = read.image(source, unit=declared)
    assert image.unit == BQML and image.array.max() == pytest.approx(highest, rel=1e-5)


@pytest.mark.parametrize("make", [philips, siemens, sidecar, header, volume])
def test_declared_arbitrary_it_is_a_picture_only(tmp_path, make):
    assert read.image(make(tmp_path)[0], unit="a.u.").unit == ARBITRARY


@pytest.mark.parametrize("make", [philips, siemens, sidecar, header, volume])
def test_another_unit_than_the_files_is_refused(tmp_path, make):
    with pytest.raises(UnitError, match=r"is in Bq/ml: and was declared to be in SUVbw"):
        read.image(make(tmp_path)[0], unit="SUVbw")


@pytest.mark.parametrize(("declared", "told"), [("Bq/ml", 0), ("kBq/ml", 1), ("a.u.", 0)])
def test_a_declared_scale_that_is_not_used_is_told(tmp_path, declared, told):
    run = Run()
    read.image(siemens(tmp_path)[0], unit=declared, run=run)
    assert sum("says its unit itself" in text for text in run.warnings) == told


def counts(units):
    return lambda folder: factory.pet(folder, units=units).folder


def noted(word):
    return lambda folder: bad.nifti(folder, sidecar={"Units": word})


def in_header(word):
    return lambda folder: bad.itk(folder, fields={"0054|1001": word})


def of_type(kind):
    """SUV in g/ml of another kind than body weight."""
    return lambda folder: bad.dicom(folder, bad.setting(SUVType=kind), units="GML")


UNSAID = {"counts": counts("CNTS"), "counts in proportion": counts("PROPCNTS"), "no unit": counts("NONE"),
          "units left out": counts(""), "sidecar": noted("CNTS"), "sidecar in words": noted("counts"),
          "header": in_header("CNTS")}
KNOWN_OTHERWISE = {"lean mass": of_type("LBM"), "lean mass by James": of_type("LBMJAMES128"), "ideal": of_type("IBW"),
                   "surface": of_type("BSA"), "surface in cm2/ml": counts("CM2ML"), "uptake": counts("MGMINML"),
                   "counts per second": counts("CPS"), "sidecar of lean mass": noted("SUL"),
                   "sidecar of a rate": noted("mL/min/g"), "header of lean mass": in_header("SUVlbm")}


@pytest.mark.parametrize("declared", ["Bq/ml", "SUVbw"])
@pytest.mark.parametrize("case", UNSAID)
def test_of_counts_a_declaration_says_what_they_are_and_that_is_told(tmp_path, case, declared):
    source, run = UNSAID[case](tmp_path), Run()
    with pytest.raises(UnitError, match="--unit"):
        read.image(source)
    assert read.image(source, unit=declared, run=run).unit == declared
    assert sum(f"are taken for {declared}, as was declared" in text for text in run.warnings) == 1


@pytest.mark.parametrize("case", KNOWN_OTHERWISE)
def test_what_is_known_to_be_something_else_becomes_no_suv_by_declaration(tmp_path, case):
    source, run = KNOWN_OTHERWISE[case](tmp_path), Run()
    for declared in ("SUVbw", "Bq/ml"):
        with pytest.raises(UnitError):
            read.image(source, unit=declared)
    assert read.image(source, unit="a.u.", run=run).unit == ARBITRARY
    assert not any("taken for" in text for text in run.warnings)


def test_philips_factors_that_differ_are_not_set_aside_by_a_declaration(tmp_path):
    def edit(ds, k):
        ds.private_block(0x7053, "Philips PET Private Group")[0x09].value = str(1.0 + 0.1 * k)

    folder = bad.dicom(tmp_path, edit, vendor="Philips", units="CNTS")
    with pytest.raises(UnitError, match="7053"):
        read.image(folder, unit="Bq/ml")


def owned_by(creator, vr="LO"):
    """Philips' private block with another first line, or without one."""
    def edit(ds, k):
        del ds[0x7053, 0x10]
        if creator is not None:
            ds.add_new((0x7053, 0x10), vr, creator)
    return edit


@pytest.mark.parametrize(("creator", "vr"), [(None, "LO"), ("", "LO"), ("Philips PET Private Group", "LO"),
                                             (b"Philips PET Private Group ", "UN")])
def test_philips_factors_are_found_where_an_anonymiser_took_the_line_that_names_them(tmp_path, creator, vr):
    series = factory.pet(tmp_path, "Philips", units="CNTS", edit=owned_by(creator, vr))
    pet = read.image(series.folder)
    assert pet.unit == BQML and pet.array.max() == pytest.approx(series.array.max() * factory.PHILIPS_BQML, rel=1e-5)
    assert pet.facts.suv_factor == pytest.approx(factory.PHILIPS_SUV / factory.PHILIPS_BQML, rel=1e-9)


def test_a_private_block_of_somebody_else_holds_no_factors_of_philips(tmp_path):
    with pytest.raises(UnitError, match="absent or zero"):
        read.image(factory.pet(tmp_path, "Philips", units="CNTS", edit=owned_by("ANOTHER VENDOR")).folder)


def philips_suv(folder, edit):
    """Counts whose header has the factor to SUV alone."""
    def alone(ds, k):
        del ds[0x7053, 0x1009]
        edit(ds, k)
    return factory.pet(folder, "Philips", units="CNTS", edit=alone).folder


def in_gml(folder, edit):
    values = factory.activity((6, 20, 24), highest=8.0)
    return factory.pet(folder, units="GML", values=values, edit=edit).folder


UNCORRECTED = {"no attenuation": ({"CorrectedImage": ["NORM", "DECY"]}, "lacks ATTN"),
               "no decay": ({"CorrectedImage": ["NORM", "ATTN"]}, "lacks DECY"),
               "nothing": ({"CorrectedImage": "NORM"}, "lacks ATTN"),
               "decay not corrected": ({"DecayCorrection": "NONE"}, "(0054,1102) 'NONE'"),
               "one slice": ({"CorrectedImage": ["DECY"], "only": 3}, "lacks ATTN")}


@pytest.mark.parametrize("make", [in_gml, philips_suv])
@pytest.mark.parametrize("case", UNCORRECTED)
def test_suvs_of_an_uncorrected_image_are_refused_and_read_as_a_picture(tmp_path, make, case):
    header, said = UNCORRECTED[case]
    source = make(tmp_path, bad.setting(**header))
    for declared in (None, "SUVbw"):
        with pytest.raises(UnitError) as caught:
            read.image(source, unit=declared)
        assert said in str(caught.value) and "a.u." in caught.value.remedy
    assert read.image(source, unit="a.u.").unit == ARBITRARY


@pytest.mark.parametrize("make", [in_gml, philips_suv])
@pytest.mark.parametrize("header", [{"CorrectedImage": None, "DecayCorrection": None}, {"CorrectedImage": ""},
                                    {"CorrectedImage": None, "only": 2}])
def test_suvs_whose_header_lists_no_correction_are_those_of_who_wrote_them_and_that_is_told(tmp_path, make, header):
    run = Run()
    pet = read.image(make(tmp_path, bad.setting(**header)), run=run)
    assert pet.unit == SUVBW and sum("does not say" in text for text in run.warnings) == 1


@pytest.mark.parametrize("make", [in_gml, philips_suv])
@pytest.mark.parametrize("header", [{}, {"RadiopharmaceuticalStartTime": "103000"}, {"RadionuclideTotalDose": None}])
def test_where_the_values_are_suv_no_dose_or_time_is_missed(tmp_path, make, header):
    run = Run()
    assert read.image(make(tmp_path, bad.setting(**header)), run=run).unit == SUVBW and not run.warnings


def test_where_philips_has_both_factors_no_time_is_missed(tmp_path):
    run = Run()
    edit = bad.setting(RadiopharmaceuticalStartTime="103000")
    pet = read.image(factory.pet(tmp_path, "Philips", units="CNTS", edit=edit).folder, run=run)
    assert pet.facts.suv_factor == pytest.approx(factory.PHILIPS_SUV / factory.PHILIPS_BQML) and not run.warnings


def administered(ds, k):
    ds.DecayCorrection = "ADMIN"
    del ds.DecayFactor


@pytest.mark.parametrize(("edit", "corrected_to"), [(None, 3600.0), (administered, 0.0)])
def test_a_converted_series_says_by_pet_bids_alone_what_makes_its_suv(tmp_path, edit, corrected_to):
    """As another program reads it; and as this one does where its own notes lost the factor."""
    series = factory.pet(tmp_path / "dicom", edit=edit)
    wanted = suv.to_suv(read.image(series.folder)).array
    written = quantifying.convert(series.folder, tmp_path / "pet.nii.gz")
    notes = json.loads((tmp_path / "pet.json").read_text())
    assert notes["ImageDecayCorrected"] is True and notes["ImageDecayCorrectionTime"] == pytest.approx(corrected_to)
    assert (notes["InjectionStart"], notes["ScanStart"]) == (0, pytest.approx(3600.0))
    own = notes.pop("PETDiffusion")
    facts = {name: value for name, value in own["facts"].items() if name != "suv_factor"}
    for kept in (notes, notes | {"PETDiffusion": {"facts": facts}}):
        (tmp_path / "pet.json").write_text(json.dumps(kept))
        pet = read.image(written)
        np.testing.assert_allclose(suv.to_suv(pet).array, wanted, rtol=1e-5)
        assert pet.facts.uptake_minutes == pytest.approx(60.0)
        assert pet.facts.decay_factor == pytest.approx(facts["decay_factor"])


def test_a_factor_of_another_time_than_the_headers_is_not_explained_by_it(tmp_path):
    """Philips' private factor is what it is: no time of decay correction is made up for it."""
    quantifying.convert(philips(tmp_path / "dicom")[0], tmp_path / "pet.nii.gz")
    notes = json.loads((tmp_path / "pet.json").read_text())
    assert "suv_factor" in notes["PETDiffusion"]["facts"] and "ScanStart" in notes
    assert "ImageDecayCorrected" not in notes and "ImageDecayCorrectionTime" not in notes
