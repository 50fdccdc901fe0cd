"""A digital brain patient from a seed: who, how the MNI head is deformed, what fills it, what is wrong with it.

    person -> warp -> (slab by slab: tissues, nuclei, disease) -> voxels
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real

import numpy as np

from ...errors import GeometryError, OptionError
from ...progress import Run
from ...volume import ARBITRARY, DIGITAL_PATIENT, HU, SUVBW, Facts, Geometry, LabelMap, Volume
from ..deform import SmoothField
from ..patient import Lesion, Patient
from . import lesions as disease
from .anatomy import BRAINSTEM, NUCLEI
from .canvas import Canvas, box_mean, box_mode
from .names import NAMES
from .paint import Look, individual, paint_head, textures
from .person import Person, person
from .template import template
from .tissues import HALF_LIFE_S, TRACERS
from .uptake import palette
from .warp import CENTRE, Warp, warp

FIELD_MM = (256.0, 256.0, 180.0)
VERTEX_MNI = 101.0
SLAB_VOXELS = 2_500_000


@dataclass(frozen=True)
class Grid:
    """The output grid and the finer one it is averaged from, in the head's RAS millimetres."""

    geometry: Geometry
    axes: tuple[np.ndarray, np.ndarray, np.ndarray]
    """Fine axes x, y, z (mm, RAS), in the order of the array: x and y run downwards because LPS runs upwards."""
    factor: int
    step: float


def draw(seed: int, *, spacing_mm: float = 2.0, tracer: str = "FDG", lesions: int | None = None,
         field_mm: Sequence[float] = FIELD_MM, run: Run | None = None) -> Patient:
    """The brain patient of a seed. Anatomy, CT and MR do not depend on tracer or voxel size.

    `lesions` fixes the number of foci that PET shows. `field_mm` is (x, y, z); the vertex lies just below the top.
    """
    _check(spacing_mm, tracer, lesions, field_mm)
    run = run or Run(seed=seed)
    streams = [np.random.default_rng([seed, 0xB2A1, i]) for i in range(7)]
    who, look, bent, where = _prepare(streams, tracer, run)
    foci = disease.foci(streams[3], tracer, lesions, where, look.palette.level, who)
    spots = disease.spots(streams[4], where, who)
    grid = _grid(who, spacing_mm, tuple(float(f) for f in field_mm))
    with run.stage("draw", "Drawing the brain"):
        textures_ = (*(SmoothField(streams[2], knot, n) for knot, n in ((5.0, 60), (30.0, 12))),
                     SmoothField(streams[6], 4.0, 72))
        images = _paint(grid, look, bent, foci, spots, textures_, run)
    images["mr"], images["ct"] = _acquired(images["mr"], images["ct"], grid, streams[5])
    return _patient(seed, tracer, who, grid, images, foci, spots)


def _check(spacing_mm: float, tracer: str, lesions: int | None, field_mm: Sequence[float]) -> None:
    if tracer not in TRACERS:
        raise OptionError(f"Tracer '{tracer}'", f"is not one that a digital brain knows ({', '.join(TRACERS)})",
                          "Choose one of these.")
    check_voxel(spacing_mm)
    if lesions is not None and not 0 <= lesions <= 30:
        raise OptionError(f"lesions = {lesions}", "must lie between 0 and 30", "Leave it out for a random number.")
    if len(field_mm) != 3 or not all(10 <= f <= 600 for f in field_mm):
        raise GeometryError(f"Field of view {tuple(field_mm)} mm", "three lengths of 10 to 600 mm are needed",
                            f"The default is {FIELD_MM}.")


def check_voxel(spacing_mm: float) -> None:
    if not isinstance(spacing_mm, Real) or not 0.5 <= spacing_mm <= 8.0:
        raise GeometryError(f"Voxel size {spacing_mm} mm", "a digital brain is drawn in cubes of 0.5 to 8 mm",
                            "Choose one size in this range.")


def _prepare(streams: list[np.random.Generator], tracer: str, run: Run) -> tuple[Person, Look, Warp, disease.Sites]:
    with run.stage("anatomy", "Preparing the anatomy"):
        maps = template()
        who = person(streams[0])
        bent = warp(streams[0], who, maps)
        look = Look(who, palette(tracer, streams[1], streams[2], who.contrast_agent), maps,
                    individual(streams[1], NUCLEI), individual(streams[1], BRAINSTEM), textures(streams[1]),
                    bool(streams[1].random() < 0.6))
        return who, look, bent, disease.sites(maps, bent)


def _grid(who: Person, spacing: float, field: tuple[float, ...]) -> Grid:
    size = tuple(max(round(f / spacing), 1) for f in field)
    factor = min(max(round(spacing), 1), 4)
    top = (VERTEX_MNI - CENTRE[2]) * who.scale[2] + 10.0  # a finger's breadth of air above the head
    low = np.array((-size[0] * spacing / 2, -size[1] * spacing / 2, top - size[2] * spacing))
    fine = spacing / factor
    x, y, z = (l + fine * (np.arange(n * factor) + 0.5) for l, n in zip(low, size))
    origin = (low[0] + spacing / 2, low[1] + spacing / 2, low[2] + spacing / 2)
    return Grid(Geometry(size, (spacing,) * 3, origin), (-x, -y, z), factor, fine)


