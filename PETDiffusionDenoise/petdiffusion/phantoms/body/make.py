"""From a seed to a patient: a coarse draft decides weight, lesions and activity, then the grid asked for is painted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from numbers import Integral, Real
from typing import Any

import numpy as np

from ...errors import OptionError
from ...progress import Run
from ...volume import ARBITRARY, DIGITAL_PATIENT, HU, SUVBW, Facts, LabelMap, Volume
from ..deform import SmoothField
from ..labels import TOTAL
from ..lesions import MAX_LESIONS, Painted, Plan, draw_count, paint_lesions, plan_lesions
from ..patient import Patient
from ..uptake import Uptake
from .assemble import Body, paint_body
from .canvas import Canvas
from .grid import Grid, Pose
from .materials import Looks
from .person import Person, draw_person
from .sites import Sites

DRAFT_MM = 8.0
SPACING_MM = (1.0, 12.0)
FIELDS = {"body": (-235.0, None), "trunk": (-95.0, 590.0)}
LEGS_SHARE, LEGS_SUV = 0.222, 0.5
"""Share of the body's mass below mid-thigh (Dempster: half a thigh, shank and foot of both legs), and its SUV."""
FOREARMS_SHARE = 0.026
"""Share of the mass of raised forearms and hands that reaches out of the field."""
TOTAL_SUV = (0.72, 1.02)
"""Bounds of the mean SUV over the whole body; it is 1 less what was voided before the scan."""


def draw_patient(
    seed: int,
    *,
    spacing_mm,
    tracer: str,
    arms: str | None,
    sex: str | None,
    lesions: int | None,
    field: str,
    run: Run | None,
) -> Patient:
    run = run or Run()
    spacing = _checked(seed, spacing_mm, arms, sex, lesions, field)
    person = draw_person(int(seed), sex, arms)
    uptake = Uptake(tracer, person.rng("uptake"), person.bmi, person.age, person.male)
    body, pose = Body.of(person), Pose(person)
    low, high = _bounds(body)
    with run.stage("draft", "Planning the patient"):
        draft = Canvas(Grid(pose, low, high, (DRAFT_MM,) * 3), person, Looks(person), uptake, fine=False)
        skin = paint_body(draft, body, run)
        weight = _weight(draft, person)
        low, high = _field(draft, skin, field, low, high)
        pattern, plans = _plan(draft, skin, (low[2] + 35, high[2] - 35), lesions)
        factor = _balance(draft, plans, weight)
    with run.stage("draw", "Drawing the patient"):
        canvas = Canvas(Grid(pose, low, high, spacing), person, Looks(person), uptake)
        paint_body(canvas, body, run)
        _bias_field(canvas)
        images = Painted(canvas.grid.geometry, canvas.pet, canvas.ct, canvas.mr, np.zeros_like(canvas.label))
        images.pet *= np.float32(factor)
        truths = paint_lesions(images, tuple(plans))
    details = (
        person.to_json() | uptake.to_json() | {"disease": pattern if truths else "none", "activity_factor": factor}
    )
    return _patient(canvas, images, truths, person, tracer, weight, details)


def _checked(seed, spacing_mm, arms, sex, lesions, field) -> tuple[float, float, float]:
    """The voxel size as three numbers, after every option was found usable."""
    if not isinstance(seed, Integral) or isinstance(seed, bool) or seed < 0:
        raise OptionError(f"Seed {seed!r}", "is not a whole number of zero or more", "Give one such as 1.")
    if lesions is not None and (not isinstance(lesions, Integral) or not 0 <= lesions <= MAX_LESIONS):
        raise OptionError(f"{lesions!r} lesions", f"is not a whole number from 0 to {MAX_LESIONS}", "Ask for fewer.")
    for name, value, allowed in (
        ("Arms", arms, (None, "up", "down")),
        ("Sex", sex, (None, "F", "M")),
        ("Field", field, (*FIELDS,)),
    ):
        if value not in allowed:
            known = ", ".join(str(a) for a in allowed if a)
            raise OptionError(f"{name} {value!r}", f"is not one of {known}", "Choose one of these.")
    return voxel_of(spacing_mm)


def voxel_of(spacing_mm: float | Sequence[float]) -> tuple[float, float, float]:
    """Three numbers that a body can be drawn with."""
    spacing = (spacing_mm,) * 3 if isinstance(spacing_mm, Real) else spacing_mm
    if not isinstance(spacing, tuple | list) or len(spacing) != 3 or not all(_usable(s) for s in spacing):
        why = f"is not one or three numbers from {SPACING_MM[0]:g} to {SPACING_MM[1]:g}"
        raise OptionError(f"Voxel size {spacing_mm!r} mm", why, "Give one such as 4.")
    return tuple(float(s) for s in spacing)


