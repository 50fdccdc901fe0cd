"""Disease of the brain: what PET and MR both show, what only PET shows, what only MR shows.

| kind | PET | MR | CT |
| --- | --- | --- | --- |
| metastasis | hot | dark core, oedema around; rim with contrast agent | oedema |
| glioma | high grade: hot rim, cold necrosis; low grade: below grey matter | dark, ill defined | slightly dark |
| hot_focus | hot | nothing | nothing |
| hypometabolism | cortex at 45 to 75 % | nothing | nothing |
| white_matter_lesion | nothing | dark spots beside the ventricles | nothing |
| perivascular_space | nothing | dark threads in the nuclei and the white matter | nothing |

The last two are no lesions for PET: they stay out of the lesion map and are listed in the patient's details.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..deform import SmoothField
from .canvas import Canvas, Colour, Window
from .names import GREY
from .person import Person
from .shapes import inside
from .template import Template, spread
from .warp import Warp, lattice_axes

PET_KINDS = ("metastasis", "glioma", "hot_focus", "hypometabolism")
_SHARE = {"FDG": (0.34, 0.22, 0.20, 0.24), "DASB": (0.22, 0.20, 0.28, 0.30)}
_DIAMETER = {"metastasis": (5, 26), "glioma": (18, 55), "hot_focus": (5, 13), "hypometabolism": (20, 48)}


@dataclass(frozen=True)
class Focus:
    """One place of disease, in the head's own millimetres."""

    kind: str
    centre: np.ndarray
    radii: np.ndarray
    axes: np.ndarray
    """Rows: directions of the radii."""
    uneven: SmoothField
    """Deforms the surface and varies the uptake."""
    suv: float = 0.0
    factor: float = 1.0
    """Of the activity that was there, for hypometabolism."""
    core: float = 0.0
    """Radius of the necrosis relative to the lesion's; 0: none."""
    mr: float = 0.6
    rim_mr: float = 0.6
    oedema_mm: float = 0.0

    @property
    def diameter_mm(self) -> float:
        return float(2 * np.prod(self.radii) ** (1 / 3))

    def distance(self, axes: list[np.ndarray]) -> np.ndarray:
        """About the distance (mm) to the surface on the grid of three axes of the head."""
        offset = spread([a - np.float32(c) for a, c in zip(axes, self.centre)])
        turned = [sum(np.float32(r) * o for r, o in zip(row, offset)) / np.float32(radius)
                  for row, radius in zip(self.axes, self.radii)]
        reach = np.sqrt(sum(np.square(t) for t in turned))
        rough = 0.14 if self.kind != "hypometabolism" else 0.2
        return (reach - 1 + np.float32(rough) * self.uneven.on_axes(*axes)) * np.float32(self.radii.min())

    def window(self, canvas: Canvas, margin: float) -> Window | None:
        reach = float(self.radii.max()) * 1.5 + margin
        window = []
        for axis, centre in zip(canvas.axes[::-1], self.centre[::-1]):
            hits = np.flatnonzero(np.abs(axis - centre) < reach)
            if not len(hits):
                return None
            window.append(slice(int(hits[0]), int(hits[-1]) + 1))
        return tuple(window)


@dataclass(frozen=True)
class Sites:
    """Places of the head where disease can begin, by tissue."""

    places: np.ndarray
    white: np.ndarray
    depth: np.ndarray
    ventricle: np.ndarray
    mni: np.ndarray

    def choose(self, rng: np.random.Generator, allowed: np.ndarray) -> np.ndarray:
        options = np.flatnonzero(allowed)
        return self.places[:, int(rng.choice(options))] + rng.uniform(-2, 2, 3)


def sites(maps: Template, warp: Warp) -> Sites:
    axes = lattice_axes()
    mni = warp.on(axes).reshape(3, -1)
    hull = maps.hull.at(mni)
    inner = hull < -3
    mni = mni[:, inner]
    places = np.stack([np.broadcast_to(a, [len(b) for b in axes[::-1]]).ravel()[inner] for a in spread(axes)])
    return Sites(places, maps.white.at(mni), -hull[inner], maps.ventricle.at(mni), mni)


