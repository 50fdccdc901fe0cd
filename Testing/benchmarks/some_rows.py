"""Some rows of a benchmark's table beside each other on its own patients, without waiting for all others.

    python Testing/benchmarks/some_rows.py csrd body --rows low,unet-ct,restormer-ct,csrd-ct-mean --patients 8
    python Testing/benchmarks/some_rows.py csrd real --rows low,unet-ct,restormer-ct,csrd-ct-mean --real SCANS

Patients, doses, metrics and finished cases are those of `petdiffusion bench`, which gives the same numbers. The last
row named is what the others are tested against, over the rows named. What the whole table is expected to show is left
out.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

from petdiffusion.infer.device import prepare_process

prepare_process()

from petdiffusion.bench import render  # noqa: E402
from petdiffusion.bench.contract import Bench  # noqa: E402
from petdiffusion.bench.papers import paper  # noqa: E402
from petdiffusion.bench.run import REAL, Ask, bench  # noqa: E402
from petdiffusion.progress import Run  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paper")
    parser.add_argument("table", help="a table's name, or real")
    parser.add_argument("--rows", required=True, help="names, separated by commas")
    parser.add_argument("--patients", type=int)
    parser.add_argument("--real")
    parser.add_argument("--workers", type=int, default=1)
    args = parser.parse_args()
    names = args.rows.split(",")
    definition = narrowed(paper(args.paper), args.table, names)
    command = f"python Testing/benchmarks/some_rows.py {args.paper} {args.table} --rows {args.rows}"
    command += f" --patients {args.patients}" if args.patients else ""
    command += " --real DIR" if args.real else ""
    ask = Ask(patients=args.patients, parts=(args.table,), real=args.real, workers=args.workers, command=command)
    print(render.page(bench(definition, ask, Run())))


def narrowed(definition: Bench, name: str, rows: list[str]) -> Bench:
    """The paper with one table of these rows."""
    whole = definition.real if name == REAL else definition.table(name)
    some = replace(whole, rows=tuple(map(whole.row, rows)), champion=rows[-1], claims=())
    if name == REAL:
        return replace(definition, real=some, tables=(), curve=None)
    return replace(definition, tables=(some,), real=None, curve=None)


if __name__ == "__main__":
    main()
