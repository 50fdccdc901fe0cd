"""Enhanced (multi-frame) CT and MR in: voxels, grid and facts are those of the classic series of the same scan."""

import numpy as np
import pytest
from petdiffusion import read
from petdiffusion.errors import InputError, UnitError
from petdiffusion.progress import Run
from petdiffusion.volume import ARBITRARY, HU
from support import dicom_factory as factory
from support import enhanced_dicom as multi
from support.io_bad import refused

KINDS = {"ct": ("2.1", "2.2", HU, factory.ct), "mr": ("4.1", "4.4", ARBITRARY, factory.mr)}


def uid(number):
    return f"1.2.840.10008.5.1.4.1.1.{number}"


@pytest.mark.parametrize("role", KINDS)
def test_all_of_the_classic_series(tmp_path, role):
    """The frames are in no order, as the object allows; the folder holds the PET too."""
    *classes, unit, make = KINDS[role]
    classic = make(tmp_path / "classic")
    expected = read.image(classic.folder, role)
    for number, sop_class in enumerate(classes):
        slices = [classic.datasets[k] for k in multi.shuffled(6, seed=number)]
        file = multi.of_kind(slices, tmp_path / sop_class / f"{role}.dcm", uid(sop_class))
        factory.pet(file.parent)
        for source in (file, file.parent):
            volume = read.image(source, role, run=(run := Run()))
            np.testing.assert_array_equal(volume.array, expected.array)
            assert volume.geometry == expected.geometry and volume.unit == unit and run.warnings == []
            assert volume.facts == expected.with_facts(source=str(source)).facts


def test_a_ct_without_its_intercept_is_refused_here_too(tmp_path):
    def without(groups, number):
        del groups.PixelValueTransformationSequence[0].RescaleIntercept

    file = multi.of_kind(factory.ct(tmp_path / "c").datasets, tmp_path / "e" / "ct.dcm", uid("2.1"), frame=without)
    refused(tmp_path, UnitError, "no rescale intercept", lambda: read.image(file, "ct"))


def twice(tmp_path, told):
    """Every slice as two frames, of which `told` says what they are."""
    slices = factory.mr(tmp_path / "c").datasets

    def frame(groups, number):
        told(groups, number % 2)

    file = tmp_path / "e" / "mr.dcm"
    return multi.of_kind([one for one in slices for _ in range(2)], file, uid("4.1"), frame=frame)


def echoes(groups, which):
    groups.MREchoSequence = [multi.item(EffectiveEchoTime=(2.3, 4.6)[which])]


def weights(groups, which):
    groups.MRDiffusionSequence = [multi.item(DiffusionBValue=(0.0, 800.0)[which])]


def kinds(groups, which):
    groups.MRImageFrameTypeSequence = [multi.item(FrameType=["ORIGINAL", "PRIMARY", "DIXON", ("WATER", "FAT")[which]])]


def parts(groups, which):
    groups.MRImageFrameTypeSequence = [multi.item(ComplexImageComponent=("MAGNITUDE", "PHASE")[which])]


def times(groups, which):
    groups.FrameContentSequence[0].TemporalPositionIndex = 1 + which


@pytest.mark.parametrize(("told", "words"), [(echoes, "2 echoes"), (weights, "2 b-values"), (kinds, "2 kinds of image"),
                                             (parts, "2 parts of complex values"), (times, "2 time frames")])
def test_several_images_in_one_object_are_told_apart_and_refused(tmp_path, told, words):
    file = twice(tmp_path, told)
    refused(tmp_path, InputError, words, lambda: read.image(file, "mr"))
    with pytest.raises(InputError, match="Export one of them"):
        read.image(file, "mr")