def foci(rng: np.random.Generator, tracer: str, count: int | None, where: Sites, level: float,
         person: Person) -> tuple[Focus, ...]:
    """`count` foci that PET shows; None leaves the number to chance (a quarter of people have none)."""
    number = count if count is not None else int(rng.choice(7, p=(0.25, 0.2, 0.18, 0.15, 0.1, 0.07, 0.05)))
    kinds = rng.choice(PET_KINDS, size=number, p=_SHARE[tracer])
    chosen: list[Focus] = []
    for kind in kinds:
        for _ in range(60):
            focus = _focus(rng, str(kind), tracer, where, level, person)
            if all(np.linalg.norm(focus.centre - other.centre) > focus.radii.max() + other.radii.max() + 4
                   for other in chosen):
                break
        chosen.append(focus)
    return tuple(chosen)


def _focus(rng: np.random.Generator, kind: str, tracer: str, where: Sites, level: float, person: Person) -> Focus:
    low, high = _DIAMETER[kind]
    diameter = float(np.exp(rng.uniform(np.log(low), np.log(high))))
    upper = where.mni[2] > -50
    cerebrum = upper & (where.ventricle > 6) & ~((np.abs(where.mni[0]) < 12) & (where.mni[2] < -4))
    place = {"metastasis": upper & (np.abs(where.white) < 2.5) & (where.ventricle > 4),
             "glioma": cerebrum & (where.white < -2) & (where.depth > 12),
             "hot_focus": cerebrum & (where.white < 3),
             "hypometabolism": cerebrum & (where.white > 0) & (where.white < 2.5) & (where.depth > 3)}[kind]
    stretch = np.exp(rng.normal(0, 0.16 if kind != "hypometabolism" else 0.25, 3))
    radii = diameter / 2 * stretch / np.prod(stretch) ** (1 / 3)
    directions = np.linalg.qr(rng.standard_normal((3, 3)))[0]
    field = SmoothField(rng, max(diameter / 3.2, 2.5), 16)
    return Focus(kind, where.choose(rng, place), radii, directions, field,
                 **_signal(rng, kind, tracer, diameter, level, person))


def _signal(rng: np.random.Generator, kind: str, tracer: str, diameter: float, level: float,
            person: Person) -> dict[str, float]:
    """Uptake relative to the tracer's level in this patient; MR relative to white matter."""
    hot = 1.0 if tracer == "FDG" else 1.6
    rim = 1.5 if person.contrast_agent else 0.62
    if kind == "hypometabolism":
        return {"factor": float(rng.uniform(0.45, 0.75))}
    if kind == "hot_focus":
        return {"suv": level * hot * float(rng.uniform(1.5, 2.4))}
    if kind == "metastasis":
        dead = float(rng.uniform(0.35, 0.65)) if diameter > 14 and rng.random() < 0.5 else 0.0
        return {"suv": level * hot * float(rng.uniform(0.9, 2.2)), "core": dead, "mr": 0.58, "rim_mr": rim,
                "oedema_mm": float(rng.uniform(2, 12))}
    if rng.random() < 0.5:
        return {"suv": level * hot * float(rng.uniform(0.9, 1.8)), "mr": 0.56, "rim_mr": rim,
                "core": float(rng.uniform(0.35, 0.7)) if diameter > 22 else 0.0, "oedema_mm": float(rng.uniform(4, 14))}
    return {"suv": level * hot * float(rng.uniform(0.3, 0.55)), "mr": 0.62, "rim_mr": 0.62, "oedema_mm": 3.0}


def paint_focus(canvas: Canvas, focus: Focus, label: int) -> None:
    window = focus.window(canvas, focus.oedema_mm + 4)
    if window is None:
        return
    axes = [a[w] for a, w in zip(canvas.axes, window[::-1])]
    distance = focus.distance(axes)
    brain = canvas.labels[window] > 200
    amount = inside(distance, canvas.step) * brain
    if focus.kind == "hypometabolism":
        amount = inside(distance, 5.0)
        canvas.pet[window] *= 1 - np.float32(1 - focus.factor) * amount
        amount = amount * np.isin(canvas.labels[window], list(GREY))
    elif focus.kind == "hot_focus":
        _only_pet(canvas, window, amount, _uneven(focus, axes, 0.1))
    else:
        _paint_tumour(canvas, window, focus, distance, amount, _uneven(focus, axes, 0.16))
    np.copyto(canvas.lesions[window], np.int16(label), where=amount > 0.5)


