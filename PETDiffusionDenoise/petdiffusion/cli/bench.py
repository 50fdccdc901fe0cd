"""`petdiffusion bench PAPER`."""

from __future__ import annotations

import argparse
import os
from typing import Any

from ..bench.papers import paper, papers
from ..progress import Run
from .common import add_device, add_reporting, assignments, check_device, name_alone

VGG = "PETDIFFUSION_VGG19"


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "bench", help="a paper's own tables on digital patients, and on real scans",
        description="Makes the tables of a paper on digital patients that everyone has alike, beside the paper's own "
                    "numbers. Patients and finished results are kept in a cache, so a stopped run goes on.",
    )  # fmt: skip
    parser.add_argument("paper", metavar="PAPER", help=f"one of {', '.join(papers())}")
    parser.add_argument("--quick", action="store_true", help="few patients and doses, in minutes")
    parser.add_argument("--patients", type=int, metavar="N",
                        help="test patients of each table (default: for a whole run within an hour on two cores)")
    parser.add_argument("--only", default="", metavar="PART[,PART…]", help="some parts alone: a table, curve, real")
    parser.add_argument("--real", metavar="DIR", help="folder of real scans, measured in a table of their own")
    parser.add_argument("--vgg", metavar="FILE", help=f"weights of VGG-19 for the perceptual distance (or ${VGG})")
    parser.add_argument("--model", metavar="METHOD=ID", action="append", default=[], help="another model")
    parser.add_argument("--workers", type=int, metavar="W", help="scans at once (default: one a core)")
    add_device(parser)
    parser.add_argument("--out", metavar="DIR", help="report, tables, figure and JSON")
    parser.add_argument("--json", dest="json_file", metavar="FILE", help="all numbers and settings")
    add_reporting(parser)
    parser.set_defaults(execute=_execute, patience=5.0)


def _execute(args: argparse.Namespace, run: Run) -> None:
    from ..bench import render
    from ..bench.run import Ask, bench

    check_device(args.device)
    run.device = args.device
    parts = tuple(part.strip() for part in args.only.split(",") if part.strip())
    models = {name.replace("_", "-"): id_ for name, id_ in assignments(args.model).items()}
    vgg = args.vgg or os.environ.get(VGG) or None
    ask = Ask(args.quick, args.patients, parts, args.real, vgg, models, args.workers, args.device, args.out,
              args.json_file, _command(args))  # fmt: skip
    report = bench(paper(args.paper), ask, run)
    if args.json_lines:
        run.report({"event": "result", "report": report})
    else:
        print(render.page(report))


def _command(args: argparse.Namespace) -> str:
    """The command that makes the same numbers, without paths of this machine."""
    words = ["petdiffusion bench", args.paper]
    words += ["--quick"] if args.quick else []
    words += [f"--patients {args.patients}"] if args.patients else []
    words += [f"--only {args.only}"] if args.only else []
    words += ["--real DIR"] if args.real else []
    words += ["--vgg FILE"] if args.vgg or os.environ.get(VGG) else []
    return " ".join([*words, *(f"--model {name_alone(pair)}" for pair in args.model)])
