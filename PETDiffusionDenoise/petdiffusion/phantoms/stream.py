"""Digital patients straight into training: crops from freshly drawn and scanned patients, without files.

Other processes draw and scan ahead; a few patients stay in memory, each gives some crops and then makes room for the
next. Only seeds of the training split are ever drawn.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import OptionError
from ..progress import Run
from ..wording import counted
from .recipe import Job, Recipe
from .scan import Scan
from .splits import RANGES

if TYPE_CHECKING:
    from torch.utils.data import IterableDataset

LESION_SHARE = 0.3
"""Crops that are centred near a lesion, where there is one."""


@dataclass(frozen=True)
class Sample:
    """One crop; arrays are float32 (z, y, x) of the same shape."""

    low: np.ndarray
    normal: np.ndarray
    truth: np.ndarray
    ct: np.ndarray
    mr: np.ndarray
    lesions: np.ndarray
    fraction: float
    spacing_mm: tuple[float, float, float]
    """(z, y, x)."""
    corner: tuple[int, int, int]
    """Place of the crop in the whole image, in voxels."""
    shape: tuple[int, int, int]
    """Of the whole image."""
    kind: str
    tracer: str
    preset: str
    seed: int
    """The patient's."""


@dataclass(frozen=True)
class Case:
    """A scanned patient as a stream keeps it: half precision where that loses nothing that matters."""

    job: Job
    preset: str
    spacing_mm: tuple[float, float, float]
    images: dict[str, np.ndarray]
    low: dict[float, np.ndarray]
    body: tuple[np.ndarray, np.ndarray]
    """Corners of the box around the body."""
    lesions: np.ndarray
    """Voxels (n, 3) inside lesions."""


def prepare(job: Job, run: Run) -> Case:
    """Draws and scans a patient; runs in the other processes."""
    return case_of(job, job.scan(Run(seed=job.seed, cancelled=run.cancelled)))


def case_of(job: Job, scanned: Scan) -> Case:
    """What a stream keeps of a scanned patient."""
    patient = scanned.patient
    lesions = patient.lesion_map.array
    images = {"normal": scanned.normal.array, "truth": scanned.truth.array,
              "ct": patient.ct.array.astype(np.float16), "mr": patient.mr.array.astype(np.float16),
              "lesions": lesions.astype(np.uint8)}
    inside = np.argwhere(patient.ct.array > -500)
    return Case(job, scanned.preset, patient.pet.geometry.spacing[::-1], images,
                {f: v.array for f, v in scanned.low.items()}, (inside.min(0), inside.max(0) + 1),
                np.argwhere(lesions > 0))


