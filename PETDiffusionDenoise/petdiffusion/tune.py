"""Finds the options that bring a method nearest to a reference: PSNR in the body, every trial on record."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from .errors import GeometryError, OptionError
from .methods.contract import Case, MethodCard, Option
from .prepare.upright import upright
from .progress import Run
from .volume import Volume

SMALL_GRID = 24
"""Up to so many combinations all are tried; beyond, one option after the other."""
SWEEPS = 3

Row = dict[str, Any]


class Pair(NamedTuple):
    """A case and its reference; `seen` is what the reference shows, None where that is all of the body."""

    case: Case
    reference: Volume
    seen: np.ndarray | None = None


def tune(card: MethodCard, case: Case, reference: Volume, run: Run | None = None,
         base_options: Mapping[str, Any] | None = None, seen: np.ndarray | None = None
         ) -> tuple[dict[str, Any], list[Row]]:
    """(best options, one row a trial) over the values that the card offers for tuning.

    Options named in `base_options` keep the value given there. Of equal results the first tried is taken, and
    the first tried is the starting point, so a tie changes nothing.
    """
    return tune_on(card, [Pair(case, reference, seen)], run, base_options)


def tune_on(card: MethodCard, pairs: Sequence[Pair | tuple[Case, Volume]], run: Run | None = None,
            base_options: Mapping[str, Any] | None = None) -> tuple[dict[str, Any], list[Row]]:
    """The same over several pairs of a case and its reference: the highest mean of their PSNRs wins."""
    run, pairs = run or Run(), [Pair(*pair) for pair in pairs]
    for case, reference, _ in pairs:
        if not reference.geometry.close_to(case.pet.geometry):
            raise GeometryError("The reference", "does not lie on the grid of the PET", "Resample it to the PET first.")
    base = card.resolve(base_options or {})
    free = [o for o in card.options if o.tune and o.name not in (base_options or {})]
    if not free:
        raise OptionError(f"Method '{card.name}'", "has nothing left to tune",
                          "Leave some of its options open, or choose another method.")
    trials = _Trials(card, pairs, run, free)
    combinations = int(np.prod([len(o.tune) for o in free]))
    trials.expected = combinations if combinations <= SMALL_GRID else 2 * sum(len(o.tune) for o in free)
    best = _grid(trials, base) if combinations <= SMALL_GRID else _one_by_one(trials, base)
    run.progress(1.0)
    return best, trials.rows


class _Trials:
    """Runs each combination once and keeps the table."""

    def __init__(self, card: MethodCard, pairs: Sequence[Pair], run: Run, free: list[Option]) -> None:
        self.card, self.pairs, self.run, self.free = card, pairs, run, free
        self.denoise = upright(card.load())
        self.rows: list[Row] = []
        self.known: dict[tuple[Any, ...], float] = {}
        self.expected = 1

    def score(self, options: Mapping[str, Any]) -> float:
        key = tuple(options[o.name] for o in self.free)
        if key not in self.known:
            self.run.progress(min(0.99, len(self.rows) / self.expected))
            self.known[key] = float(np.mean([self._psnr(pair, options) for pair in self.pairs]))
            self.rows.append({**dict(zip((o.name for o in self.free), key)), "psnr": self.known[key]})
        return self.known[key]

    def _psnr(self, pair: Pair, options: Mapping[str, Any]) -> float:
        # The method reports its own progress; only that of the search is passed on.
        quiet = Run(seed=self.run.seed, device=self.run.device, model=self.run.model, cancelled=self.run.cancelled)
        result = self.denoise(pair.case, dict(options), quiet)
        for text in quiet.warnings:
            self.run.warn(text)
        return body_psnr(result.pet, pair.reference, pair.case.body, pair.seen)


def _grid(trials: _Trials, base: dict[str, Any]) -> dict[str, Any]:
    candidates = [base, *({**base, **dict(zip((o.name for o in trials.free), values))}
                          for values in itertools.product(*(o.tune for o in trials.free)))]
    return max(candidates, key=trials.score)


def _one_by_one(trials: _Trials, base: dict[str, Any]) -> dict[str, Any]:
    """Coordinate search until a whole sweep changes nothing."""
    best = base
    for _ in range(SWEEPS):
        before = best
        for option in trials.free:
            best = max([best, *({**best, option.name: value} for value in option.tune)], key=trials.score)
        if best == before:
            break
    return best


def body_psnr(image: Volume, reference: Volume, body: np.ndarray, seen: np.ndarray | None = None) -> float:
    """PSNR inside the body in dB, where the reference shows it; the range is the reference's maximum there. Identical
    images: infinite."""
    inside = body if body.any() else np.ones_like(body)
    inside = inside if seen is None else inside & seen
    truth = reference.array[inside].astype(np.float64)
    error = float(np.mean((image.array[inside] - truth) ** 2))
    peak = float(np.abs(truth).max())
    if error == 0:
        return float("inf")
    return float(10 * np.log10(peak ** 2 / error)) if peak > 0 else float("-inf")