def _usable(spacing) -> bool:
    return isinstance(spacing, Real) and SPACING_MM[0] <= spacing <= SPACING_MM[1]


def _bounds(body: Body) -> tuple[np.ndarray, np.ndarray]:
    """World box that surely holds the person from mid-thigh to above the vertex."""
    reach = np.abs([body.limbs.elbow, body.limbs.wrist, body.limbs.hand, body.limbs.knee])[:, 0].max()
    fat = body.person.subcutaneous_mm
    width = max(reach + 75, 260) + 0.6 * fat
    top = 880.0 if body.person.arms == "up" else 845.0
    scale = np.asarray(body.person.scale)
    low, high = np.array([-width, -185 - 1.3 * fat, FIELDS["body"][0]]), np.array([width, 175 + 0.6 * fat, top])
    return low * scale, high * scale


def _field(
    draft: Canvas, skin: np.ndarray, field: str, low: np.ndarray, high: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Crops the world box to the body with a margin of 16 mm, and to the field's levels."""
    axes, inside = draft.grid.axes, skin < 0
    bottom, top = FIELDS[field]
    scale = draft.person.scale[2]
    low, high = low.copy(), high.copy()
    low[2] = bottom * scale
    high[2] = high[2] if top is None else top * scale
    level = (axes[2] >= low[2]) & (axes[2] <= high[2])
    for axis, other in ((0, (0, 1)), (1, (0, 2))):
        hit = axes[axis][np.flatnonzero(inside[level].any(axis=other))]
        low[axis], high[axis] = max(low[axis], hit.min() - 20), min(high[axis], hit.max() + 20)
    return low, high


def density(hu: np.ndarray) -> np.ndarray:
    """g/ml from HU: air to water along one line, denser tissue along a flatter one."""
    return np.where(hu < 0, 1 + 0.95 * hu / 1000, 1 + 0.03 * (hu > 0) + 0.55 * hu / 1000).clip(0)


def _weight(draft: Canvas, person: Person) -> float:
    mass = float(density(draft.ct[draft.ct > -990]).sum(dtype=np.float64)) * draft.grid.geometry.voxel_ml / 1000
    return mass / (1 - LEGS_SHARE - (FOREARMS_SHARE if person.arms == "up" else 0))


def _plan(
    draft: Canvas, skin: np.ndarray, levels: tuple[float, float], lesions: int | None
) -> tuple[str, tuple[Plan, ...]]:
    rng = draft.person.rng("lesions")
    count = draw_count(rng)
    places = Sites(draft, skin, levels).places()
    return plan_lesions(rng, count if lesions is None else lesions, places)


def _balance(draft: Canvas, plans: tuple[Plan, ...], weight: float) -> float:
    """What is injected is found again: brings the mean SUV of the whole body into its bounds."""
    field = float(draft.pet.sum(dtype=np.float64)) * draft.grid.geometry.voxel_ml
    disease = sum(plan.suv * 4.19 * plan.radius**3 / 1000 for plan in plans)
    legs = LEGS_SHARE * weight * 1000 * LEGS_SUV
    normal, total = (field + legs) / (weight * 1000), disease / (weight * 1000)
    return float(np.clip(normal, TOTAL_SUV[0] - total, max(TOTAL_SUV[1] - total, 0.5)) / normal)


def _bias_field(canvas: Canvas) -> None:
    """Receive coils shade an MR image slowly by some ten per cent."""
    field = SmoothField(canvas.person.rng("bias"), 190.0, 12)
    for p in canvas.grid.everywhere().slabs():
        canvas.mr[p.where] *= np.exp(np.float32(0.10) * field.on_axes(*canvas.grid.world_axes(p.where)))


def _patient(
    canvas: Canvas, images: Painted, truths, person: Person, tracer: str, weight: float, details: dict[str, Any]
) -> Patient:
    geometry = canvas.grid.geometry
    facts = Facts(
        tracer=tracer,
        weight_kg=round(weight, 1),
        height_m=round(person.height_m, 3),
        sex=person.sex,
        age_years=round(person.age),
        uptake_minutes=60.0,
        simulated=DIGITAL_PATIENT,
        source=f"digital patient {person.seed}",
    )
    return Patient(
        seed=person.seed,
        kind="body",
        tracer=tracer,
        sex=person.sex,
        weight_kg=weight,
        height_m=person.height_m,
        pet=Volume(images.pet, geometry, SUVBW, replace(facts, modality="PT")),
        ct=Volume(images.ct, geometry, HU, replace(facts, modality="CT")),
        mr=Volume(images.mr, geometry, ARBITRARY, replace(facts, modality="MR")),
        organs=LabelMap(canvas.label, geometry, TOTAL),
        lesion_map=LabelMap(images.label, geometry, {t.label: f"lesion {t.label} ({t.organ})" for t in truths}),
        lesions=truths,
        details=details,
    )
