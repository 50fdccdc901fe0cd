"""Filters beside CSRD's mean: how far they are believed, what they count, and that samples move with the mean."""

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from petdiffusion import registry
from petdiffusion.errors import ModelError
from petdiffusion.infer.partners import Beside, Partner, added, noise_of, partners_of, toward
from petdiffusion.methods.csrd.config import CsrdConfig
from petdiffusion.prepare import case
from petdiffusion.progress import Run
from petdiffusion.zoo import store
from support.scans import small_patient

POINTS = ((0.1, 0.8), (0.3, 0.4))
GAUSSIAN = {"filter": "gaussian", "points": POINTS, "options": {"fwhm_mm": 8.0}}


@pytest.fixture(scope="module")
def prepared():
    patient = small_patient(0)
    return case.build(patient["pet"], ct=patient["ct"])


@pytest.fixture(scope="module")
def model_with(tmp_path_factory):
    """The bundled weights with other partners."""
    bundled = store.find("csrd-body")

    def made(name, **changes):
        folder = tmp_path_factory.mktemp(name)
        card = bundled.card.to_json()
        card["config"] = {**card["config"], **changes}
        (folder / "other.json").write_text(json.dumps(card), encoding="utf-8")
        return str(shutil.copy(bundled.weights, folder / "other.safetensors"))

    return made


def denoised(prepared, model, **options):
    seen = []
    run = Run(seed=3, model=model)
    run.on_sample = seen.append
    card = registry.card("csrd")
    return card.load()(prepared, card.resolve(options), run), seen


@pytest.mark.parametrize(("noise", "weight"), [(0.05, 0.8), (0.1, 0.8), (0.2, 0.6), (0.25, 0.5), (0.9, 0.4)])
def test_the_weight_goes_by_the_noise(noise, weight):
    assert Partner("nlm", POINTS).weight(noise) == pytest.approx(weight)


@pytest.mark.parametrize(("filtered", "step"), [(9.0, 4.0), (5.5, 0.5), (4.8, -0.2), (4.5, -0.5), (4.25, -0.375),
                                                (4.0, 0.0), (1.0, 0.0)])  # fmt: skip
def test_a_filter_may_raise_and_hardly_lower(filtered, step):
    """The image is 5, the noise's SD 0.5: lowered by the full step down to 4.5, half of it at 4.25, nothing from 4."""
    assert toward(np.array([filtered]), np.array([5.0]), np.array([0.5]))[0] == pytest.approx(step)


def test_what_is_added_is_the_weighted_sum_and_nothing_in_air(prepared):
    image, shape = prepared.pet.array, prepared.pet.array.shape
    beside = [Beside(image + 1.0, 0.25), Beside(image + 2.0, 0.5)]
    found = added(prepared, image, np.ones(shape, np.float32), beside)
    np.testing.assert_allclose(found[prepared.body], 1.25, rtol=1e-5)
    assert not prepared.body.all() and not found[~prepared.body].any()


def test_noise_is_the_sd_over_the_mean_of_the_body(prepared):
    assert noise_of(prepared) == pytest.approx(prepared.noise / prepared.pet.array[prepared.body].mean())
    assert noise_of(replace(prepared, body=np.zeros_like(prepared.body))) == 0


@pytest.mark.parametrize(("known", "with_ct", "without"), [
    ({"ct": "tv", "none": "nlm"}, "tv", "nlm"), ({"none": "nlm"}, "nlm", "nlm"), ({"ct": "tv"}, "tv", None),
    ({}, None, None), ({"mr": "tv"}, None, None),
])  # fmt: skip
def test_what_a_scan_has_decides_which_partners_it_gets(prepared, known, with_ct, without):
    known = {anatomy: [{**GAUSSIAN, "filter": name}] for anatomy, name in known.items()}
    for subject, wanted in ((prepared, with_ct), (replace(prepared, ct=None), without)):
        assert [partner.filter for partner in partners_of(subject, known)] == [wanted] * (wanted is not None)


