"""Scans of known activity at several doses, and dose reduction of real images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from ..errors import PhysicsError
from ..prepare.case import check_cover, tell_other_patient
from ..prepare.mask import body_mask
from ..prepare.upright import Turn
from ..progress import Run
from ..volume import HU, REDUCED_DOSE, SUVBW, Facts, Volume
from . import counts as counting
from .attenuation import body_mu, mu_of_ct
from .poisson import check_fraction, generator, sample_counts, scale_to_counts, thin
from .presets import Scanner, scanner_called
from .presets import scanner as scanner_named
from .scan import Scan

_THIN, _FRESH, _NOISE, _MEASURE = 1, 2, 3, 4
"""Streams of random numbers that one seed gives."""
_REFERENCE_COUNTS = 2e5
"""Counts in a slice of the scan whose noise an image's own is compared with."""
_MEASURED_SLICES = 40
_NOISELESS = 1e-6


def acquire(activity: torch.Tensor, spacing_mm: Sequence[float], *, mu: torch.Tensor | None = None,
            preset: str | Scanner = "mCT", counts: float | None = None, per_slice: bool = False,
            fractions: Sequence[float] = (1.0,), nested: bool = True, seed: int = 0, unit: str = SUVBW,
            facts: Facts | None = None, run: Run | None = None) -> dict[float, torch.Tensor]:
    """Scans a known activity map [z, y, x] once per dose fraction; returns images in the activity's unit.

    The map is blurred by the scanner, projected, attenuated by `mu` (1/cm), given randoms and scatter, counted, and
    reconstructed as the scanner does. `counts` are the expected trues of the full dose, as the scanner records them, in
    all or in each slice; by default those of the scanner's usual dose and time. With `nested`, low-count data are a
    random part of the same full-count events, as list-mode data are thinned; otherwise every fraction is a scan of its
    own. An image depends on the seed and its own fraction only, not on the other fractions asked for.
    """
    run = run or Run()
    for fraction in fractions:
        check_fraction(fraction)
    scanner = scanner_named(preset)
    with run.stage("scan", f"Simulating a scan on the {scanner.title}"):
        scan = Scan.of(activity.float(), spacing_mm, scanner, mu)
        scale = _scale(scan, counts, per_slice, mu if mu is not None else activity > 0, unit, facts or Facts())
        full = sample_counts(scan.expected(scale), generator(seed, 0)) if nested else None
    images = {}
    for fraction in fractions:
        with run.stage("reconstruct", f"Reconstructing the scan at {100 * fraction:g} % of the dose"):
            data = (thin(full, fraction, generator(seed, _THIN, fraction)) if nested
                    else sample_counts(scan.expected(scale * fraction), generator(seed, _FRESH, fraction)))
            images[fraction] = scan.reconstruct(data, scale * fraction, run.progress)
    return images


def _scale(scan: Scan, counts: float | None, per_slice: bool, body: torch.Tensor, unit: str,
           facts: Facts) -> torch.Tensor:
    """Counts for one unit of `scan.trues`, as a scan without time of flight would need them (see `_worth`)."""
    if counts is not None:
        return scale_to_counts(scan.trues, counts, per_slice=per_slice) * _worth(scan, body)
    scanner = scan.scanner
    bqml, _ = counting.bqml_per_unit(unit, facts, scanner)
    if bqml is None:
        raise PhysicsError(f"Activity in '{unit}'", "does not tell how many counts the scan has", "Give `counts`.")
    seconds = facts.frame_seconds or scanner.seconds
    return torch.tensor(bqml * counting.positrons(facts) * counting.counts_per_projection(
        scan.geometry, scan.spacing_mm, scanner, seconds, counting.diameter_of(body, scan.spacing_mm)))


def _worth(scan: Scan, body: torch.Tensor) -> float:
    """Counts without time of flight, which is not simulated, that one recorded count stands for."""
    return scan.scanner.tof_gain(counting.diameter_of(body, scan.spacing_mm))


