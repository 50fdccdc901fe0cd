"""Lesions: where disease sits, how large and how avid it is, irregular shapes, necrosis; painted with exact volumes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from ..volume import Geometry
from .deform import SmoothField
from .patient import Lesion

MAX_LESIONS = 30
DIAMETER_MM = (4.0, 60.0)
SUV_RANGE = (1.5, 25.0)
CONTRAST = 1.4
_GAP_MM = 7.0


@dataclass(frozen=True)
class Site:
    """A kind of place: typical size (median, limit in mm), look on CT and T1, how avid against the common median."""

    diameter: float
    limit: float
    hu: float
    mr: float = 300.0
    avid: float = 1.0


SITES: Mapping[str, Site] = {
    "liver": Site(22, 60, 38, 300),
    "spleen": Site(20, 45, 36, 270),
    "lung": Site(15, 58, 32, 310),
    "adrenal": Site(20, 40, 28),
    "pancreas": Site(24, 42, 30),
    "colon": Site(26, 45, 42),
    "oesophagus": Site(24, 38, 40),
    "thyroid": Site(14, 26, 45),
    "node_cervical": Site(13, 32, 38),
    "node_mediastinal": Site(15, 42, 38),
    "node_axillary": Site(14, 38, 38),
    "node_paraaortic": Site(15, 45, 38),
    "node_iliac": Site(14, 36, 38),
    "node_inguinal": Site(14, 36, 38),
    "peritoneum": Site(15, 45, 35),
    "bone_spine": Site(18, 34, 0),
    "bone_pelvis": Site(22, 48, 0),
    "bone_rib": Site(13, 26, 0),
    "bone_limb": Site(20, 40, 0),
    "soft_tissue": Site(34, 60, 45, 330, 0.9),
    "skin": Site(9, 24, 38),
    "breast": Site(18, 42, 42),
    "throat": Site(20, 38, 50),
}
# Share of each kind of place in five common courses of disease.
PATTERNS: Mapping[str, Mapping[str, float]] = {
    "lymphoma": {
        "node_cervical": 4,
        "node_mediastinal": 5,
        "node_axillary": 4,
        "node_paraaortic": 4,
        "node_iliac": 3,
        "node_inguinal": 3,
        "spleen": 1,
        "bone_spine": 0.7,
        "bone_pelvis": 0.5,
    },
    "lung cancer": {
        "lung": 5,
        "node_mediastinal": 5,
        "bone_spine": 2,
        "bone_rib": 1.5,
        "adrenal": 1.2,
        "liver": 1.5,
        "node_cervical": 1,
    },
    "bowel cancer": {"colon": 1.5, "liver": 5, "peritoneum": 3, "lung": 2.5, "node_paraaortic": 2, "node_iliac": 1},
    "breast or prostate cancer": {
        "bone_spine": 5,
        "bone_pelvis": 4,
        "bone_rib": 3,
        "bone_limb": 2,
        "node_axillary": 2,
        "breast": 1.5,
        "liver": 1.5,
        "lung": 1,
    },
    "melanoma or sarcoma": {
        "soft_tissue": 3,
        "skin": 2,
        "lung": 3,
        "liver": 2,
        "node_inguinal": 1.5,
        "node_axillary": 1.5,
        "bone_pelvis": 1,
        "spleen": 0.5,
    },
    "head and neck cancer": {
        "throat": 2,
        "node_cervical": 5,
        "lung": 1,
        "node_mediastinal": 1,
        "thyroid": 0.7,
        "oesophagus": 1,
    },
}


@dataclass(frozen=True)
class Plan:
    """A lesion before it is painted: place and shape in world millimetres, so that any grid holds the same lesion."""

    site: str
    organ: str
    centre: tuple[float, float, float]
    radius: float
    suv: float
    balls: tuple[tuple[float, float, float, float], ...]
    """Offsets and radii of the balls it is made of, as shares of the radius."""
    roughness: float
    necrosis: float
    """Uptake of the dead core against the rim; 1 where there is none."""
    hu: float
    mr: float
    seed: int

    @property
    def reach(self) -> float:
        return self.radius * 1.75 + 2


def draw_count(rng: np.random.Generator) -> int:
    """One patient in eight has none; half of the others have four or fewer."""
    if rng.random() < 0.12:
        return 0
    return int(np.clip(1 + rng.geometric(0.16), 1, MAX_LESIONS))


@dataclass(frozen=True)
class Places:
    """What the patient offers: per site, world points (n, 3) and the structure's name at each; uptake, room there."""

    candidates: Mapping[str, np.ndarray]
    organs: Mapping[str, np.ndarray]
    background: Callable[[np.ndarray], float]
    """Normal SUV around a point."""
    room: Callable[[str, np.ndarray], float]
    """Largest radius that fits at a point of a site."""

    def shares(self, wanted: Mapping[str, float]) -> dict[str, float]:
        found = {site: share for site, share in wanted.items() if len(self.candidates.get(site, ()))}
        return {site: share / sum(found.values()) for site, share in found.items()}


