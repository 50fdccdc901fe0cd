"""A backend that answers as the real one does, or goes wrong in one of the ways that real ones do."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path


def say(event: str, **values: object) -> None:
    print(json.dumps({"event": event, **values}), flush=True)


def value_of(flag: str) -> str:
    return sys.argv[sys.argv.index(flag) + 1]


def begin() -> None:
    say("stage", stage="denoise", text="Denoising: fake")
    say("progress", stage="denoise", fraction=0.5, seconds_left=12.0)


def success(warnings: tuple[str, ...] = ("A warning.",), begun: bool = False, extra: dict | None = None) -> None:
    """Halves the PET; the uncertainty is a tenth of it; everything above its mean is a lesion."""
    import SimpleITK as sitk

    if not begun:
        begin()
    for text in warnings:
        say("warning", text=text)
    out = Path(value_of("--out"))
    out.mkdir(parents=True)
    pet = sitk.ReadImage(sys.argv[2])
    files = {"denoised": pet * 0.5, "uncertainty": pet * 0.1, "lesions": sitk.Cast(pet > 4.0, sitk.sitkInt16)}
    files |= {name: pet * 0.2 for name in (extra or {}).get("images", ())}
    files |= {name: sitk.Cast(pet > 5.0, sitk.sitkInt16) for name in (extra or {}).get("masks", ())}
    for name, image in files.items():
        image.EraseMetaData("petdiffusion")
        if "lesions" in name:
            image.SetMetaData("petdiffusion", json.dumps({"labels": {"1": "lesion 1"}}))
        sitk.WriteImage(image, str(out / f"{name}.mha"))
    rows = [
        {
            "lesion": "lesion 1",
            "number": 1,
            "organ": "",
            "centre_x_mm": -3.0,
            "centre_y_mm": 4.0,
            "centre_z_mm": 5.0,
            "volume_ml": 2.0,
            "unit": "SUVbw",
            "SUVmax_low": 8.0,
            "SUVmax_denoised": 4.0,
        }
    ]
    say(
        "result",
        files={name: str(out / f"{name}.mha") for name in files},
        tables={"lesions": rows, "image": [{"metric": "CoV", "low": 1.0}], **(extra or {}).get("tables", {})},
        warnings=list(warnings),
        record={
            "version": "9.9",
            "request": {"pet": sys.argv[2]},
            "argv": sys.argv[1:],
            "details": {"model": "tiny-1", "plan": {"device": "cpu", "patches": 4}},
            "check": ["The mean of the liver changed.", f"Check 3 is a long {'-' * 99} sentence."],
        },
    )


def explains() -> None:
    """A method that says what it looked at, and which prompt it was guided by."""
    prompts = [{"z_mm": z, "prompt": f"height {z:g} mm"} for z in (0.0, 40.0, 80.0)]
    success(extra={"images": ["grad_cam"], "tables": {"prompts": prompts}})


def marks() -> None:
    """A method that marks lesions itself, beside those that it was given."""
    found = [{"what": "lesion", "name": "lesion 1", "volume_ml": 2.0, "SUVmax": 8.0, "hottest_x_mm": 1.0,
              "hottest_y_mm": 2.0, "hottest_z_mm": 3.0},
             {"what": "total", "name": "all lesions", "lesions": 1}]  # fmt: skip
    success(extra={"masks": ["lesions_marked"], "tables": {"clinical": found}})


def measures_organs() -> None:
    """A row for an organ that was given, and one for an organ that the method found itself."""
    success(extra={"tables": {"organs": [{"organ": "liver", "label": 1, "volume_ml": 0.5, "SUVmean_low": 1.0},
                                         {"organ": "spleen", "label": 7, "volume_ml": 0.2, "SUVmean_low": 1.0}]}})


def draws() -> None:
    """Organs among the files: those it was given, or a method's own."""
    success(extra={"masks": ["organs"]})


def wrong_grid(name: str = "denoised") -> None:
    import SimpleITK as sitk

    success()
    out = Path(value_of("--out")) / f"{name}.mha"
    image = sitk.ReadImage(str(out))
    image.SetOrigin([v + 5 for v in image.GetOrigin()])
    sitk.WriteImage(image, str(out))


def half_a_result() -> None:
    """The last of the images is wrong, when the first are already in the scene."""
    wrong_grid("lesions")


def named_error() -> None:
    begin()
    say("error", error={"type": "ModelError", "what": "Model 'x'", "why": "is damaged", "remedy": "Add it again."})
    sys.exit(1)


def garbage() -> None:
    sys.stdout.buffer.write(b'\xff\xfe{\x00not json\n{"event": "unknown"}\n{broken\n' + b"x" * 100_000 + b"\n")
    for _ in range(20_000):
        print("noise")
    sys.exit(0)


def out_of_memory() -> None:
    begin()
    os.kill(os.getpid(), signal.SIGKILL)


def crash() -> None:
    print("about to fail", file=sys.stderr, flush=True)
    os.kill(os.getpid(), signal.SIGSEGV)


