"""Contours of structure sets keep their volume however their planes lie, and what was lost of them is told."""

import numpy as np
import petdiffusion
import pydicom
import pytest
from petdiffusion import read
from petdiffusion.errors import InputError
from petdiffusion.progress import Run
from petdiffusion.read.dicom import frame_of_reference
from support.contours import ball, ball_at, structure_set
from support.scans import small_patient

BALL_ML = 4 / 3 * np.pi * 2.0**3
HERE, BESIDE = np.zeros(3), np.array([60.0, 0, 0])
EVERY_3MM = np.arange(-60.0, 60.0, 3.0)
JITTER = np.random.default_rng(0).uniform(-0.05, 0.05, len(EVERY_3MM))


def volumes(mask):
    counts = np.bincount(mask.array.ravel(), minlength=max(mask.names) + 1)
    return {name: counts[value] * mask.geometry.voxel_ml for value, name in mask.names.items()}


def centre_of(mask, value):
    index = np.argwhere(mask.array == value)[:, ::-1].mean(axis=0)
    return (mask.geometry.affine @ [*index, 1])[:3]


@pytest.mark.parametrize("heights", [
    np.arange(-60.0, 60.0, 5.0), np.arange(-60.0, 60.0, 6.0), EVERY_3MM + 0.02, EVERY_3MM + 0.1, EVERY_3MM + 0.3,
    EVERY_3MM + 1.5, EVERY_3MM + JITTER, np.arange(-60.0, 60.0, 1.25),
], ids=["5 mm", "6 mm", "off by 0.02", "off by 0.1", "off by 0.3", "off by 1.5", "jitter", "1.25 mm"])  # fmt: skip
def test_regions_that_do_not_share_their_planes_keep_volume_and_place(tmp_path, heights):
    regions = [("a", ball_at(EVERY_3MM, 20.0, HERE)), ("b", ball_at(heights, 20.0, BESIDE))]
    mask = read.labels(structure_set(tmp_path, regions))
    assert volumes(mask) == pytest.approx({"a": BALL_ML, "b": BALL_ML}, rel=0.02)
    for value, centre in ((1, HERE), (2, BESIDE)):
        np.testing.assert_allclose(centre_of(mask, value), centre, atol=0.6)


@pytest.mark.parametrize("heights", [
    EVERY_3MM + JITTER, np.round(np.arange(-150, 150, 3.27), 1), np.round(np.arange(-60, 60, 1.25), 1),
], ids=["jitter", "3.27 mm by tenths", "1.25 mm by tenths"])  # fmt: skip
def test_planes_may_lie_where_rounding_put_them(tmp_path, heights):
    mask = read.labels(structure_set(tmp_path, [("a", ball_at(heights, 20.0, HERE))]))
    assert volumes(mask)["a"] == pytest.approx(BALL_ML, rel=0.02)


@pytest.mark.parametrize("degrees", [0.05, 0.3, 0.7, 1.0])
def test_planes_that_are_tilted_a_little_stay_tilted(tmp_path, degrees):
    a = np.deg2rad(degrees)
    tilt = np.array([[1, 0, 0], [0, np.cos(a), np.sin(a)], [0, -np.sin(a), np.cos(a)]])
    regions = [(name, ball_at(EVERY_3MM, 20.0, np.array(at) @ tilt, axes=tilt))
               for name, at in (("a", [0.0, 0, 0]), ("b", [0.0, 60, 0]))]  # fmt: skip
    mask = read.labels(structure_set(tmp_path, regions))
    assert volumes(mask) == pytest.approx({"a": BALL_ML, "b": BALL_ML}, rel=0.02)
    assert mask.geometry.spacing[2] == pytest.approx(3.0, abs=1e-3)


def test_a_region_of_one_plane_is_as_thick_as_the_others_planes_are_apart(tmp_path):
    disc = ball_at([0.0], 20.0, BESIDE)
    regions = [("a", ball_at(EVERY_3MM - 1.0, 20.0, HERE)), ("disc", disc)]
    mask = read.labels(structure_set(tmp_path, regions))
    assert volumes(mask)["disc"] == pytest.approx(np.pi * 2.0**2 * 0.3, rel=0.02)


def test_parts_of_a_region_need_not_lie_on_common_planes(tmp_path):
    parts = [*ball_at(EVERY_3MM, 20.0, HERE), *ball_at(EVERY_3MM, 20.0, np.array([0, 0, 76.3]))]
    mask = read.labels(structure_set(tmp_path, [("a", parts)]))
    assert volumes(mask)["a"] == pytest.approx(2 * BALL_ML, rel=0.02)


