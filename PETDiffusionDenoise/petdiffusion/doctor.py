"""What this machine can run, and why not the rest; changes nothing and asks no network."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from importlib import metadata, util
from typing import Any

NEEDED = {
    "numpy": "numpy",
    "scipy": "scipy",
    "SimpleITK": "SimpleITK",
    "nibabel": "nibabel",
    "pydicom": "pydicom",
    "pysuv": "pysuv",
    "scikit-image": "skimage",
    "matplotlib": "matplotlib",
    "mahotas": "mahotas",
    "psutil": "psutil",
}
OPTIONAL = {
    "torch": ("torch", "Simulation and all learned methods need it: pip install torch."),
    "highdicom": ("highdicom", "DICOM SEG and structured reports: pip install petdiffusion[seg]."),
    "lightning-fabric": ("lightning_fabric", "Training: pip install petdiffusion[train]."),
    "open_clip_torch": ("open_clip", "Text prompts: pip install petdiffusion[text]."),
    "TotalSegmentator": ("totalsegmentator", "Organs from CT or MR: pip install petdiffusion[organs]."),
    "ray": ("ray", "Batches over a cluster: pip install petdiffusion[cluster]."),
    "nilearn": ("nilearn", "Digital brains: pip install petdiffusion[brain]."),
}


def examine() -> dict[str, Any]:
    """Checks as rows (name, ok, found, remedy), the devices, and a verdict in one sentence."""
    needed = [_package(name, module, f"Run: pip install {name}") for name, module in NEEDED.items()]
    rows = [_python(), *needed, *(_package(n, m, r) for n, (m, r) in OPTIONAL.items()), _memory(), _disk(), _models()]
    devices = _devices()
    rows += [{"name": f"device {d['name']}", "ok": True, "found": d["text"], "remedy": ""} for d in devices]
    usable = all(row["ok"] for row in [_python(), *needed])
    return {
        "usable": usable,
        "checks": rows,
        "devices": devices,
        "methods": _methods(),
        "verdict": _verdict(usable, rows),
    }


def _verdict(usable: bool, rows: list[dict[str, Any]]) -> str:
    if not usable:
        return "The program cannot run here: see the lines marked -- above."
    missing = [row["name"] for row in rows if not row["ok"]]
    return f"Ready. Not available: {', '.join(missing)}." if missing else "Ready: everything is available."


def _python() -> dict[str, Any]:
    ok = sys.version_info >= (3, 11)
    return {
        "name": "Python",
        "ok": ok,
        "found": f"{platform.python_version()} on {platform.system()}",
        "remedy": "" if ok else "Python 3.11 or newer is needed.",
    }


def _package(name: str, module: str, remedy: str) -> dict[str, Any]:
    try:
        present = util.find_spec(module) is not None
        version = metadata.version(name) if present else "not installed"
    except (metadata.PackageNotFoundError, ValueError, ImportError):
        present, version = False, "not installed"
    return {"name": name, "ok": present, "found": version, "remedy": "" if present else remedy}


def _memory() -> dict[str, Any]:
    try:
        import psutil
    except ImportError:
        return {"name": "memory", "ok": False, "found": "unknown", "remedy": "Run: pip install psutil"}

    free = psutil.virtual_memory().available / 1e9
    return {
        "name": "memory",
        "ok": free > 4,
        "found": f"{free:.1f} GB free",
        "remedy": "" if free > 4 else "A whole-body scan needs about 4 GB: close other programs.",
    }


def _disk() -> dict[str, Any]:
    free = shutil.disk_usage(os.getcwd()).free / 1e9
    return {
        "name": "disk",
        "ok": free > 1,
        "found": f"{free:.1f} GB free in this folder",
        "remedy": "" if free > 1 else "Make space before a run.",
    }


def _models() -> dict[str, Any]:
    from .errors import ModelError
    from .zoo import store

    faults = store.broken()
    for model in store.models().values():
        try:
            model.verify()
        except ModelError as error:
            faults.append(error)
    if faults:
        return {"name": "models", "ok": False, "found": str(faults[0]), "remedy": faults[0].remedy}
    names = ", ".join(store.models()) or "none (classical methods need none)"
    return {"name": "models", "ok": True, "found": names, "remedy": ""}


def _devices() -> list[dict[str, Any]]:
    """What networks can run on here, the first the one that is chosen by itself."""
    if util.find_spec("torch") is None or util.find_spec("psutil") is None:
        return []
    from .infer import device

    facts = device.describe()
    return [_device(name, device.free_memory(name), facts) for name in device.available_devices()]


def _device(name: str, free: int, facts: dict[str, Any]) -> dict[str, Any]:
    speed = "bf16" if facts["bf16"] else "float32"
    chosen = f", chosen: {facts['name']}, {speed}, {facts['threads']} threads" if name == facts["device"] else ""
    title = facts["name"] if name == facts["device"] else name.upper()
    return {"name": name, "title": title, "free_gb": round(free / 1e9, 1), "text": f"{free / 1e9:.1f} GB free{chosen}"}


def _methods() -> list[dict[str, Any]]:
    from . import registry
    from .zoo import store

    return [
        {
            "name": card.name,
            "ready": not card.needs_model or bool(store.models(card.name)),
            "why": "" if not card.needs_model or store.models(card.name) else "no model is installed for it",
        }
        for card in registry.cards().values()
    ]
