"""Practice data: digital patients drawn on this computer, kept, and checked by SHA-256 before they are loaded."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import slicer
import slicer.util
from petdiffusion import __version__
from petdiffusion.errors import InputError, PETDiffusionError
from petdiffusion.volume import SUVBW, Geometry, LabelMap
from petdiffusion.write import moving

from . import backend, colors, jobs, results, scene, units
from .process import BackendProcess, Ending
from .signals import Signal
from .widgets import later

MANIFEST = "manifest.json"
POLL_MS = 100
CATEGORY = "PET Denoising"


@dataclass(frozen=True)
class Sample:
    """A digital patient: how it is drawn, and what its images are called in the scene."""

    title: str
    kind: str
    seed: int
    spacing_mm: float
    fraction: float
    anatomy: str
    window: float

    def words(self, out: Path) -> list[str]:
        return ["simulate", "patient", "--kind", self.kind, "--seed", str(self.seed), "--spacing",
                f"{self.spacing_mm:g}", "--fraction", f"1,{self.fraction:g}", "--out", str(out), "--json-lines"]


SAMPLES = {"body": Sample("digital whole-body PET/CT", "body", 7, 5.0, 0.1, "CT", 7.0),
           "brain": Sample("digital brain PET/MR", "brain", 7, 2.5, 0.1, "MR", 12.0)}


def folder_of(name: str) -> Path:
    """Where a sample is kept: beside Slicer's other cached data, a folder per version of the program."""
    cache = slicer.mrmlScene.GetCacheManager()
    root = cache.GetRemoteCacheDirectory() if cache is not None else ""
    return Path(root or slicer.app.temporaryPath) / f"PETDiffusionSamples-{__version__}" / name


