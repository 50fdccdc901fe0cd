"""Masks from DICOM: SEG of every kind and the contours of structure sets, in their place and with their names."""

import copy

import numpy as np
import petdiffusion
import pydicom
import pytest
from petdiffusion import read
from petdiffusion.errors import GeometryError, InputError, OptionError
from petdiffusion.progress import Run
from petdiffusion.volume import Geometry, LabelMap, Volume
from petdiffusion.write import dicom_masks, images
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000Lossless, generate_uid
from support import dicom_factory as factory
from support.contours import ball, structure_set

hd = pytest.importorskip("highdicom")


@pytest.fixture(scope="module")
def pet(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pet")
    series = factory.pet(folder / "in")
    return series.folder, read.image(series.folder)


def organs_of(volume):
    array = np.zeros(volume.array.shape, np.int16)
    array[1:3, 3:9, 4:11], array[5, 1:4, 2:6] = 1, 7  # a plane between them is empty
    return LabelMap(array, volume.geometry, {1: "liver", 7: "aorta"})


def test_what_this_program_writes_it_reads(pet, tmp_path):
    """The numbers are the segments' own; names, voxels and place are those of before."""
    folder, volume = pet
    mask = organs_of(volume)
    (file,) = dicom_masks.write(mask, None, [], tmp_path / "out", folder, "AMDiff")
    back = read.labels(file)
    assert sorted(back.names.values()) == ["aorta", "liver"]
    for plane in (0, 4):  # the first that holds something is the second of the PET
        here, there = back.geometry.affine @ [2, 3, plane, 1], mask.geometry.affine @ [2, 3, plane + 1, 1]
        np.testing.assert_allclose(here, there, atol=1e-3)
    for value, name in mask.names.items():
        number = next(n for n, title in back.names.items() if title == name)
        np.testing.assert_array_equal(back.array == number, mask.array[1:] == value)
    np.testing.assert_array_equal(read.labels(tmp_path / "out").array, back.array)  # the folder of it


def seg(pet, tmp_path, kind, pixels, **more):
    """A SEG of two segments by highdicom; `pixels` (plane, row, column, segment)."""
    from highdicom.seg import Segmentation, SegmentDescription
    from pydicom.sr.codedict import codes

    files = sorted(pet[0].glob("*.dcm"), key=lambda f: float(pydicom.dcmread(f).ImagePositionPatient[2]))
    sources = [pydicom.dcmread(file) for file in files]
    segments = [SegmentDescription(number, name, codes.SCT.Organ, codes.SCT.Liver, "MANUAL")
                for number, name in ((1, "one"), (2, "two"))]  # fmt: skip
    made = Segmentation(sources, pixels, kind, segments, generate_uid(), 1, generate_uid(), 1, "a", "b", "1", "c",
                        **more)  # fmt: skip
    made.save_as(tmp_path / "seg.dcm")
    return tmp_path / "seg.dcm"


@pytest.fixture
def two(pet):
    """A large block and within it a small one that overlaps it."""
    masks = np.zeros((*pet[1].array.shape, 2), np.uint8)
    masks[0:5, 2:12, 2:14, 0], masks[2:4, 4:6, 5:8, 1] = 1, 1
    return masks


@pytest.mark.parametrize("kind", ["BINARY", "FRACTIONAL"])
def test_where_segments_overlap_the_smaller_one_is_kept(pet, tmp_path, two, kind):
    pixels = two if kind == "BINARY" else two * 0.9
    back = read.labels(seg(pet, tmp_path, kind, pixels.astype(np.uint8 if kind == "BINARY" else float)))
    assert dict(back.names) == {1: "one", 2: "two"}
    assert (back.array == 2).sum() == two[..., 1].sum()
    assert (back.array == 1).sum() == two[..., 0].sum() - two[..., 1].sum()


def test_a_fraction_of_less_than_half_is_outside(pet, tmp_path, two):
    back = read.labels(seg(pet, tmp_path, "FRACTIONAL", two * np.array([0.9, 0.4])))
    assert (back.array == 2).sum() == 0 and (back.array == 1).sum() == two[..., 0].sum()


def test_a_fraction_of_just_half_is_inside(pet, tmp_path, two):
    file = seg(pet, tmp_path, "FRACTIONAL", two * np.array([0.9, 0.5]), max_fractional_value=100)
    back = read.labels(file)
    assert (back.array == 2).sum() == two[..., 1].sum()


def test_a_label_map_of_dicom(pet, tmp_path, two):
    labels = np.where(two[..., 1], 2, two[..., 0]).astype(np.uint8)
    back = read.labels(seg(pet, tmp_path, "LABELMAP", labels))
    assert [(back.array == n).sum() for n in (1, 2)] == [(labels == n).sum() for n in (1, 2)]


OBLIQUE = np.linalg.qr(np.array([[0.9, 0.1, 0.2], [0.0, 1.0, 0.3], [0.2, 0.1, 1.0]]))[0]


SAGITTAL = [[0, 1, 0], [0, 0, 1], [1, 0, 0]]


@pytest.mark.parametrize("axes", [None, SAGITTAL, OBLIQUE], ids=["axial", "sagittal", "oblique"])
def test_contours_hold_the_volume_and_the_place_that_they_go_round(tmp_path, axes):
    centre = np.array([31.0, -142.5, 77.25])
    mask = read.labels(structure_set(tmp_path, [("GTV", ball(25.0, centre, axes=axes))]))
    assert mask.names == {1: "GTV"}
    ml = (mask.array == 1).sum() * mask.geometry.voxel_ml
    assert ml == pytest.approx(4 / 3 * np.pi * 2.5**3, rel=0.02)
    index = np.argwhere(mask.array)[:, ::-1].mean(axis=0)
    np.testing.assert_allclose((mask.geometry.affine @ [*index, 1])[:3], centre, atol=0.3)


def test_a_contour_within_another_is_a_hole_and_small_regions_stay_within_large_ones(tmp_path):
    centre = np.zeros(3)
    regions = [("shell", ball(30.0, centre, hole=20.0)), ("small", ball(6.0, centre + [25.0, 0, 0])),
               ("Body", ball(60.0, centre))]  # fmt: skip
    mask = read.labels(structure_set(tmp_path, regions, kinds=[("Body", "EXTERNAL")]))
    assert dict(mask.names) == {1: "shell", 2: "small"}
    small = (mask.array == 2).sum() * mask.geometry.voxel_ml
    assert small == pytest.approx(4 / 3 * np.pi * 0.6**3, rel=0.06)
    shell = (mask.array == 1).sum() * mask.geometry.voxel_ml
    assert shell == pytest.approx(4 / 3 * np.pi * (3.0**3 - 2.0**3) - small, rel=0.03)


def test_planes_that_are_left_out_stay_empty(tmp_path):
    """Two balls far apart along the body: between them no contour was drawn."""
    regions = [("one", ball(9.0, np.zeros(3))), ("two", ball(9.0, np.array([0.0, 0, 60.0])))]
    mask = read.labels(structure_set(tmp_path, regions))
    planes = np.flatnonzero(mask.array.any(axis=(1, 2)))
    assert mask.geometry.spacing[2] == pytest.approx(3.0) and np.diff(planes).max() > 10
    assert mask.array.shape[0] == planes[-1] + 1


def test_lesions_of_a_structure_set_are_measured_on_the_pet(tmp_path):
    """A hot ball of 15 ml, contoured: its SUVmean, volume and name stand in the table."""
    geometry = Geometry((40, 40, 40), (4.0, 4.0, 4.0), (-78.0, -78.0, -78.0))
    grid = np.stack(np.meshgrid(*[4.0 * np.arange(40) - 78.0] * 3, indexing="ij"))
    values = np.where((grid**2).sum(axis=0) < 70**2, 1.0, 0.0) + np.where((grid**2).sum(axis=0) < 15.4**2, 7.0, 0.0)
    images.write(Volume(values.astype(np.float32), geometry, "SUVbw"), tmp_path / "pet.nii.gz")
    contours = structure_set(tmp_path / "rs", [("GTV node", ball(15.4, np.zeros(3)))])
    (row,) = petdiffusion.quantify(tmp_path / "pet.nii.gz", lesions=contours)["lesions"]
    assert row["lesion"] == "GTV node" and row["volume_ml"] == pytest.approx(15.3, rel=0.05)
    assert row["SUVmean_PET"] > 7.2
    petdiffusion.convert(contours, tmp_path / "lesions.nii.gz", role="labels")
    assert read.labels(tmp_path / "lesions.nii.gz").names == {1: "GTV node"}


def test_some_structures_alone_are_taken_by_name(tmp_path):
    regions = [("GTV 1", ball(9.0, np.zeros(3))), ("Heart", ball(9.0, np.array([40.0, 0, 0])))]
    contours = structure_set(tmp_path, regions)
    made = petdiffusion.convert(contours, tmp_path / "gtv.nii.gz", role="labels", only=["GTV 1"])
    mask = read.labels(made)
    assert mask.names == {1: "GTV 1"} and set(np.unique(mask.array)) == {0, 1}
    with pytest.raises(OptionError, match="GTV 1, Heart"):
        petdiffusion.convert(contours, tmp_path / "b.nii.gz", role="labels", only=["Liver"])
    with pytest.raises(OptionError, match="only"):
        petdiffusion.convert(contours, tmp_path / "b.nii.gz", role="ct", only=["Liver"])


def of_another_class(folder):
    factory.ct(folder / "ct")
    return next((folder / "ct").glob("*.dcm"))


def two_of_them(folder):
    structure_set(folder / "both", [("a", ball(9.0, np.zeros(3)))], "a.dcm")
    structure_set(folder / "both", [("a", ball(9.0, np.zeros(3)))], "b.dcm")
    return folder / "both"


@pytest.mark.parametrize(("make", "error", "said"), [
    (lambda d: structure_set(d, [("a", [ball(9.0, np.zeros(3))[2]])]), GeometryError, "one plane alone"),
    (lambda d: structure_set(d, [("Body", ball(9.0, np.zeros(3)))], kinds=[("Body", "EXTERNAL")]), InputError,
     "no closed contour"),
    (lambda d: structure_set(d, [("a", [*ball(9.0, np.zeros(3)), *ball(9.0, np.zeros(3), axes=OBLIQUE)])]),
     GeometryError, "parallel planes"),
    (of_another_class, InputError, "modality CT, not masks"),
    (two_of_them, InputError, "holds 2 DICOM SEG or RTSTRUCT: a.dcm, b.dcm"),
], ids=["one plane", "outline", "not parallel", "a CT", "two"])  # fmt: skip
def test_what_makes_no_mask_is_refused(tmp_path, make, error, said):
    with pytest.raises(error, match=said):
        read.labels(make(tmp_path))


def without_its_segments(ds):
    del ds.SegmentSequence


def without_a_segments_number(ds):
    del ds.PerFrameFunctionalGroupsSequence[0].SegmentIdentificationSequence


def with_a_number_too_high(ds):
    ds.SegmentSequence[1].SegmentNumber = 40000


def with_frames_that_are_none(ds):
    ds.file_meta.TransferSyntaxUID = JPEG2000Lossless
    ds.PixelData = encapsulate([b"\0" * 64] * len(ds.PerFrameFunctionalGroupsSequence))
    ds["PixelData"].is_undefined_length = True


@pytest.mark.parametrize("damage", [without_its_segments, without_a_segments_number, with_a_number_too_high,
                                    with_frames_that_are_none])  # fmt: skip
def test_a_damaged_segmentation_is_refused_by_name(pet, tmp_path, two, damage):
    file = seg(pet, tmp_path, "FRACTIONAL", two * 0.9)
    ds = pydicom.dcmread(file)
    damage(ds)
    ds.save_as(file)
    with pytest.raises(InputError, match=r"seg\.dcm"):
        read.labels(file)


def test_a_slice_may_be_thinner_than_its_distance_from_the_next(pet, tmp_path, two):
    """Thickness is no distance: of planes half as thick as they are apart none was left out."""
    file = seg(pet, tmp_path, "BINARY", two)
    whole, ds = read.labels(file), pydicom.dcmread(file)
    (measures,) = ds.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence
    measures.SliceThickness = whole.geometry.spacing[2] / 2
    del measures.SpacingBetweenSlices
    ds.save_as(file)
    back = read.labels(file)
    assert back.geometry.close_to(whole.geometry)
    np.testing.assert_array_equal(back.array, whole.array)


def test_planes_too_far_apart_to_be_neighbours_take_the_thickness_or_are_refused(pet, tmp_path, two):
    ends = np.zeros_like(two)
    ends[[0, 5], 2:12, 2:14, 0] = 1
    file = seg(pet, tmp_path, "BINARY", ends)
    whole, ds = read.labels(file), pydicom.dcmread(file)
    (measures,) = ds.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence
    del measures.SpacingBetweenSlices
    ds.save_as(file)
    np.testing.assert_array_equal(read.labels(file).array, whole.array)
    del measures.SliceThickness
    ds.save_as(file)
    with pytest.raises(GeometryError, match="do not say how thick"):
        read.labels(file)


def test_planes_of_a_segmentation_may_lie_where_rounding_put_them(pet, tmp_path, two):
    file = seg(pet, tmp_path, "BINARY", two)
    whole, ds = read.labels(file), pydicom.dcmread(file)
    del ds.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].SpacingBetweenSlices
    for group in ds.PerFrameFunctionalGroupsSequence:
        place = group.PlanePositionSequence[0].ImagePositionPatient
        place[2] = round(float(place[2]), 1)
    ds.save_as(file)
    back = read.labels(file)
    np.testing.assert_array_equal(back.array, whole.array)
    np.testing.assert_allclose(back.geometry.affine, whole.geometry.affine, atol=0.06)