def reduce_dose(volume: Volume, fraction: float, *, seed: int = 0, preset: str | Scanner | None = None,
                counts: float | None = None, ct: Volume | None = None, run: Run | None = None) -> Volume:
    """The image that the same scan would have given at a fraction of its dose.

    A reconstruction's noise variance goes as 1 / dose, so the low-dose image needs (1 / fraction - 1) times the
    variance that the image already has, on top of it, and independent of it. That is the noise of a scan at
    fraction / (1 - fraction) of the dose: such a scan of the image is simulated, and its reconstruction minus that of
    the same data without noise is added. The mean image, with its resolution, is kept; noise is that of the scanner.

    `counts` are the true counts of the original scan in this image, as the scanner recorded them. Unknown, they are
    estimated from dose, weight and time, else from the noise of the image, else from the scanner's usual dose; the
    run says which. `preset` is by default the scanner that the image's facts name, else mCT. `ct` (HU) gives the
    attenuation; where it does not reach, the body that the PET shows attenuates as water. The scanner's axis is the
    patient's, however the image is stored.
    """
    run = run or Run()
    check_fraction(fraction)
    reduced = volume.with_facts(dose_fraction=fraction * (volume.facts.dose_fraction or 1.0))
    if fraction == 1:
        return reduced
    reduced = reduced.with_facts(simulated=reduced.facts.simulated or REDUCED_DOSE)
    turn = Turn.of(volume.geometry)
    job = _Reduction.of(turn.image(volume), preset, ct, run)
    with run.stage("counts", "Finding the counts of the scan"):
        scale = job.scale(counts, seed)
    with run.stage("noise", f"Simulating {100 * fraction:g} % of the dose on the {job.scan.scanner.title}"):
        noise = job.noise(scale * (fraction / (1 - fraction)), generator(seed, _NOISE, fraction), run.progress)
    return reduced.with_array(turn.back(_added(job.image, noise).cpu().numpy()))


