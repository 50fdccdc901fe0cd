"""`petdiffusion denoise` and `petdiffusion rerun`."""

from __future__ import annotations

import argparse
import os
from typing import Any

from .. import registry
from ..errors import InputError, OptionError
from ..progress import Run
from ..request import FORMATS, Result
from ..volume import DIGITAL_PATIENT, REDUCED_DOSE
from .common import add_device, add_method, add_output, add_reporting, add_unit, add_weight, options_of, shown, table
from .segment import say_masks

ALONE = "\0"
"""`--tune` without an image."""
FILES = ("report", "denoised", "uncertainty", "organs", "lesions", "lesions_marked", "dicom", "dicom_masks", "record")
SIMULATED = {
    DIGITAL_PATIENT: "A digital patient: every number here is from a simulation",
    REDUCED_DOSE: "The reduced dose of this scan is simulated",
}


def add(commands: Any) -> None:
    _add_denoise(commands)
    again = commands.add_parser("rerun", help="run a recorded job again: same settings, same result")
    again.add_argument("record", metavar="RECORD", help="record.json of an earlier run, or its folder")
    add_output(again)
    add_reporting(again)
    again.set_defaults(execute=_rerun)


def _add_denoise(commands: Any) -> None:
    parser = commands.add_parser(
        "denoise",
        help="denoise a PET and measure it",
        description="Denoise a PET and write images, tables, a report and a run record.",
    )
    parser.add_argument("pet", metavar="PET", help="low-count PET: a file or a DICOM folder")
    add_method(parser)
    images = parser.add_argument_group("other images, on any grid")
    images.add_argument("--ct", metavar="CT", help="CT of the same patient")
    images.add_argument("--mr", metavar="MR", help="MR of the same patient")
    images.add_argument("--labels", metavar="L", help="organ labels, for the tables and for methods that use them")
    images.add_argument("--lesions", metavar="M", help="lesion mask, for the lesion table")
    images.add_argument("--reference", metavar="REF", help="normal-dose PET to compare with")
    images.add_argument(
        "--tune", metavar="REF", nargs="?", const=ALONE,
        help="find the best settings against this normal-dose PET; without one, on a digital patient (bc-dpm)",
    )  # fmt: skip
    images.add_argument("--register", action="store_true",
                        help="align CT and MR rigidly to the PET first, and what was drawn on them")  # fmt: skip
    more = parser.add_argument_group("settings")
    add_unit(more)
    add_weight(more)
    more.add_argument(
        "--dose-fraction", type=float, metavar="F", help="dose or count fraction of the scan, such as 0.1"
    )
    more.add_argument("--counts", type=events, metavar="N", help="events in a slice, such as 0.3M (bc-dpm)")
    more.add_argument("--fraction", type=float, metavar="F", help="part of a normal dose, such as 0.1 (bc-dpm)")
    more.add_argument("--text", default="", help="free text for methods that take a prompt")
    more.add_argument(
        "--prompts", type=os.path.abspath, metavar="CSV",
        help="a prompt for each slice: the prompts.csv of an earlier result, edited (text-ddpm)",
    )  # fmt: skip
    more.add_argument("--model", metavar="ID", help="id or path of the model")
    more.add_argument(
        "--seed", type=int, default=0, metavar="S", help="the same seed gives the same result (default 0)"
    )
    add_device(more)
    more.add_argument(
        "--format", choices=FORMATS, default="nifti", help="of the images written; dicom adds a PET series"
    )
    more.add_argument("--no-report", action="store_true", help="leave the HTML report out")
    add_output(parser)
    add_reporting(parser)
    parser.set_defaults(execute=_denoise)


def _denoise(args: argparse.Namespace, run: Run) -> int:
    from ..run import denoise

    fields = (
        "ct",
        "mr",
        "labels",
        "lesions",
        "reference",
        "tune",
        "register",
        "unit",
        "dose_fraction",
        "weight_kg",
        "text",
        "model",
        "seed",
        "device",
        "format",
    )
    if not args.pet.strip():
        raise InputError("No PET", "the path is empty", "Give a file or a DICOM folder.")
    _say_unused(args, run)
    result = denoise(
        args.pet,
        args.method,
        out=args.out,
        overwrite=args.overwrite,
        run=run,
        report=not args.no_report,
        options=_options(args),
        **{name: getattr(args, name) for name in fields} | ({"tune": None} if args.tune == ALONE else {}),
    )
    say_result(result, args, run)
    return 0


def _say_unused(args: argparse.Namespace, run: Run) -> None:
    """An image or a text that the method does not look at is told, so that nobody credits the result to it."""
    card = registry.card(args.method)
    used = {condition.kind for condition in card.conditions}
    ends = {"ct": ("CT", "it only serves to check the position"), "mr": ("MR", "it changes nothing"),
            "text": ("text", "it changes nothing")}  # fmt: skip
    for name, (word, what) in ends.items():
        if getattr(args, name) and name not in used:
            run.warn(f"{card.title} does not use the {word}: {what}.")


def _options(args: argparse.Namespace) -> dict[str, Any]:
    """Those named with --option, and the shortcuts of methods that have options of the same name."""
    named = options_of(args.method, args.option)
    short = {name: value for name in ("counts", "fraction", "prompts") if (value := getattr(args, name)) is not None}
    if args.tune == ALONE:
        if "search" not in {option.name for option in registry.card(args.method).options}:
            raise OptionError("--tune without an image", f"is not known to {args.method}", "Write --tune REF.")
        short["search"] = True
    return {**named, **short}


def events(text: str) -> float:
    """300000, 3e5, 300k, 0.3M"""
    factor = {"k": 1e3, "m": 1e6}.get(text[-1:].lower(), 1.0)
    try:
        return float(text[:-1] if factor > 1 else text) * factor
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number of events such as 0.3M") from None


def _rerun(args: argparse.Namespace, run: Run) -> int:
    from ..rerun import is_of_masks, rerun

    result = rerun(args.record, args.out, run, overwrite=args.overwrite)
    say = say_masks if is_of_masks(result.record) else say_result
    say(result, args, run)
    return 0


def say_result(result: Result, args: argparse.Namespace, run: Run) -> None:
    """The numbers that matter and where the files are; as one JSON event for programs."""
    if args.json_lines:
        run.report(
            {
                "event": "result",
                "files": dict(result.files),
                "tables": dict(result.tables),
                "warnings": list(result.warnings),
                "check": list(result.record["check"]),
                "record": dict(result.record),
            }
        )
        return
    for name in ("image", "organs", "lesions", "lesion_totals", "clinical", "marks_left_out", "tuning"):
        if rows := result.tables.get(name):
            print(f"\n{name.capitalize().replace('_', ' ')}\n{table(shown(name, rows))}")
    if result.tables.get("tuning"):
        print("Taken: " + ", ".join(f"{name} {value}" for name, value in result.record["options"].items()))
    if check := result.record["check"]:
        print("\nCheck before relying on these numbers\n" + "\n".join(f"  - {text}" for text in check))
    if (simulated := result.low.facts.simulated) in SIMULATED:
        print(f"\n{SIMULATED[simulated]}.")
    print(f"\n{result.record['method']['title']}: {run.whole:.1f} s in all. For research use only.")
    for name in FILES:
        if name in result.files:
            print(f"  {name:14} {result.files[name]}")