def _uneven(focus: Focus, axes: list[np.ndarray], amount: float) -> np.ndarray:
    return np.float32(focus.suv) * np.maximum(1 + np.float32(amount) * focus.uneven.on_axes(*axes), np.float32(0.3))


def _only_pet(canvas: Canvas, window: Window, amount: np.ndarray, suv: np.ndarray) -> None:
    part = canvas.pet[window]
    part += amount * (suv - part)


def _paint_tumour(canvas: Canvas, window: Window, focus: Focus, distance: np.ndarray, amount: np.ndarray,
                  suv: np.ndarray) -> None:
    brain = canvas.labels[window] > 200
    swollen = 0.75 * inside(distance - focus.oedema_mm, 2 * focus.oedema_mm + 1) * brain
    for image, value in ((canvas.mr[window], 0.66), (canvas.ct[window], 22.0)):
        image += swollen * np.minimum(np.float32(value) - image, 0)  # oedema darkens, never brightens
    part = canvas.pet[window]
    part *= 1 - np.float32(0.3) * swollen
    radius = float(focus.radii.min())
    rim = inside(distance + 0.28 * radius, 0.2 * radius)
    canvas.paint(amount, Colour(suv, 36.0, focus.rim_mr + (focus.mr - focus.rim_mr) * rim), None, window)
    if focus.core:
        dead = inside(distance + (1 - focus.core) * radius, 1.5) * brain
        canvas.paint(dead, Colour(0.15 * focus.suv, 14.0, 0.34), None, window)


@dataclass(frozen=True)
class Spot:
    """Something that only MR shows: a small dark ellipsoid, or a thread."""

    kind: str
    centre: np.ndarray
    radii: np.ndarray
    axes: np.ndarray
    mr: float

    def paint(self, canvas: Canvas) -> None:
        focus = Focus(self.kind, self.centre, self.radii, self.axes, _FLAT)
        window = focus.window(canvas, 1.0)
        if window is not None:
            amount = inside(focus.distance([a[w] for a, w in zip(canvas.axes, window[::-1])]), canvas.step)
            part = canvas.mr[window]
            part += amount * (canvas.labels[window] > 200) * np.minimum(np.float32(self.mr) - part, 0)


class _Flat:
    """A field that is zero everywhere."""

    def on_axes(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.float32:
        return np.float32(0)


_FLAT = _Flat()


def spots(rng: np.random.Generator, where: Sites, person: Person) -> tuple[Spot, ...]:
    """White matter lesions grow in number with age; a few perivascular spaces are normal."""
    old = max(person.age_years - 45, 0) / 10
    found = [_spot(rng, "white_matter_lesion", where, (where.white < -2.5) & (where.ventricle > 1)
                   & (where.ventricle < 16) & (where.mni[2] > 0), (1.2, 4.5), rng.uniform(0.55, 0.75))
             for _ in range(1 + rng.poisson(1.5 + 2.5 * old))]
    found += [_spot(rng, "perivascular_space", where, (where.white < -3) & (where.mni[2] > -10), (0.6, 0.9), 0.35, 5.0)
              for _ in range(6 + rng.poisson(6))]
    return tuple(found)


def _spot(rng: np.random.Generator, kind: str, where: Sites, allowed: np.ndarray, radius: tuple[float, float],
          mr: float, long: float = 1.6) -> Spot:
    size = float(np.exp(rng.uniform(np.log(radius[0]), np.log(radius[1]))))
    radii = size * np.array((rng.uniform(1, long) if long < 2 else long, rng.uniform(0.8, 1.2), 1.0))
    return Spot(kind, where.choose(rng, allowed), radii, np.linalg.qr(rng.standard_normal((3, 3)))[0], float(mr))