def shifted_within_the_plane(group, number, shared):
    place = group.PlanePositionSequence[0]
    row = shared.PlaneOrientationSequence[0].ImageOrientationPatient[:3]
    place.ImagePositionPatient = [v + 20.0 * (number % 2) * r for v, r in zip(place.ImagePositionPatient, row)]


def of_two_orientations(group, number, shared):
    group.PlaneOrientationSequence = copy.deepcopy(shared.PlaneOrientationSequence)
    if number > 3:
        group.PlaneOrientationSequence[0].ImageOrientationPatient = [0, 1, 0, 0, 0, -1]


def of_two_pixel_sizes(group, number, shared):
    group.PixelMeasuresSequence = copy.deepcopy(shared.PixelMeasuresSequence)
    if number > 3:
        group.PixelMeasuresSequence[0].PixelSpacing = [2.0, 2.0]


@pytest.mark.parametrize(("change", "said"), [
    (shifted_within_the_plane, "shifted sideways by up to 20.00 mm"),
    (of_two_pixel_sizes, r"PixelSpacing .*2\.0, 2\.0"),
    (of_two_orientations, r"ImageOrientationPatient .* occur in its frames"),
])  # fmt: skip
def test_frames_that_make_no_straight_grid_are_refused(pet, tmp_path, two, change, said):
    file = seg(pet, tmp_path, "BINARY", two)
    ds = pydicom.dcmread(file)
    for number, group in enumerate(ds.PerFrameFunctionalGroupsSequence):
        change(group, number, ds.SharedFunctionalGroupsSequence[0])
    ds.save_as(file)
    with pytest.raises(GeometryError, match=said):
        read.labels(file)


