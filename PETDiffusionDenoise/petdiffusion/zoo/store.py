"""Where models are found, and how they get in and out: bundled, then the user's folder, then a path.

Every model is checked against its SHA-256 before use. Nothing is downloaded, nothing is unpickled.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

from ..errors import ModelError
from ..write import moving
from .card import ModelCard, methods_said

BUNDLED = Path(__file__).parent
LARGEST_ARCHIVE = 8 << 30


@dataclass(frozen=True)
class Model:
    """A card and the weights beside it."""

    card: ModelCard
    weights: Path
    bundled: bool

    def verify(self) -> Model:
        """Itself, if the weights are the ones the card was written for."""
        found = sha256(self.weights)
        if found != self.card.sha256:
            raise ModelError(
                f"Model {self.card.id}",
                f"its weights have SHA-256 {found[:12]}…, its card says {self.card.sha256[:12]}…",
                "The file is damaged or was changed: add the model again from its source.",
            )
        return self


def sha256(path: Path) -> str:
    if not path.is_file():
        raise ModelError(f"Weights {path.name}", "are missing beside their card", "Add the model again.")
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def user_folder() -> Path:
    """`$PETDIFFUSION_MODELS`, or `.petdiffusion/models` in the user's home."""
    return Path(os.environ.get("PETDIFFUSION_MODELS") or Path.home() / ".petdiffusion" / "models")


def models(method: str | None = None) -> dict[str, Model]:
    """All sound models by id. A user's model may not take a bundled one's id; broken cards are left out."""
    found = {model.card.id: model for model in reversed([m for m in _all() if isinstance(m, Model)])}
    return {id_: m for id_, m in sorted(found.items()) if method in (None, *m.card.methods)}


@dataclass(frozen=True)
class _Broken:
    error: ModelError
    methods: tuple[str, ...]
    """That it names; none where nobody can tell."""
    name: str
    """Its file's, which is its id where this program put it there."""


def broken(method: str | None = None) -> list[ModelError]:
    """What is wrong with the cards that cannot be used: all for `doctor`, or those that may be this method's."""
    found = [one for one in _all() if isinstance(one, _Broken)]
    return [one.error for one in found if method is None or not one.methods or method in one.methods]


def _all() -> list[Model | _Broken]:
    """Bundled models first; hidden files (as some systems leave beside copies) do not count."""
    found: list[Model | _Broken] = []
    for folder, bundled in ((BUNDLED, True), (user_folder(), False)):
        for path in sorted(folder.glob("[!.]*.json")) if folder.is_dir() else ():
            try:
                found.append(Model(ModelCard.read(path), path.with_suffix(".safetensors"), bundled))
            except ModelError as error:
                found.append(_Broken(error, methods_said(path), path.stem))
    return found


def find(id_or_path: str, method: str | None = None) -> Model:
    """A verified model by id, or by the path of its card or weights."""
    model = _named(id_or_path)
    if model is None:
        for one in _all():
            if isinstance(one, _Broken) and one.name == id_or_path:
                raise one.error
        raise ModelError(
            f"Model '{id_or_path}'",
            f"is not one of {', '.join(models()) or 'none installed'}",
            "See 'petdiffusion models list', or give the path of its .safetensors.",
        )
    if method not in (None, *model.card.methods):
        raise ModelError(
            f"Model '{model.card.id}'",
            f"belongs to {' and '.join(model.card.methods)}, not to {method}",
            f"Choose --method {model.card.method}, or another model.",
        )
    return model.verify()


def _named(id_or_path: str) -> Model | None:
    known, path = models(), Path(id_or_path).expanduser()
    if id_or_path in known:
        return known[id_or_path]
    if path.suffix not in (".json", ".safetensors") or not path.exists():
        return None
    return Model(ModelCard.read(path.with_suffix(".json")), path.with_suffix(".safetensors"), False)


