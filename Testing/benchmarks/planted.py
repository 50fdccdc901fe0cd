"""Sensitivity and false alarms of the hallucination check, on digital patients with planted inventions and deletions.

    python Testing/benchmarks/planted.py [--kind body|brain] [--patients 4] [--methods truth,gaussian,csrd]
                                         [--split test|validation] [--fraction 0.1] [--out FOLDER]

Patients are drawn from their seeds (test: from 900,000 on) and scanned twice, as they are and with spheres added to
their activity, in places of known tissue. `truth` is the reconstruction without noise; the others are methods of this
program. An invention: the output shows the spheres, the scan has none. A deletion: the scan has them, the output does
not. A planted sphere is found where z passes the threshold for 1 % within 6 mm of it, with the right sign; an alarm
is the same, of either sign, in a region of the size of a lesion without any change nearby. `certain` counts those that
remain after all places of the scan are allowed for. Intervals are Wilson's, 95 %.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

DIAMETER_MM = 10.0
CONTRASTS = {"body": (4.0, 6.0, 8.0), "brain": (1.5, 2.0, 4.0)}
APART_MM, FROM_LESIONS_MM, DEPTH_MM, FAR_MM, NEAR_MM = 44.0, 30.0, 10.0, 36.0, 6.0
MOST_SITES, SLICES_MM = 45, 440.0
TRUTH = "truth"


@dataclass(frozen=True)
class Planted:
    """One patient: scans without (0) and with (1) spheres, noisy and noise-free, and where the spheres are."""

    low: tuple[Any, Any]
    clean: tuple[Any, Any]
    sites: list[tuple[tuple[int, int, int], float]]
    lesions: np.ndarray


def planted(kind: str, seed: int, fraction: float) -> Planted:
    from petdiffusion.phantoms.scan import patient_of

    patient = _middle(patient_of(kind, seed, spacing_mm=4.0 if kind == "body" else 2.0), kind)
    sites = _sites(patient, CONTRASTS[kind], np.random.default_rng([seed, 77]))
    spheres = np.zeros(patient.pet.array.shape, np.float32)
    for voxel, contrast in sites:
        spheres += (contrast - 1) * _around(patient.pet, voxel) * _sphere(patient.pet.geometry, voxel)
    both = [patient.pet, patient.pet.with_array(patient.pet.array + spheres)]
    scans = [_scans(patient, activity, fraction, seed + i) for i, activity in enumerate(both)]
    lows, cleans = zip(*scans)
    return Planted(lows, cleans, sites, patient.lesion_map.array > 0)


def _middle(patient: Any, kind: str) -> Any:
    """Chest and abdomen of a body, the whole of a brain."""
    from dataclasses import replace

    from petdiffusion.volume import Geometry

    if kind == "brain":
        return patient
    liver = np.flatnonzero(patient.organs.mask("liver").any(axis=(1, 2)))
    count = round(SLICES_MM / patient.pet.geometry.spacing[2])
    start = max(int(liver.mean()) - count // 3, 0)
    old = patient.pet.geometry
    stop = min(start + count, old.shape[0])
    origin = tuple((old.affine @ [0, 0, start, 1])[:3])
    geometry = Geometry((*old.size[:2], stop - start), old.spacing, origin, old.direction)

    def cut(image: Any) -> Any:
        return replace(image, array=image.array[start:stop], geometry=geometry)

    names = ("pet", "ct", "mr", "organs", "lesion_map")
    return replace(patient, **{name: cut(getattr(patient, name)) for name in names})


def _sites(patient: Any, contrasts: tuple[float, ...], rng: np.random.Generator) -> list[tuple[Any, float]]:
    """Voxels of labelled tissue, apart from each other, from lesions and from the skin."""
    from scipy.ndimage import distance_transform_edt

    step = patient.pet.geometry.spacing[::-1]
    free = patient.organs.array > 0
    free &= distance_transform_edt(patient.pet.array > 0.05, step) > DEPTH_MM
    if patient.lesion_map.array.any():
        free &= distance_transform_edt(patient.lesion_map.array == 0, step) > FROM_LESIONS_MM
    edge = [int(np.ceil(24 / s)) for s in step]
    places = np.argwhere(free)
    rng.shuffle(places)
    kept: list[np.ndarray] = []
    for place in places:
        inside = all(e <= v < n - e for v, e, n in zip(place, edge, free.shape))
        if inside and all(np.linalg.norm((place - other) * step) > APART_MM for other in kept):
            kept.append(place)
        if len(kept) == MOST_SITES:
            break
    return [(tuple(int(v) for v in p), contrasts[i % len(contrasts)]) for i, p in enumerate(kept)]


def _around(pet: Any, voxel: tuple[int, int, int]) -> float:
    """Mean true activity within 10 mm."""
    from petdiffusion.trust.kernels import gaussian

    reach = [int(np.ceil(12 / s)) for s in pet.geometry.spacing[::-1]]
    box = tuple(slice(v - r, v + r + 1) for v, r in zip(voxel, reach))
    return float(gaussian(pet.array[box], 10.0, pet.geometry.spacing[::-1])[tuple(reach)])


def _sphere(geometry: Any, voxel: tuple[int, int, int], fine: int = 5) -> np.ndarray:
    """Voxels by the part of them that lies in the sphere."""
    squares = []
    for v, n, step in zip(voxel, geometry.shape, geometry.spacing[::-1]):
        within = (np.arange(fine) + 0.5) / fine - 0.5
        squares.append(((np.arange(n)[:, None] - v + within) * step) ** 2)
    reach = DIAMETER_MM / 2 + 2 * max(geometry.spacing)
    near = [np.flatnonzero(s.min(axis=1) <= reach**2) for s in squares]
    z, y, x = (s[i] for s, i in zip(squares, near))
    inside = z[:, None, None, :, None, None] + y[None, :, None, None, :, None] + x[None, None, :, None, None, :]
    image = np.zeros(geometry.shape, np.float32)
    image[np.ix_(*near)] = (inside <= (DIAMETER_MM / 2) ** 2).mean(axis=(3, 4, 5))
    return image


def _scans(patient: Any, activity: Any, fraction: float, seed: int) -> tuple[Any, Any]:
    """Noisy at a fraction of the dose, and what that scan would show without noise."""
    from dataclasses import replace

    import torch
    from petdiffusion.phantoms.scan import effective_seconds, facts_of, preset_of
    from petdiffusion.physics import attenuation, dose

    scanner = preset_of(patient, None)
    facts = facts_of(patient, scanner, patient.seed)
    given = {"mu": attenuation.mu_from_hu(torch.tensor(patient.ct.array)), "preset": scanner,
             "facts": replace(facts, frame_seconds=effective_seconds(facts))}  # fmt: skip
    image, spacing = torch.tensor(activity.array), activity.geometry.spacing[::-1]
    low = dose.acquire(image, spacing, fractions=(fraction,), nested=False, seed=seed, **given)[fraction]
    clean = dose.acquire(image, spacing, counts=1e14, seed=seed, **given)[1.0]
    return (replace(activity, array=low.numpy(), facts=replace(facts, dose_fraction=fraction)),
            replace(activity, array=clean.numpy(), facts=facts))  # fmt: skip


def judged(patient: Planted, method: str) -> Iterator[dict[str, Any]]:
    """A row for every planted sphere, and one for the regions without any.

    Invention: the scan of the patient without spheres, and what the method makes of it with the spheres put in.
    Deletion: the scan with them, and what the method makes of it with the spheres taken out.
    """
    blob = patient.clean[1].array - patient.clean[0].array
    for kind, which, sign in (("invention", 0, -1), ("deletion", 1, 1)):
        low = patient.low[which]
        body = _body(low)
        seen = _evidence(low, _output(patient, method, which, -sign * blob), body)
        for voxel, contrast in patient.sites:
            z = sign * _extreme(seen, voxel, sign)
            yield {"kind": kind, "contrast": contrast, "z": z, "found": z > seen.threshold,
                   "certain": z > 0 and float(seen.null.in_scan(z, seen.regions)[0]) < 0.05}  # fmt: skip
        yield {"kind": "none", **_alarms(_evidence(low, _output(patient, method, which, 0 * blob), body), patient)}


def _body(low: Any) -> np.ndarray:
    from petdiffusion.prepare.mask import body_mask

    return body_mask(low)


def _output(patient: Planted, method: str, which: int, change: np.ndarray) -> Any:
    from petdiffusion import registry
    from petdiffusion.prepare.case import build
    from petdiffusion.progress import Run

    if method == TRUTH:
        return patient.clean[which].with_array(patient.clean[which].array + change)
    card, low = registry.card(method), patient.low[which]
    case = build(low.with_array(np.maximum(low.array + change, 0)))
    few = {"samples": 0} if any(option.name == "samples" for option in card.options) else {}
    return card.load()(case, card.resolve(few), Run()).pet


def _evidence(low: Any, output: Any, body: np.ndarray) -> Any:
    from petdiffusion.trust.check import evidence

    seen = evidence(low, output, body)
    assert not isinstance(seen, str), seen
    return seen


def _best(seen: Any) -> np.ndarray:
    from petdiffusion.trust.spots import strongest

    return strongest(seen.maps)[0]


def _extreme(seen: Any, voxel: tuple[int, int, int], sign: int) -> float:
    """The farthest z of this sign around a place of the image."""
    grid = seen.scene.grid
    box = tuple(slice(max(round(m - NEAR_MM / s), 0), round(m + NEAR_MM / s) + 1)
                for m, s in zip(grid.place(voxel), grid.spacing))  # fmt: skip
    values = _best(seen)[box]
    return float(values.max() if sign > 0 else values.min())


def _alarms(seen: Any, patient: Planted) -> dict[str, Any]:
    """Regions beyond the threshold, of those in the body and away from spheres and lesions."""
    from scipy.ndimage import distance_transform_edt

    grid, side = seen.scene.grid, seen.null.region_voxels
    busy = grid.mean(patient.lesions.astype(np.float32)) > 0
    for voxel, _ in patient.sites:
        busy[tuple(min(round(v), n - 1) for v, n in zip(grid.place(voxel), busy.shape))] = True
    usable = seen.scene.body & (distance_transform_edt(~busy, grid.spacing) > FAR_MM)
    cut = tuple(slice(0, n // s * s) for n, s in zip(usable.shape, side))
    parts = [v for n, s in zip(usable.shape, side) for v in (n // s, s)]
    whole = usable[cut].reshape(parts).all(axis=(1, 3, 5))
    z = _best(seen)[cut].reshape(parts)
    high, low = (z.max(axis=(1, 3, 5))[whole], -z.min(axis=(1, 3, 5))[whole])
    return {"regions": int(whole.sum()), "lost": int((high > seen.threshold).sum()),
            "new": int((low > seen.threshold).sum()), "either": int((np.maximum(high, low) > seen.threshold).sum()),
            "threshold": seen.threshold}  # fmt: skip


def table(rows: list[dict[str, Any]], method: str) -> list[dict[str, Any]]:
    from petdiffusion.measure.statistics import wilson

    lines = []
    for kind in ("invention", "deletion"):
        spheres = [r for r in rows if r["kind"] == kind]
        contrasts = sorted({r["contrast"] for r in spheres})
        for name, chosen in [*((f"{c:g}", [r for r in spheres if r["contrast"] == c]) for c in contrasts),
                             ("all", spheres)]:  # fmt: skip
            found = sum(r["found"] for r in chosen)
            low, high = wilson(found / max(len(chosen), 1), len(chosen))
            lines.append({"output": method, "planted": kind, "contrast": name, "n": len(chosen),
                          "found %": 100 * found / max(len(chosen), 1), "low": 100 * low, "high": 100 * high,
                          "certain %": 100 * np.mean([r["certain"] for r in chosen]),
                          "median z": float(np.median([r["z"] for r in chosen]))})  # fmt: skip
    none = [r for r in rows if r["kind"] == "none"]
    total = sum(r["regions"] for r in none)
    for name in ("new", "lost", "either"):
        alarms = sum(r[name] for r in none)
        low, high = wilson(alarms / max(total, 1), total)
        lines.append({"output": method, "planted": f"nothing: alarms, {name}", "contrast": "", "n": total,
                      "found %": 100 * alarms / max(total, 1), "low": 100 * low, "high": 100 * high,
                      "certain %": None, "median z": None})  # fmt: skip
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", choices=tuple(CONTRASTS), default="body")
    parser.add_argument("--patients", type=int, default=4)
    parser.add_argument("--methods", default="truth,gaussian")
    parser.add_argument("--split", choices=("test", "validation"), default="test")
    parser.add_argument("--first", type=int, default=50, help="counts from the beginning of the split")
    parser.add_argument("--fraction", type=float, default=0.1)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()

    from petdiffusion.cli.common import table as shown
    from petdiffusion.phantoms.splits import seeds_of
    from petdiffusion.write.tables import write_csv

    methods = args.methods.split(",")
    rows: dict[str, list[dict[str, Any]]] = {method: [] for method in methods}
    for seed in seeds_of(args.split, args.patients, args.first):
        patient = planted(args.kind, seed, args.fraction)
        for method in methods:
            rows[method] += judged(patient, method)
            print(f"{args.kind} {seed}, {method}: {len(patient.sites)} places", flush=True)
    lines = [line for method in methods for line in table(rows[method], method)]
    print(shown(lines, limit=200))
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        write_csv(lines, args.out / f"planted-{args.kind}-{args.split}.csv")


if __name__ == "__main__":
    main()
