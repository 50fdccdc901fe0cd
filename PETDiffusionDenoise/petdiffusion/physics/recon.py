"""Reconstruction of sinograms [..., angles, radial] to slices [..., ny, nx]: FBP, ML-EM and OSEM, over many slices.

The iterative methods fit the model

    expected counts = factors * blur(A x) + background

where A are path lengths, `blur` is the scanner's point spread function, `factors` hold attenuation, normalisation and
counts per unit of activity, and `background` the expected randoms and scatter.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch

from ..errors import PhysicsError
from . import matrices
from .blur import Psf, SinogramBlur
from .geometry import ScanGeometry
from .projector import Projector, SparseProduct, backend_for, cached, from_columns, place, slices_at_once, to_columns

FILTERS = ("ramp", "shepp-logan", "cosine", "hamming", "hann")
KEPT_BYTES = 1 << 30
"""Sensitivity images up to this size are kept between iterations; larger ones are computed again."""
_NOTHING = 1e-30
"""Activities below this, and expected counts below its root times the mean, are zero."""
_UNSEEN = 1e-6
"""Share of the largest sensitivity below which a pixel counts as not seen."""

OnIteration = Callable[[int, torch.Tensor], None]
Tensors = "torch.Tensor | float | None"


def fbp(sinogram: torch.Tensor, geometry: ScanGeometry, *, window: str = "ramp", cutoff: float = 1.0,
        factors: Tensors = None, background: Tensors = None) -> torch.Tensor:
    """Filtered back-projection of line integrals; or of counts, given their factors and background.

    `window` tapers the ramp and `cutoff` is where it ends, as a fraction of the Nyquist frequency.
    """
    _check_sinogram(sinogram, geometry)
    values = sinogram if background is None else sinogram - background
    if factors is not None:
        factors = torch.as_tensor(factors, dtype=values.dtype, device=values.device)
        values = torch.where(factors > 0, values / factors.clamp(min=1e-30), 0.0)
    filtered = _ramp_filter(values.float(), geometry.radial_mm, window, cutoff)
    pair = _interpolation(geometry, sinogram.device)
    return from_columns(SparseProduct.apply(to_columns(filtered), *pair),
                        (*sinogram.shape[:-2], *geometry.image_shape))


def _interpolation(geometry: ScanGeometry, device: torch.device) -> tuple:
    backend = backend_for("auto", device)

    def build() -> tuple:
        matrix = matrices.interpolation(geometry)
        return tuple(place(m, device, torch.float32, backend) for m in (matrix, matrix.T.tocsr()))

    return cached(("interpolation", geometry, device, backend), build)


def _ramp_filter(profiles: torch.Tensor, radial_mm: float, window: str, cutoff: float) -> torch.Tensor:
    """Band-limited ramp of Kak and Slaney (1988, eq. 3.61), sampled in space so that its zero frequency is right."""
    if window not in FILTERS or not 0 < cutoff <= 1:
        raise PhysicsError(f"Filter window '{window}' with cutoff {cutoff}", "is unknown or out of range",
                           f"Use one of {', '.join(FILTERS)}, with a cutoff above 0 and at most 1.")
    size = 2 ** math.ceil(math.log2(2 * profiles.shape[-1]))
    n = torch.fft.fftfreq(size, 1 / size, dtype=torch.float64, device="cpu").round()
    kernel = torch.where(n.long() % 2 == 0, 0.0, -1 / (math.pi * torch.where(n == 0, 1.0, n) * radial_mm) ** 2)
    kernel[0] = 1 / (4 * radial_mm**2)
    response = torch.fft.rfft(kernel).real * radial_mm * _taper(window, torch.linspace(0, 1, size // 2 + 1) / cutoff)
    spectrum = torch.fft.rfft(profiles, size) * response.to(profiles)
    return torch.fft.irfft(spectrum, size)[..., : profiles.shape[-1]]


def _taper(window: str, f: torch.Tensor) -> torch.Tensor:
    """Window at frequencies given as fractions of the cutoff."""
    shape = {"ramp": torch.ones_like(f), "shepp-logan": torch.sinc(f / 2), "cosine": torch.cos(math.pi * f / 2),
             "hamming": 0.54 + 0.46 * torch.cos(math.pi * f), "hann": 0.5 + 0.5 * torch.cos(math.pi * f)}[window]
    return shape * (f <= 1)


def mlem(counts: torch.Tensor, geometry: ScanGeometry, *, iterations: int, **settings: object) -> torch.Tensor:
    """ML-EM: `osem` with all angles at once. Its likelihood never falls."""
    return osem(counts, geometry, iterations=iterations, subsets=1, **settings)


@torch.no_grad()
def osem(counts: torch.Tensor, geometry: ScanGeometry, *, iterations: int, subsets: int = 1, factors: Tensors = None,
         background: Tensors = None, psf: Psf | None = None, start: torch.Tensor | None = None,
         on_iteration: OnIteration | None = None, on_update: Callable[[float], None] | None = None) -> torch.Tensor:
    """Ordered-subsets EM. Slices are independent, except where `psf` blurs across them (counts [z, angles, radial]).

    `start` is the first image (default: uniform); `on_iteration(k, image)` sees the image after each pass over all
    subsets; `on_update(done)` is called with the finished share after every update, and may raise to stop.
    """
    _check_sinogram(counts, geometry)
    _check_iterations(iterations, subsets, geometry)
    problem = _Problem.of(counts, geometry, factors, background, start)
    across = psf is not None and psf.axial_fwhm_mm > 0
    if across and counts.dim() != 3:
        raise PhysicsError(f"Counts of shape {tuple(counts.shape)}", "are not one volume to blur across slices",
                           "Give counts [z, angles, radial] of one scan at a time.")
    coupled = across or on_iteration is not None
    width = problem.slices if coupled else problem.width
    done = []
    for first in range(0, problem.slices, width):
        block = problem.block(first, first + width)
        steps = _Progress(on_update, first / problem.slices, block.slices / problem.slices / (iterations * subsets))
        done.append(_fit(block, geometry, iterations, subsets, psf, _hook(on_iteration, counts, geometry), steps))
    return from_columns(torch.cat(done, 1), (*counts.shape[:-2], *geometry.image_shape))


def _hook(on_iteration: OnIteration | None, counts: torch.Tensor, geometry: ScanGeometry) -> OnIteration | None:
    if on_iteration is None:
        return None
    return lambda k, columns: on_iteration(k, from_columns(columns, (*counts.shape[:-2], *geometry.image_shape)))


@dataclass
class _Progress:
    report: Callable[[float], None] | None
    at: float
    step: float

    def __call__(self) -> None:
        self.at += self.step
        if self.report is not None:
            self.report(min(self.at, 1.0))


@dataclass(frozen=True)
class _Problem:
    """Counts with their factors and background as [angles, radial, slices]; the last two may hold one slice for all."""

    counts: torch.Tensor
    factors: torch.Tensor
    background: torch.Tensor
    start: torch.Tensor | None
    pixels: int

    @classmethod
    def of(cls, counts: torch.Tensor, geometry: ScanGeometry, factors: Tensors, background: Tensors,
           start: torch.Tensor | None) -> _Problem:
        counts = counts.float()
        if start is not None:
            _check_start(start, counts, geometry)
            start = to_columns(start.to(counts))
        return cls(_slices_last(counts, counts, "Counts"),
                   _slices_last(1.0 if factors is None else factors, counts, "Factors"),
                   _slices_last(0.0 if background is None else background, counts, "Background"), start,
                   math.prod(geometry.image_shape))

    @property
    def slices(self) -> int:
        return self.counts.shape[2]

    @property
    def width(self) -> int:
        """Slices that are worked on together."""
        return slices_at_once(self.pixels) if self.counts.device.type == "cpu" else max(1, self.slices)

    def keeps_sensitivity(self, subsets: int) -> bool:
        """Whether the sensitivity images of all subsets are small enough to be kept between iterations."""
        return self.factors.shape[-1] == 1 or 4 * self.pixels * subsets * self.slices <= KEPT_BYTES

    def block(self, first: int, last: int) -> _Problem:
        def part(values: torch.Tensor) -> torch.Tensor:
            return values[..., first:last] if values.shape[-1] > 1 or self.slices == 1 else values

        start = None if self.start is None else self.start[:, first:last]
        return _Problem(part(self.counts), part(self.factors), part(self.background), start, self.pixels)


def _slices_last(values: torch.Tensor | float, counts: torch.Tensor, what: str) -> torch.Tensor:
    """As [angles, radial, slices]; a number, or one sinogram for all slices, keeps a single slice."""
    values = torch.as_tensor(values, dtype=counts.dtype, device=counts.device)
    if not torch.isfinite(values).all() or (values < 0).any():
        raise PhysicsError(what, "hold negative, infinite or undefined values", "Give finite numbers from zero.")
    if values.dim() <= 2:
        return values.expand(counts.shape[-2:])[..., None]
    try:
        return values.expand(counts.shape).reshape(-1, *counts.shape[-2:]).permute(1, 2, 0)
    except RuntimeError:
        raise PhysicsError(f"{what} of shape {tuple(values.shape)}", f"do not fit counts {tuple(counts.shape)}",
                           "Give a number, one sinogram, or one for each slice.") from None


class _Subset:
    """One ordered subset: its counts, model and sensitivity, on columns of slices.

    Images come as blocks of slices that fit the CPU's cache; only sinograms of a subset, which are small, are joined.
    """

    def __init__(self, problem: _Problem, geometry: ScanGeometry, psf: Psf | None, i: int, n: int, keep: bool) -> None:
        columns = [v[i::n].reshape(-1, v.shape[-1]) for v in (problem.counts, problem.factors, problem.background)]
        self.counts, self.factors, self.background = (c.contiguous() for c in columns)
        self.projector = Projector(geometry.subset(i, n), problem.counts.device)
        self.blur = SinogramBlur(psf, geometry, problem.slices, self.counts)
        self.width = problem.width
        self._gains = list(self._inverse_sensitivities()) if keep else None

    def _inverse_sensitivities(self) -> Iterator[_Gain]:
        """1 / A' blur(factors), block by block."""
        for block in self._back(self.blur(self.factors)):
            seen = block > _UNSEEN * block.amax(0)
            yield _Gain(block.reciprocal_().masked_fill_(~seen, 0.0), None if seen.all() else ~seen)

    def _back(self, sinogram: torch.Tensor) -> Iterator[torch.Tensor]:
        return (self.projector.back_columns(part.contiguous()) for part in sinogram.split(self.width, 1))

    def expected(self, blocks: list[torch.Tensor]) -> torch.Tensor:
        lines = torch.cat([self.projector.forward_columns(block) for block in blocks], 1)
        return self.blur(lines).mul_(self.factors).add_(self.background)

    def update(self, blocks: list[torch.Tensor], floor: float) -> None:
        """image <- image / sensitivity * A' blur(factors * counts / expected), in place."""
        ratio = torch.div(self.counts, self.expected(blocks).clamp_(min=floor)).mul_(self.factors)
        for block, correction, gain in zip(blocks, self._back(self.blur(ratio)), self._gains_of_blocks()):
            correction.mul_(gain.factor)
            block.mul_(correction if gain.unseen is None else correction.masked_fill_(gain.unseen, 1.0))

    def unseen(self) -> list[torch.Tensor | None]:
        """Pixels that no ray of the subset meets, block by block."""
        return [gain.unseen for gain, _ in zip(self._gains_of_blocks(), self.counts.split(self.width, 1))]

    def _gains_of_blocks(self) -> Iterator[_Gain]:
        gains = self._inverse_sensitivities() if self._gains is None else self._gains
        return itertools.cycle(gains) if self.factors.shape[1] == 1 else gains


