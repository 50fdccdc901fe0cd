"""Sidecars at higher levels of a BIDS data set, by its inheritance principle."""

import json

import pytest
from petdiffusion import read
from petdiffusion.errors import InputError
from petdiffusion.read import sidecar
from petdiffusion.request import sidecar_sha256_of
from petdiffusion.volume import ARBITRARY, BQML
from support import io_bad as bad
from test_sidecar_suv import BIDS, ONE_HOUR

NAME = "sub-01_ses-a_trc-FDG_pet"


@pytest.fixture
def pet(tmp_path):
    """In a session's folder of a data set, without a sidecar of its own."""
    folder = tmp_path / "data" / "sub-01" / "ses-a" / "pet"
    folder.mkdir(parents=True)
    (tmp_path / "data" / "dataset_description.json").write_text('{"Name": "test", "BIDSVersion": "1.9.0"}')
    return bad.nifti(folder, 5000 * bad.values()).rename(folder / f"{NAME}.nii.gz")


def root(pet, levels=3):
    return pet.parents[levels]


def write(file, **told):
    file.write_text(json.dumps(told))


@pytest.mark.parametrize("name", ["pet.json", "trc-FDG_pet.json", "sub-01/sub-01_pet.json",
                                  "sub-01/ses-a/sub-01_ses-a_pet.json", f"sub-01/ses-a/pet/{NAME}.json",
                                  "sub-01/ses-a/pet/sub-01_ses-a_pet.json"])  # fmt: skip
def test_a_sidecar_that_holds_for_the_pet_is_read_wherever_it_lies(pet, name):
    write(root(pet) / name, **BIDS)
    found = read.image(pet)
    assert found.unit == BQML and found.facts.suv_factor == pytest.approx(ONE_HOUR, rel=1e-6)


@pytest.mark.parametrize("name", ["trc-PSMA_pet.json", "sub-02_pet.json", "T1w.json", "task-rest_pet.json",
                                  "sub-01/ses-b_pet.json", "../pet.json", "notes-pet.json"])  # fmt: skip
def test_a_sidecar_of_other_images_or_above_the_data_set_is_not(pet, name):
    write(root(pet) / name, **BIDS)
    assert read.image(pet).unit == ARBITRARY


def test_outside_of_a_data_set_nothing_is_inherited(pet):
    (root(pet) / "dataset_description.json").unlink()
    write(root(pet) / "pet.json", **BIDS)
    assert read.image(pet).unit == ARBITRARY


def test_the_lower_one_goes_before_the_higher_one_key_by_key(pet):
    """The study's tracer at the root, the patient's dose and weight below, and the scan's own last."""
    study = {key: BIDS[key] for key in ("Units", "TracerRadionuclide", "InjectedRadioactivityUnits")}
    write(root(pet) / "pet.json", **study, InjectedRadioactivity=1.0, BodyWeight=1.0)
    write(root(pet) / "sub-01" / "sub-01_pet.json", InjectedRadioactivity=370, BodyWeight=140)
    own = {key: value for key, value in BIDS.items() if key not in (*study, "InjectedRadioactivity")}
    write(sidecar.path_of(pet), **own)
    assert read.image(pet).facts.suv_factor == pytest.approx(ONE_HOUR, rel=1e-6)


def test_two_that_hold_at_one_level_are_refused_unless_one_says_more(pet):
    write(root(pet) / "pet.json", Units="SUVbw")
    write(root(pet) / "trc-FDG_pet.json", **BIDS)
    assert read.image(pet).facts.suv_factor == pytest.approx(ONE_HOUR, rel=1e-6)
    write(root(pet) / "ses-a_pet.json", **BIDS)
    with pytest.raises(InputError, match=r"ses-a_pet\.json and trc-FDG_pet\.json: both hold for the PET"):
        read.image(pet)


def test_a_run_tells_by_its_digest_that_one_above_was_replaced(pet):
    assert sidecar_sha256_of(pet) is None
    write(root(pet) / "pet.json", **BIDS)
    inherited = sidecar_sha256_of(pet)
    write(sidecar.path_of(pet), BodyWeight=71)
    both = sidecar_sha256_of(pet)
    write(root(pet) / "pet.json", **BIDS, TracerName="FDG")
    assert None is not inherited != both != sidecar_sha256_of(pet) is not None


def test_what_this_program_wrote_beside_its_image_inherits_nothing(pet):
    write(root(pet) / "pet.json", **BIDS, ReconFilterSize=5)
    write(sidecar.path_of(pet), Units="SUVbw", PETDiffusion={"facts": {}})
    assert set(sidecar.of(pet).data) == {"Units", "PETDiffusion"}