def plan_lesions(rng: np.random.Generator, count: int, places: Places) -> tuple[str, tuple[Plan, ...]]:
    """Places `count` lesions of one course of disease; where its sites are full, anywhere else."""
    pattern, mood = str(rng.choice(list(PATTERNS))), rng.normal(0, 0.35)
    plans: list[Plan] = []
    for shares in (places.shares(PATTERNS[pattern]), places.shares(dict.fromkeys(SITES, 1.0))):
        for _ in range(30 * count):
            if len(plans) == count or not shares:
                break
            plan = _one(rng, str(rng.choice(list(shares), p=list(shares.values()))), mood, places)
            if plan and all(_apart(plan, other) for other in plans):
                plans.append(plan)
    return pattern, tuple(plans)


def _apart(a: Plan, b: Plan) -> bool:
    return float(np.linalg.norm(np.subtract(a.centre, b.centre))) > 1.35 * (a.radius + b.radius) + _GAP_MM


def _one(rng: np.random.Generator, site: str, mood: float, places: Places) -> Plan | None:
    kind, points = SITES[site], places.candidates[site]
    i = int(rng.integers(len(points)))
    centre = np.asarray(points[i], float) + rng.uniform(-3, 3, 3)
    diameter = np.clip(kind.diameter * np.exp(rng.normal(-0.1, 0.5)), DIAMETER_MM[0], kind.limit)
    radius = float(min(diameter / 2, places.room(site, centre)))
    suv, floor = 6.0 * kind.avid * np.exp(mood + rng.normal(0, 0.4)), CONTRAST * places.background(centre)
    suv = float(np.clip(max(suv, 1.15 * floor), SUV_RANGE[0] * 1.1, SUV_RANGE[1] * 0.8))
    if not DIAMETER_MM[0] / 2 <= radius <= DIAMETER_MM[1] / 2 or suv < floor:
        return None
    return Plan(
        site=site,
        organ=str(places.organs[site][i]),
        centre=tuple(float(v) for v in centre),
        radius=radius,
        suv=suv,
        balls=_lobes(rng, radius),
        roughness=float(rng.uniform(0.05, 0.16)),
        necrosis=float(rng.uniform(0.12, 0.35)) if radius > 13 and rng.random() < 0.5 else 1.0,
        hu=_hu(rng, site, kind),
        mr=kind.mr * float(rng.uniform(0.85, 1.15)),
        seed=int(rng.integers(2**31)),
    )


def _hu(rng: np.random.Generator, site: str, kind: Site) -> float:
    """Bone lesions are dense, dissolved or, half of the time, not to be seen (nan)."""
    if not site.startswith("bone"):
        return kind.hu + float(rng.normal(0, 4))
    return float(rng.choice([rng.uniform(450, 800), rng.uniform(30, 80), np.nan], p=[0.3, 0.25, 0.45]))


def _lobes(rng: np.random.Generator, radius: float) -> tuple[tuple[float, float, float, float], ...]:
    """One main ball and, in larger lesions, up to four that bulge out of it; scaled to the volume of the radius."""
    extra = int(rng.integers(0, 5)) if radius > 5 else 0
    balls = [(0.0, 0.0, 0.0, 1.0)]
    for _ in range(extra):
        away = rng.normal(0, 1, 3)
        away = away / np.linalg.norm(away) * rng.uniform(0.4, 0.75)
        balls.append((*(float(v) for v in away), float(rng.uniform(0.45, 0.75))))
    grid = np.stack(np.meshgrid(*[np.linspace(-1.6, 1.6, 41)] * 3, indexing="ij"), -1)
    inside = np.zeros(grid.shape[:3], bool)
    for x, y, z, r in balls:
        inside |= np.linalg.norm(grid - (x, y, z), axis=-1) < r
    shrink = (4 / 3 * np.pi / (inside.sum() * 0.08**3)) ** (1 / 3)
    return tuple(tuple(float(v * shrink) for v in ball) for ball in balls)


Axes = tuple[np.ndarray, np.ndarray, np.ndarray]
"""x, y and z in mm of a regular grid, counted from the lesion's centre."""


def shape(plan: Plan, axes: Axes) -> np.ndarray:
    """Signed distance in mm (z, y, x): balls melted together, with an uneven surface, holding the planned volume."""
    x, y, z = axes[0][None, None, :], axes[1][None, :, None], axes[2][:, None, None]
    d = np.full((len(axes[2]), len(axes[1]), len(axes[0])), 1e3, np.float32)
    for offset_x, offset_y, offset_z, size in np.array(plan.balls) * plan.radius:
        ball = np.sqrt((x - offset_x) ** 2 + (y - offset_y) ** 2 + (z - offset_z) ** 2) - size
        h = np.maximum(0.3 * plan.radius - np.abs(d - ball), 0)
        d = np.minimum(d, ball) - h * h / (1.2 * plan.radius)
    rough = SmoothField(np.random.default_rng(plan.seed), max(0.55 * plan.radius, 2.5), 8).on_axes(*axes)
    d = d + plan.roughness * plan.radius * np.clip(rough, -2.5, 2.5)
    point_mm3 = float(np.prod([axis[1] - axis[0] for axis in axes]))
    points = int(np.clip(round(4 / 3 * np.pi * plan.radius**3 / point_mm3), 1, d.size - 1))
    return d - np.partition(d.ravel(), points)[points]


