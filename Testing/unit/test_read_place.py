"""Where images and masks say that they lie, and what is told or refused where they do not, or speak of two spaces."""

from dataclasses import replace

import nibabel
import numpy as np
import petdiffusion
import pytest
from petdiffusion import quantifying, read
from petdiffusion.errors import GeometryError, InputError
from petdiffusion.prepare.grids import resample_labels
from petdiffusion.progress import Run
from petdiffusion.volume import Geometry, LabelMap
from petdiffusion.write import images, labels
from support.contours import ball, structure_set
from support.scans import small_patient

SHAPE = (20, 22, 18)
LESION = (slice(13, 16), slice(9, 12), slice(8, 11))
"""To one side of the middle."""
AFFINE = np.diag([5.0, 5.0, 5.0, 1.0])
AFFINE[:3, 3] = -47.5, -52.5, -42.5
RAW = "NRRD0004\ntype: {kind}\ndimension: 3\nsizes: {sizes}\nendian: little\nencoding: raw\n{fields}\n"
SPACE = "space: {}\nspace directions: ({s},0,0) (0,{s},0) (0,0,{s})\nspace origin: ({o},-52.5,-42.5)\n"


def voxels(kind):
    x, y, _ = np.meshgrid(*[np.linspace(-1, 1, n) for n in SHAPE], indexing="ij")
    values = np.random.default_rng(0).normal(1.0, 0.1, SHAPE) * (x**2 + y**2 < 0.8)
    values[LESION] = 9.0
    return values.astype(np.float32) if kind == "pet" else (values == 9.0).astype(np.uint8)


def nifti(kind, said=AFFINE, qform=None):
    """`said`: the position in its header, which may be none."""
    image = nibabel.Nifti1Image(voxels(kind), AFFINE)
    image.header.set_xyzt_units("mm")
    image.set_sform(said, 0 if said is None else 1)
    image.set_qform(said if qform is None else qform, 0 if said is None else 1)
    return image


def saved(folder, name, image):
    nibabel.save(image, folder / name)
    if name.startswith("pet"):
        (folder / "pet.json").write_text('{"Units": "SUVbw"}')
    return folder / name


def nrrd(folder, kind, fields):
    array = voxels(kind)
    words = RAW.format(kind="float" if kind == "pet" else "uint8", sizes="{} {} {}".format(*SHAPE), fields=fields)
    (folder / f"{kind}.nrrd").write_bytes(words.encode() + array.transpose(2, 1, 0).tobytes())
    return folder / f"{kind}.nrrd"


def measured(pet, mask):
    run = Run()
    (row,) = quantifying.quantify(pet, lesions=mask, unit="SUVbw", run=run)["lesions"]
    return row["SUVmax_PET"], run.warnings


@pytest.mark.parametrize("in_memory", [False, True])
def test_a_mask_that_says_no_position_is_never_taken_for_one_of_a_pet_that_does(tmp_path, in_memory):
    """Libraries put it around the origin, mirrored: it lay in healthy tissue of the other side."""
    pet, nowhere = saved(tmp_path, "pet.nii.gz", nifti("pet")), nifti("mask", None)
    assert measured(pet, nifti("mask")) == (pytest.approx(9.0), [])
    mask = nowhere if in_memory else saved(tmp_path, "mask.nii.gz", nowhere)
    for asked in (lambda: measured(pet, mask), lambda: quantifying.quantify(pet, labels=mask),
                  lambda: petdiffusion.denoise(pet, "gaussian", labels=mask),
                  lambda: petdiffusion.denoise(pet, "gaussian", lesions=mask)):  # fmt: skip
        with pytest.raises(GeometryError, match=r"(lesion mask|organ label map): has as many voxels.* position"):
            asked()

MAP_FILES = ["m.nii.gz", "m.nrrd", "m.mha", "m.seg.nrrd"]


@pytest.mark.parametrize("name", MAP_FILES)
def test_a_mask_that_is_written_again_still_says_no_position(tmp_path, name):
    """The file has to state one, which nobody gave."""
    pet = saved(tmp_path, "pet.nii.gz", nifti("pet"))
    mask = quantifying.convert(saved(tmp_path, "mask.nii.gz", nifti("mask", None)), tmp_path / name, role="labels")
    with pytest.raises(GeometryError, match=r"lesion mask: has as many voxels as the PET.* position"):
        measured(pet, mask)
    assert not read.labels(mask).says_place and read.labels(nifti("mask")).says_place


@pytest.mark.parametrize("name", MAP_FILES)
@pytest.mark.parametrize("frame", ["another", None])
def test_a_mask_that_is_written_again_keeps_its_frame_of_reference_and_its_names(tmp_path, name, frame):
    made = replace(small_patient()["lesions"], frame_of_reference=frame, names={1: "left lung"})
    found = read.labels(labels.write(made, tmp_path / name))
    assert (found.frame_of_reference, found.says_place, dict(found.names)) == (frame, True, {1: "left lung"})


