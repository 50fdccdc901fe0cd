"""Volume: one immutable image on one immutable grid; everything inside the program passes these.

Arrays are indexed (z, y, x) as SimpleITK hands them to NumPy; geometry is (x, y, z) in LPS millimetres.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import GeometryError, InputError

if TYPE_CHECKING:
    import nibabel
    import SimpleITK

SUVBW, BQML, HU, ARBITRARY = "SUVbw", "Bq/ml", "HU", "a.u."
UNITS = (SUVBW, BQML, HU, ARBITRARY)
DIGITAL_PATIENT, REDUCED_DOSE = "digital patient", "reduced dose"
IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
LPS_FROM_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_MM = {"unknown": 1.0, "mm": 1.0, "meter": 1000.0, "micron": 0.001}


@dataclass(frozen=True)
class Geometry:
    """Voxel grid in patient space: size, spacing, origin in (x, y, z); direction row-major, LPS."""

    size: tuple[int, int, int]
    spacing: tuple[float, float, float]
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0)
    direction: tuple[float, ...] = IDENTITY

    def __post_init__(self) -> None:
        set_ = object.__setattr__
        set_(self, "size", tuple(int(n) for n in self.size))
        for name in ("spacing", "origin", "direction"):
            set_(self, name, tuple(float(v) for v in getattr(self, name)))
        if len(self.size) != 3 or min(self.size) < 1:
            raise GeometryError(
                f"Image size {self.size}", "three sizes of at least one voxel are needed", "Give a 3D volume."
            )
        if not np.all(np.isfinite(self.spacing + self.origin + self.direction)) or min(self.spacing) <= 0:
            raise GeometryError(
                f"Spacing {self.spacing} mm, origin {self.origin} mm",
                "spacing must be positive and all values finite",
                "Export the image again.",
            )
        matrix = np.reshape(self.direction, (3, 3))
        if not np.allclose(matrix @ matrix.T, np.eye(3), atol=1e-4):
            raise GeometryError(
                "Image axes",
                "are not at right angles (sheared or tilted acquisition)",
                "Resample the image to a grid with orthogonal axes first.",
            )

    @property
    def shape(self) -> tuple[int, int, int]:
        """Array shape (z, y, x)."""
        return self.size[::-1]

    @property
    def voxel_ml(self) -> float:
        return float(np.prod(self.spacing)) / 1000.0

    @property
    def affine(self) -> np.ndarray:
        """4x4 from voxel index (i, j, k) to LPS millimetres."""
        matrix = np.eye(4)
        matrix[:3, :3] = np.reshape(self.direction, (3, 3)) * np.asarray(self.spacing)
        matrix[:3, 3] = self.origin
        return matrix

    @classmethod
    def from_affine(cls, size: tuple[int, int, int], affine: np.ndarray) -> Geometry:
        """Grid of an LPS affine; refuses shear and flat axes."""
        matrix = np.asarray(affine, float)
        spacing = np.linalg.norm(matrix[:3, :3], axis=0)
        if not np.all(np.isfinite(matrix)) or np.any(spacing <= 0):
            raise GeometryError("The image's affine", "has a zero or non-finite axis", "Export the image again.")
        direction = matrix[:3, :3] / spacing
        return cls(size, tuple(spacing), tuple(matrix[:3, 3]), tuple(direction.ravel()))

    def close_to(self, other: Geometry, tolerance_mm: float = 1e-3) -> bool:
        """Same grid: no corner of one lies further than the tolerance from the other's."""
        if self.size != other.size:
            return False
        corners = np.array([[x, y, z, 1] for x in (0, 1) for y in (0, 1) for z in (0, 1)], float)
        corners[:, :3] *= np.asarray(self.size) - 1
        return bool(np.abs(corners @ (self.affine - other.affine).T).max() <= tolerance_mm)

    def to_json(self) -> dict[str, Any]:
        return {name: list(value) for name, value in asdict(self).items()}

    @classmethod
    def of_sitk(cls, image: SimpleITK.Image) -> Geometry:
        return cls(image.GetSize(), image.GetSpacing(), image.GetOrigin(), image.GetDirection())

    def onto_sitk(self, image: SimpleITK.Image) -> SimpleITK.Image:
        image.SetSpacing(self.spacing)
        image.SetOrigin(self.origin)
        image.SetDirection(self.direction)
        return image


