"""Masks of an RTSTRUCT: its contours, filled plane by plane and as thick as its planes are apart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..errors import GeometryError, InputError
from ..suv import header
from ..volume import Geometry, LabelMap
from . import checks, polygons
from .dicom import frame_of_reference
from .dicom_masks import MOST_TOLD, Tell, tell_overlaps
from .dicom_planes import ORIGINAL, REGULAR, clustered, regular, usual_gap
from .label_maps import chosen

if TYPE_CHECKING:
    from pydicom import Dataset

FINEST_MM, MOST_PIXELS, MOST_VOXELS = 1.0, 1024, 2**28
"""Contours are filled on pixels of that size, larger ones where there would be more than so many along an axis."""
THINNEST_MM = 0.5
"""No plane of the grid is thinner where regions do not share their planes."""
FLAT_MM = 0.05
"""By so much contours may leave the patient's planes and still be taken to lie in them."""
OUTLINE = "EXTERNAL"
"""The patient's outline: neither organ nor lesion."""


class Contour(NamedTuple):
    points: np.ndarray
    flips: bool
    """Turns what it encloses inside out (CLOSEDPLANAR_XOR)."""


class Region(NamedTuple):
    title: str
    contours: list[Contour]
    left_out: int
    """How many more are open lines or points, which enclose nothing."""
    frame: str
    """The UID of the frame of reference that it was drawn in; empty where the file does not say it."""


class Slab(NamedTuple):
    """What the contours of one plane hold, from half a gap below to half a gap above."""

    low: float
    high: float
    contours: list[Contour]


def masks(ds: Dataset, name: str, only: Sequence[str], tell: Tell) -> LabelMap:
    """Every region but the patient's outline, by a number of its own; where some overlap the smaller one is kept."""
    regions, names, frame = _taken(ds, name, only, tell)
    axes = _plane_axes([contour.points for contours in regions.values() for contour in contours], name)
    regions = {value: [c._replace(points=c.points @ axes) for c in own] for value, own in regions.items()}
    slabs, steps = _slabs(regions, _stated_thickness(ds), name)
    every = np.concatenate([contour.points[:, :2] for contours in regions.values() for contour in contours])
    low, high = every.min(axis=0), every.max(axis=0)
    pixel = max(FINEST_MM, float((high - low).max()) / MOST_PIXELS)
    size = [int(n) for n in np.ceil((high - low) / pixel) + 3]
    first, step, count = _grid(regions, slabs, steps, size[0] * size[1])
    checks.memory((*size, count), 2, name)
    start = np.array([*(low - pixel), first])
    array = np.zeros((count, size[1], size[0]), np.int16)

    def pieces(value: int) -> Iterator[tuple[slice, polygons.Box, np.ndarray]]:  # made twice: all at once fill memory
        return _pieces(slabs[value], start, (pixel, step), count)

    filled = {value: sum(int(m.sum()) * (p.stop - p.start) for p, _, m in pieces(value)) for value in slabs}
    _tell_empty([names[value] for value, voxels in filled.items() if not voxels], len(names), pixel, name, tell)
    for value in sorted(filled, key=lambda v: -filled[v]):  # a small one stays within a large one
        for planes, box, mask in pieces(value):
            array[(planes, *box)][:, mask] = value
    geometry = Geometry((*size, count), (pixel, pixel, step), tuple(axes @ start), tuple(axes.ravel()))
    made = LabelMap(array, geometry, names, frame)
    tell_overlaps(made, filled, tell)
    return made


def _taken(ds: Dataset, name: str, only: Sequence[str], tell: Tell
           ) -> tuple[dict[int, list[Contour]], dict[int, str], str | None]:  # fmt: skip
    """Contours and names of the regions that enclose something, and the frame of reference that they lie in."""
    every = _regions(ds, name)
    closed = dict(enumerate((region for region in every if region.contours), 1))
    if not closed:
        raise InputError(f"{name}", "holds no closed contour besides the patient's outline",
                         "Give another structure set.")
    names = chosen({value: region.title for value, region in closed.items()}, only)
    _tell_open([region for region in every if not only or region.title in only], tell)
    return {value: closed[value].contours for value in names}, names, _frame([closed[v] for v in names], tell)