def test_what_stands_beside_a_mask_and_is_none_of_this_programs_notes_says_nothing_of_its_place(tmp_path):
    mask = labels.write(small_patient()["lesions"], tmp_path / "m.nii.gz")
    for own in ('"text"', '{"frame_of_reference": 3, "says_place": "no"}', "[1]"):
        (tmp_path / "m.json").write_text('{"labels": {"1": "a"}, "PETDiffusion": ' + own + "}")
        found = read.labels(mask)
        assert found.frame_of_reference is None and found.says_place, own


def test_a_mask_in_memory_without_a_position_is_refused_for_frames_too(tmp_path):
    pet = np.stack([voxels("pet")] * 2, axis=-1)
    frames = nibabel.Nifti1Image(pet, AFFINE)
    frames.header.set_xyzt_units("mm", "sec")
    with pytest.raises(InputError, match=r"lesion mask: has as many voxels as the PET.* position"):
        petdiffusion.denoise_frames(frames, tmp_path / "out", "gaussian", unit="SUVbw", lesions=nifti("mask", None))


def test_trainings_refuse_such_a_mask_too():
    said = LabelMap(voxels("mask").T, Geometry.from_affine(SHAPE, AFFINE))
    nowhere = read.labels(nifti("mask", None))
    with pytest.raises(GeometryError, match="position"):
        resample_labels(nowhere, said.geometry)


def test_a_mask_without_a_position_lies_on_a_pet_that_has_none_either(tmp_path):
    pet = saved(tmp_path, "pet.nii.gz", nifti("pet", None))
    found, told = measured(pet, saved(tmp_path, "mask.nii.gz", nifti("mask", None)))
    assert found == pytest.approx(9.0)
    assert [text.split(":")[0] for text in told] == ["The PET", "The lesion mask"]
    assert all("left and right may be swapped" in text for text in told)


def test_a_mask_without_a_position_moves_with_its_ct():
    """Registration finds the place of the CT, and with it that of what was drawn on its voxels."""
    patient = small_patient()
    mask = replace(patient["lesions"], geometry=patient["ct"].geometry, says_place=False)
    shifted = replace(patient["ct"].geometry, origin=tuple(o + 3.0 for o in patient["ct"].geometry.origin))
    ct, mask = replace(patient["ct"], geometry=shifted), replace(mask, geometry=shifted)
    with pytest.raises(GeometryError, match="position"):
        petdiffusion.denoise(patient["pet"], "gaussian", ct=ct, lesions=mask)
    result = petdiffusion.denoise(patient["pet"], "gaussian", ct=ct, lesions=mask, register=True)
    assert result.lesions.array.any()


def test_two_positions_of_a_mask_that_differ_are_told(tmp_path):
    other = AFFINE.copy()
    other[0, 3] += 20.0
    pet, mask = saved(tmp_path, "pet.nii.gz", nifti("pet")), saved(tmp_path, "mask.nii.gz", nifti("mask", qform=other))
    for given in (mask, nibabel.load(mask)):
        (told,) = measured(pet, given)[1]
        assert told == "The lesion mask: its two positions (sform and qform) differ by up to 20.0 mm; sform is used."


@pytest.mark.parametrize(("space", "told"), [
    ("", True), ("space dimension: 3\n", True), ("space: 3D-right-handed\n", True), ("space: LPS\n", False),
    ("space: scanner-xyz\n", False),
])  # fmt: skip
def test_a_nrrd_that_names_no_space_of_the_patient_is_told(tmp_path, space, told):
    fields = SPACE.format("x", s=5, o=-47.5).replace("space: x\n", space) if space else "spacings: 5 5 5\n"
    run = Run()
    read.image(nrrd(tmp_path, "pet", fields), unit="SUVbw", run=run)
    mask = read.labels(nrrd(tmp_path, "mask", fields), run=run, called="lesion mask")
    assert mask.says_place is not told
    assert [text.split(":")[0] for text in run.warnings] == (["The PET", "The lesion mask"] if told else [])


def test_a_nrrd_without_a_space_is_no_mask_of_a_pet_elsewhere(tmp_path):
    pet = saved(tmp_path, "pet.nii.gz", nifti("pet"))
    with pytest.raises(GeometryError, match=r"lesion mask: has as many voxels as the PET.* position"):
        measured(pet, nrrd(tmp_path, "mask", "spacings: 5 5 5\n"))


@pytest.mark.parametrize(("unit", "in_mm"), [("m", 1000.0), ("cm", 10.0), ("um", 0.001), ("mm", 1.0), ("", 1.0)])
def test_a_nrrd_may_measure_its_space_in_another_unit(tmp_path, unit, in_mm):
    words = f'space units: "{unit}" "{unit}" "{unit}"\n'
    file = nrrd(tmp_path, "pet", SPACE.format("LPS", s=5 / in_mm, o=-47.5 / in_mm).replace("-52.5", str(-52.5 / in_mm))
                .replace("-42.5", str(-42.5 / in_mm)) + words)  # fmt: skip
    geometry = read.image(file, unit="SUVbw").geometry
    assert geometry.close_to(Geometry(SHAPE, (5.0, 5.0, 5.0), (-47.5, -52.5, -42.5)))
    plain = read.image(nrrd(tmp_path, "pet", f'spacings: {5 / in_mm} {5 / in_mm} {5 / in_mm}\n{words[6:]}'))
    assert plain.geometry.spacing == pytest.approx((5.0, 5.0, 5.0))