@dataclass(frozen=True)
class Facts:
    """What is known of a scan besides its voxels; None where unknown. Nothing here names the patient."""

    modality: str | None = None
    tracer: str | None = None
    half_life_s: float | None = None
    injected_dose_bq: float | None = None
    uptake_minutes: float | None = None
    """From the injection to the start of the scan."""
    frame_start_minutes: float | None = None
    """From the injection to the start of what the image shows, of late frames of a scan; else that of the scan."""
    frame_seconds: float | None = None
    weight_kg: float | None = None
    height_m: float | None = None
    sex: str | None = None
    age_years: float | None = None
    scanner: str | None = None
    dose_fraction: float | None = None
    suv_factor: float | None = None
    """Multiplies Bq/ml to give SUVbw."""
    decay_factor: float | None = None
    """What the activity in the frame was multiplied by to correct it for decay."""
    positron_fraction: float | None = None
    """How many of the nuclide's decays give a positron."""
    simulated: str | None = None
    """What of the scan nobody ever measured: `DIGITAL_PATIENT` or `REDUCED_DOSE`; None where nothing says so."""
    frame_of_reference: str | None = None
    """Stands for DICOM's (0020,0052): images of one frame lie on each other as they are, of others perhaps not."""
    denoised: str | None = None
    """By which method this program made it, of an output; None where nothing says so."""
    source: str | None = None
    """File or folder it was read from; kept so that DICOM can be derived from the original."""

    @property
    def acquired_minutes(self) -> float | None:
        """From the injection to when the image began to be acquired."""
        return self.uptake_minutes if self.frame_start_minutes is None else self.frame_start_minutes

    def to_json(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) is not None}

    def other_patient(self, other: Facts) -> str:
        """What speaks against both scans being of one patient; nothing where nothing does."""
        told = [] if None in (self.sex, other.sex) or self.sex == other.sex else [f"sex {other.sex}, not {self.sex}"]
        for name, word, unit, apart in (("weight_kg", "weight", "kg", 0.1), ("height_m", "height", "m", 0.05)):
            own, its = getattr(self, name), getattr(other, name)
            if own and its and abs(own - its) > apart * own:
                told.append(f"{word} {its:g} {unit}, not {own:g}")
        return ", ".join(told)


def _frozen(array: np.ndarray, geometry: Geometry) -> np.ndarray:
    if array.ndim != 3 or array.shape != geometry.shape:
        raise GeometryError(
            f"Array of shape {array.shape}",
            f"does not fit the grid {geometry.shape} (z, y, x)",
            "Give array and geometry of the same image.",
        )
    view = array.view()
    view.setflags(write=False)
    return view


@dataclass(frozen=True, eq=False)
class Volume:
    """Float32 image with unit and facts."""

    array: np.ndarray = field(repr=False)
    geometry: Geometry
    unit: str = ARBITRARY
    facts: Facts = field(default_factory=Facts)

    def __post_init__(self) -> None:
        array = np.ascontiguousarray(self.array, dtype=np.float32)
        object.__setattr__(self, "array", _frozen(array, self.geometry))
        if self.unit not in UNITS:
            raise InputError(f"Unit '{self.unit}'", "is not one this program knows", f"Use one of {', '.join(UNITS)}.")

    def with_array(self, array: np.ndarray, unit: str | None = None) -> Volume:
        """Same grid and facts, other values."""
        return replace(self, array=array, unit=unit or self.unit)

    def with_facts(self, **changes: Any) -> Volume:
        return replace(self, facts=replace(self.facts, **changes))

    @classmethod
    def from_sitk(cls, image: SimpleITK.Image, unit: str = ARBITRARY, facts: Facts | None = None) -> Volume:
        import SimpleITK as sitk

        if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
            raise InputError(
                f"Image with {image.GetDimension()} dimensions and "
                f"{image.GetNumberOfComponentsPerPixel()} values per voxel",
                "a 3D image with one value per voxel is needed",
                "Give one frame or channel.",
            )
        return cls(sitk.GetArrayFromImage(image), Geometry.of_sitk(image), unit, facts or Facts())

    def to_sitk(self) -> SimpleITK.Image:
        return _to_sitk(self.array, self.geometry)

    @classmethod
    def from_nibabel(cls, image: nibabel.Nifti1Image, unit: str = ARBITRARY, facts: Facts | None = None) -> Volume:
        array, geometry = _from_nibabel(image)
        return cls(array, geometry, unit, facts or Facts())

    def to_nibabel(self) -> nibabel.Nifti1Image:
        return _to_nibabel(self.array, self.geometry)