def _paint(grid: Grid, look: Look, bent: Warp, foci: tuple[disease.Focus, ...], spots: tuple[disease.Spot, ...],
           textures_: tuple[SmoothField, ...], run: Run) -> dict[str, np.ndarray]:
    """All images on the output grid, painted slab by slab so that memory stays small."""
    x, y, z = grid.axes
    patch, broad, mottle = textures_
    planes = max(SLAB_VOXELS // (len(x) * len(y)), 1)
    planes = max(planes // grid.factor, 1) * grid.factor
    parts: list[dict[str, np.ndarray]] = []
    for start in range(0, len(z), planes):
        axes = (x, y, z[start:start + planes])
        canvas = Canvas(axes, bent.on(axes), grid.step)
        paint_head(canvas, look)
        canvas.pet *= np.maximum(1 + np.float32(0.045) * patch.on_axes(*axes)
                                 + np.float32(0.045) * broad.on_axes(*axes), np.float32(0.4))
        canvas.mr *= 1 + np.float32(0.012) * mottle.on_axes(*axes)
        for spot in spots:
            spot.paint(canvas)
        for label, focus in enumerate(foci, 1):
            disease.paint_focus(canvas, focus, label)
        parts.append(_reduced(canvas, grid.factor))
        run.progress(min((start + planes) / len(z), 1.0))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _reduced(canvas: Canvas, factor: int) -> dict[str, np.ndarray]:
    images = {name: box_mean(getattr(canvas, name), factor) for name in ("pet", "ct", "mr")}
    return images | {name: box_mode(getattr(canvas, name), factor) for name in ("labels", "lesions")}


def _acquired(mr: np.ndarray, ct: np.ndarray, grid: Grid,
              rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """MR: coil sensitivity and Rician noise, white matter near 1000. CT: a little noise."""
    coarse = [axis.reshape(-1, grid.factor).mean(1) for axis in grid.axes]
    sensitivity = np.exp(np.float32(rng.uniform(0.06, 0.16)) * SmoothField(rng, 95.0, 8).on_axes(*coarse))
    sd = np.float32(rng.uniform(8, 22))
    real, imaginary = (sd * rng.standard_normal(mr.shape, dtype=np.float32) for _ in range(2))
    noisy = np.hypot(1000 * mr * sensitivity + real, imaginary)
    hu = ct + np.float32(rng.uniform(3, 7)) * rng.standard_normal(ct.shape, dtype=np.float32)
    return noisy, np.clip(hu, -1024, 3071)


def _patient(seed: int, tracer: str, who: Person, grid: Grid, images: dict[str, np.ndarray],
             foci: tuple[disease.Focus, ...], spots: tuple[disease.Spot, ...]) -> Patient:
    geometry = grid.geometry
    facts = Facts(tracer=tracer, half_life_s=HALF_LIFE_S[tracer], weight_kg=who.weight_kg, height_m=who.height_m,
                  sex=who.sex, age_years=who.age_years, simulated=DIGITAL_PATIENT)
    organs = LabelMap(images["labels"], geometry, NAMES)
    lesion_map, listed = _lesions(images, geometry, foci)
    details = {"age_years": who.age_years, "contrast_agent": who.contrast_agent,
               "ventricle_mm": round(who.ventricle_mm, 2), "cortex_mm": round(who.cortex_mm, 2),
               "lesion_kinds": [focus.kind for focus in foci], "mr_only": [_spot_json(s) for s in spots]}
    return Patient(seed, "brain", Volume(np.maximum(images["pet"], 0), geometry, SUVBW, facts),
                   Volume(images["ct"], geometry, HU), Volume(images["mr"], geometry, ARBITRARY), organs, lesion_map,
                   listed, tracer, who.sex, who.weight_kg, who.height_m, details)


def _lesions(images: dict[str, np.ndarray], geometry: Geometry,
             foci: tuple[disease.Focus, ...]) -> tuple[LabelMap, tuple[Lesion, ...]]:
    found = images["lesions"]
    result = []
    for label, focus in enumerate(foci, 1):
        mask = found == label
        if not mask.any():
            mask = _nearest_voxel(focus, geometry)
            found[mask] = label
        if not mask.any():
            continue
        values, organs = images["pet"][mask], images["labels"][mask]
        organ = _organ(organs)
        result.append(Lesion(label, organ, tuple(float(c) for c in focus.centre * (-1, -1, 1)),
                             round(focus.diameter_mm, 2), float(mask.sum() * geometry.voxel_ml), float(values.mean()),
                             float(values.max()), bool(focus.core)))
    names = {lesion.label: f"{foci[lesion.label - 1].kind}_{lesion.label}" for lesion in result}
    return LabelMap(found, geometry, names), tuple(result)


def _organ(labels: np.ndarray) -> str:
    """The commonest structure of a lesion; CSF only if there is nothing else."""
    fluid = [value for value, name in NAMES.items() if name in ("subarachnoid_space", "ventricle")]
    solid = labels[(labels > 0) & ~np.isin(labels, fluid)]
    return NAMES[int(np.bincount(solid if len(solid) else labels).argmax())] if labels.any() else "unlabelled"


def _nearest_voxel(focus: disease.Focus, geometry: Geometry) -> np.ndarray:
    """A lesion smaller than a voxel still has its voxel, if it lies inside the field of view."""
    place = (focus.centre * (-1, -1, 1) - geometry.origin) / geometry.spacing
    mask = np.zeros(geometry.shape, bool)
    index = tuple(round(float(i)) for i in place[::-1])
    if all(0 <= i < n for i, n in zip(index, geometry.shape)):
        mask[index] = True
    return mask


def _spot_json(spot: disease.Spot) -> dict[str, object]:
    return {"kind": spot.kind, "centre_mm": [round(float(c), 1) for c in spot.centre * (-1, -1, 1)],
            "diameter_mm": round(float(2 * np.prod(spot.radii) ** (1 / 3)), 1)}
