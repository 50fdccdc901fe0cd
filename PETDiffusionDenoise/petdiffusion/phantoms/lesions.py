"""Lesions: where disease sits, how large and how avid it is, irregular shapes, necrosis; painted with exact volumes."""

from __future__ import annotations

from collections.abc import Mapping
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


def plan_lesions(
    rng: np.random.Generator,
    count: int,
    candidates: Mapping[str, np.ndarray],
    organs: Mapping[str, np.ndarray],
    background,
    room,
) -> tuple[str, tuple[Plan, ...]]:
    """Places `count` lesions of one course of disease.

    `candidates`: world points (n, 3) per site; `organs`: name of the structure at each; `background(point, radius)`:
    normal uptake around; `room(site, point)`: largest radius that fits there.
    """
    pattern = str(rng.choice(list(PATTERNS)))
    shares = {site: share for site, share in PATTERNS[pattern].items() if len(candidates.get(site, ()))}
    if not shares or not count:
        return pattern, ()
    sites, weights = list(shares), np.array(list(shares.values())) / sum(shares.values())
    mood = rng.normal(0, 0.35)
    plans: list[Plan] = []
    for _ in range(40 * count):
        if len(plans) == count:
            break
        site = sites[rng.choice(len(sites), p=weights)]
        i = int(rng.integers(len(candidates[site])))
        plan = _one(rng, site, str(organs[site][i]), candidates[site][i], mood, background, room)
        if plan and all(_apart(plan, other) for other in plans):
            plans.append(plan)
    return pattern, tuple(plans)


def _apart(a: Plan, b: Plan) -> bool:
    return float(np.linalg.norm(np.subtract(a.centre, b.centre))) > 1.35 * (a.radius + b.radius) + _GAP_MM


def _one(
    rng: np.random.Generator, site: str, organ: str, point: np.ndarray, mood: float, background, room
) -> Plan | None:
    kind = SITES[site]
    diameter = float(
        np.clip(kind.diameter * np.exp(rng.normal(-0.1, 0.5)), DIAMETER_MM[0], min(kind.limit, DIAMETER_MM[1]))
    )
    centre = np.asarray(point, float) + rng.uniform(-3, 3, 3)
    radius = min(diameter / 2, float(room(site, centre)))
    if radius < DIAMETER_MM[0] / 2:
        return None
    suv = 6.0 * kind.avid * np.exp(mood + rng.normal(0, 0.4))
    suv = float(np.clip(max(suv, CONTRAST * 1.15 * background(centre, radius)), SUV_RANGE[0] * 1.1, SUV_RANGE[1] * 0.8))
    if suv < CONTRAST * background(centre, radius):
        return None
    dead = radius > 13 and rng.random() < 0.5
    return Plan(
        site,
        organ,
        tuple(float(v) for v in centre),
        radius,
        suv,
        _lobes(rng, radius),
        float(rng.uniform(0.05, 0.16)),
        float(rng.uniform(0.12, 0.35)) if dead else 1.0,
        _hu(rng, site, kind),
        kind.mr * float(rng.uniform(0.85, 1.15)),
        int(rng.integers(2**31)),
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


def shape(plan: Plan, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Signed distance in mm at points relative to the lesion's centre."""
    d = np.full(np.shape(x), 1e3, np.float32)
    for bx, by, bz, br in plan.balls:
        ball = (
            np.sqrt((x - bx * plan.radius) ** 2 + (y - by * plan.radius) ** 2 + (z - bz * plan.radius) ** 2)
            - br * plan.radius
        )
        h = np.maximum(0.3 * plan.radius - np.abs(d - ball), 0)
        d = np.minimum(d, ball) - h * h / (1.2 * plan.radius)
    field = SmoothField(np.random.default_rng(plan.seed), max(0.55 * plan.radius, 2.5), 8)
    return d + plan.roughness * plan.radius * field.at(x, y, z)


def activity(plan: Plan, d: np.ndarray, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """True SUV inside: avid rim, uneven within, dead core in some."""
    rng = np.random.default_rng([plan.seed, 1])
    uneven = SmoothField(rng, max(0.5 * plan.radius, 3.0), 8).at(x, y, z)
    suv = plan.suv * np.clip(1 + 0.10 * uneven, 0.7, 1.3)
    if plan.necrosis < 1:
        edge = d + 0.38 * plan.radius + 0.12 * plan.radius * SmoothField(rng, 0.7 * plan.radius, 8).at(x, y, z)
        core = np.clip(0.5 - edge / (0.18 * plan.radius), 0, 1)
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
    g = images.geometry
    index = (np.asarray(plan.centre) - g.origin) / g.spacing
    low = np.floor(index - plan.reach / np.asarray(g.spacing)).astype(int)
    high = np.ceil(index + plan.reach / np.asarray(g.spacing)).astype(int) + 1
    if np.any(low < 0) or np.any(high > g.size):
        return None
    fine = int(np.clip(np.ceil(3 * max(g.spacing) / plan.radius), 2, 6))
    axes = [
        g.origin[i]
        + g.spacing[i] * (np.arange(low[i] * fine, high[i] * fine) + 0.5 - 0.5 * fine) / fine
        - plan.centre[i]
        for i in range(3)
    ]
    z, y, x = np.meshgrid(axes[2], axes[1], axes[0], indexing="ij")
    d = shape(plan, x, y, z)
    suv = np.where(d < 0, activity(plan, d, x, y, z), 0)
    shape3 = tuple(int(n) for n in (high - low)[::-1])
    share, dose = (_block_mean(v, shape3, fine) for v in ((d < 0).astype(np.float32), suv))
    where = tuple(slice(int(a), int(b)) for a, b in zip(low[::-1], high[::-1]))
    _blend(images, plan, where, share, dose)
    inside = share >= 0.5
    if not inside.any():
        inside = share == share.max()
    images.label[where][inside] = value
    volume = float(np.sum(d < 0)) * float(np.prod(g.spacing)) / fine**3 / 1000
    return Lesion(
        value,
        plan.organ,
        plan.centre,
        float((6 * volume * 1000 / np.pi) ** (1 / 3)),
        volume,
        0.0,
        0.0,
        plan.necrosis < 1,
    )


def _block_mean(fine_values: np.ndarray, shape3: tuple[int, int, int], fine: int) -> np.ndarray:
    nz, ny, nx = shape3
    return fine_values.reshape(nz, fine, ny, fine, nx, fine).mean((1, 3, 5)).astype(np.float32)


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
