"""The laws catch methods that are wrong: each here breaks the law named beside it, and a right one none."""

import numpy as np
import pytest
import support.method_laws as laws
from petdiffusion.errors import ConditionError, PETDiffusionError
from petdiffusion.methods.contract import Condition, MethodCard, Option, Output
from petdiffusion.volume import Geometry, Volume
from scipy.ndimage import gaussian_filter
from support.method_laws import LAWS, Subject

OPTIONS = (Option("width", "float", 1.0, "Width of the smoothing in voxels.", 0.1, 5.0, tune=(0.5, 1.0)),)


def card(**changes):
    given = {"name": "stub", "title": "Stub", "summary": "A stub.", "entry": "none:none", "options": OPTIONS,
             "activity_tolerance": 0.1}
    return MethodCard(**{**given, **changes})


def smoothed(array, options):
    return gaussian_filter(array, options["width"], mode="reflect")


def right(case, options, run):
    run.progress(0.0)
    result = smoothed(case.pet.array, options)
    run.progress(1.0)
    return Output(case.pet.with_array(result))


def makes(change):
    """A method that does the right thing and then changes its array."""
    def method(case, options, run):
        run.progress(0.0)
        result = change(smoothed(case.pet.array, options), case, options, run)
        run.progress(1.0)
        return result if isinstance(result, Output) else Output(case.pet.with_array(result))

    return method


def moved(array, case, options, run):
    geometry = case.pet.geometry
    return Output(Volume(array, Geometry(geometry.size, geometry.spacing, (0.0, 0.0, 0.0), geometry.direction),
                         case.pet.unit, case.pet.facts))


def with_an_sd(array, case, options, run):
    return Output(case.pet.with_array(array), sd=case.pet.with_array(np.abs(array)))


def from_torch_global_state(array, case, options, run):
    import torch

    return array + 1e-3 * torch.randn(array.shape).numpy()


def in_place(case, options, run):
    run.progress(0.0)
    writable = np.frombuffer(case.pet.array.data, np.float32).view()
    pointer = np.ctypeslib.as_array((np.ctypeslib.ctypes.c_float * writable.size).from_address(
        writable.ctypes.data)).reshape(case.pet.array.shape)
    result = smoothed(case.pet.array, options)
    pointer[0, 0, 0] += 1.0
    run.progress(1.0)
    return Output(case.pet.with_array(result))


def from_global_state(array, case, options, run):
    return array + 0.01 * np.random.standard_normal(array.shape)


def from_global_state_with_a_seed(array, case, options, run):
    np.random.seed(run.seed)
    return array + 1e-6 * np.random.standard_normal(array.shape)


def seed_of_a_method_that_has_none(array, case, options, run):
    return array + 0.01 * np.random.default_rng(run.seed).standard_normal(array.shape)


def fixed_threshold(array, case, options, run):
    return np.where(array > 0.5, array, 0.9 * array)


def shifted_by_a_voxel(array, case, options, run):
    return np.roll(array, 1, axis=2)


def depends_on_position(array, case, options, run):
    return array * (1 + 1e-3 * abs(case.pet.geometry.direction[0]))


def wrong_at_constant(array, case, options, run):
    return array - 0.1 * (array - array.mean()) + 0.01 * case.noise


def cut_at_zero(array, case, options, run):
    return np.maximum(array, 0)


def loses_activity(array, case, options, run):
    return 0.85 * array


def fails_on_one_slice(array, case, options, run):
    return np.gradient(array, axis=0) * 0 + array


def divides_by_noise(array, case, options, run):
    with np.errstate(all="ignore"):
        return array / case.noise * case.noise


def needs_a_body(array, case, options, run):
    low = np.argwhere(case.body).min(axis=0)
    return array + 0 * low[0]


def needs_ct_silently(array, case, options, run):
    return array + 0.001 * (np.zeros_like(array) if case.ct is None else case.ct.array)


def crashes_without_ct(array, case, options, run):
    return array + 0 * case.ct.array


def breaks_with_a_small_width(array, case, options, run):
    return array / (options["width"] > 0.1) if options["width"] > 0.1 else array * np.nan


def never_listens(case, options, run):
    return Output(case.pet.with_array(smoothed(case.pet.array, options)))


def listens_once(case, options, run):
    run.check()
    for fraction in (0.0, 0.5, 1.0):
        run.report({"event": "progress", "stage": "", "fraction": fraction})
    run.check()
    return Output(case.pet.with_array(smoothed(case.pet.array, options)))