@dataclass(frozen=True, eq=False)
class LabelMap:
    """Integer map with a name per value; 0 is background. `names` uses TotalSegmentator's spelling for organs."""

    array: np.ndarray = field(repr=False)
    geometry: Geometry
    names: Mapping[int, str] = field(default_factory=dict)
    frame_of_reference: str | None = None
    """As of `Facts`; None where unknown, as of all that is no DICOM."""
    says_place: bool = True
    """False of a file whose header does not say where it lies: all that is known is of which voxels it was made."""

    def __post_init__(self) -> None:
        values = np.asarray(self.array)
        if not np.issubdtype(values.dtype, np.integer):
            rounded = np.rint(values)
            if not np.all(np.isfinite(values)) or np.abs(values - rounded).max(initial=0) > 1e-3:
                raise InputError(
                    "Label map", "holds values that are not whole numbers", "Give a segmentation, not an image."
                )
            values = rounded
        if values.size and (values.min() < 0 or values.max() > 32767):
            raise InputError(
                f"Label values {values.min()} to {values.max()}", "must lie in 0 to 32767", "Renumber the labels."
            )
        array = np.ascontiguousarray(values, dtype=np.int16)
        object.__setattr__(self, "array", _frozen(array, self.geometry))
        object.__setattr__(self, "names", MappingProxyType({int(k): str(v) for k, v in self.names.items()}))

    def present(self) -> dict[int, str]:
        """Values that occur, with their names (`label 7` where no name is known)."""
        counts = np.zeros(int(self.array.max(initial=0)) + 1, np.int64)
        for plane in self.array:  # of all planes at once NumPy makes a copy, four times as large
            counts += np.bincount(plane.ravel(), minlength=len(counts))
        return {int(v): self.names.get(int(v), f"label {v}") for v in np.flatnonzero(counts) if v}

    def mask(self, *names: str) -> np.ndarray:
        """Union of the named structures as booleans."""
        return np.isin(self.array, [value for value, name in self.names.items() if name in names])

    @classmethod
    def from_sitk(cls, image: SimpleITK.Image, names: Mapping[int, str] | None = None) -> LabelMap:
        import SimpleITK as sitk

        return cls(sitk.GetArrayFromImage(image), Geometry.of_sitk(image), names or {})

    def to_sitk(self) -> SimpleITK.Image:
        return _to_sitk(self.array, self.geometry)

    @classmethod
    def from_nibabel(cls, image: nibabel.Nifti1Image, names: Mapping[int, str] | None = None) -> LabelMap:
        array, geometry = _from_nibabel(image)
        return cls(array, geometry, names or {})

    def to_nibabel(self) -> nibabel.Nifti1Image:
        return _to_nibabel(self.array, self.geometry)


def _to_sitk(array: np.ndarray, geometry: Geometry) -> SimpleITK.Image:
    import SimpleITK as sitk

    return geometry.onto_sitk(sitk.GetImageFromArray(array))


def _from_nibabel(image: nibabel.Nifti1Image) -> tuple[np.ndarray, Geometry]:
    if len(image.shape) != 3:
        raise InputError(f"Image of shape {image.shape}", "a 3D image is needed", "Give one frame.")
    array = np.asarray(image.dataobj).transpose(2, 1, 0)
    return array, Geometry.from_affine(image.shape, LPS_FROM_RAS @ in_mm(image, image.affine))


def in_mm(image: nibabel.Nifti1Image, affine: np.ndarray) -> np.ndarray:
    """One of the image's own affines; a NIfTI header may count in metres or microns. The image stays as it is."""
    units = getattr(image.header, "get_xyzt_units", None)
    scale = _MM.get(units()[0], 1.0) if units else 1.0
    return np.asarray(affine, float) * [[scale], [scale], [scale], [1.0]]


def _to_nibabel(array: np.ndarray, geometry: Geometry) -> nibabel.Nifti1Image:
    import nibabel

    image = nibabel.Nifti1Image(np.asarray(array).transpose(2, 1, 0), LPS_FROM_RAS @ geometry.affine)
    image.header.set_xyzt_units("mm")
    return image