class _Gain(NamedTuple):
    """Inverse sensitivity of a block; pixels that no ray of the subset meets are left as they are."""

    factor: torch.Tensor
    unseen: torch.Tensor | None


def _fit(problem: _Problem, geometry: ScanGeometry, iterations: int, subsets: int, psf: Psf | None,
         on_iteration: OnIteration | None, progress: _Progress) -> torch.Tensor:
    parts = [_Subset(problem, geometry, psf, i, subsets, problem.keeps_sensitivity(subsets)) for i in range(subsets)]
    image = _uniform(problem, parts) if problem.start is None else problem.start
    blocks = [block.clone(memory_format=torch.contiguous_format) for block in image.split(problem.width, 1)]
    for block, *unseen in zip(blocks, *(part.unseen() for part in parts)):
        if all(mask is not None for mask in unseen):
            block.masked_fill_(torch.stack(unseen).all(0), 0.0)
    floor = _NOTHING**0.5 * max(float(problem.counts.mean()), _NOTHING**0.5)
    for k in range(iterations):
        for part in parts:
            part.update(blocks, floor)
            progress()
        for block in blocks:
            torch.nn.functional.threshold_(block, _NOTHING, 0.0)
        if on_iteration is not None:
            on_iteration(k + 1, torch.cat(blocks, 1))
    return torch.cat(blocks, 1)