def test_masks_of_a_tilted_gantry_are_refused(pet, tmp_path, two):
    """Planes 20 degrees off their normal, which the PET's own slices are refused for too."""
    file = seg(pet, tmp_path, "BINARY", two)
    ds = pydicom.dcmread(file)
    (orientation,) = ds.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence
    row, column = np.reshape([float(v) for v in orientation.ImageOrientationPatient], (2, 3))
    for group in ds.PerFrameFunctionalGroupsSequence:
        place = group.PlanePositionSequence[0]
        at = np.array([float(v) for v in place.ImagePositionPatient])
        place.ImagePositionPatient = [f"{v:.6f}" for v in at + 0.36 * column * (at @ np.cross(row, column))]
    ds.save_as(file)
    with pytest.raises(GeometryError, match=r"seg\.dcm: its planes: are shifted sideways .* tilted gantry"):
        read.labels(file)


@pytest.mark.parametrize("other", [False, True])
def test_a_segmentation_of_another_frame_of_reference_is_told(pet, tmp_path, two, other):
    file = seg(pet, tmp_path, "BINARY", two)
    ds = pydicom.dcmread(file)
    assert ds.FrameOfReferenceUID == factory.FRAME_OF_REFERENCE
    ds.FrameOfReferenceUID = generate_uid() if other else ds.FrameOfReferenceUID
    ds.save_as(file)
    petdiffusion.quantify(pet[0], lesions=file, run=(run := Run()))
    said = [text for text in run.warnings if "The lesion mask lies in another frame of reference than the PET" in text]
    assert len(said) == other and file.name not in " ".join(run.warnings)