def card_of(id_or_path: str) -> ModelCard | None:
    """What the card says that stands for this model now, its weights unread; None where there is no such model."""
    model = _named(id_or_path)
    return None if model is None else model.card


def add(source: str | Path) -> Model:
    """Copy a model (card, weights, folder or zip with one of each) into the user's folder, checked first."""
    path = Path(source).expanduser()
    if not path.exists():
        raise ModelError(f"Model source {path.name}", "does not exist", "Give a folder, a zip or a .safetensors.")
    with tempfile.TemporaryDirectory() as scratch:
        folder, stem = _opened(path, Path(scratch))
        model = Model(ModelCard.read(folder / f"{stem}.json"), folder / f"{stem}.safetensors", False).verify()
        if model.card.id in models():
            raise ModelError(
                f"Model '{model.card.id}'",
                "is installed already",
                f"Remove it first: petdiffusion models remove {model.card.id}",
            )
        _check_safetensors(model.weights)
        return _install(model)


def _install(model: Model) -> Model:
    target = user_folder()
    target.mkdir(parents=True, exist_ok=True)
    weights, card = (target / f"{model.card.id}{suffix}" for suffix in (".safetensors", ".json"))
    for origin, place in ((model.weights, weights), (model.weights.with_suffix(".json"), card)):
        aside = place.with_name(f".{place.name}.partial")
        shutil.copyfile(origin, aside)
        moving.replace(aside, place)
    return Model(model.card, weights, False)


def _opened(path: Path, scratch: Path) -> tuple[Path, str]:
    """Folder and stem of the one model in a folder, a zip or a file."""
    if path.suffix.lower() == ".zip":
        _unpack(path, scratch)
        folder = scratch
    elif path.is_dir():
        folder = path
    else:
        return path.parent, path.stem
    cards = sorted(p for p in folder.glob("*.json"))
    if len(cards) != 1:
        raise ModelError(
            f"Model source {path.name}", f"holds {len(cards)} cards (.json), one is needed", "Give one model at a time."
        )
    return folder, cards[0].stem


def _unpack(archive: Path, scratch: Path) -> None:
    """Only plain files named like a model, only their last name, never more than the limit."""
    try:
        with zipfile.ZipFile(archive) as zipped:
            wanted = [
                i
                for i in zipped.infolist()
                if Path(i.filename).suffix in (".json", ".safetensors")
                and not i.is_dir()
                and not Path(i.filename).name.startswith(".")
            ]
            if sum(i.file_size for i in wanted) > LARGEST_ARCHIVE:
                raise ModelError(
                    f"Archive {archive.name}", "would unpack to more than 8 GB", "Give the unpacked folder."
                )
            for info in wanted:
                with zipped.open(info) as source, (scratch / Path(info.filename).name).open("xb") as target:
                    shutil.copyfileobj(source, target)
    except (zipfile.BadZipFile, zlib.error, EOFError, FileExistsError, RuntimeError) as error:
        raise ModelError(
            f"Archive {archive.name}", f"cannot be unpacked ({error})", "Give a sound zip of one model."
        ) from None


def _check_safetensors(path: Path) -> None:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="numpy") as tensors:
            list(tensors.keys())
    except (SafetensorError, OSError) as error:
        raise ModelError(
            f"Weights {path.name}",
            f"are not a safetensors file ({error})",
            "Give the .safetensors that belongs to the card.",
        ) from None


def remove(id_: str) -> None:
    """Delete a model from the user's folder; bundled ones stay."""
    known = models()
    if id_ not in known:
        raise ModelError(
            f"Model '{id_}'", f"is not one of {', '.join(known) or 'none installed'}", "See 'petdiffusion models list'."
        )
    if known[id_].bundled:
        raise ModelError(f"Model '{id_}'", "is bundled with the program", "Only models that you added can be removed.")
    known[id_].weights.unlink(missing_ok=True)
    known[id_].weights.with_suffix(".json").unlink()
