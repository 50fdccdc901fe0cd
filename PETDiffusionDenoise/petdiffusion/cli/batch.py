"""`petdiffusion batch`."""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path
from typing import Any

from .. import registry
from ..progress import Run
from ..request import FORMATS
from .common import add_device, add_reporting, add_unit, options_of, shown, table


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "batch",
        help="denoise many cases from a manifest; resumes where it was stopped",
        description="MANIFEST.csv has a column 'pet' and may have id, ct, mr, labels, lesions, reference, unit, "
        "dose_fraction, weight_kg, text, method and seed. Paths are relative to the manifest.",
    )
    parser.add_argument("manifest", metavar="MANIFEST.csv")
    parser.add_argument("--out", required=True, metavar="DIR", help="gets a folder per case and summary.csv")
    parser.add_argument("--method", metavar="M", default=registry.DEFAULT_METHOD)
    parser.add_argument("--option", metavar="NAME=VALUE", action="append", default=[])
    parser.add_argument("--engine", choices=("local", "ray"), default="local")
    parser.add_argument("--address", metavar="A", help="of the Ray cluster; 'auto' finds a running one")
    parser.add_argument("--workers", type=int, metavar="N",
                        help="cases at a time (default: 1 here, and as many on a Ray cluster as it holds)")  # fmt: skip
    parser.add_argument("--model", metavar="ID")
    parser.add_argument("--seed", type=int, default=0, metavar="S")
    add_device(parser)
    parser.add_argument("--format", choices=FORMATS, default="nifti")
    parser.add_argument("--no-report", action="store_true", help="leave the HTML reports out")
    parser.add_argument("--overwrite", action="store_true", help="do finished cases again")
    add_unit(parser)
    add_reporting(parser)
    parser.set_defaults(execute=_batch)


def _batch(args: argparse.Namespace, run: Run) -> int:
    from ..batch import run_batch

    fields = ("unit", "model", "seed", "device", "format")
    rows = run_batch(
        args.manifest,
        args.out,
        args.method,
        engine=args.engine,
        workers=args.workers,
        address=args.address,
        report=not args.no_report,
        overwrite=args.overwrite,
        run=run,
        options=options_of(args.method, args.option),
        **{name: getattr(args, name) for name in fields},
    )
    count = Counter(row["status"] for row in rows)
    files = {"summary": str(Path(args.out) / "summary.csv")}
    if args.json_lines:
        run.report({"event": "result", "files": files, "tables": {"summary": rows}, "warnings": run.warnings})
    else:
        print(table(shown("summary", rows), limit=40))
        print(f"\n{', '.join(f'{n} {status}' for status, n in count.items())}. Summary: {files['summary']}")
    return 1 if count["failed"] or count["refused"] else 0
