"""`petdiffusion segment`."""

from __future__ import annotations

import argparse
from typing import Any

from .. import segmenting
from ..errors import InputError
from ..progress import Run
from ..request import FORMATS, Result
from .common import add_device, add_output, add_reporting, add_unit, add_weight, options_of, shown, table


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "segment",
        help="find lesions and organs, without denoising",
        description="Write masks of lesions and organs of a PET and their numbers. The scan may be at any dose; it is "
        "measured as it is.",
    )
    parser.add_argument("pet", metavar="PET", help="a file or a DICOM folder")
    parser.add_argument("--method", metavar="M", default=segmenting.METHOD,
                        help=f"one of {', '.join(segmenting.methods())} (default %(default)s)")  # fmt: skip
    parser.add_argument("--option", metavar="NAME=VALUE", action="append", default=[],
                        help="a setting of the method, such as threshold=0.4")  # fmt: skip
    parser.add_argument("--ct", metavar="CT", help="CT of the same patient: organs are drawn by it too")
    parser.add_argument("--labels", metavar="L", help="organ labels: tell where lesions lie")
    add_unit(parser)
    add_weight(parser)
    parser.add_argument("--model", metavar="ID", help="id or path of the model")
    add_device(parser)
    parser.add_argument("--format", choices=FORMATS, default="nifti",
                        help="of the masks; dicom adds SEG files and a structured report")  # fmt: skip
    add_output(parser)
    add_reporting(parser)
    parser.set_defaults(execute=_segment)


def _segment(args: argparse.Namespace, run: Run) -> int:
    if not args.pet.strip():
        raise InputError("No PET", "the path is empty", "Give a file or a DICOM folder.")
    result = segmenting.segment(args.pet, args.method, out=args.out, overwrite=args.overwrite, run=run, ct=args.ct,
                                labels=args.labels, unit=args.unit, weight_kg=args.weight_kg, model=args.model,
                                device=args.device, format=args.format,
                                options=options_of(args.method, args.option))  # fmt: skip
    say_masks(result, args, run)
    return 0


def say_masks(result: Result, args: argparse.Namespace, run: Run) -> None:
    """The numbers of lesions and organs and where the files are; as one JSON event for programs."""
    if args.json_lines:
        run.report({"event": "result", "files": dict(result.files), "tables": dict(result.tables),
                    "warnings": list(result.warnings), "record": dict(result.record)})  # fmt: skip
        return
    from ..measure.cautions import cautions

    print(f"\n{table(shown('clinical', result.tables['clinical']))}")
    if check := cautions(result.tables, denoised=False):
        print("\nCheck before relying on these numbers\n" + "\n".join(f"  - {text}" for text in check))
    print("\nMarks of a method, no diagnosis. For research use only.")
    for name in ("organs", "lesions", "dicom_masks", "record"):
        if name in result.files:
            print(f"  {name:12} {result.files[name]}")
