"""Tuning finds the best of what the card offers, tries nothing twice and tells all that it tried."""

import threading

import numpy as np
import pytest
from petdiffusion import registry
from petdiffusion.errors import Cancelled, GeometryError, OptionError
from petdiffusion.methods.contract import MethodCard, Option, Output
from petdiffusion.progress import Run
from petdiffusion.tune import body_psnr, tune
from support.blobs import blobs, psnr

PATIENT = blobs((20, 28, 32), (4.0, 4.0, 4.0), relative_noise=0.4)
CALLS = []


def toy(case, options, run):
    """Best at a = 3, b = 'y', c = 20; the options do not act on each other."""
    CALLS.append(dict(options))
    run.check()
    worse = abs(options["a"] - 3) + (options["b"] != "y") + abs(options["c"] - 20) / 10
    return Output(case.pet.with_array(PATIENT.truth.array + 0.1 * (worse + 0.1)))


def card(a, c):
    return MethodCard("toy", "Toy", "A toy.", f"{__name__}:toy", options=(
        Option("a", "int", 1, "a", 0, 9, tune=tuple(a)),
        Option("b", "str", "x", "b", choices=("x", "y"), tune=("x", "y")),
        Option("c", "float", 50.0, "c", 0.0, 90.0, tune=tuple(c)),
        Option("d", "int", 7, "not tuned")))


@pytest.fixture(autouse=True)
def findable(monkeypatch):
    monkeypatch.setattr(MethodCard, "load", lambda self: toy if self.name == "toy" else _load(self))
    CALLS.clear()


_load = MethodCard.load


@pytest.mark.parametrize("a, c", [((1, 3), (20.0, 50.0)), ((1, 2, 3, 4, 5), (10.0, 20.0, 30.0, 50.0))],
                         ids=["grid", "one by one"])
def test_the_best_is_found(a, c):
    best, rows = tune(card(a, c), PATIENT.case(), PATIENT.truth)
    assert best == {"a": 3, "b": "y", "c": 20.0, "d": 7}
    tried = [(r["a"], r["b"], r["c"]) for r in rows]
    assert len(tried) == len(set(tried)) == len(CALLS)
    assert max(rows, key=lambda r: r["psnr"])["a"] == 3
    assert tried[0] == (1, "x", 50.0)  # the defaults come first
    if len(a) * len(c) > 12:
        assert len(tried) < len(a) * 2 * len(c)


def test_given_options_stay():
    best, rows = tune(card((1, 3), (20.0, 50.0)), PATIENT.case(), PATIENT.truth, base_options={"a": 5})
    assert best["a"] == 5 and best["b"] == "y" and all("a" not in r for r in rows)


def test_gaussian_width_is_the_brute_force_optimum():
    gaussian = registry.card("gaussian")
    best, rows = tune(gaussian, PATIENT.case(), PATIENT.truth)
    values = {}
    for width in gaussian.option("fwhm_mm").tune:
        result = gaussian.load()(PATIENT.case(), {"fwhm_mm": width}, Run()).pet.array
        values[width] = psnr(result, PATIENT.truth.array, PATIENT.body)
    assert best["fwhm_mm"] == max(values, key=values.get)
    assert {r["fwhm_mm"]: r["psnr"] for r in rows} == pytest.approx(values, abs=1e-6)


def test_same_table_every_time():
    tv = registry.card("tv")
    assert tune(tv, PATIENT.case(), PATIENT.truth) == tune(tv, PATIENT.case(), PATIENT.truth)


def test_nothing_to_tune_and_wrong_reference():
    with pytest.raises(OptionError, match="nothing left"):
        tune(registry.card("gaussian"), PATIENT.case(), PATIENT.truth, base_options={"fwhm_mm": 4.0})
    other = blobs((20, 28, 32), (5.0, 4.0, 4.0)).truth
    with pytest.raises(GeometryError, match="reference"):
        tune(registry.card("gaussian"), PATIENT.case(), other)
    with pytest.raises(OptionError):
        tune(registry.card("gaussian"), PATIENT.case(), PATIENT.truth, base_options={"width": 4.0})


def test_cancel_and_progress():
    seen, stop = [], threading.Event()
    tune(registry.card("gaussian"), PATIENT.case(), PATIENT.truth,
         Run(report=lambda e: seen.append(e["fraction"]) if e["event"] == "progress" else None))
    assert seen == sorted(seen) and seen[-1] == 1.0
    stop.set()
    with pytest.raises(Cancelled):
        tune(registry.card("gaussian"), PATIENT.case(), PATIENT.truth, Run(cancelled=stop))


def test_psnr_by_hand():
    body = PATIENT.body
    off = PATIENT.truth.with_array(PATIENT.truth.array + 0.1)
    peak = PATIENT.truth.array[body].max()
    assert body_psnr(off, PATIENT.truth, body) == pytest.approx(20 * np.log10(peak / 0.1), abs=1e-3)
    assert body_psnr(PATIENT.truth, PATIENT.truth, body) == float("inf")
    outside = PATIENT.truth.with_array(np.where(body, PATIENT.truth.array, 9.0))
    assert body_psnr(outside, PATIENT.truth, body) == float("inf")
