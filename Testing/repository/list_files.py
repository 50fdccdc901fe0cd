"""Keeps the file list of PETDiffusionDenoise/CMakeLists.txt equal to the folder.

python Testing/repository/list_files.py           says what differs
python Testing/repository/list_files.py --write   writes the list
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MODULE = ROOT / "PETDiffusionDenoise"
CMAKE = MODULE / "CMakeLists.txt"
SKIPPED = ("__pycache__", "petdiffusion.egg-info", ".ipynb_checkpoints", "CMakeLists.txt")
RESOURCES = (".json", ".safetensors", ".css", ".html", ".csv", ".md", ".txt", ".ui", ".png", ".svg", ".npz", ".gz")
LISTS = {"MODULE_PYTHON_SCRIPTS": (".py",), "MODULE_PYTHON_RESOURCES": RESOURCES}


def in_folder(endings: tuple[str, ...]) -> list[str]:
    found = [path.relative_to(MODULE).as_posix() for path in MODULE.rglob("*") if path.suffix in endings]
    return sorted(name for name in found if not any(part in name.split("/") for part in SKIPPED))


def in_cmake(variable: str) -> list[str]:
    block = re.search(rf"set\({variable}\n(.*?)\n  \)", CMAKE.read_text(encoding="utf-8"), re.DOTALL)
    return [line.strip() for line in block.group(1).splitlines()] if block else []


def differences() -> list[str]:
    said = []
    for variable, endings in LISTS.items():
        listed, present = set(in_cmake(variable)), set(in_folder(endings))
        said += [f"{variable} lacks {name}" for name in sorted(present - listed)]
        said += [f"{variable} names {name}, which is not there" for name in sorted(listed - present)]
    return said


def write() -> None:
    text = CMAKE.read_text(encoding="utf-8")
    for variable, endings in LISTS.items():
        lines = "\n".join(f"  {name}" for name in in_folder(endings))
        text = re.sub(rf"set\({variable}\n.*?\n  \)", f"set({variable}\n{lines}\n  )", text, flags=re.DOTALL)
    CMAKE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    if "--write" in sys.argv:
        write()
    left = differences()
    print("\n".join(left) or "The list is complete.")
    sys.exit(bool(left))