def _uniform(problem: _Problem, parts: list[_Subset]) -> torch.Tensor:
    """Each slice starts uniform, at the activity that explains its counts; a slice without counts starts at zero."""
    pixels = parts[0].projector.shapes[0]
    one = torch.ones(math.prod(pixels), 1, device=problem.counts.device)
    path = torch.stack([(p.projector.forward_columns(one) * p.factors).sum(0) for p in parts]).sum(0)
    net = (problem.counts.sum((0, 1)) - problem.background.sum((0, 1)))
    level = torch.maximum(net, 0.01 * problem.counts.sum((0, 1))) / path.clamp(min=1e-30)
    return one * level


def _check_sinogram(sinogram: torch.Tensor, geometry: ScanGeometry) -> None:
    if tuple(sinogram.shape[-2:]) != geometry.sinogram_shape:
        raise PhysicsError(f"Sinogram of shape {tuple(sinogram.shape)}",
                           f"must end in {geometry.sinogram_shape} (angles, radial)", "Check the scan geometry.")
    if not torch.isfinite(sinogram).all():
        raise PhysicsError("Sinogram", "holds infinite or undefined values", "Check how it was made.")


def _check_iterations(iterations: int, subsets: int, geometry: ScanGeometry) -> None:
    if not isinstance(iterations, int) or iterations < 1:
        raise PhysicsError(f"{iterations} iterations", "is not a whole number of at least 1", "Give for instance 3.")
    if not isinstance(subsets, int) or not 1 <= subsets <= geometry.n_angles:
        raise PhysicsError(f"{subsets} subsets", f"cannot be made of {geometry.n_angles} angles",
                           f"Choose a whole number from 1 to {geometry.n_angles}.")


def _check_start(start: torch.Tensor, counts: torch.Tensor, geometry: ScanGeometry) -> None:
    wanted = (*counts.shape[:-2], *geometry.image_shape)
    if tuple(start.shape) != wanted or not torch.isfinite(start).all() or (start < 0).any():
        raise PhysicsError(f"Start image of shape {tuple(start.shape)}",
                           f"must have shape {wanted} and finite values from zero", "Leave it out, or clip it at zero.")