def hang() -> None:
    begin()
    time.sleep(600)


def stubborn() -> None:
    """Ignores Ctrl-C and has a child that ignores it too and has left the process group."""
    code = "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); time.sleep(600)"
    child = subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    begin()
    print(f"grandchild {child.pid}", flush=True)
    time.sleep(600)


def orphan() -> None:
    """Ends at once, while a child keeps its output open."""
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(15)"], start_new_session=True)
    named_error()


def polite() -> None:
    """Listens before it says a word, so that whoever has heard it can cancel it."""
    try:
        begin()
        time.sleep(600)
    except KeyboardInterrupt:
        print("stopping", flush=True)
        sys.exit(130)


def nothing() -> None:
    begin()


def missing_package() -> None:
    import a_package_that_is_not_installed  # noqa: F401


def crash_after_result() -> None:
    success()
    os.kill(os.getpid(), signal.SIGSEGV)


def endless_line() -> None:
    begin()
    while True:
        sys.stdout.write("x" * 65536)


def slow() -> None:
    """Takes two seconds and reports as it goes."""
    say("stage", stage="denoise", text="Denoising: fake")
    for i in range(20):
        say("progress", stage="denoise", fraction=i / 20, seconds_left=2.0 - i / 10)
        time.sleep(0.1)
    success(begun=True)


def not_numbers() -> None:
    import SimpleITK as sitk

    success()
    out = Path(value_of("--out")) / "denoised.mha"
    sitk.WriteImage(sitk.ReadImage(str(out)) * float("nan"), str(out))


def doctor() -> None:
    print(
        json.dumps(
            {
                "usable": True,
                "verdict": "Ready.",
                "checks": [
                    {"name": "Python", "ok": True, "found": "3.12", "remedy": ""},
                    {"name": "torch", "ok": False, "found": "not installed", "remedy": "pip install torch"},
                ],
                "devices": [
                    {"name": "cuda", "title": "NVIDIA H200", "free_gb": 100.0,
                     "text": "100.0 GB free, chosen: NVIDIA H200, bf16, 8 threads"},
                    {"name": "cpu", "title": "CPU", "free_gb": 12.5, "text": "12.5 GB free"},
                ],
                "methods": [],
            }
        )
    )


def models() -> None:
    """`models add` believes paths that end in .zip."""
    if sys.argv[2] == "add" and not sys.argv[3].endswith(".zip"):
        print("ModelError: The source holds 0 cards (.json), one is needed.", file=sys.stderr)
        sys.exit(1)
    print(f"Did {' '.join(sys.argv[2:])}")


def simulate() -> None:
    """A patient of 6x5x4 voxels; the low dose depends on the seed."""
    import numpy as np
    import SimpleITK as sitk

    say("stage", stage="draw", text="Drawing the patient")
    out = Path(value_of("--out"))
    out.mkdir(parents=True)
    files = {}
    fraction = value_of("--fraction").split(",")[1]
    anatomy = {"ct": -50.0, "mr": 300.0}
    for name, value in {f"low_{fraction}": 1.0, "normal": 1.1, **anatomy}.items():
        image = sitk.GetImageFromArray(np.full((4, 5, 6), value, np.float32))
        image.SetSpacing((float(value_of("--spacing")),) * 3)
        files[name] = str(out / f"{name}.nii.gz")
        sitk.WriteImage(image, files[name])
    labels = np.zeros((4, 5, 6), np.int16)
    labels[1:3, 1:3, 1:3] = 5
    for name, title in (("organs", "liver"), ("lesions", "lesion 1")):
        image = sitk.GetImageFromArray(labels)
        image.SetSpacing((float(value_of("--spacing")),) * 3)
        files[name] = str(out / f"{name}.nii.gz")
        sitk.WriteImage(image, files[name])
        (out / f"{name}.json").write_text(json.dumps({"labels": {"5": title}}))
    say("result", files=files)


def batch() -> None:
    """Denoises what ends in `good`, fails for the rest."""
    import csv

    rows = list(csv.DictReader(open(sys.argv[2], encoding="utf-8")))
    done = [
        {
            "id": row["id"],
            "status": "done" if row["pet"].endswith("good") else "failed",
            "error": "" if row["pet"].endswith("good") else "File cannot be read.",
        }
        for row in rows
    ]
    say("stage", stage="batch", text=f"{len(rows)} case{'' if len(rows) == 1 else 's'}")
    say("result", files={"summary": "summary.csv"}, tables={"summary": done}, warnings=[], argv=sys.argv[1:])
    sys.exit(1 if any(row["status"] == "failed" for row in done) else 0)


COMMANDS = {"doctor": doctor, "models": models, "simulate": simulate, "batch": batch}

if __name__ == "__main__":
    mode = os.environ.get("FAKE_BACKEND", "success")
    if (mode == "success" and sys.argv[1] in COMMANDS) or sys.argv[1] == "doctor":
        COMMANDS[sys.argv[1]]()
    else:
        globals()[mode]()
