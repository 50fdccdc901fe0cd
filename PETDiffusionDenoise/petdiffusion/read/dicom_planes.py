"""Planes of masks that may leave empty ones out, put on an even grid."""

from __future__ import annotations

import numpy as np

from ..errors import GeometryError

SAME_PLANE_MM = 0.12
"""Files round the places of their planes, some to a tenth of a millimetre: what lies closer is one plane."""
REGULAR = 0.1
"""Planes may lie off a regular grid by this part of their distance."""
WIDEST_MM = 15.0
"""Planes further apart do not follow each other: what lies between them was left out."""
ORIGINAL = "Export it again, or as NIfTI."


def check_straight(positions: np.ndarray, normal: np.ndarray, pixel_mm: float, name: str) -> None:
    """Planes that do not lie straight above each other make no grid with axes at right angles."""
    along = (positions - positions[0]) @ normal
    sideways = float(np.linalg.norm(positions - positions[0] - np.outer(along, normal), axis=1).max())
    if sideways > max(REGULAR * pixel_mm, SAME_PLANE_MM):
        raise GeometryError(f"{name}: its planes", f"are shifted sideways by up to {sideways:.2f} mm, as those of a "
                            "tilted gantry are", "Resample it to a straight grid first.")


def clustered(along: np.ndarray) -> np.ndarray:
    """Where the planes lie, in order; those that rounding set apart are one."""
    places = np.sort(along)
    width = min(SAME_PLANE_MM, REGULAR * float(np.diff(places).max(initial=0.0)))
    groups: list[list[float]] = []
    for place in places:
        if groups and place - groups[-1][0] <= width:
            groups[-1].append(place)
        else:
            groups.append([place])
    return np.array([np.mean(group) for group in groups])


def usual_gap(places: np.ndarray) -> float | None:
    """The usual distance of neighbours; none of one plane, nor of planes too far apart to be neighbours."""
    gaps = np.sort(np.diff(places))
    if not len(gaps):
        return None
    usual = gaps[(len(gaps) - 1) // 2]
    mean = float(gaps[(gaps > 0.5 * usual) & (gaps < 1.5 * usual)].mean())
    return mean if mean <= WIDEST_MM else None


def regular(places: np.ndarray, stated: float | None = None) -> tuple[float, float, int] | None:
    """First place, distance and number of the even planes on which all of these lie; none where there are no such."""
    gaps = np.diff(places)
    if not len(gaps):
        return None
    step = float(gaps[gaps < 1.5 * gaps.min()].mean())
    if stated and np.all(np.abs(gaps / stated - np.round(gaps / stated)) < REGULAR):
        step = stated
    numbers = np.concatenate([[0], np.cumsum(np.round(gaps / step))])  # gap by gap: what is rounded does not add up
    if step != stated or np.abs(places - places[0] - numbers * step).max() > REGULAR * step:
        step = round(float((places[-1] - places[0]) / numbers[-1]), 6)
    first = float(np.mean(places - numbers * step))
    if np.abs(places - first - numbers * step).max() > REGULAR * step:
        return None
    return first, step, round(float(numbers[-1])) + 1


def planes(along: np.ndarray, stated: float | None, thickness: float | None, name: str) -> tuple[float, float, int]:
    """First place, distance and number of regular planes on which all of these lie; empty ones may be left out.

    A thickness is no distance: slices may overlap, or leave gaps. It serves where no neighbours tell the distance.
    """
    places = clustered(along)
    if len(places) == 1:
        if not (step := stated or thickness):
            raise GeometryError(f"{name}: one plane alone", "does not say how thick it is", ORIGINAL)
        return float(places[0]), step, 1
    smallest = float(np.diff(places).min())
    found = regular(places, stated or (thickness if smallest > WIDEST_MM else None))
    if not found:
        raise GeometryError(f"{name}: its planes",
                            f"are not evenly spaced (the smallest distance is {smallest:.2f} mm)",
                            "Resample it to equal spacing first.")
    if found[1] > WIDEST_MM:
        raise GeometryError(f"{name}: its planes", f"lie {smallest:.1f} mm apart and do not say how thick they are",
                            ORIGINAL)
    return found
