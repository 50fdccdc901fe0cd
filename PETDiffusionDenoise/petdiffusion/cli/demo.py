"""`petdiffusion demo`: the main job on a digital patient, from nothing to a report."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from .. import registry
from ..progress import Run
from .common import add_reporting
from .denoise import say_result


def add(commands: Any) -> None:
    parser = commands.add_parser("demo", help="denoise a digital patient and show where the results are")
    parser.add_argument(
        "--out", default="demo-output", metavar="DIR", help="default %(default)s; an earlier demo in it is replaced"
    )
    parser.add_argument("--method", metavar="M", default=registry.DEFAULT_METHOD)
    parser.add_argument("--seed", type=int, default=7, metavar="S", help="of the digital patient")
    parser.add_argument("--fraction", type=float, default=0.1, metavar="F", help="dose fraction (default a tenth)")
    add_reporting(parser)
    parser.set_defaults(execute=_demo)


def _demo(args: argparse.Namespace, run: Run) -> int:
    from ..demo import PATIENT, demo

    result = demo(args.out, args.method, args.seed, args.fraction, run)
    say_result(result, args, run)
    if not args.json_lines:
        print(f"  {'patient':14} {Path(args.out) / PATIENT} (scans at both doses, CT, MR and labels, to try more on)")
    return 0
