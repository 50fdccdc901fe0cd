"""What this machine can run, and why not the rest; changes nothing and asks no network."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Mapping
from importlib import util
from typing import Any

from .packages import ABSENT, NETWORKS, PACKAGES, Package, at_least
from .wording import counted


def examine() -> dict[str, Any]:
    """Checks as rows (name, ok, found, remedy), the devices, and a verdict in one sentence."""
    packages = {package.name: _package(package) for package in PACKAGES}
    rows = [_python(), *packages.values(), _memory(), _disk(), _models()]
    devices = _devices()
    rows += [{"name": f"device {d['name']}", "ok": True, "found": d["text"], "remedy": ""} for d in devices]
    usable = all(row["ok"] for row in [_python(), *(packages[p.name] for p in PACKAGES if p.needed)])
    return {
        "usable": usable,
        "checks": rows,
        "devices": devices,
        "methods": _methods(packages),
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


def _package(package: Package) -> dict[str, Any]:
    found = package.found()
    ok = found != ABSENT and at_least(found, package.least)
    said = found if ok or found == ABSENT else f"{found}, but {package.least} or newer is needed"
    return {"name": package.name, "ok": ok, "found": said, "remedy": "" if ok else package.remedy()}


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
    threads = counted(facts["threads"], "thread")
    chosen = f", chosen: {facts['name']}, {speed}, {threads}" if name == facts["device"] else ""
    title = facts["name"] if name == facts["device"] else name.upper()
    return {"name": name, "title": title, "free_gb": round(free / 1e9, 1), "text": f"{free / 1e9:.1f} GB free{chosen}"}


def _methods(packages: Mapping[str, dict[str, Any]]) -> list[dict[str, Any]]:
    from . import registry

    lacking = [f"{name} ({packages[name]['found']})" for name in NETWORKS if not packages[name]["ok"]]
    found = []
    for card in registry.cards().values():
        why = _why_not(card, lacking)
        found.append({"name": card.name, "ready": not why, "why": why})
    return found


def _why_not(card: Any, lacking: list[str]) -> str:
    """Empty where the method can run here."""
    from .zoo import store

    if card.runs_networks and lacking:
        return f"it needs {' and '.join(lacking)}"
    return "no model is installed for it" if card.needs_model and not store.models(card.name) else ""