def is_sound(folder: Path) -> bool:
    """Every file is there and has the SHA-256 it had when it was made."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        return bool(manifest["sha256"]) and all(sha256(folder / n) == d for n, d in manifest["sha256"].items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def seal(folder: Path, files: Mapping[str, str]) -> None:
    """Write down what belongs to a sample, with the digest of every file."""
    digests = {p.relative_to(folder).as_posix(): sha256(p) for p in sorted(folder.rglob("*")) if p.is_file()}
    names = {role: Path(path).relative_to(folder).as_posix() for role, path in files.items()}
    (folder / MANIFEST).write_text(json.dumps({"files": names, "sha256": digests}, indent=1), encoding="utf-8")


class Making:
    """Draws a sample in a child process unless a sound one is kept, then loads it. `ended` gets nodes or an error."""

    def __init__(self, name: str, python: backend.Backend, log: Any = print) -> None:
        self.sample, self.folder = SAMPLES[name], folder_of(name)
        self.ended = Signal()
        self.outcome: dict[str, Any] | PETDiffusionError | None = None
        self._part = self.folder.with_name(f"{name}.part")
        self._process = BackendProcess(python.command(self.sample.words(self._part)), python.environment(),
                                       on_log=log, on_end=self._on_end)

    @property
    def running(self) -> bool:
        return self._process.running

    def start(self) -> None:
        if is_sound(self.folder):
            self._load()
            return
        shutil.rmtree(self._part, ignore_errors=True)
        self._part.parent.mkdir(parents=True, exist_ok=True)
        self._process.start()
        self._poll()

    def _poll(self) -> None:
        if self._process.poll():
            later(POLL_MS, self._poll)

    def wait(self) -> dict[str, Any]:
        """The nodes by role, for scripts; raises what went wrong."""
        jobs.waited(self._process)
        if isinstance(self.outcome, PETDiffusionError):
            raise self.outcome
        return self.outcome or {}

    def kill(self) -> None:
        self._process.kill()

    def _on_end(self, ending: Ending) -> None:
        if ending.result is None:
            shutil.rmtree(self._part, ignore_errors=True)
            self._finish(jobs.as_error(ending.failure) if ending.failure is not None else None)
            return
        try:
            seal(self._part, ending.result["files"])
            shutil.rmtree(self.folder, ignore_errors=True)
            moving.replace(self._part, self.folder)
        except (OSError, ValueError, KeyError) as error:
            self._finish(InputError("The practice data", f"could not be kept ({error})", "Try again."))
            return
        self._load()

    def _load(self) -> None:
        try:
            self._finish(load(self.folder, self.sample))
        except PETDiffusionError as error:
            self._finish(error)

    def _finish(self, outcome: dict[str, Any] | PETDiffusionError | None) -> None:
        self.outcome = outcome
        self.ended.emit(outcome)


def load(folder: Path, sample: Sample) -> dict[str, Any]:
    """Low and normal dose, CT or MR, organs and lesions as nodes by role, in a subject of their own."""
    files = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["files"]
    roles = roles_of(files, sample)
    tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    subject = tree.CreateSubjectItem(tree.GetSceneItemID(), f"Digital patient ({sample.kind})")
    nodes: dict[str, Any] = {}
    for role, (path, title) in roles.items():
        masks = role in ("organs", "lesions")
        made = (_load_labels(folder / path, title, nodes["low"], role) if masks
                else _load_image(folder / path, title, role, sample))
        if made is None:
            continue
        nodes[role] = made
        item = tree.GetItemByDataNode(nodes[role]) or tree.CreateItem(subject, nodes[role])
        tree.SetItemParent(item, subject)
    return nodes


def roles_of(files: Mapping[str, str], sample: Sample) -> dict[str, tuple[str, str]]:
    """The files that are loaded, with the names of their nodes; the low dose first."""
    name = f"Digital {sample.kind}"
    wanted = {"low": (f"low_{sample.fraction:g}", f"{name} PET {100 * sample.fraction:g} %"),
              "normal": ("normal", f"{name} PET 100 %"),
              "anatomy": (sample.anatomy.lower(), f"{name} {sample.anatomy}"),
              "organs": ("organs", f"{name} organs"), "lesions": ("lesions", f"{name} lesions")}
    return {role: (files[key], title) for role, (key, title) in wanted.items() if key in files}


def _read(path: Path) -> tuple[np.ndarray, Geometry]:
    import SimpleITK as sitk

    try:
        image = sitk.ReadImage(str(path))
    except RuntimeError:
        raise InputError(f"The practice image {path.name}", "cannot be read", "Make it again.") from None
    return sitk.GetArrayFromImage(image), Geometry.of_sitk(image)


def _load_image(path: Path, title: str, role: str, sample: Sample) -> Any:
    array, geometry = _read(path)
    node = scene.new_volume(array.astype(np.float32), geometry, title)
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    if role == "anatomy":
        node.SetAttribute("DICOM.Modality", sample.anatomy)
        display.SetAndObserveColorNodeID(colors.GREY)
        if sample.anatomy == "CT":
            display.SetAutoWindowLevel(False)
            display.SetWindowLevelMinMax(*colors.SOFT_TISSUE_HU)
        return node
    node.SetAttribute("DICOM.Modality", "PT")
    units.mark(node, SUVBW)
    display.SetAutoWindowLevel(False)
    display.SetWindowLevelMinMax(0.0, sample.window)
    display.SetAndObserveColorNodeID(colors.PET_COLORS)
    return node


def _load_labels(path: Path, title: str, pet: Any, role: str) -> Any | None:
    """A segmentation; None where there is nothing in it, as a healthy brain has no lesion."""
    from petdiffusion.read import label_names

    array, geometry = _read(path)
    if not array.any():
        return None
    labels = LabelMap(array, geometry, label_names.beside(path))
    inputs = results.Inputs(pet, units.find(pet))
    node = results.add_segmentation(labels, inputs, title, role == "lesions")
    node.GetDisplayNode().SetVisibility(role == "lesions")
    return node


def fetch(source: Any) -> list[Any]:
    """What Slicer's Sample Data module calls when one of ours is clicked."""
    name = next(name for name, sample in SAMPLES.items() if sample.title in source.sampleName)
    making = Making(name, backend.chosen())
    making.start()
    return list(making.wait().values())


def register() -> None:
    """Entries in the Sample Data module; nothing is made before one is clicked."""
    try:
        import SampleData
    except ImportError:
        return
    thumbnails = backend.MODULE_FOLDER / "Resources" / "Icons"
    for name, sample in SAMPLES.items():
        SampleData.SampleDataLogic.registerCustomSampleDataSource(
            category=CATEGORY, sampleName=f"PETDiffusion: {sample.title}", uris=[f"petdiffusion:{name}"],
            fileNames=[f"PETDiffusion-{name}"], nodeNames=[f"PETDiffusion {name}"], customDownloader=fetch,
            thumbnailFileName=str(thumbnails / f"Sample-{name}.png"), loadFileType=["VolumeFile"])