def test_a_contour_that_is_there_twice_counts_once_and_those_that_overlap_add_up(tmp_path):
    one, other = ball_at(EVERY_3MM, 20.0, HERE), ball_at(EVERY_3MM, 20.0, np.array([20.0, 0, 0]))
    both = np.pi * (4 * 2 + 2) * (2 * 2 - 2) ** 2 / 12  # two balls of 2 cm, their centres 2 cm apart
    again = [np.round(contour * 0.999, 1) for contour in one]  # wholly within the first, and no hole of it
    regions = [("twice", [*one, *one[::-1], *again]), ("two", [c + [0, 80, 0] for c in [*one, *other]])]
    found = volumes(read.labels(structure_set(tmp_path, regions)))
    assert found == pytest.approx({"twice": BALL_ML, "two": 2 * BALL_ML - both}, rel=0.02)


def test_a_plane_that_was_left_out_stays_empty(tmp_path):
    """One alone among the planes of a region: what lies between its neighbours was not drawn."""
    rod = [c + [0, 0, z] for z in (0.0, 3.0, 6.0, 12.0, 15.0, 18.0) for c in ball_at([0.0], 20.0, HERE)]
    mask = read.labels(structure_set(tmp_path, [("a", rod)]))
    assert volumes(mask)["a"] == pytest.approx(6 * 0.3 * np.pi * 2.0**2, rel=0.02)
    assert [bool(plane.any()) for plane in mask.array] == [True, True, True, False, True, True, True]


def changed(folder, regions, change):
    file = structure_set(folder, regions)
    ds = pydicom.dcmread(file)
    change(ds)
    ds.save_as(file)
    return file


def test_a_region_may_be_drawn_in_several_parts(tmp_path):
    """Two items of contours for one region: the later one does not take the place of the earlier."""
    def of_the_first(ds):
        ds.ROIContourSequence[1].ReferencedROINumber = ds.ROIContourSequence[0].ReferencedROINumber

    regions = [("a", ball_at(EVERY_3MM, 20.0, HERE)), ("b", ball_at(EVERY_3MM, 20.0, BESIDE))]
    mask = read.labels(changed(tmp_path, regions, of_the_first))
    assert volumes(mask) == pytest.approx({"a": 2 * BALL_ML}, rel=0.02)


def test_what_is_drawn_as_lines_or_points_is_told(tmp_path):
    def opened(ds):
        for contour in [*ds.ROIContourSequence[1].ContourSequence, ds.ROIContourSequence[2].ContourSequence[0]]:
            contour.ContourGeometricType = "OPEN_PLANAR"
        ds.ROIContourSequence[3].ContourSequence[0].ContourGeometricType = "POINT"

    point = [np.array([[60.0, 0.0, 0.0]])]
    regions = [("a", ball_at(EVERY_3MM, 20.0, HERE)), ("line", ball_at(EVERY_3MM, 9.0, HERE)),
               ("some", ball_at(EVERY_3MM, 20.0, BESIDE)), ("point", point)]  # fmt: skip
    file, run = changed(tmp_path, regions, opened), Run()
    assert set(volumes(read.labels(file, run=run))) == {"a", "some"}
    (told,) = run.warnings
    assert told.endswith("left out: all of 'line', 1 of the contours of 'some', all of 'point'.")
    read.labels(file, only=["a"], run=(alone := Run()))
    assert alone.warnings == []


def of_two_frames(ds):
    ds.StructureSetROISequence[0].ReferencedFrameOfReferenceUID = "1.2.3"
    ds.StructureSetROISequence[1].ReferencedFrameOfReferenceUID = "1.2.4"


def of_one_frame(ds):
    for item in ds.StructureSetROISequence:
        item.ReferencedFrameOfReferenceUID = "1.2.3"
    ds.FrameOfReferenceUID = "1.2.4"


def of_a_files_frame(ds):
    ds.FrameOfReferenceUID = "1.2.3"


def of_a_listed_frame(ds):
    item = pydicom.Dataset()
    item.FrameOfReferenceUID = "1.2.3"
    ds.ReferencedFrameOfReferenceSequence = [item]


@pytest.mark.parametrize(("change", "only", "known", "told"), [
    (of_one_frame, (), True, False), (of_a_files_frame, (), True, False), (of_a_listed_frame, (), True, False),
    (lambda ds: None, (), False, False), (of_two_frames, (), False, True), (of_two_frames, ["a"], True, False),
], ids=["regions", "file", "list", "none", "two", "one of two"])  # fmt: skip
def test_the_frame_of_reference_is_that_of_the_regions_taken(tmp_path, change, only, known, told):
    regions = [("a", ball(9.0, HERE)), ("b", ball(9.0, BESIDE))]
    mask = read.labels(changed(tmp_path, regions, change), only=only, run=(run := Run()))
    assert mask.frame_of_reference == (frame_of_reference("1.2.3") if known else None)
    assert bool(run.warnings) is told and all("2 frames of reference" in text for text in run.warnings)


