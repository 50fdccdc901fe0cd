"""`petdiffusion evaluate`: all methods in the same masks, also where some draw masks of their own."""

from dataclasses import replace

import numpy as np
import pytest
from petdiffusion.evaluate import evaluate
from petdiffusion.evaluate.numbers import LOW
from petdiffusion.evaluate.run import Ask
from petdiffusion.evaluate.words import paragraph
from petdiffusion.methods.contract import Case, MethodCard, Output
from petdiffusion.trust import believe
from petdiffusion.trust.findings import LESION, ORGAN
from petdiffusion.volume import SUVBW, Geometry, LabelMap, Volume
from petdiffusion.write import images, labels
from scipy.ndimage import gaussian_filter
from support.blobs import blobs

OF_MASKS = ("organ_mean_percent", "lesion_max_percent", "lesion_peak_percent", "lesion_mean_percent",
            "recovery_percent", "TLG_percent")  # fmt: skip
ORDERS = [("gaussian", "median"), ("median", "gaussian")]


@pytest.fixture(autouse=True)
def median_marks(monkeypatch):
    """The median filter segments too: it takes half of the image for a liver, and hot places for lesions."""
    load = MethodCard.load

    def loaded(card):
        def denoised(case, options, run):
            output = load(card)(case, options, run)
            array, geometry = output.pet.array, output.pet.geometry
            organs = np.where(np.indices(array.shape)[0] < array.shape[0] // 2, 5, 0).astype("int16")
            marks = (array > np.quantile(array, 0.98)).astype("int16")
            return replace(output, organs=LabelMap(organs, geometry, {5: "liver"}),
                           lesions=LabelMap(marks, geometry, {1: "mark"}))  # fmt: skip

        return denoised if card.name == "median" else load(card)

    monkeypatch.setattr(MethodCard, "load", loaded)


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scans")
    for seed, name in enumerate("ab"):
        patient = blobs((16, 20, 24), seed=seed)
        images.write(patient.noisy, folder / f"{name}-pet.nii.gz")
        images.write(patient.truth, folder / f"{name}-truth.nii.gz")
        labels.write(patient.labels, folder / f"{name}-labels.nii.gz")
    return folder


def evaluated(scans, tmp_path, methods, labelled=""):
    """`labelled`: the names of the patients that have organs."""
    rows = [f"{name},{scans / name}-pet.nii.gz,{scans / name}-truth.nii.gz,"
            + (f"{scans / name}-labels.nii.gz" if name in labelled else "") for name in "ab"]  # fmt: skip
    (tmp_path / "cases.csv").write_text("\n".join(["id,pet,reference,labels", *rows]) + "\n")
    made = evaluate(Ask(tmp_path / "cases.csv", methods, tmp_path / "out"))
    (group,) = made.groups.values()
    return made, group


def of(rows, method, *keys):
    return [tuple(row.get(key) for key in keys) for row in rows if row["method"] == method]


@pytest.mark.parametrize("methods", ORDERS)
def test_masks_that_a_method_draws_are_no_masks_of_the_comparison(scans, tmp_path, methods):
    made, group = evaluated(scans, tmp_path, methods)
    assert group.organs == group.lesions == [] and made.agreement[group.cases[0]["data"]] == []
    for method in (*methods, LOW):
        assert of(group.cases, method, "lesions", *OF_MASKS) == [(0, *[None] * len(OF_MASKS))] * 2
        assert of(group.cases, method, "regions_changed") == [(None,)] * 2
    assert "same masks" not in paragraph(made) and "lesions and organs" not in paragraph(made)


@pytest.mark.parametrize("methods", ORDERS)
def test_organs_that_were_given_are_the_same_for_all_methods(scans, tmp_path, methods):
    made, group = evaluated(scans, tmp_path, methods, "ab")
    assert group.lesions == [] and "same masks" in paragraph(made)
    voxels = of(group.organs, methods[0], "case", "name", "volume_ml", "mean_reference")
    assert len(voxels) > 4 and all(of(group.organs, m, "case", "name", "volume_ml", "mean_reference") == voxels
                                   for m in (methods[1], LOW))  # fmt: skip
    assert None not in [v for (v,) in of(group.cases, methods[0], "organ_mean_percent")]


def test_the_check_takes_given_organs_whole_where_the_method_marked_the_lesions():
    """As the tables do: a method must not hide a change of the liver by marking the place."""
    grid, boxes = Geometry((34, 32, 30), (4.0, 4.0, 4.0)), {}
    for name, low, high in (("body", 2, 28), ("liver", 6, 24), ("mark", 10, 18)):
        boxes[name] = np.zeros((30, 32, 34), np.int16)
        boxes[name][low:high, low:high, low:high] = 1
    noise = gaussian_filter(np.random.default_rng(0).standard_normal((30, 32, 34)), 0.8)
    low = Volume((2 * boxes["body"] + 0.2 * noise / noise.std()).astype(np.float32), grid, SUVBW)
    case = Case(low, boxes["body"] > 0, 0.2, labels=LabelMap(5 * boxes["liver"], grid, {5: "liver"}))
    marks = LabelMap(boxes["mark"], grid, {1: "mark"})
    output = Output(low.with_array((2.0 * boxes["body"] - 0.6 * boxes["mark"]).astype(np.float32)), lesions=marks)
    own, given = ({f.kind for f in believe.checked(case, output, lesions).findings} for lesions in (None, marks))
    assert {ORGAN, LESION} <= own and LESION in given and ORGAN not in given


def test_masks_count_case_by_case(scans, tmp_path):
    _, group = evaluated(scans, tmp_path, ("median",), "a")
    assert {row["case"] for row in group.organs} == {"a"}
    errors = dict(of(group.cases, "median", "case", "organ_mean_percent"))
    assert errors["a"] is not None and errors["b"] is None
