"""What a script in the Python console is told when it asks for something that cannot be."""

from __future__ import annotations

import pytest
from petdiffusion.errors import ConditionError, InputError, OptionError, UnitError


@pytest.fixture
def logic(fake_backend):
    import PETDiffusionDenoise

    return PETDiffusionDenoise.PETDiffusionDenoiseLogic()


@pytest.mark.parametrize("given", ["PET", None, 7])
def test_a_name_is_not_a_node(logic, given) -> None:
    import builders

    builders.pet()
    with pytest.raises(InputError, match="getNode"):
        logic.denoise(given)


@pytest.mark.parametrize(
    "role, kind", [("ct", "scalar volume"), ("reference", "scalar volume"), ("labels", "segmentation or label map"),
                   ("lesions", "segmentation or label map"), ("region", "region of interest")],
)  # fmt: skip
def test_every_image_must_be_a_node_of_its_kind(logic, role, kind) -> None:
    import builders

    pet = builders.pet()
    for wrong in ("a name", pet if role in ("labels", "lesions", "region") else builders.roi((0, 0, 0), (9, 9, 9))):
        with pytest.raises(InputError, match=kind) as told:
            logic.denoise(pet, method="smooth", **{role: wrong})
        assert role in str(told.value)


def test_a_node_that_was_removed_is_said_at_once(logic) -> None:
    import builders
    import slicer

    pet, ct = builders.pet(), builders.ct()
    slicer.mrmlScene.RemoveNode(ct)
    with pytest.raises(InputError, match="is not in the scene"):
        logic.denoise(pet, method="guided", ct=ct)


def test_a_method_that_needs_an_image_says_so_before_anything_is_started(logic) -> None:
    import builders

    with pytest.raises(ConditionError, match="needs a CT"):
        logic.denoise(builders.pet(), method="guided")


@pytest.mark.parametrize("outputs", [("uncertainty", "table"), "tables_", ["mask"]])
def test_an_output_that_does_not_exist_is_an_error(logic, outputs) -> None:
    import builders

    with pytest.raises(OptionError, match="uncertainty, masks, tables, difference"):
        logic.denoise(builders.pet(), method="smooth", outputs=outputs)


def test_one_output_may_be_named_alone(logic) -> None:
    import builders

    nodes = logic.denoise(builders.pet(), method="smooth", outputs="difference")
    assert nodes.difference is not None and nodes.uncertainty is None and nodes.tables == {}


@pytest.mark.parametrize("name", ["text", "dose_fraction", "weight_kg", "ct", "lesions"])
def test_what_differs_by_patient_belongs_into_the_manifest_of_a_batch(logic, tmp_path, name) -> None:
    with pytest.raises(OptionError, match=f"column '{name}'"):
        logic.denoiseBatch([{"id": "a", "pet": "a.good"}], str(tmp_path), method="smooth", **{name: "x"})


def test_a_batch_takes_no_nodes(logic, tmp_path) -> None:
    """`[{"pet": node}]` would look for a file called `vtkMRML…`."""
    import builders

    with pytest.raises(InputError, match="path"):
        logic.denoiseBatch([{"id": "a", "pet": builders.pet()}], str(tmp_path), method="smooth")


def test_a_unit_by_another_word_is_understood_or_refused(logic) -> None:
    """kBq/ml taken for Bq/ml would be wrong a thousand times."""
    import builders
    from PETDiffusionDenoiseLib import units

    pet = builders.pet(None)
    assert units.find(pet, "kBq/ml", 2e-4).to_suv == pytest.approx(0.2)
    for wrong in ("HU", "percent"):
        with pytest.raises(UnitError, match=wrong):
            logic.denoise(pet, method="smooth", unit_choice=wrong)