def _added(image: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
    """Image with noise; one without negative values stays so, as OSEM would have it."""
    noisy = image + noise
    return noisy if image.min() < 0 else noisy.clamp_(min=0)


@dataclass(frozen=True)
class _Reduction:
    """A real image taken as the expected activity of a scan."""

    volume: Volume
    image: torch.Tensor
    mu: torch.Tensor
    scan: Scan
    run: Run

    @classmethod
    def of(cls, volume: Volume, preset: str | Scanner | None, ct: Volume | None, run: Run) -> _Reduction:
        if volume.unit == HU:
            raise PhysicsError("Image in HU", "is a CT, which has no dose of a tracer", "Give the PET.")
        image = torch.tensor(volume.array, device=_device(run))
        if not torch.isfinite(image).all():
            raise PhysicsError("Image", "holds infinite or undefined values", "Replace them before reducing the dose.")
        spacing_mm = volume.geometry.spacing[::-1]
        if ct is None:
            run.warn("No CT was given: attenuation is that of water within the outline of the PET.")
            mu = body_mu(image, spacing_mm)
        else:
            mu = _mu_of(ct, volume, image, run)
        scanner = _scanner_of(volume.facts, preset, run)
        return cls(volume, image, mu, Scan.of(image.clamp(min=0), spacing_mm, scanner, mu, blurred=scanner.models_psf),
                   run)

    def noise(self, scale: torch.Tensor, generator: torch.Generator, on_update: object = None) -> torch.Tensor:
        """Reconstructed noise of a scan at this scale: noisy minus noise-free, so that its mean is zero."""
        return _noise(self.scan, scale, generator, on_update)

    def scale(self, counts: float | None, seed: int) -> torch.Tensor:
        if counts is not None:
            return _scale(self.scan, counts, False, self.mu, self.volume.unit, self.volume.facts)
        facts, unit, scanner = self.volume.facts, self.volume.unit, self.scan.scanner
        known = unit != SUVBW or (facts.injected_dose_bq and facts.weight_kg)
        bqml, source = counting.bqml_per_unit(unit, facts, scanner)
        if bqml is not None and known and facts.frame_seconds:
            return self._told(self._part(facts.simulated) * _scale(self.scan, None, False, self.mu, unit, facts),
                              f"from {source}, and {facts.frame_seconds:g} s a bed position")
        try:
            return self._told(self._scale_of_noise(seed), "from the noise of the image")
        except PhysicsError:
            if bqml is None:
                raise
        usual = _scale(self.scan, None, False, self.mu, unit, facts)
        return self._told(self._part(facts.simulated or not known) * usual,
                          f"from {source} and the usual duration of a scan")

    def _part(self, reduced: object) -> float:
        """Of the counts that dose and duration tell: a scan whose dose was reduced afterwards keeps those of the one
        before, and a usual dose is the normal one. A scan that was injected less says so by its dose."""
        return (self.volume.facts.dose_fraction or 1.0) if reduced else 1.0

    def _told(self, scale: torch.Tensor, how: str) -> torch.Tensor:
        total = float(self.scan.trues.double().sum()) * float(scale) / _worth(self.scan, self.mu)
        self.run.warn(f"The scan's true counts are not known; {total:.3g} were estimated {how}. "
                      "Give the counts to replace this.")
        return scale

    def _scale_of_noise(self, seed: int) -> torch.Tensor:
        """Compares the image's noise with that of a simulated scan of known counts, in its fullest slices."""
        n = min(_MEASURED_SLICES, self.image.shape[0])
        weight = self.image.clamp(min=0).sum((1, 2)).cumsum(0)
        middle = int((weight < weight[-1] / 2).sum())
        first = min(max(middle - n // 2, 0), self.image.shape[0] - n)
        part, spacing_mm = self.image[first : first + n], self.scan.spacing_mm
        scan = Scan.of(part.clamp(min=0), spacing_mm, self.scan.scanner, self.mu[first : first + n],
                       blurred=self.scan.scanner.models_psf)
        scale = scale_to_counts(scan.trues, _REFERENCE_COUNTS * n)
        one, other = (_noise(scan, scale, generator(seed, _MEASURE, k), lambda _: self.run.check()) for k in range(2))
        ratio = counting.noise_ratio(part, one, other, spacing_mm)
        if ratio < _NOISELESS:
            raise PhysicsError("Noise of the image", "is too small to be measured", "Give the counts of the scan.")
        return scale / ratio


def _noise(scan: Scan, scale: torch.Tensor, generator: torch.Generator, on_update: object = None) -> torch.Tensor:
    def half(offset: float) -> object:
        return None if on_update is None else lambda share: on_update(offset + share / 2)

    expected = scan.expected(scale)
    noisy = scan.reconstruct(sample_counts(expected, generator), scale, half(0.0))
    return noisy.sub_(scan.reconstruct(expected, scale, half(0.5)))


def _mu_of(ct: Volume, volume: Volume, image: torch.Tensor, run: Run) -> torch.Tensor:
    """By the CT, which has to show a part of the body; as water where it doesn't."""
    tell_other_patient(ct, "CT", volume, run)
    if ct.geometry.close_to(volume.geometry):
        return mu_of_ct(ct, volume.geometry).to(image)
    check_cover(ct.geometry, "CT", volume, body_mask(volume), run,
                beyond="beyond it attenuation is that of water within the outline of the PET")
    water = body_mu(image, volume.geometry.spacing[::-1])
    return mu_of_ct(ct, volume.geometry, beyond=water.cpu()).to(image)


def _scanner_of(facts: Facts, preset: str | Scanner | None, run: Run) -> Scanner:
    if preset is not None:
        return scanner_named(preset)
    found = scanner_called(facts.scanner)
    if found is None:
        found = scanner_named("mCT")
        run.warn(f"The scanner is not known; noise is that of a {found.title}.")
    return found


def _device(run: Run) -> torch.device:
    if run.device != "auto":
        return torch.device(run.device)
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