def goes_back(case, options, run):
    for fraction in (0.0, 0.8, 0.3, 1.0):
        run.progress(fraction)
    return Output(case.pet.with_array(smoothed(case.pet.array, options)))


def says_no_to_nothing(case, options, run):
    return makes(lambda array, *_: array)(case, options, run)


WRONG = [
    ("same_grid_unit_and_finite", makes(moved), {}),
    ("same_grid_unit_and_finite", makes(lambda a, c, *_: Output(c.pet.with_array(a, "HU"))), {}),
    ("same_grid_unit_and_finite", makes(lambda a, *_: np.where(a > 3, np.nan, a)), {}),
    ("declared_outputs_are_there", right, {"outputs": ("denoised", "uncertainty")}),
    ("declared_outputs_are_there", makes(with_an_sd), {}),
    ("it_changes_a_noisy_image", makes(lambda a, c, *_: c.pet.array), {}),
    ("inputs_are_untouched", in_place, {}),
    ("same_seed_same_result", makes(from_global_state), {}),
    ("same_seed_same_result", makes(seed_of_a_method_that_has_none), {}),
    ("global_random_state_plays_no_part", makes(from_global_state_with_a_seed), {"stochastic": True}),
    ("global_random_state_plays_no_part", makes(from_torch_global_state), {"stochastic": True}),
    ("scales_with_the_image", makes(fixed_threshold), {}),
    ("commutes_with_flips", makes(shifted_by_a_voxel), {}),
    ("position_and_axes_do_not_matter", makes(depends_on_position), {}),
    ("constant_stays_constant", makes(wrong_at_constant), {}),
    ("empty_stays_empty", makes(lambda a, *_: a + 1e-3), {}),
    ("empty_stays_empty", makes(divides_by_noise), {}),
    ("negative_values_are_not_cut", makes(cut_at_zero), {}),
    ("any_grid", makes(fails_on_one_slice), {}),
    ("body_that_fills_the_image_or_is_unknown", makes(needs_a_body), {}),
    ("activity_is_kept", makes(loses_activity), {}),
    ("card_survives_json", right, {"family": "magic"}),
    ("defaults_and_tuned_values_are_allowed", right, {"options": (Option("width", "float", 9.0, "w", 0.1, 5.0),)}),
    ("every_choice_and_limit_runs", makes(breaks_with_a_small_width), {}),
    ("missing_condition_is_an_error", says_no_to_nothing, {"conditions": (Condition("ct", required=True),)}),
    ("missing_condition_is_an_error", makes(crashes_without_ct), {"conditions": (Condition("ct"),)}),
    ("undeclared_conditions_are_not_used", makes(needs_ct_silently), {}),
    ("cancel_before_the_start", never_listens, {}),
    ("cancel_stops_promptly", listens_once, {}),
    ("progress_runs_from_0_to_1", goes_back, {}),
    ("progress_runs_from_0_to_1", never_listens, {}),
]
ALWAYS_TRUE_OF_THE_CONTRACT = {"unknown_option_is_an_error", "bad_values_are_errors"}
"""These hold by `MethodCard` itself; they are checked below on a card that resolves carelessly."""


@pytest.mark.parametrize("name, method, changes", WRONG, ids=[f"{n}-{i}" for i, (n, *_) in enumerate(WRONG)])
def test_a_wrong_method_is_caught(name, method, changes):
    with pytest.raises((AssertionError, ValueError, AttributeError, PETDiffusionError, pytest.fail.Exception)):
        getattr(laws, name)(Subject(card(**changes), method))


class Careless(MethodCard):
    """A card that takes any option."""

    def resolve(self, given):
        return {**{o.name: o.default for o in self.options}, **given}


@pytest.mark.parametrize("name", sorted(ALWAYS_TRUE_OF_THE_CONTRACT))
def test_a_careless_card_is_caught(name):
    careless = Careless("stub", "Stub", "A stub.", "none:none", options=OPTIONS)
    with pytest.raises(pytest.fail.Exception):
        getattr(laws, name)(Subject(careless, right))


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
def test_a_right_method_passes(law):
    law(Subject(card(), right))


def test_every_law_is_shown_to_fail():
    assert {law.__name__ for law in LAWS} == {name for name, *_ in WRONG} | ALWAYS_TRUE_OF_THE_CONTRACT


def test_a_method_that_names_what_is_missing_passes():
    def method(case, options, run):
        if case.ct is None:
            raise ConditionError("CT is missing", "it is needed", "Give one.")
        return right(case, options, run)

    laws.missing_condition_is_an_error(Subject(card(conditions=(Condition("ct", required=True),)), method))
