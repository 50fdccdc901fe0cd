"""Whose word on the unit counts: the file's with its scale, and a declaration only where the file says nothing."""

import pytest
from petdiffusion import read
from petdiffusion.errors import UnitError
from petdiffusion.progress import Run
from petdiffusion.volume import ARBITRARY, BQML, Geometry, Volume
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