def _regions(ds: Dataset, name: str) -> list[Region]:
    """All but the patient's outline, by their numbers in the file."""
    about = {int(item.ROINumber): item for item in ds.get("StructureSetROISequence", ())}
    outlines = {int(item.ReferencedROINumber) for item in ds.get("RTROIObservationsSequence", ())
                if header.text(item, "RTROIInterpretedType").upper() == OUTLINE}  # fmt: skip
    found: dict[int, Region] = {}
    for drawn in ds.get("ROIContourSequence", ()):  # a region may be drawn in several of them
        number = int(drawn.ReferencedROINumber)
        its = about.get(number, drawn)
        before = found.get(number, Region(header.text(its, "ROIName") or f"region {number}", [], 0,
                                          header.text(its, "ReferencedFrameOfReferenceUID") or _frame_of_all(ds)))
        closed = list(_contours(drawn, name))
        left_out = len(drawn.get("ContourSequence", ())) - len(closed)
        found[number] = before._replace(contours=before.contours + closed, left_out=before.left_out + left_out)
    return [found[number] for number in sorted(found) if number not in outlines]


def _frame_of_all(ds: Dataset) -> str:
    """Of a file whose regions do not say theirs."""
    listed = {header.text(item, "FrameOfReferenceUID") for item in ds.get("ReferencedFrameOfReferenceSequence", ())}
    return header.text(ds, "FrameOfReferenceUID") or (listed.pop() if len(listed) == 1 else "")


def _frame(regions: Sequence[Region], tell: Tell) -> str | None:
    frames = {region.frame for region in regions} - {""}
    if len(frames) > 1:
        tell(f"its regions were drawn in {len(frames)} frames of reference (3006,0024), of which one at most is the "
             "PET's: the others' positions may be wrong. Take those of one alone: petdiffusion convert --role labels "
             "--only NAME.")
    return frame_of_reference(frames.pop()) if len(frames) == 1 else None


def _tell_open(regions: Sequence[Region], tell: Tell) -> None:
    """Which regions are left out, all or in part."""
    told = [f"all of '{r.title}'" if not r.contours else f"{r.left_out} of the contours of '{r.title}'"
            for r in regions if r.left_out]  # fmt: skip
    if told:
        more = f" and more of {len(told) - MOST_TOLD} others" if len(told) > MOST_TOLD else ""
        tell(f"contours that are open lines or points enclose nothing and are left out: {', '.join(told[:MOST_TOLD])}"
             f"{more}.")  # fmt: skip


def _contours(region: Dataset, name: str) -> Iterator[Contour]:
    """Those that are closed around something."""
    for item in region.get("ContourSequence", ()):
        kind = header.text(item, "ContourGeometricType").upper()
        if not kind.startswith("CLOSED"):
            continue
        try:
            points = np.array([float(v) for v in item.ContourData]).reshape(-1, 3)
        except (AttributeError, ValueError, TypeError) as error:
            raise InputError(f"{name}: a contour", f"cannot be read ({error})", ORIGINAL) from error
        if not np.isfinite(points).all():
            raise InputError(f"{name}: a contour", "holds coordinates that are not numbers", ORIGINAL)
        if len(points) > 2:
            yield Contour(points, kind.endswith("XOR"))


def _plane_axes(contours: Sequence[np.ndarray], name: str) -> np.ndarray:
    """Columns: two in the planes of all contours and their normal; those of the patient where they fit as well."""
    centred = [points - points.mean(axis=0) for points in contours]

    def off(normal: np.ndarray) -> float:
        return max(float(np.ptp(points @ normal)) for points in centred)

    normal = np.linalg.eigh(sum(points.T @ points for points in centred))[1][:, 0]
    nearest = int(np.argmax(np.abs(normal)))
    if off(np.eye(3)[nearest]) < min(FLAT_MM, 0.1 * FLAT_MM + 2 * off(normal)):  # a tilt shifts what lies far apart
        normal = np.eye(3)[nearest]
    normal = normal * np.sign(normal[nearest])
    across = np.eye(3)[0 if nearest else 1]
    across = across - normal * (across @ normal)
    across /= np.linalg.norm(across)
    if off(normal) > 1.0:
        raise GeometryError(f"{name}: its contours", "do not lie in parallel planes", ORIGINAL)
    return np.stack([across, np.cross(normal, across), normal], axis=1)