def test_a_structure_set_of_another_frame_of_reference_is_told(tmp_path):
    pet = small_patient()["pet"]
    file = changed(tmp_path, [("a", ball(9.0, (0.0, 0.0, 60.0)))], of_one_frame)
    for uid, told in (("1.2.3", False), ("1.2.5", True)):
        petdiffusion.quantify(pet.with_facts(frame_of_reference=frame_of_reference(uid)), lesions=file,
                              run=(run := Run()))  # fmt: skip
        assert any("The lesion mask lies in another frame of reference" in text for text in run.warnings) is told


@pytest.mark.parametrize("flips", [False, True])
def test_contours_that_flip_take_away_what_they_share(tmp_path, flips):
    one, other = ball_at(EVERY_3MM, 20.0, HERE), ball_at(EVERY_3MM, 20.0, np.array([20.0, 0, 0]))
    file = structure_set(tmp_path, [("a", [*one, *other])])
    ds = pydicom.dcmread(file)
    for contour in ds.ROIContourSequence[0].ContourSequence if flips else ():
        contour.ContourGeometricType = "CLOSEDPLANAR_XOR"
    ds.save_as(file)
    both = np.pi * (4 * 2 + 2) * (2 * 2 - 2) ** 2 / 12
    expected = 2 * BALL_ML - both * (2 if flips else 1)
    assert volumes(read.labels(file))["a"] == pytest.approx(expected, rel=0.02)


def test_an_island_in_a_hole_is_filled(tmp_path):
    shell, island = ball_at(EVERY_3MM, 30.0, HERE, hole=20.0), ball_at(EVERY_3MM, 10.0, HERE)
    found = volumes(read.labels(structure_set(tmp_path, [("a", [*island, *shell])])))
    assert found["a"] == pytest.approx(4 / 3 * np.pi * (3.0**3 - 2.0**3 + 1.0**3), rel=0.02)


@pytest.mark.parametrize("name", ["PTV", "GTV", "GTV copy"])
def test_a_structure_taken_alone_is_whole(tmp_path, name):
    """The smaller ones within it, and its own copy, take nothing from it."""
    radius = {"PTV": 30.0}.get(name, 15.0)
    regions = [("PTV", ball(30.0, HERE)), ("GTV", ball(15.0, HERE)), ("GTV copy", ball(15.0, HERE))]
    file = structure_set(tmp_path / "rs", regions)
    alone = read.labels(structure_set(tmp_path / "alone", [(name, ball(radius, HERE))]))
    made = read.labels(petdiffusion.convert(file, tmp_path / "m.nii.gz", role="labels", only=[name]))
    assert volumes(made) == pytest.approx(volumes(alone)) and set(made.names.values()) == {name}


def test_what_overlaps_take_is_told(tmp_path):
    regions = [("PTV", ball(30.0, HERE)), ("GTV", ball(15.0, HERE)), ("Heart", ball(15.0, BESIDE))]
    run = Run()
    found = volumes(read.labels(structure_set(tmp_path, regions), run=run))
    (told,) = run.warnings
    assert f"'PTV' loses {found['GTV']:.1f} of {found['PTV'] + found['GTV']:.1f} ml" in told
    assert "Heart" not in told and "'GTV'" not in told


def test_a_region_between_the_pixels_is_told_and_alone_refused(tmp_path):
    clip = [np.array([[60.2, 0.5, z], [60.5, 0.2, z], [60.8, 0.5, z], [60.5, 0.8, z]]) for z in EVERY_3MM]
    run = Run()
    file = structure_set(tmp_path, [("clip", clip), ("a", ball(9.0, HERE))])
    assert volumes(read.labels(file, run=run))["clip"] == 0 and "region 'clip' is empty" in run.warnings[0]
    with pytest.raises(InputError, match="'clip'"):
        read.labels(file, only=["clip"])


def without_a_regions_number(ds):
    del ds.StructureSetROISequence[0].ROINumber


def without_the_number_of_contours(ds):
    del ds.ROIContourSequence[0].ReferencedROINumber


def with_coordinates_that_are_no_numbers(ds):
    contour = ds.ROIContourSequence[0].ContourSequence[0]
    contour.ContourData = ["nan", *list(contour.ContourData)[1:]]


@pytest.mark.filterwarnings("ignore:Invalid value for VR DS")
@pytest.mark.parametrize("damage", [without_a_regions_number, without_the_number_of_contours,
                                    with_coordinates_that_are_no_numbers])  # fmt: skip
def test_a_damaged_structure_set_is_refused_by_name(tmp_path, damage):
    file = structure_set(tmp_path, [("a", ball(9.0, HERE))])
    ds = pydicom.dcmread(file)
    damage(ds)
    ds.save_as(file)
    with pytest.raises(InputError, match=r"rs\.dcm"):
        read.labels(file)
