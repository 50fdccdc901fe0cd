"""`petdiffusion dynamic`."""

from __future__ import annotations

import argparse
from typing import Any

from ..progress import Run
from .common import add_device, add_method, add_output, add_reporting, add_unit, add_weight, options_of, table

SHOWN = ("frame", "start_s", "seconds", "local_noise_percent_low", "local_noise_percent_denoised", "body_mean_low",
         "body_mean_denoised")  # fmt: skip


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "dynamic",
        help="denoise every frame of a dynamic or gated PET",
        description="Denoise every frame of a dynamic or gated PET: one 4D image, curves of organs and lesions over "
        "time, and a report. Goes on where it was stopped.",
    )
    parser.add_argument("pet", metavar="PET", help="a 4D file, or the DICOM folder of all frames")
    add_method(parser)
    parser.add_argument("--frames", metavar="N-M", help="some of them, counted from 1, such as 10-24 or 1,3-5")
    parser.add_argument("--each", action="store_true", help="denoise each frame by itself, as gates are; time frames "
                        "are else led by the denoised mean of all")  # fmt: skip
    images = parser.add_argument_group("other images, for all frames, on any grid")
    images.add_argument("--ct", metavar="CT", help="CT of the same patient")
    images.add_argument("--mr", metavar="MR", help="MR of the same patient")
    images.add_argument("--labels", metavar="L", help="organ labels, for curves of organs")
    images.add_argument("--lesions", metavar="M", help="lesion mask, for curves of lesions")
    parametric = parser.add_argument_group("rate of uptake")
    parametric.add_argument("--patlak", metavar="BLOOD", help="also Ki of every voxel and region by Patlak's line; "
                            "BLOOD is an organ of --labels such as aorta, or a CSV of time_s and value")  # fmt: skip
    parametric.add_argument("--patlak-from", type=float, metavar="MIN", default=20.0,
                            help="from so many minutes after the injection on (default 20)")  # fmt: skip
    more = parser.add_argument_group("settings")
    add_unit(more)
    add_weight(more)
    more.add_argument("--model", metavar="ID", help="id or path of the model")
    more.add_argument("--seed", type=int, default=0, metavar="S")
    add_device(more)
    more.add_argument("--workers", type=int, metavar="N", help="frames at a time (default 1)")
    add_output(parser)
    add_reporting(parser)
    parser.set_defaults(execute=_dynamic)


def _dynamic(args: argparse.Namespace, run: Run) -> int:
    from ..dynamic import denoise_frames

    fields = ("frames", "patlak", "patlak_from", "unit", "weight_kg", "workers", "overwrite", "ct", "mr", "labels",
              "lesions", "model", "seed", "device")  # fmt: skip
    lead = False if args.each else None
    result = denoise_frames(args.pet, args.out, args.method, lead=lead, run=run,
                            options=options_of(args.method, args.option),
                            **{name: getattr(args, name) for name in fields})  # fmt: skip
    if args.json_lines:
        run.report({"event": "result", "files": result.files, "tables": result.tables, "warnings": result.warnings,
                    "record": result.record})  # fmt: skip
        return 0
    rows = [{name: row.get(name) for name in SHOWN} for row in result.tables["frames"]]
    print(f"\nFrames\n{table(rows, limit=60)}")
    if check := result.record["check"]:
        print("\nCheck before relying on these numbers\n" + "\n".join(f"  - {text}" for text in check))
    print(f"\n{result.record['method']['title']}: {run.whole:.1f} s in all. For research use only.")
    for name, file in result.files.items():
        print(f"  {name:20} {file}")
    return 0