def test_the_background_of_a_label_map_is_no_structure(pet, tmp_path, two):
    assert 0 not in read.labels(seg(pet, tmp_path, "LABELMAP", two[..., 0])).names


@pytest.mark.parametrize("kind", ["BINARY", "LABELMAP"])
def test_segments_taken_alone_are_whole(pet, tmp_path, two, kind):
    """In a label map the file itself cut one out of the other."""
    labels = np.where(two[..., 1], 2, two[..., 0]).astype(np.uint8)
    file, run = seg(pet, tmp_path, kind, two if kind == "BINARY" else labels), Run()
    back = read.labels(file, only=["one"], run=run)
    assert dict(back.names) == {1: "one"} and not run.warnings
    assert (back.array == 1).sum() == (two[..., 0] if kind == "BINARY" else labels == 1).sum()
    assert set(np.unique(back.array)) == {0, 1}


def test_what_overlaps_take_from_a_segment_is_told(pet, tmp_path, two):
    file, run = seg(pet, tmp_path, "BINARY", two), Run()
    voxel = read.labels(file, run=run).geometry.voxel_ml
    (told,) = run.warnings
    assert f"'one' loses {two[..., 1].sum() * voxel:.1f} of {two[..., 0].sum() * voxel:.1f} ml" in told
    assert "'two'" not in told and "--only" in told


def test_a_segment_that_the_file_does_not_name_is_kept(pet, tmp_path, two):
    file = seg(pet, tmp_path, "BINARY", two)
    ds = pydicom.dcmread(file)
    del ds.SegmentSequence[1]
    ds.save_as(file)
    back = read.labels(file, run=Run())
    assert dict(back.names) == {1: "one"} and (back.array == 2).sum() == two[..., 1].sum()