class Stream:
    """Endless samples. The same settings give the same samples, whatever the number of workers.

    `patients` patients are kept, each gives `crops` crops before the next one takes its place. `workers` processes
    prepare what comes next; 0 prepares in this process. With `wait=False`, training never waits: until the next
    patient is ready the present ones go on giving crops, and the order then depends on the machine's speed.
    """

    def __init__(self, *, kinds: Sequence[str] = ("body",), tracers: Sequence[str] = ("FDG",),
                 fractions: Sequence[float] = (0.25, 0.1), presets: Sequence[str | None] = (None,),
                 spacing_mm: float | None = None, crop: int | Sequence[int] = 64, patients: int = 4, crops: int = 64,
                 first_seed: int = 0, seed: int = 0, workers: int = 1, wait: bool = True,
                 run: Run | None = None) -> None:
        self.crop = (int(crop),) * 3 if isinstance(crop, int) else tuple(int(c) for c in crop)
        if min(self.crop) < 1 or patients < 1 or crops < 1:
            raise OptionError(f"Crops of {self.crop}, {crops} from each of {counted(patients, 'patient')}",
                              "must all be at least 1", "Give larger numbers.")
        self.patients, self.crops, self.seed = patients, crops, seed
        self.workers, self.wait, self.run = workers, wait, run or Run()
        self.recipe, self._first = Recipe.of(kinds, tracers, fractions, presets, spacing_mm), first_seed

    def job(self, number: int) -> Job:
        """The patient that comes `number`-th: always one of the training split, whose seeds begin again at the end."""
        low, high = RANGES["train"]
        return self.recipe.job(number, low + (self._first + number) % (high - low))

    def __iter__(self) -> Iterator[Sample]:
        rng = np.random.default_rng([self.seed, self._first, 0x57E4])
        source = _Ahead(self) if self.workers > 0 else _Here(self)
        try:
            yield from self._samples(rng, source)
        finally:
            source.close()

    def _samples(self, rng: np.random.Generator, source: _Here | _Ahead) -> Iterator[Sample]:
        kept: deque[Case] = deque(maxlen=self.patients)
        while True:
            self.run.check()
            if not kept or self.wait or source.ready():
                kept.append(source.next())
            # A patient stays until `patients` others have come: for `crops` crops in all.
            for _ in range(max(self.crops // self.patients, 1)):
                yield self._sample(rng, kept[int(rng.integers(len(kept)))])

    def _sample(self, rng: np.random.Generator, case: Case) -> Sample:
        fraction = float(rng.choice(sorted(case.low)))
        shape = case.images["normal"].shape
        corner = _corner(rng, case, self.crop, shape)

        def cut(image: np.ndarray, outside: float = 0.0) -> np.ndarray:
            return _cut(image, corner, self.crop, outside)

        images = case.images
        return Sample(cut(case.low[fraction]), cut(images["normal"]), cut(images["truth"]), cut(images["ct"], -1000.0),
                      cut(images["mr"]), cut(images["lesions"]), fraction, case.spacing_mm, corner, shape,
                      case.job.kind, case.job.tracer, case.preset, case.job.seed)


class _Here:
    """Prepares each patient when it is asked for."""

    def __init__(self, stream: Stream) -> None:
        self.stream, self.number = stream, 0

    def ready(self) -> bool:
        return True

    def next(self) -> Case:
        self.number += 1
        return prepare(self.stream.job(self.number - 1), self.stream.run)

    def close(self) -> None:
        pass


class _Ahead:
    """Lets other processes prepare; hands the patients out in their order."""

    def __init__(self, stream: Stream) -> None:
        from .workers import Pool

        self.stream, self.number = stream, 0
        self.pool = Pool(stream.workers, stream.run)
        self.coming: deque[Any] = deque()
        self._fill()

    def _fill(self) -> None:
        while len(self.coming) <= self.stream.workers:
            self.coming.append(self.pool.submit(prepare, self.stream.job(self.number)))
            self.number += 1

    def ready(self) -> bool:
        return self.coming[0].done()

    def next(self) -> Case:
        case = self.pool.result(self.coming.popleft())
        self._fill()
        return case

    def close(self) -> None:
        self.pool.close()


def _corner(rng: np.random.Generator, case: Case, crop: tuple[int, ...], shape: tuple[int, ...]) -> tuple[int, ...]:
    """Around a lesion now and then, else anywhere in the body; inside the image where it is large enough."""
    if len(case.lesions) and rng.random() < LESION_SHARE:
        off_centre = rng.integers(-(min(crop) // 4), min(crop) // 4 + 1, 3)
        centre = case.lesions[int(rng.integers(len(case.lesions)))] + off_centre
    else:
        centre = rng.integers(case.body[0], case.body[1])
    return tuple(int(np.clip(c - n // 2, 0, max(s - n, 0))) for c, n, s in zip(centre, crop, shape))


def _cut(image: np.ndarray, corner: tuple[int, ...], crop: tuple[int, ...], outside: float) -> np.ndarray:
    """A copy of the crop as float32, filled up where the image is smaller than the crop."""
    part = image[tuple(slice(c, c + n) for c, n in zip(corner, crop))].astype(np.float32)
    missing = [(0, n - s) for n, s in zip(crop, part.shape)]
    return np.pad(part, missing, constant_values=outside) if any(after for _, after in missing) else part


def as_torch(stream: Stream) -> IterableDataset:
    """The stream as a torch IterableDataset of dictionaries. Use it with `num_workers=0`: it has workers of its own."""
    from torch import from_numpy
    from torch.utils.data import IterableDataset

    class Samples(IterableDataset):
        def __iter__(self) -> Iterator[dict[str, Any]]:
            for sample in stream:
                yield {name: from_numpy(value) if isinstance(value, np.ndarray) else value
                       for name, value in vars(sample).items()}

    return Samples()
