"""Arrays and grids from NIfTI, MGH, NRRD and MetaImage files, and from images of nibabel and SimpleITK in memory."""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import GeometryError, InputError, PETDiffusionError
from ..volume import LPS_FROM_RAS, Geometry, in_mm
from . import checks, freesurfer, nrrd, pairs, whole
from .itk_names import itk_name
from .label_names import LAYERS
from .sidecar import HEADER_KEY
from .slices import SEVERAL
from .sources import BESIDE, FREESURFER

if TYPE_CHECKING:
    import nibabel
    import SimpleITK

    from ..progress import Run

Loaded = tuple[np.ndarray, Geometry, str | None]
"""Array (z, y, x), its grid, and the word for its unit if the file itself states one."""
_UNIT_KEYS = ("dicom.units", "0054|1001")
_NIFTI_LABEL_INTENT = 1002
_SEGMENT = "Segment0_Name"
"""In the headers of 3D Slicer's segmentations."""
_AGREE_MM = 0.1
_ONE_MAP = "Give one map with a number for each structure, or one structure's mask."


def opened(path: Path) -> Any:
    """The library's own image, after a look at its size."""
    with _named(path.name):
        if _by_nibabel(path):
            return _by_name(path)
        return _read_itk(path)


def _by_nibabel(path: Path) -> bool:
    """Whether it is that library's; a place that it would make up is refused."""
    name = path.name.lower()
    if name.endswith(FREESURFER):
        freesurfer.check_place(path)
    return name.endswith(BESIDE)


def _by_name(path: Path, **how: Any) -> Any:
    import nibabel

    image = nibabel.load(path, mmap=False, **how)
    if path.suffix.lower() in pairs.PAIR:
        pairs.check(image, path)
    return image


def opened_frames(path: Path) -> Any:
    """The library's own image of several frames; voxels of NIfTI stay on the disk until a frame is asked for."""
    with _named(path.name):
        if _by_nibabel(path):
            whole.check_gzip(path)  # of its checksum no single frame knows
            # kept open, since each frame would else unpack the file from its start
            return _by_name(path, keep_file_open=True)
        import SimpleITK as sitk

        with quiet_itk(), itk_name(path) as itks:
            reader = sitk.ImageFileReader()
            reader.SetFileName(itks)
            reader.ReadImageInformation()
            _check_frames(reader, path.name)
            return _whole_itk(path, reader.Execute())


