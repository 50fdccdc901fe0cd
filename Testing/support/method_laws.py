"""What every method must hold, as plain functions of (card, denoise): each raises AssertionError where it is broken.

`test_method_laws.py` applies them to every registered method, `test_laws_can_fail.py` to methods that are wrong.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from petdiffusion.errors import Cancelled, ConditionError, OptionError
from petdiffusion.methods.contract import Case, MethodCard, Output
from petdiffusion.progress import Run
from petdiffusion.volume import IDENTITY, Volume

from support.blobs import Blobs, blobs

SHAPE, SPACING = (20, 24, 28), (4.0, 4.0, 4.0)
OBLIQUE = tuple(np.array([[0.36, 0.48, -0.8], [-0.8, 0.6, 0.0], [0.48, 0.64, 0.6]]).ravel())
SHORT = ("iterations", "steps", "epochs", "samples", "evaluations")
"""Options that only cost time: set to the least value that still runs the whole method, for learning methods."""


@dataclass(frozen=True)
class Subject:
    """A method under test: its card and its function."""

    card: MethodCard
    denoise: Callable[[Case, Mapping[str, Any], Run], Output]

    @classmethod
    def of(cls, card: MethodCard) -> Subject:
        return cls(card, card.load())

    def options(self, **given: Any) -> dict[str, Any]:
        return self.card.resolve({**self._short(), **given})

    def _short(self) -> dict[str, int]:
        if self.card.family == "classical":
            return {}
        fewest = {"samples": 2}  # an uncertainty needs two
        return {o.name: int(max(fewest.get(o.name, 1), o.minimum or 1))
                for o in self.card.options if o.name in SHORT and o.kind == "int"}

    def __call__(self, case: Case, run: Run | None = None, **given: Any) -> Output:
        return self.denoise(case, self.options(**given), run or Run())

    def shape(self, shape: tuple[int, int, int] = SHAPE) -> tuple[int, ...]:
        """The small test size, or the smallest that the method takes."""
        return tuple(max(n, self.card.minimum_size) for n in shape)


def patient(subject: Subject, **changes: Any) -> Blobs:
    given = {"shape": subject.shape(), "spacing": SPACING, "relative_noise": 0.3, **changes}
    return blobs(**given)


def with_values(case: Case, values: Any, noise: float | None = None) -> Case:
    array = np.broadcast_to(np.asarray(values, np.float32), case.pet.array.shape)
    return replace(case, pet=case.pet.with_array(array), noise=case.noise if noise is None else noise)


def deviation(one: np.ndarray, other: np.ndarray) -> float:
    """Largest difference as a part of the largest value."""
    return float(np.abs(one - other).max() / max(np.abs(one).max(), np.abs(other).max(), 1e-30))


def images(output: Output) -> Iterable[Volume]:
    return (v for v in (output.pet, output.sd) if v is not None)


# ---- grid, unit, type ---------------------------------------------------------------------------------------------


def check_output(case: Case, output: Output) -> None:
    """Same grid and unit, finite, float32; extra outputs on the same grid; SD not negative."""
    assert isinstance(output, Output)
    for image in images(output):
        assert image.geometry.close_to(case.pet.geometry), "not on the PET's grid"
        assert image.unit == case.pet.unit, "not in the PET's unit"
        assert image.array.dtype == np.float32
        assert np.all(np.isfinite(image.array)), "not finite"
    assert output.pet.facts == case.pet.facts
    if output.sd is not None:
        assert output.sd.array.min() >= 0, "negative SD"
    for labels in (output.organs, output.lesions):
        assert labels is None or labels.geometry.close_to(case.pet.geometry)


def same_grid_unit_and_finite(subject: Subject) -> None:
    case = patient(subject).case()
    check_output(case, subject(case))


def declared_outputs_are_there(subject: Subject) -> None:
    output = subject(patient(subject).case())
    for name, value in (("uncertainty", output.sd), ("organs", output.organs), ("lesions", output.lesions)):
        assert (value is not None) == (name in subject.card.outputs), name


def it_changes_a_noisy_image(subject: Subject) -> None:
    case = patient(subject).case()
    assert deviation(subject(case).pet.array, case.pet.array) > 1e-3, "returned its input"


def inputs_are_untouched(subject: Subject) -> None:
    case = patient(subject).case()
    before = [a.copy() for a in _arrays(case)]
    subject(case)
    for now, then in zip(_arrays(case), before):
        np.testing.assert_array_equal(now, then, "an input array was changed")


def _arrays(case: Case) -> list[np.ndarray]:
    volumes = [v for v in (case.pet, case.ct, case.mr, case.labels) if v is not None]
    return [case.body, *(v.array for v in volumes)]


# ---- repeatability ------------------------------------------------------------------------------------------------


def same_seed_same_result(subject: Subject) -> None:
    case = patient(subject).case()
    first, second = subject(case, Run(seed=7)), subject(case, Run(seed=7))
    np.testing.assert_array_equal(first.pet.array, second.pet.array)
    if not subject.card.stochastic:
        np.testing.assert_array_equal(first.pet.array, subject(case, Run(seed=8)).pet.array)


def global_random_state_plays_no_part(subject: Subject) -> None:
    """Neither read, nor set: the result is the same whatever NumPy's and torch's global generators hold."""
    import torch

    case, results = patient(subject).case(), []
    for seed in (1, 2):
        np.random.seed(seed)
        torch.manual_seed(seed)
        before = np.random.get_state()[1].copy()
        results.append(subject(case, Run(seed=7)).pet.array)
        np.testing.assert_array_equal(before, np.random.get_state()[1], "NumPy's global generator was used")
    np.testing.assert_array_equal(*results)


# ---- symmetry -----------------------------------------------------------------------------------------------------


def scales_with_the_image(subject: Subject) -> None:
    if not subject.card.scale_equivariant:
        return
    case = patient(subject).case()
    plain = subject(case).pet.array
    for factor in (1e-3, 7321.5):
        scaled = subject(with_values(case, case.pet.array * factor, case.noise * factor)).pet.array
        assert deviation(scaled / factor, plain) <= subject.card.equivariance_tolerance, f"factor {factor}"


def commutes_with_flips(subject: Subject) -> None:
    if not subject.card.flip_equivariant:
        return
    case = patient(subject).case()
    plain = subject(case).pet.array
    for axis in range(3):
        mirrored = np.flip(subject(_flipped(case, axis)).pet.array, axis)
        assert deviation(mirrored, plain) <= subject.card.equivariance_tolerance, f"axis {axis}"


def _flipped(case: Case, axis: int) -> Case:
    def flip(image: Any) -> Any:
        return None if image is None else replace(image, array=np.flip(image.array, axis))

    return replace(case, pet=flip(case.pet), ct=flip(case.ct), mr=flip(case.mr), labels=flip(case.labels),
                   body=np.flip(case.body, axis).copy())


def position_and_axes_do_not_matter(subject: Subject) -> None:
    """The same voxels on an oblique grid elsewhere: a classical filter sees no difference, any method copes."""
    case = patient(subject).case()
    turned = patient(subject, direction=OBLIQUE).case()
    output = subject(turned)
    check_output(turned, output)
    assert output.pet.geometry.direction == turned.pet.geometry.direction != IDENTITY
    if subject.card.family == "classical":
        assert deviation(output.pet.array, subject(case).pet.array) <= 1e-6


# ---- special images -----------------------------------------------------------------------------------------------


def constant_stays_constant(subject: Subject) -> None:
    """A flat image has nothing to remove, whatever noise the case claims."""
    if subject.card.family != "classical":
        return
    case = patient(subject).case()
    for noise in (0.0, 0.3):
        for level in (2.0, 5e4):
            flat = subject(with_values(case, level, noise * level)).pet.array
            assert deviation(flat, np.full_like(flat, level)) <= 1e-4, f"level {level}, noise {noise}"


def empty_stays_empty(subject: Subject) -> None:
    case = patient(subject).case()
    for body in (case.body, np.zeros_like(case.body)):
        output = subject(replace(with_values(case, 0.0, 0.0), body=body))
        check_output(case, output)
        if subject.card.family == "classical":
            assert not output.pet.array.any()


def negative_values_are_not_cut(subject: Subject) -> None:
    """Images reconstructed without a positivity constraint: noise about 0 stays noise about 0."""
    case = patient(subject).case()
    check_output(case, subject(with_values(case, case.pet.array - 0.8)))
    phantom = patient(subject, poisson=False, seed=3)
    around_zero = with_values(case, phantom.noisy.array - phantom.truth.array, 0.3)
    output = subject(around_zero)
    check_output(case, output)
    if subject.card.family == "classical":
        before, after = (a[case.body].mean() for a in (around_zero.pet.array, output.pet.array))
        assert abs(after - before) <= 0.15 * around_zero.noise, f"mean moved by {after - before:.3f}"
        assert output.pet.array.min() < 0, "negative values were cut"


def any_grid(subject: Subject) -> None:
    """Anisotropic voxels, one slice along each axis, very few voxels."""
    grids = [((24, 26, 22), (2.0, 2.5, 6.0)), ((8, 40, 20), (3.0, 3.0, 9.0))]
    if subject.card.minimum_size == 1:
        grids += [((1, 24, 28), SPACING), ((20, 1, 28), SPACING), ((20, 24, 1), SPACING), ((2, 3, 2), SPACING),
                  ((1, 1, 1), SPACING)]
    for shape, spacing in grids:
        case = patient(subject, shape=subject.shape(shape), spacing=spacing).case()
        check_output(case, subject(case))


def body_that_fills_the_image_or_is_unknown(subject: Subject) -> None:
    case = patient(subject).case()
    for body in (np.ones_like(case.body), np.zeros_like(case.body)):
        check_output(case, subject(replace(case, body=body)))


# ---- quantities ---------------------------------------------------------------------------------------------------


def activity_is_kept(subject: Subject) -> None:
    """Total activity in the body, over several doses; learned methods only where they say so."""
    for relative_noise in (0.1, 0.4):
        case = patient(subject, shape=subject.shape((30, 36, 42)), spacing=(5.0, 5.0, 5.0),
                       relative_noise=relative_noise).case()
        before, after = case.pet.array[case.body].sum(), subject(case).pet.array[case.body].sum()
        assert abs(after / before - 1) <= subject.card.activity_tolerance, f"{after / before - 1:+.3f}"


# ---- card and options ---------------------------------------------------------------------------------------------


def card_survives_json(subject: Subject) -> None:
    card = subject.card
    assert MethodCard.from_json(json.loads(json.dumps(card.to_json()))) == card
    assert card.title and card.summary and card.summary.endswith(".")
    assert card.family in ("classical", "supervised", "unsupervised", "diffusion")
    assert 0 < card.activity_tolerance < 0.5 and 0 < card.equivariance_tolerance <= 0.1


def defaults_and_tuned_values_are_allowed(subject: Subject) -> None:
    for option in subject.card.options:
        assert option.help, option.name
        for value in (option.default, *option.tune):
            assert option.check(value) == value, f"{option.name} = {value}"


def unknown_option_is_an_error(subject: Subject) -> None:
    with pytest.raises(OptionError):
        subject.card.resolve({"no_such_option": 1})


def bad_values_are_errors(subject: Subject) -> None:
    for option in subject.card.options:
        bad: list[Any] = {"float": ["many", float("nan")], "int": [1.5, "many"], "bool": ["perhaps"], "str": [3]}[
            option.kind]
        bad += [option.minimum - 1] if option.minimum is not None else []
        bad += [option.maximum + 1] if option.maximum is not None else []
        bad += ["no such choice"] if option.choices else []
        for value in bad:
            with pytest.raises(OptionError):
                subject.card.resolve({option.name: value})


def every_choice_and_limit_runs(subject: Subject) -> None:
    """Each choice, switch and smallest value of an option, the others at their defaults."""
    case = patient(subject).case()
    for option in subject.card.options:
        values = list(option.choices) or ([True, False] if option.kind == "bool" else [option.minimum])
        for value in values:
            if value is not None:
                check_output(case, subject(case, **{option.name: value}))


# ---- conditions, cancel -------------------------------------------------------------------------------------------


def missing_condition_is_an_error(subject: Subject) -> None:
    case = patient(subject).case()
    for condition in subject.card.conditions:
        without = replace(case, **{condition.kind: "" if condition.kind == "text" else None})
        if condition.required:
            with pytest.raises(ConditionError):
                subject(without)
        else:
            check_output(without, subject(without))


def undeclared_conditions_are_not_used(subject: Subject) -> None:
    """What the card does not name must not change the result."""
    case = patient(subject).case()
    plain = subject(case).pet.array
    for kind in ("ct", "mr", "labels", "text"):
        if not subject.card.uses(kind):
            without = replace(case, **{kind: "" if kind == "text" else None})
            np.testing.assert_array_equal(subject(without).pet.array, plain, kind)


def cancel_before_the_start(subject: Subject) -> None:
    run = Run()
    run.cancelled.set()
    with pytest.raises(Cancelled):
        subject(patient(subject).case(), run)


def cancel_stops_promptly(subject: Subject) -> None:
    """Cancelled at its first sign of life, a method ends without another one."""
    stop, after = threading.Event(), []

    def on_event(event: dict[str, Any]) -> None:
        if stop.is_set():
            after.append(event)
        stop.set()

    with pytest.raises(Cancelled):
        subject(patient(subject).case(), Run(report=on_event, cancelled=stop))
    assert not after, f"went on after the cancel: {after[:3]}"


def progress_runs_from_0_to_1(subject: Subject) -> None:
    seen: list[float] = []

    def on_event(event: dict[str, Any]) -> None:
        if event["event"] == "progress":
            seen.append(event["fraction"])

    subject(patient(subject).case(), Run(report=on_event))
    assert len(seen) >= 2 and seen[-1] == 1.0, seen[-3:]
    assert seen == sorted(seen), "progress went back"



LAWS = (same_grid_unit_and_finite, declared_outputs_are_there, it_changes_a_noisy_image, inputs_are_untouched,
        same_seed_same_result, global_random_state_plays_no_part, scales_with_the_image, commutes_with_flips,
        position_and_axes_do_not_matter, constant_stays_constant, empty_stays_empty,
        negative_values_are_not_cut, any_grid, body_that_fills_the_image_or_is_unknown, activity_is_kept,
        card_survives_json, defaults_and_tuned_values_are_allowed, unknown_option_is_an_error, bad_values_are_errors,
        every_choice_and_limit_runs, missing_condition_is_an_error, undeclared_conditions_are_not_used,
        cancel_before_the_start, cancel_stops_promptly, progress_runs_from_0_to_1)
