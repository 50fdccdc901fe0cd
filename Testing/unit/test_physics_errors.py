"""What cannot be simulated is refused with the value, the reason and what to do."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from petdiffusion.errors import PhysicsError, ResourceError
from petdiffusion.physics import attenuation, blur, dose, matrices, noise, poisson, presets, recon, scan
from petdiffusion.physics.geometry import ScanGeometry
from petdiffusion.physics.projector import Projector
from petdiffusion.progress import Run
from petdiffusion.volume import HU, Geometry, Volume

GEOMETRY = ScanGeometry(12, 2.0, 18, 8)
SINOGRAM = torch.ones(8, 18)
GRID = Geometry((12, 12, 2), (2.0, 2.0, 3.0))
ACTIVITY = torch.ones(2, 12, 12)
SPACING = (3.0, 2.0, 2.0)
NAN = float("nan")


def acquire(activity=ACTIVITY, spacing=SPACING, **settings):
    return dose.acquire(activity, spacing, **{"counts": 1e4, **settings})


def pet(**changes) -> Volume:
    return Volume(np.ones((2, 12, 12), np.float32), GRID, **changes)


def with_value(value: float) -> torch.Tensor:
    changed = ACTIVITY.clone()
    changed[1, 3, 4] = value
    return changed


WRONG = {
    "no pixels": lambda: ScanGeometry(0, 2.0),
    "half a pixel": lambda: ScanGeometry(12.5, 2.0),
    "three sizes": lambda: ScanGeometry((2, 3, 4), 2.0),
    "size in words": lambda: ScanGeometry("large", 2.0),
    "negative pixel size": lambda: ScanGeometry(12, -2.0),
    "undefined pixel size": lambda: ScanGeometry(12, (2.0, NAN)),
    "no bins": lambda: ScanGeometry(12, 2.0, n_radial=0),
    "no angles": lambda: ScanGeometry(12, 2.0, n_angles=0),
    "zero bin width": lambda: ScanGeometry(12, 2.0, radial_mm=0.0),
    "no rays": lambda: ScanGeometry(12, 2.0, rays_per_bin=0),
    "infinite angle": lambda: ScanGeometry(12, 2.0, first_angle_deg=float("inf")),
    "too many subsets": lambda: GEOMETRY.subset(0, 9),
    "subset out of range": lambda: GEOMETRY.subset(3, 3),
    "matrix too large": lambda: matrices.path_lengths(ScanGeometry(5000, 1.0, 5000, 2000)),
    "slice of another shape": lambda: Projector(GEOMETRY).forward(torch.ones(13, 12)),
    "sinogram of another shape": lambda: Projector(GEOMETRY).back(torch.ones(12, 12)),
    "unknown backend": lambda: Projector(GEOMETRY, backend="astra"),
    "osem of another shape": lambda: recon.osem(torch.ones(8, 17), GEOMETRY, iterations=1),
    "undefined counts": lambda: recon.osem(SINOGRAM * NAN, GEOMETRY, iterations=1),
    "negative counts": lambda: recon.osem(-SINOGRAM, GEOMETRY, iterations=1),
    "negative factors": lambda: recon.osem(SINOGRAM, GEOMETRY, iterations=1, factors=-1.0),
    "negative background": lambda: recon.osem(SINOGRAM, GEOMETRY, iterations=1, background=-SINOGRAM),
    "factors of another shape": lambda: recon.osem(SINOGRAM, GEOMETRY, iterations=1, factors=torch.ones(3, 8, 18)),
    "no iterations": lambda: recon.mlem(SINOGRAM, GEOMETRY, iterations=0),
    "part of an iteration": lambda: recon.mlem(SINOGRAM, GEOMETRY, iterations=1.5),
    "more subsets than angles": lambda: recon.osem(SINOGRAM, GEOMETRY, iterations=1, subsets=9),
    "negative start": lambda: recon.mlem(SINOGRAM, GEOMETRY, iterations=1, start=-torch.ones(12, 12)),
    "start of another shape": lambda: recon.mlem(SINOGRAM, GEOMETRY, iterations=1, start=torch.ones(12, 13)),
    "two volumes blurred together": lambda: recon.osem(torch.ones(2, 2, 8, 18), GEOMETRY, iterations=1,
                                                       psf=blur.Psf(4.0, 4.0, 3.0)),
    "unknown window": lambda: recon.fbp(SINOGRAM, GEOMETRY, window="hanning"),
    "cutoff above one": lambda: recon.fbp(SINOGRAM, GEOMETRY, cutoff=1.5),
    "negative width": lambda: blur.gaussian_filter(ACTIVITY, -1.0, SPACING),
    "widths and spacing apart": lambda: blur.gaussian_filter(ACTIVITY, (1.0, 2.0), SPACING),
    "undefined psf": lambda: blur.Psf(NAN),
    "no distance of slices": lambda: blur.Psf(1.0, 1.0, 0.0),
    "negative expectation": lambda: poisson.sample_counts(-SINOGRAM, poisson.generator(0)),
    "undefined expectation": lambda: poisson.sample_counts(SINOGRAM * NAN, poisson.generator(0)),
    "negative seed": lambda: poisson.generator(-1),
    "thinning to nothing": lambda: poisson.thin(SINOGRAM, 0.0, poisson.generator(0)),
    "thinning to more": lambda: poisson.thin(SINOGRAM, 1.1, poisson.generator(0)),
    "no counts": lambda: poisson.scale_to_counts(SINOGRAM, 0),
    "undefined number of counts": lambda: poisson.scale_to_counts(SINOGRAM, NAN),
    "counts of an empty sinogram": lambda: poisson.scale_to_counts(SINOGRAM * 0, 100),
    "negative randoms": lambda: poisson.Background(randoms=-0.1),
    "undefined scatter": lambda: poisson.Background(scatter=NAN),
    "unknown voltage": lambda: attenuation.mu_from_hu(ACTIVITY, kvp=90),
    "undefined CT": lambda: attenuation.mu_from_hu(ACTIVITY * NAN),
    "negative attenuation": lambda: attenuation.attenuation_factors(-ACTIVITY, Projector(GEOMETRY)),
    "CT not in HU": lambda: attenuation.mu_of_ct(pet(), GRID),
    "unknown scanner": lambda: presets.scanner("Vison"),
    "flat activity": lambda: acquire(torch.ones(12, 12)),
    "negative activity": lambda: acquire(with_value(-0.1)),
    "undefined activity": lambda: acquire(with_value(NAN)),
    "infinite activity": lambda: acquire(with_value(float("inf"))),
    "no activity": lambda: acquire(ACTIVITY * 0),
    "two spacings": lambda: acquire(spacing=(2.0, 2.0)),
    "zero spacing": lambda: acquire(spacing=(0.0, 2.0, 2.0)),
    "no counts asked for": lambda: acquire(counts=0),
    "negative counts asked for": lambda: acquire(counts=-1e5),
    "fraction of zero": lambda: acquire(fractions=(1.0, 0.0)),
    "fraction above one": lambda: acquire(fractions=(2.0,)),
    "undefined fraction": lambda: acquire(fractions=(NAN,)),
    "attenuation on another grid": lambda: acquire(mu=torch.zeros(2, 12, 13)),
    "counts of arbitrary units": lambda: acquire(counts=None, unit="a.u."),
    "reduction to nothing": lambda: dose.reduce_dose(pet(), 0.0),
    "reduction to more": lambda: dose.reduce_dose(pet(), 1.01),
    "reduction to a word": lambda: dose.reduce_dose(pet(), "half"),
    "reduction of undefined values": lambda: dose.reduce_dose(pet().with_array(np.full((2, 12, 12), NAN)), 0.5),
    "reduction of an empty image": lambda: dose.reduce_dose(pet().with_array(np.zeros((2, 12, 12))), 0.5),
    "arbitrary units without noise": lambda: dose.reduce_dose(pet(), 0.5),
    "reduction of a CT": lambda: dose.reduce_dose(pet(unit=HU), 0.5),
    "noise of negative counts": lambda: noise.insert_noise(ACTIVITY, GEOMETRY, -5.0, poisson.generator(0)),
    "noise on undefined slices": lambda: noise.insert_noise(with_value(NAN), GEOMETRY, 1e4, poisson.generator(0)),
    "noise on slices of another shape": lambda: noise.insert_noise(torch.ones(5, 5), GEOMETRY, 1e4,
                                                                   poisson.generator(0)),
    "reduction with a CT that is none": lambda: dose.reduce_dose(pet(), 0.5, ct=pet()),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_named_error_says_what_why_and_what_to_do(name) -> None:
    with pytest.raises(PhysicsError) as caught:
        WRONG[name]()
    assert caught.value.what and caught.value.why and caught.value.remedy


def test_the_nearest_scanner_is_named() -> None:
    with pytest.raises(PhysicsError, match="Did you mean 'Vision'"):
        presets.scanner("Vison")


def test_a_scan_that_does_not_fit_into_memory_is_refused_before_it_starts(monkeypatch) -> None:
    class Small:
        available = 1 << 20

    monkeypatch.setattr("psutil.virtual_memory", Small)
    with pytest.raises(ResourceError, match="GiB are free"):
        scan.Scan.of(torch.ones(30, 64, 64), SPACING, presets.scanner("mCT"))


def test_cancelling_stops_a_simulation() -> None:
    from petdiffusion.errors import Cancelled

    run = Run()
    run.report = lambda event: run.cancelled.set() if event["event"] == "progress" else None
    with pytest.raises(Cancelled):
        acquire(run=run)


def test_a_ct_of_the_same_grid_is_taken_as_it_is() -> None:
    ct = pet(unit=HU).with_array(np.full((2, 12, 12), 0.0))
    assert attenuation.mu_of_ct(ct, GRID).numpy() == pytest.approx(0.096)
