"""Places for lesions, found on a coarse draft of the patient that does not depend on the voxel size asked for."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import distance_transform_edt, uniform_filter

from ..labels import GROUPS, ID, RIBS, TOTAL, VERTEBRAE
from ..lesions import Places
from .canvas import Canvas

_ORGANS = {
    "liver": ("liver",),
    "spleen": ("spleen",),
    "adrenal": GROUPS["adrenal"],
    "pancreas": ("pancreas",),
    "colon": ("colon",),
    "oesophagus": ("esophagus",),
    "thyroid": ("thyroid_gland",),
    "lung": GROUPS["lung"],
    "bone_spine": (*VERTEBRAE, "sacrum", "sternum"),
    "bone_pelvis": ("hip_left", "hip_right", "sacrum"),
    "bone_rib": RIBS,
    "bone_limb": ("femur_left", "femur_right", "humerus_left", "humerus_right", "scapula_left", "scapula_right"),
}
# Canonical boxes of places without a label of their own: |x|, y, z in mm.
_BOXES = {
    "node_cervical": ((24, 46), (-22, 32), (565, 640)),
    "node_mediastinal": ((0, 32), (-34, 28), (415, 535)),
    "node_axillary": ((104, 140), (-25, 45), (430, 492)),
    "node_paraaortic": ((0, 34), (-30, 40), (150, 290)),
    "node_iliac": ((30, 72), (-45, 45), (15, 125)),
    "node_inguinal": ((52, 98), (-95, -42), (-60, 14)),
    "throat": ((0, 22), (-40, -5), (590, 650)),
}
_NAMES = {
    "node_cervical": "lymph_node_cervical",
    "node_mediastinal": "lymph_node_mediastinal",
    "node_axillary": "lymph_node_axillary",
    "node_paraaortic": "lymph_node_paraaortic",
    "node_iliac": "lymph_node_iliac",
    "node_inguinal": "lymph_node_inguinal",
    "throat": "throat",
}
_IN_FAT = ("node_mediastinal", "node_paraaortic", "node_iliac")
# How far beyond the organ's edge a lesion may reach, in mm.
_ROOM_BEYOND = {"lung": 0.0, "liver": 4.0, "spleen": 3.0}


class Sites:
    """Finds the places on a draft; `levels` are the world z between which lesions shall lie."""

    def __init__(self, canvas: Canvas, skin: np.ndarray, levels: tuple[float, float]) -> None:
        self.canvas, self.skin = canvas, skin
        body = (skin < 0).astype(np.float32)
        self._around = uniform_filter(canvas.pet * body, 3) / np.maximum(uniform_filter(body, 3), 0.05)
        z = canvas.grid.axes[2]
        self._inside = ((z > levels[0]) & (z < levels[1]))[:, None, None]
        self._depths: dict[str, np.ndarray] = {}

    def places(self) -> Places:
        candidates, organs = {}, {}
        for site, mask in self._masks().items():
            where = np.argwhere(mask & self._inside)
            if len(where):
                candidates[site] = np.stack([self.canvas.grid.axes[i][where[:, 2 - i]] for i in range(3)], -1)
                organs[site] = self._names(site, where)
        return Places(candidates, organs, lambda point: self._value(self._around, point), self._room)

    def _masks(self) -> dict[str, np.ndarray]:
        label, p, deep, ct = self.canvas.label, self.canvas.grid.points, -self.skin, self.canvas.ct
        masks = {site: np.isin(label, [ID[name] for name in names]) & (deep > 8) for site, names in _ORGANS.items()}
        free = (label == 0) & (deep > 12) & (ct > -250)
        for site, limits in _BOXES.items():
            masks[site] = free.copy()
            for axis, (low, high) in zip((np.abs(p.x), p.y, p.z), limits):
                masks[site] &= (axis >= low) & (axis <= high)
            if site in _IN_FAT:
                masks[site] &= ct < 0
        belly = (p.z > 40) & (p.z < 270) & (np.abs(p.x) < 105) & (p.y < 40)
        masks["peritoneum"] = free & belly & (ct < -60) & (deep > 30)
        fleshy = (ct > 20) & (ct < 100) & (deep > 18)
        masks["soft_tissue"] = free & fleshy & (p.z < 480) & ((p.z < -20) | (p.z > 60))
        masks["skin"] = (label == 0) & (deep > 5) & (deep < 11) & (p.z < 560)
        if not self.canvas.person.male:
            masks["breast"] = free & (p.y < -92) & (np.abs(p.z - 402) < 45) & (np.abs(np.abs(p.x) - 82) < 40)
        return masks

    def _names(self, site: str, where: np.ndarray) -> np.ndarray:
        if site in _ORGANS:
            return np.array([TOTAL[v] for v in self.canvas.label[tuple(where.T)]])
        return np.full(len(where), _NAMES.get(site, site))

    def _value(self, image: np.ndarray, point: np.ndarray) -> float:
        g = self.canvas.grid.geometry
        index = np.clip(np.rint((point - np.asarray(g.origin)) / g.spacing).astype(int), 0, np.asarray(g.size) - 1)
        return float(image[index[2], index[1], index[0]])

    def _room(self, site: str, point: np.ndarray) -> float:
        """Stays inside the skin, and in lung, liver and spleen inside the organ."""
        limit = -0.62 * self._value(self.skin, point)
        if site in _ROOM_BEYOND:
            limit = min(limit, self._value(self._depth(site), point) + _ROOM_BEYOND[site])
        return limit

    def _depth(self, site: str) -> np.ndarray:
        if site not in self._depths:
            inside = np.isin(self.canvas.label, [ID[name] for name in _ORGANS[site]])
            self._depths[site] = distance_transform_edt(inside, sampling=self.canvas.grid.geometry.spacing[::-1])
        return self._depths[site]