def _stated_thickness(ds: Dataset) -> float | None:
    """What a file may say of planes whose distance no second plane tells."""
    for region in ds.get("ROIContourSequence", ()):
        for item in region.get("ContourSequence", ()):
            if (value := header.number(item, "ContourSlabThickness")) and value > 0:
                return value
    return None


def _height(contour: Contour) -> float:
    return float(contour.points[:, 2].mean())


def _slabs(regions: Mapping[int, Sequence[Contour]], stated: float | None, name: str
           ) -> tuple[dict[int, list[Slab]], dict[int, float]]:  # fmt: skip
    """The slabs of each region, and the usual distance of its planes; of lone ones that of the others."""
    places = {value: clustered(np.array([_height(c) for c in own])) for value, own in regions.items()}
    steps = {value: gap for value, own in places.items() if (gap := usual_gap(own))}
    usual = sorted(steps.values())[(len(steps) - 1) // 2] if steps else stated
    if not usual:
        raise GeometryError(f"{name}: one plane alone, or planes far apart", "do not say how thick they are", ORIGINAL)
    steps = {value: steps.get(value, usual) for value in regions}
    return {value: _of_region(regions[value], places[value], steps[value]) for value in regions}, steps


def _of_region(contours: Sequence[Contour], places: np.ndarray, step: float) -> list[Slab]:
    middles = (places[1:] + places[:-1]) / 2
    near = np.diff(places) <= 1.5 * step  # a plane that was left out stays empty
    low = np.concatenate([places[:1] - step / 2, np.where(near, middles, places[1:] - step / 2)])
    high = np.concatenate([np.where(near, middles, places[:-1] + step / 2), places[-1:] + step / 2])
    slabs = [Slab(float(a), float(b), []) for a, b in zip(low, high)]
    for contour in contours:
        slabs[int(np.argmin(np.abs(places - _height(contour))))].contours.append(contour)
    return slabs


def _grid(regions: Mapping[int, Sequence[Contour]], slabs: Mapping[int, Sequence[Slab]], steps: Mapping[int, float],
          pixels: int) -> tuple[float, float, int]:  # fmt: skip
    """First place, distance and number of planes: those of the contours where all share them, finer ones elsewhere."""
    every = clustered(np.array([_height(contour) for own in regions.values() for contour in own]))
    if len(every) == 1:
        return float(every[0]), min(steps.values()), 1
    found = regular(every)
    if found and all(abs(step - found[1]) <= REGULAR * found[1] for step in steps.values()):
        return found
    low, high = min(own[0].low for own in slabs.values()), max(own[-1].high for own in slabs.values())
    finest = min(steps, key=lambda value: steps[value])
    parts = int(np.ceil(steps[finest] / FINEST_MM - 1e-3))
    step = max(steps[finest] / parts, THINNEST_MM, (high - low) * pixels / MOST_VOXELS)
    edge = slabs[finest][0].low  # planes of the grid lie evenly within the slabs of the finest region
    first = edge + step / 2 - np.ceil((edge - low) / step) * step
    return float(first), step, int(np.ceil((high - first) / step))


def _pieces(slabs: Sequence[Slab], start: np.ndarray, steps: tuple[float, float], count: int
            ) -> Iterator[tuple[slice, polygons.Box, np.ndarray]]:  # fmt: skip
    """Planes, box and pixels of each slab: the planes of the grid whose middle lies in it."""
    pixel, step = steps
    for low, high, contours in slabs:
        ends = [int(np.clip(np.ceil((place - start[2]) / step - 1e-6), 0, count)) for place in (low, high)]
        drawn = [((contour.points[:, :2] - start[:2]) / pixel, contour.flips) for contour in contours]
        yield slice(*ends), *polygons.region(drawn)


def _tell_empty(empty: Sequence[str], regions: int, pixel: float, name: str, tell: Tell) -> None:
    said = f"no middle of a pixel of {pixel:.2g} mm lies within its contours"
    if len(empty) == regions:
        raise InputError(f"{name}: region '{empty[0]}'", f"is empty: {said}", "Give another structure set.")
    for title in empty:
        tell(f"region '{title}' is empty: {said}.")