def test_a_nrrd_whose_axes_have_units_of_their_own_is_refused(tmp_path):
    with pytest.raises(GeometryError, match=r"pet\.nrrd: .*m, mm"):
        read.image(nrrd(tmp_path, "pet", SPACE.format("LPS", s=5, o=0) + 'space units: "m" "m" "mm"\n'))


FRAMES = [("a", "b", True), ("a", "a", False), ("a", None, False), (None, "b", False)]


@pytest.mark.parametrize(("pet", "other", "told"), FRAMES)
def test_masks_and_references_of_another_frame_of_reference_are_told(pet, other, told):
    scans = small_patient()
    low, reference = scans["pet"].with_facts(frame_of_reference=pet), scans["reference"].with_facts(
        frame_of_reference=other)  # fmt: skip
    organs, lesions = (replace(scans[name], frame_of_reference=other) for name in ("labels", "lesions"))
    for asked in (lambda run: quantifying.quantify(low, labels=organs, lesions=lesions, reference=reference, run=run),
                  lambda run: petdiffusion.denoise(low, "gaussian", labels=organs, lesions=lesions,
                                                   reference=reference, tune=reference, run=run)):  # fmt: skip
        asked(run := Run())
        said = [text for text in run.warnings if "another frame of reference than the PET (0020,0052)" in text]
        names = {text.split(" lies in")[0] for text in said}
        assert names - {"The validation PET"} == (
            {"The organ label map", "The lesion mask", "The reference"} if told else set())
        assert all("may be wrong unless the two are known to lie together" in text for text in said)


@pytest.mark.parametrize("register", [False, True])
def test_an_image_to_compare_of_another_frame_is_told_unless_it_is_registered(register):
    scans = small_patient()
    low, reference = (scans[name].with_facts(frame_of_reference=name) for name in ("pet", "reference"))
    quantifying.compare([low], reference, register=register, run=(run := Run()))
    said = [text for text in run.warnings if "frame of reference" in text]
    assert bool(said) is not register
    assert all(text.startswith("The image lies in another frame of reference than the reference")
               and "--register" in text for text in said)  # fmt: skip


def test_masks_that_move_with_a_registered_ct_are_in_the_frame_of_the_pet():
    scans = small_patient()
    pet, ct = (scans[name].with_facts(frame_of_reference=name) for name in ("pet", "ct"))
    shifted = replace(ct.geometry, origin=tuple(o + 3.0 for o in ct.geometry.origin))
    organs = replace(scans["labels"], geometry=shifted, frame_of_reference="ct")
    petdiffusion.denoise(pet, "gaussian", ct=replace(ct, geometry=shifted), labels=organs, register=True,
                         run=(run := Run()))  # fmt: skip
    assert not [text for text in run.warnings if "frame of reference" in text]


def test_names_of_files_stand_in_no_warning_of_their_masks(tmp_path):
    """Warnings stand in reports, and files are often named after patients."""
    other = AFFINE.copy()
    other[0, 3] += 20.0
    image = nifti("mask", qform=other)
    folder = tmp_path / "DOE_JANE"
    folder.mkdir()
    run = Run()
    read.labels(saved(folder, "DOE_mask.nii.gz", image), run=run)
    clip = [np.array([[60.2, 0.5, z], [60.5, 0.2, z], [60.8, 0.5, z], [60.5, 0.8, z]]) for z in (0.0, 3.0)]
    regions = [("PTV", ball(30.0, np.zeros(3))), ("GTV", ball(15.0, np.zeros(3))), ("clip", clip)]
    read.labels(structure_set(folder, regions, "DOE_rs.dcm"), run=run)
    images.write(small_patient()["pet"], folder / "pet_DOE.nii.gz")
    nibabel.save(nifti("pet", qform=other), folder / "DOE_pet.nii.gz")
    read.image(folder / "DOE_pet.nii.gz", run=run)
    moved = small_patient()["pet"].with_facts(frame_of_reference="another")
    images.write(moved, folder / "DOE_JANE.nii.gz")
    reference = small_patient()["reference"].with_facts(frame_of_reference="b")
    quantifying.compare([folder / "DOE_JANE.nii.gz"], reference, run=run)
    assert len(run.warnings) == 5 and not [text for text in run.warnings if "DOE" in text]


@pytest.mark.parametrize("name", ["pet.nii", "series"])
def test_what_may_not_be_read_is_told_as_that(tmp_path, monkeypatch, name):
    """Of a file it was said that it is damaged, of a folder that it holds no DICOM image."""
    (tmp_path / "series").mkdir()
    (tmp_path / "pet.nii").write_bytes(b"a scan")
    monkeypatch.setattr("os.access", lambda path, wanted: False)
    with pytest.raises(InputError, match=f"{name}: there is no permission to read it.*Ask for it"):
        read.image(tmp_path / name)
