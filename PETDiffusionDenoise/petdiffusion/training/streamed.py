"""Training on digital patients that are drawn and scanned meanwhile: a bank whose patients come and go, without files.

Which patients a batch is taken from depends on its number alone, so a stopped training goes on as if it had not been
stopped, whatever the number of processes that draw.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any

import numpy as np
import torch

from ..errors import OptionError
from ..phantoms.recipe import Job
from ..phantoms.splits import seeds_of
from ..phantoms.stream import Case, Stream, prepare
from ..phantoms.workers import Pool
from ..prepare.channels import mr_scaled
from ..prepare.mask import body_mask
from ..progress import Run
from ..volume import SUVBW, Geometry, Volume
from .bank import Bank, Derive, Patient, Scan, box
from .manifest import half
from .settings import TrainSettings
from .task import Batch


class StreamedBank:
    """Batches from the patients of a stream that came last, and fixed ones from validation patients."""

    def __init__(self, stream: Stream, derive: Derive, settings: TrainSettings, run: Run, validation: int = 2) -> None:
        self.stream, self.derive, self.settings, self.run = stream, derive, settings, run
        self._kept: dict[int, Patient] = {}
        self._coming: dict[int, Future] = {}
        self._pool = Pool(stream.workers, run) if stream.workers > 0 else None
        jobs = [stream.recipe.job(number, seed) for number, seed in enumerate(seeds_of("validation", validation))]
        with run.stage("draw", f"Drawing {len(jobs)} digital patients for validation"):
            drawing = [self._pool.submit(prepare, job) for job in jobs] if self._pool else jobs
            self._valid = Bank([], [self._finished(one) for one in drawing], settings, "")

    def window(self, step: int) -> range:
        """Numbers of the patients that batch `step` is taken from: each stays for about `crops` patches."""
        newest = step * self.settings.batch // max(self.stream.crops // self.stream.patients, 1)
        return range(max(0, newest - self.stream.patients + 1), newest + 1)

    def batch(self, step: int, rank: int) -> Batch:
        window = self.window(step)
        self._kept = {number: patient for number, patient in self._kept.items() if number in window}
        if self._pool:
            self._order(range(window.start, window.stop + self.stream.workers))
        return Bank([self._patient(number) for number in window], [], self.settings, "").batch(step, rank)

    def validation(self) -> list[Batch]:
        return self._valid.validation()

    def describe(self) -> dict[str, Any]:
        stream = self.stream
        return {"source": "digital patients, drawn while training", **stream.recipe.to_json(),
                "first_patient": stream.job(0).name, "patients": stream.patients, "crops": stream.crops,
                "validation_patients": [patient.id for patient in self._valid.valid]}  # fmt: skip

    def close(self) -> None:
        if self._pool:
            self._pool.close()

    def _order(self, numbers: range) -> None:
        """Have the other processes draw what is needed now and next; what a step back has left behind is dropped."""
        self._coming = {number: future for number, future in self._coming.items() if number in numbers}
        for number in numbers:
            if number not in self._kept and number not in self._coming:
                self._coming[number] = self._pool.submit(prepare, self.stream.job(number))

    def _patient(self, number: int) -> Patient:
        if number not in self._kept:
            self.run.check()
            self._kept[number] = self._finished(self._coming.pop(number, None) or self.stream.job(number))
        return self._kept[number]

    def _finished(self, drawing: Future | Job) -> Patient:
        case = prepare(drawing, self.run) if isinstance(drawing, Job) else self._pool.result(drawing)
        return in_memory(case, self.derive)


def in_memory(case: Case, derive: Derive) -> Patient:
    """A drawn patient just as the bank reads it from a data set on disk."""
    spacing = case.spacing_mm[::-1]
    body = body_mask(Volume(case.images["normal"], Geometry(case.images["normal"].shape[::-1], spacing), SUVBW))
    images = {name: half(case.images[name]) for name in ("normal", "ct", "truth")}
    images["mr"] = half(mr_scaled(torch.from_numpy(case.images["mr"]).float()).numpy())
    images["lesions"] = torch.from_numpy((case.images["lesions"] > 0).astype(np.uint8))
    scans = [_scan(fraction, low, spacing, body, derive, images) for fraction, low in case.low.items()]
    return Patient(case.job.name, images, box(body), case.lesions, scans)


def _scan(
    fraction: float, low: np.ndarray, spacing: tuple, body: np.ndarray, derive: Derive, shared: dict[str, torch.Tensor]
) -> Scan:
    images, numbers = derive(low, spacing, body, shared)
    return Scan({"low": half(low), **{name: half(image) for name, image in images.items()}},
                {"fraction": fraction, **numbers})  # fmt: skip


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _fractions(text: str) -> tuple[float, ...]:
    return tuple(float(word) for word in _words(text))


_SETTINGS = {
    "kind": ("kinds", _words), "tracer": ("tracers", _words), "preset": ("presets", _words),
    "fraction": ("fractions", _fractions), "spacing": ("spacing_mm", float), "patients": ("patients", int),
    "crops": ("crops", int), "first_seed": ("first_seed", int), "workers": ("workers", int),
}  # fmt: skip
"""What `--stream NAME=VALUE` sets, and how its value is read."""


def open_stream(said: Mapping[str, str], derive: Derive, settings: TrainSettings, run: Run) -> StreamedBank:
    """The bank that `petdiffusion train --stream NAME=VALUE …` asks for."""
    said = dict(said)
    validation = _value("validation", int, said.pop("validation", "2"))
    if unknown := sorted(set(said) - set(_SETTINGS)):
        raise OptionError(f"Stream settings {', '.join(unknown)}", "are not known",
                          f"There are {', '.join((*_SETTINGS, 'validation'))}.")  # fmt: skip
    if validation < 1:
        raise OptionError(f"validation = {validation}", "leaves nobody to judge the training by", "Give at least 1.")
    chosen = {_SETTINGS[name][0]: _value(name, _SETTINGS[name][1], text) for name, text in said.items()}
    return StreamedBank(Stream(run=run, **{"crops": 512, **chosen}), derive, settings, run, validation)


def _value(name: str, read: Any, text: str) -> Any:
    try:
        return read(text)
    except ValueError:
        raise OptionError(f"Stream setting {name}={text}", "cannot be read", "Write for example patients=4.") from None