def activity(plan: Plan, d: np.ndarray, axes: Axes) -> np.ndarray:
    """True SUV inside: uneven about the planned mean, with a dead core in some."""
    rng = np.random.default_rng([plan.seed, 1])
    uneven = 1 + 0.10 * np.clip(SmoothField(rng, max(0.5 * plan.radius, 3.0), 8).on_axes(*axes), -2.5, 2.5)
    inside = d < 0
    suv = uneven * (plan.suv / uneven[inside].mean() if inside.any() else plan.suv)
    if plan.necrosis < 1:
        ragged = SmoothField(rng, 0.7 * plan.radius, 8).on_axes(*axes)
        core = np.clip(0.5 - (d + (0.38 + 0.12 * ragged) * plan.radius) / (0.18 * plan.radius), 0, 1)
        suv = suv * (1 - core * (1 - plan.necrosis))
    return np.clip(suv, 0, SUV_RANGE[1])


@dataclass
class Painted:
    """Images the lesions are painted into."""

    geometry: Geometry
    pet: np.ndarray
    ct: np.ndarray
    mr: np.ndarray
    label: np.ndarray


def paint_lesions(images: Painted, plans: tuple[Plan, ...]) -> tuple[Lesion, ...]:
    """Paints every lesion that lies in the grid and returns the truth of what was painted."""
    truths = []
    for plan in plans:
        truth = _paint(images, plan, len(truths) + 1)
        if truth is not None:
            truths.append(truth)
    return tuple(_measured(images, truth) for truth in truths)


def _paint(images: Painted, plan: Plan, value: int) -> Lesion | None:
    where, axes, fine = _window(images.geometry, plan)
    if axes is None:
        return None
    d = shape(plan, axes)
    inside = d < 0
    suv = np.where(inside, activity(plan, d, axes), 0)
    share, dose = _block_mean(inside, fine), _block_mean(suv, fine)
    _blend(images, plan, where, share, dose)
    voxels = share >= 0.5
    if not voxels.any():
        voxels[np.unravel_index(np.argmax(share), share.shape)] = True
    label = images.label[where]
    label[voxels & (label == 0)] = value
    volume = float(inside.sum()) * images.geometry.voxel_ml / fine**3
    diameter = (6000 * volume / np.pi) ** (1 / 3)
    return Lesion(value, plan.organ, plan.centre, float(diameter), volume, 0.0, 0.0, plan.necrosis < 1)


def _window(g: Geometry, plan: Plan) -> tuple[tuple[slice, ...], Axes | None, int]:
    """Voxels around the lesion and the axes of a finer grid in them; no axes where the field cuts the lesion."""
    spacing, centre = np.asarray(g.spacing), np.asarray(plan.centre)
    bottom = np.asarray(g.origin) - spacing / 2
    if np.any(centre - plan.radius < bottom) or np.any(centre + plan.radius > bottom + spacing * g.size):
        return (), None, 1
    low = np.maximum(np.floor((centre - plan.reach - bottom) / spacing), 0).astype(int)
    high = np.minimum(np.ceil((centre + plan.reach - bottom) / spacing), g.size).astype(int)
    fine = int(np.clip(np.ceil(4 * spacing.max() / plan.radius), 2, 10))
    axes = tuple(
        (bottom[i] + spacing[i] * (np.arange(low[i] * fine, high[i] * fine) + 0.5) / fine - centre[i]).astype(
            np.float32
        )
        for i in range(3)
    )
    return tuple(slice(int(a), int(b)) for a, b in zip(low[::-1], high[::-1])), axes, fine


def _block_mean(values: np.ndarray, fine: int) -> np.ndarray:
    nz, ny, nx = (n // fine for n in values.shape)
    return values.reshape(nz, fine, ny, fine, nx, fine).mean((1, 3, 5), dtype=np.float32)


def _blend(images: Painted, plan: Plan, where: tuple[slice, ...], share: np.ndarray, dose: np.ndarray) -> None:
    images.pet[where] = images.pet[where] * (1 - share) + dose
    dead = 1 - np.clip(dose / np.maximum(share, 1e-3) / plan.suv, 0, 1) if plan.necrosis < 1 else 0.0
    if np.isfinite(plan.hu):
        images.ct[where] += share * (plan.hu - 20 * dead - images.ct[where])
    images.mr[where] += share * (plan.mr * (1 - 0.3 * dead) - images.mr[where])


def _measured(images: Painted, truth: Lesion) -> Lesion:
    """SUV as the drawn PET shows it inside the lesion's voxels."""
    values = images.pet[images.label == truth.label]
    return replace(truth, suv_mean=float(values.mean(dtype=np.float64)), suv_max=float(values.max()))