def _check_frames(reader: SimpleITK.ImageFileReader, name: str) -> None:
    """All frames are loaded at once; three or four values of eight bits are a colour."""
    import SimpleITK as sitk

    kind, values = sitk.GetPixelIDValueAsString(reader.GetPixelID()), reader.GetNumberOfComponents()
    if values in (3, 4) and "8-bit" in kind:
        raise InputError(f"Voxels of type {kind}", "are colours", "Give a grey-scale image, not RGB.")
    bits = next((b for b in (8, 16, 64) if f"{b}-bit" in kind), 32)
    checks.memory([*reader.GetSize(), values], bits // 8, name)


def frames_in(image: Any) -> tuple[int, float | None]:
    """How many, and the seconds of one where the header tells them."""
    if hasattr(image, "dataobj"):
        shape = tuple(int(n) for n in image.shape)
        if len(shape) > 4 and max(shape[4:]) > 1:
            raise InputError(f"Image of size {shape}", "has more than one axis beside the three of space",
                             "Give a 4D image, its last axis the frames.")
        return (shape[3] if len(shape) > 3 else 1), _nifti_step(image)
    if image.GetDimension() == 4 and image.GetNumberOfComponentsPerPixel() == 1:
        return image.GetSize()[3], None
    return (image.GetNumberOfComponentsPerPixel() if image.GetDimension() == 3 else 1), None


def _nifti_step(image: Any) -> float | None:
    """The fourth voxel size, if it is a time; one second is what programs write that know none."""
    if not hasattr(image.header, "get_xyzt_units") or len(image.shape) < 4:
        return None
    scale = {"sec": 1.0, "msec": 1e-3, "usec": 1e-6}.get(image.header.get_xyzt_units()[1])
    step = float(image.header.get_zooms()[3])
    told = scale is not None and np.isfinite(step) and step > 0 and step * scale != 1.0
    return step * scale if told else None


def one_frame(image: Any, number: int, name: str) -> Any:
    """The 3D image of a frame, counted from 0."""
    with _named(name):
        if hasattr(image, "dataobj"):
            return image.slicer[:, :, :, number] if len(image.shape) > 3 else image
        import SimpleITK as sitk

        if image.GetDimension() == 4:
            return sitk.Extract(image, [*image.GetSize()[:3], 0], [0, 0, 0, number])
        several = image.GetNumberOfComponentsPerPixel() > 1  # 3D Slicer keeps a sequence so
        return sitk.VectorIndexSelectionCast(image, number) if several else image


def in_memory(source: Any, run: Run | None = None, dtype: type | None = np.float32, called: str = "The PET") -> Loaded:
    """An image of nibabel or SimpleITK."""
    return of_image(source, f"The {type(source).__name__} given", run, dtype, called)


def of_image(image: Any, name: str, run: Run | None = None, dtype: type | None = np.float32, called: str = "The PET"
             ) -> Loaded:  # fmt: skip
    """Array, grid and stated unit of an image of nibabel or SimpleITK; `dtype=None` keeps the stored type.

    Errors name the file, but warnings, which stand in reports, what it is `called`: a name may hold the patient's.
    """
    library = type(image).__module__.split(".")[0]
    with _named(name):
        if library == "nibabel" and hasattr(image, "dataobj"):
            loaded = of_nibabel(image, name, dtype)
        elif library == "SimpleITK" and hasattr(image, "GetDirection"):
            loaded = of_sitk(image, name, dtype)
        else:
            raise InputError(name, "is not an image this program can read",
                             "Give a file, a DICOM folder, a SimpleITK or nibabel image, or a Volume.")
        if run is not None:
            _tell_place(image, called, run)
        return loaded


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Whatever a library raises on a damaged file becomes an InputError with the file's name."""
    try:
        yield
    except PETDiffusionError as error:
        if name in error.what:
            raise
        raise type(error)(f"{name}: {error.what}", error.why, error.remedy) from error
    except MemoryError:
        raise
    except Exception as error:
        raise InputError(f"File {name}", f"cannot be read ({_reason(error)})",
                         "It may be damaged or incomplete: copy or export it again.") from error


_REASONS = {
    "Unable to determine ImageIO": "its content is not of this format",
    "Cannot work out file type": "its content is not of this format",
    "not a gzip file": "its content is not of this format",
    "MetaImageIO": "its voxels are missing or incomplete",
    "_nrrdEncoding": "its voxels are missing or incomplete",
    "end-of-stream": "its voxels are incomplete",
    "CRC check failed": "its voxels are damaged",
    "Incorrect length of data": "its voxels are damaged",
    "while decompressing": "its voxels are damaged",
}


def _reason(error: Exception) -> str:
    """The library's reason in plain words where it is a usual one, else its first line."""
    text = str(error).strip()
    plain = next((words for part, words in _REASONS.items() if part in text), None)
    return plain or (text.splitlines()[0] if text else type(error).__name__)


def of_nibabel(image: nibabel.Nifti1Image, name: str, dtype: type | None) -> Loaded:
    shape = _one_frame(image.shape, SEVERAL if dtype is not None else _ONE_MAP)
    if not _is_plain(image.get_data_dtype()):
        raise InputError(f"Voxels of type {image.get_data_dtype()}", "are not single real numbers",
                         "Give a grey-scale image, not RGB or complex.")
    _refuse_label_intent(image, dtype)
    checks.memory(shape, image.get_data_dtype().itemsize, name)
    geometry = Geometry.from_affine(shape, LPS_FROM_RAS @ in_mm(image, image.affine))
    with np.errstate(over="ignore", invalid="ignore"):
        values = _voxels(image, dtype)
    return values.reshape(shape, order="A").transpose(2, 1, 0), geometry, None


def _voxels(image: nibabel.Nifti1Image, dtype: type | None) -> np.ndarray:
    """All of them. nibabel stops at the last one and never compares the checksum of gzip, which stands behind it."""
    stored = image.dataobj
    file = str(getattr(stored, "file_like", ""))
    if image.in_memory or not file.lower().endswith(whole.GZIPPED):
        return np.asarray(stored) if dtype is None else image.get_fdata(caching="unchanged", dtype=dtype)
    with gzip.open(file) as stream:
        spec = (stored.shape, stored.dtype, stored.offset, stored.slope, stored.inter)
        values = np.asarray(type(stored)(stream, spec), dtype)
        whole.to_the_end(stream)
    return values


def _refuse_label_intent(image: nibabel.Nifti1Image, dtype: type | None) -> None:
    header = image.header
    if dtype is not None and "intent_code" in header and int(header["intent_code"]) == _NIFTI_LABEL_INTENT:
        raise InputError("The image", "says that it is a label map (NIfTI intent 1002)", "Give it as labels.")


def _is_plain(dtype: np.dtype) -> bool:
    return dtype.fields is None and dtype.kind in "biuf"


def _one_frame(shape: Sequence[int], remedy: str = SEVERAL) -> tuple[int, int, int]:
    """The three spatial sizes; further axes must have length one."""
    sizes = tuple(int(n) for n in shape)
    if len(sizes) < 3:
        raise InputError(f"Image of {len(sizes)} dimensions {sizes}", "a 3D image is needed", "Give the whole volume.")
    if min(sizes) < 1:
        raise InputError(f"Image of size {sizes}", "there are no voxels in it", "Export the image again.")
    frames = int(np.prod(sizes[3:]))
    if frames > 1:
        raise InputError(f"Image of size {sizes}", f"holds {frames} frames or channels", remedy)
    return sizes[:3]


def says_place(image: Any) -> bool:
    """Whether the header says where the image lies in the patient; where it does not, the libraries make a place up."""
    codes = _codes(image)
    if codes is not None:
        return any(codes)
    return nrrd.says_place(image) if hasattr(image, "HasMetaDataKey") else True


def _codes(image: Any) -> tuple[int, int] | None:
    """Those of NIfTI's two positions, sform and qform; 0 is none."""
    header = getattr(image, "header", None)
    if not hasattr(header, "get_xyzt_units"):
        return None
    return int(header["sform_code"]), int(header["qform_code"])


def _tell_place(image: Any, called: str, run: Run) -> None:
    """Where the header leaves a choice, or all of it."""
    if not says_place(image):
        run.warn(f"{called}: the header does not say where it lies in the patient; left and right may be swapped.")
    if all(_codes(image) or (0, 0)):
        gap = _largest_gap(image.shape, in_mm(image, image.get_sform()), in_mm(image, image.get_qform()))
        if gap > _AGREE_MM:
            run.warn(f"{called}: its two positions (sform and qform) differ by up to {gap:.1f} mm; sform is used.")


def _largest_gap(shape: Sequence[int], one: np.ndarray, other: np.ndarray) -> float:
    corners = np.array([[x, y, z, 1] for x in (0, 1) for y in (0, 1) for z in (0, 1)], float)
    corners[:, :3] *= np.asarray(shape[:3]) - 1
    return float(np.linalg.norm((corners @ (one - other).T)[:, :3], axis=1).max())


def _read_itk(path: Path) -> SimpleITK.Image:
    import SimpleITK as sitk

    with quiet_itk(), itk_name(path) as itks:
        reader = sitk.ImageFileReader()
        reader.SetFileName(itks)
        reader.ReadImageInformation()
        if reader.GetNumberOfComponents() > 1 and _SEGMENT in reader.GetMetaDataKeys():
            raise InputError(path.name, *LAYERS)
        _check_itk(reader.GetSize(), reader.GetNumberOfComponents(), reader.GetPixelID(), path.name)
        return _whole_itk(path, reader.Execute())


def _whole_itk(path: Path, image: SimpleITK.Image) -> SimpleITK.Image:
    values = image.GetNumberOfPixels() * image.GetNumberOfComponentsPerPixel()
    whole.check_metaimage(path, values * image.GetSizeOfPixelComponent())
    return nrrd.in_mm(path, image)


def _check_itk(size: Sequence[int], components: int, pixel: int, name: str) -> None:
    import SimpleITK as sitk

    kind = sitk.GetPixelIDValueAsString(pixel)
    if components != 1 or "complex" in kind or "label" in kind:
        raise InputError(f"Voxels of type {kind} with {components} components", "are not single real numbers",
                         "Give a grey-scale image with one frame, not RGB, complex or a list of frames.")
    bits = next((b for b in (8, 16, 64) if f"{b}-bit" in kind), 32)
    checks.memory(_one_frame(size), bits // 8, name)


def of_sitk(image: SimpleITK.Image, name: str, dtype: type | None) -> Loaded:
    import SimpleITK as sitk

    _check_itk(image.GetSize(), image.GetNumberOfComponentsPerPixel(), image.GetPixelID(), name)
    if dtype is not None and _SEGMENT in image.GetMetaDataKeys():
        raise InputError("The image", "is a segmentation of 3D Slicer", "Give it as labels.")
    while image.GetDimension() > 3:
        image = sitk.Extract(image, [*image.GetSize()[:-1], 0], [0] * image.GetDimension())
    if any(abs(v) > 1e30 for v in (*image.GetSpacing(), *image.GetOrigin())):
        raise GeometryError(f"Spacing {image.GetSpacing()} mm", "cannot be", "Export the image again.")
    return sitk.GetArrayFromImage(image), Geometry.of_sitk(image), _stated_unit(image)


def _stated_unit(image: SimpleITK.Image) -> str | None:
    stated = {key.lower(): image.GetMetaData(key) for key in image.GetMetaDataKeys()}
    return next((stated[key] for key in _UNIT_KEYS if stated.get(key, "").strip()), None)


def header_of(path: Path) -> Any:
    """What ITK reads of a NRRD or MetaImage file before its voxels."""
    import SimpleITK as sitk

    with _named(path.name), quiet_itk(), itk_name(path) as itks:
        reader = sitk.ImageFileReader()
        reader.SetFileName(itks)
        reader.ReadImageInformation()
        return reader


def own_field(image: Any) -> str | None:
    """What this program wrote into the header of a NRRD or MetaImage file."""
    if hasattr(image, "HasMetaDataKey") and image.HasMetaDataKey(HEADER_KEY):
        return image.GetMetaData(HEADER_KEY)
    return None


@contextmanager
def quiet_itk() -> Iterator[None]:
    """ITK writes warnings to the terminal; errors still come as exceptions."""
    import SimpleITK as sitk

    shown = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalWarningDisplay(shown)
