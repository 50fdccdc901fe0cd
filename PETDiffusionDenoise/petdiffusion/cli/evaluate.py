"""`petdiffusion evaluate`."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import Any

from ..errors import OptionError
from ..progress import Run
from .common import LISTED, add_device, add_reporting, add_unit, assignments, name_alone, options_of, table


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "evaluate",
        help="compare methods on many cases: tables, tests, plots, a report and a methods paragraph",
        description="CASES.csv is a manifest of `petdiffusion batch` with a column 'pet'; it may have id, ct, mr, "
        "labels, lesions, reference, unit, dose_fraction (or fraction), weight_kg, text and seed, and no 'method': "
        "--methods names them. With 'reference' images, organs and lesions are compared with the normal dose. "
        "'patient' joins the scans of one person, 'data' (or 'kind') names the kind of data; simulated and real are "
        "never put together. What was finished is not done again.",
    )
    parser.add_argument("--manifest", required=True, metavar="CASES.csv")
    parser.add_argument("--methods", required=True, metavar="A,B,…", **LISTED,
                        help="the first is what others are tested against; A@fast is A once more, with options or a "
                        "model of its own")  # fmt: skip
    parser.add_argument("--out", required=True, metavar="DIR", help="gets report.html, tables and all runs")
    parser.add_argument("--baseline", metavar="M", help="another method that others are tested against")
    parser.add_argument("--option", metavar="METHOD.NAME=VALUE", action="append", default=[])
    parser.add_argument("--model", metavar="METHOD=ID", action="append", default=[])
    parser.add_argument("--engine", choices=("local", "ray"), default="local")
    parser.add_argument("--address", metavar="A", help="of the Ray cluster")
    parser.add_argument("--workers", type=int, metavar="N",
                        help="cases at a time (default: 1 here, and as many on a Ray cluster as it holds)")  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, metavar="S")
    parser.add_argument("--overwrite", action="store_true", help="do finished cases again, by all methods")
    add_device(parser)
    add_unit(parser)
    add_reporting(parser)
    parser.set_defaults(execute=_execute)


def _execute(args: argparse.Namespace, run: Run) -> int:
    from ..evaluate.run import Ask, evaluate

    models = {name.replace("_", "-"): id_ for name, id_ in assignments(args.model).items()}
    ask = Ask(Path(args.manifest), _methods(args), Path(args.out), args.baseline, _by_method(args.option), models,
              args.seed, args.device, args.unit, args.workers, args.engine, args.address, _command(args),
              args.overwrite)  # fmt: skip
    made = evaluate(ask, run)
    files = {"report": str(ask.out / "report.html"), "methods": str(ask.out / "methods.txt"),
             "tables": str(ask.out / "tables")}  # fmt: skip
    if args.json_lines:
        run.report({"event": "result", "files": files, "tables": {"failed": made.failed}, "warnings": run.warnings})
    else:
        for data, rows in made.metrics.items():
            print(f"\n{data}\n{table(_short(rows), 60)}")
        print("\n" + "\n".join(f"  {name:8} {path}" for name, path in files.items()))
    return 1 if made.failed else 0


def _methods(args: argparse.Namespace) -> tuple[str, ...]:
    return tuple(m.strip() for m in args.methods.split(",") if m.strip())


def _short(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    columns = ("metric", "method", "patients", "mean", "ci_low", "ci_high", "p_holm")
    return [{name: row.get(name) for name in columns} for row in rows]


def _by_method(pairs: list[str]) -> dict[str, dict[str, str]]:
    from ..evaluate.arms import method_of

    found: dict[str, dict[str, str]] = {}
    for pair in pairs:
        method, dot, rest = pair.partition(".")
        if not dot:
            raise OptionError(f"Option '{pair}'", "names no method", "Write for example --option nlm.strength=0.8.")
        found.setdefault(method, {}).update(options_of(method_of(method), [rest], prefix=f"{method}."))
    return found


def _command(args: argparse.Namespace) -> str:
    """What makes the same numbers, without paths of this machine; how the work is spread changes none of them."""
    from ..evaluate.run import names_alone

    words = ["petdiffusion", "evaluate", "--manifest", Path(args.manifest).name,
             "--methods", ",".join(_methods(args)), "--out", "DIR"]  # fmt: skip
    words += ["--baseline", args.baseline] if args.baseline else []
    for method, options in _by_method(args.option).items():
        for name, value in names_alone(method, options).items():
            words += ["--option", f"{method}.{name}={value}"]
    for pair in args.model:
        words += ["--model", name_alone(pair)]
    words += ["--seed", str(args.seed)] if args.seed else []
    words += ["--unit", args.unit] if args.unit else []
    words += ["--device", args.device] if args.device != "auto" else []
    return shlex.join(words)