def test_the_mean_is_the_networks_and_what_the_filters_add(prepared, model_with):
    alone, _ = denoised(prepared, model_with("alone", partners={}), samples=0)
    both, _ = denoised(prepared, model_with("both", partners={"none": [GAUSSIAN]}), samples=0)
    card = registry.card("gaussian")
    smooth = card.load()(prepared, card.resolve({"fwhm_mm": 8.0}), Run()).pet.array
    weight = Partner(**GAUSSIAN).weight(noise_of(prepared))
    raised = prepared.body & (smooth > alone.pet.array)
    assert raised.any() and 0.4 <= weight <= 0.8
    wanted = alone.pet.array + weight * (smooth - alone.pet.array)
    np.testing.assert_allclose(both.pet.array[raised], wanted[raised], rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(both.pet.array[~prepared.body], alone.pet.array[~prepared.body])
    assert both.evaluations == alone.evaluations and both.details["partners"] == {"gaussian": round(weight, 3)}


def test_samples_move_with_the_mean_and_their_spread_stays(prepared, model_with):
    models = [model_with("alone", partners={}), model_with("both", partners={"none": [GAUSSIAN]})]
    (alone, before), (both, after) = (denoised(prepared, model, samples=2) for model in models)
    shift = both.pet.array - alone.pet.array
    assert len(before) == len(after) == 2 and np.abs(shift).max() > 0.01
    for one, other in zip(before, after):
        np.testing.assert_allclose(other - one, shift, atol=1e-4)
    np.testing.assert_array_equal(both.sd.array, alone.sd.array)


def test_anatomy_that_is_not_shown_changes_nothing_but_the_partners(prepared, model_with):
    hidden = model_with("hidden", partners={}, unseen=["ct"])
    shown = model_with("shown", partners={}, unseen=[])
    bare = replace(prepared, ct=None)
    asked = {"hidden": (prepared, hidden), "bare": (bare, hidden), "shown": (prepared, shown)}
    means = {name: denoised(*one, samples=0)[0].pet.array for name, one in asked.items()}
    np.testing.assert_array_equal(means["hidden"], means["bare"])
    assert np.abs(means["shown"] - means["bare"]).max() > 1e-3


@pytest.mark.parametrize("wrong", [
    {"partners": {"pet": [GAUSSIAN]}}, {"unseen": ["none"]}, {"partners": {"ct": [GAUSSIAN]}, "mean_share": 0.0},
    {"partners": {"ct": [{**GAUSSIAN, "points": ((0.3, 0.5), (0.1, 0.5))}]}},
    {"partners": {"ct": [{**GAUSSIAN, "points": ((0.1, 1.5),)}]}}, {"partners": {"ct": [{**GAUSSIAN, "points": ()}]}},
    {"partners": {"ct": [{**GAUSSIAN, "points": ((0.1, "a"),)}]}}, {"partners": {"ct": [{**GAUSSIAN, "weight": 1}]}},
    {"partners": {"ct": [{**GAUSSIAN, "filter": "csrd"}]}}, {"partners": {"ct": [{"filter": "nlm"}]}},
])  # fmt: skip
def test_settings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ModelError):
        CsrdConfig.from_json(wrong)


def test_weights_are_found_again(monkeypatch):
    """Scans whose normal dose is made of the mean and known shares of two filters, at three levels of noise."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "Resources" / "training"))
    import csrd_partners as script

    rng, planted = np.random.default_rng(1), np.array([[0.7, 0.5, 0.2], [0.1, 0.3, 0.0]])
    found = []
    for noise in (0.1, 0.15, 0.2, 0.25, 0.3, 0.38, 0.5):
        mean, steps = rng.normal(5, 1, 500), {name: rng.normal(0, 1, 500) for name in "ab"}
        normal = mean + sum(w * step for w, step in zip(planted @ script.hats(noise), steps.values()))
        found.append(script.Scan("p", noise, mean, normal, steps, np.zeros(500, int)))
    np.testing.assert_allclose(script.learnt(found, "ab"), planted, atol=1e-6)
    sys.modules.pop("csrd_partners", None)


def test_a_piece_of_a_run_fills_its_share_of_the_progress():
    seen = []
    run = Run(report=lambda event: seen.append(event.get("fraction", event.get("text"))))
    half = run.part(0.5, 1.0)
    half.progress(0.5)
    half.part(0.0, 0.5).progress(1.0)
    half.warn("heard")
    assert seen == [0.75, 0.75, "heard"] and run.warnings == ["heard"]
    run.cancelled.set()
    assert half.cancelled.is_set()
