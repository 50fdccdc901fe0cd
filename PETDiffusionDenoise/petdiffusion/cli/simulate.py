"""`petdiffusion simulate patient|dose|dataset`."""

from __future__ import annotations

import argparse
from typing import Any

from ..errors import OptionError
from ..progress import Run
from .common import LISTED, add_output, add_reporting, add_unit, add_weight


def add(commands: Any) -> None:
    parser = commands.add_parser("simulate", help="digital patients, and low-dose versions of real scans")
    actions = parser.add_subparsers(dest="what", required=True, metavar="WHAT")
    for name, adder in (("patient", _patient), ("dose", _dose), ("dataset", _dataset)):
        sub = actions.add_parser(name, help=adder.__doc__)
        adder(sub)
        add_output(sub)
        add_reporting(sub)


def _patient(parser: argparse.ArgumentParser) -> None:
    """a digital patient: true activity, CT, MR, organs, lesions and scans of it"""
    parser.add_argument("--seed", type=int, default=1, metavar="S")
    parser.add_argument("--kind", choices=("body", "brain"), default="body")
    parser.add_argument("--tracer", default="FDG", help="FDG, or DASB for the brain")
    parser.add_argument("--spacing", **LISTED, metavar="MM[,MM,MM]",
                        help="voxel size; three numbers (x, y, z) for a body")  # fmt: skip
    parser.add_argument("--lesions", type=int, metavar="N", help="0 to 30; drawn if not given")
    body = parser.add_argument_group("of a body", "drawn from the seed where not given")
    body.add_argument("--arms", choices=("up", "down"))
    body.add_argument("--sex", choices=("F", "M"))
    body.add_argument("--field", choices=("body", "trunk"), help="vertex to mid-thigh (default), or chin to groin")
    brain = parser.add_argument_group("of a brain")
    brain.add_argument("--field-mm", **LISTED, metavar="X,Y,Z", help="field of view (default 256,256,180)")
    scan = parser.add_argument_group("of the scan")
    scan.add_argument(
        "--fraction", **LISTED, default="1,0.1", metavar="F[,F…]", help="dose fractions to scan (default %(default)s)"
    )
    scan.add_argument("--preset", metavar="SCANNER", help="scanner to imitate")
    scan.add_argument(
        "--counts", type=float, metavar="N", help="true counts that the scanner records of the normal dose, in all"
    )
    scan.add_argument("--nested", action="store_true", help="low doses are part of the normal dose's events")
    parser.set_defaults(execute=_run_patient)


def _dose(parser: argparse.ArgumentParser) -> None:
    """a low-dose version of a real or digital scan"""
    parser.add_argument("image", metavar="PET")
    parser.add_argument(
        "--fraction", type=float, required=True, metavar="F", help="such as 0.1 for a tenth of the dose"
    )
    parser.add_argument("--seed", type=int, default=1, metavar="S")
    parser.add_argument("--preset", metavar="SCANNER", help="scanner to imitate")
    parser.add_argument(
        "--counts", type=float, metavar="N",
        help="true counts of the whole scan as the scanner recorded them: prompts less randoms and scatter",
    )
    parser.add_argument("--ct", metavar="CT", help="for attenuation")
    add_unit(parser)
    add_weight(parser)
    parser.set_defaults(execute=_run_dose)


def _dataset(parser: argparse.ArgumentParser) -> None:
    """many digital patients with scans, a manifest and fixed splits"""
    parser.add_argument("--n", type=int, required=True, metavar="N", help="number of patients")
    parser.add_argument("--kind", choices=("body", "brain"), default="body")
    parser.add_argument("--tracer", **LISTED, default="FDG", metavar="TRACER[,TRACER…]",
                        help="several are dealt out in turn")  # fmt: skip
    parser.add_argument("--split", choices=("train", "validation", "test", "mixed"), default="train")
    parser.add_argument("--fraction", **LISTED, default="1,0.25,0.1", metavar="F[,F…]")
    parser.add_argument("--spacing", type=float, metavar="MM")
    parser.add_argument("--preset", **LISTED, metavar="SCANNER[,SCANNER…]", help="several are dealt out in turn")
    parser.add_argument("--first-seed", type=int, default=0, metavar="S", help="offset within the split's seeds")
    parser.add_argument("--workers", type=int, default=1, metavar="W")
    parser.set_defaults(execute=_run_dataset)


def _fractions(text: str) -> tuple[float, ...]:
    return _numbers(text, "Dose fractions", "1,0.25,0.1")


def _numbers(text: str, what: str, such_as: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise OptionError(f"{what} '{text}'", "are not numbers with commas between", f"Write {such_as}.") from None


def _spacing(text: str | None) -> float | tuple[float, ...] | None:
    """One number for a cube, or one along each axis."""
    if text is None:
        return None
    sizes = _numbers(text, "Voxel sizes", "4 or 2,2,3")
    return sizes[0] if len(sizes) == 1 else sizes


def _choices(args: argparse.Namespace) -> dict[str, Any]:
    """What was chosen about the patient's anatomy and field of view."""
    chosen = {"arms": args.arms, "sex": args.sex, "field": args.field}
    if args.field_mm is not None:
        chosen["field_mm"] = _numbers(args.field_mm, "Lengths of the field", "256,256,180")
    return {name: value for name, value in chosen.items() if value is not None}


def _names(text: str | None) -> tuple[str, ...]:
    return tuple(part.strip() for part in (text or "").split(",") if part.strip())


def _said(files: dict[str, Any], args: argparse.Namespace, run: Run) -> None:
    if args.json_lines:
        run.report({"event": "result", "files": {k: str(v) for k, v in files.items()}})
    else:
        print("\n".join(f"  {name:14} {path}" for name, path in files.items()))


def _run_patient(args: argparse.Namespace, run: Run) -> None:
    from ..phantoms import commands

    _said(
        commands.simulate_patient(
            args.kind,
            args.seed,
            args.out,
            tracer=args.tracer,
            spacing_mm=_spacing(args.spacing),
            fractions=_fractions(args.fraction),
            preset=args.preset,
            lesions=args.lesions,
            counts=args.counts,
            nested=args.nested,
            choices=_choices(args),
            overwrite=args.overwrite,
            run=run,
        ),
        args,
        run,
    )


def _run_dose(args: argparse.Namespace, run: Run) -> None:
    from ..phantoms import commands

    _said(
        commands.simulate_dose(
            args.image,
            args.fraction,
            args.seed,
            args.out,
            preset=args.preset,
            counts=args.counts,
            ct=args.ct,
            unit=args.unit,
            weight_kg=args.weight_kg,
            overwrite=args.overwrite,
            run=run,
        ),
        args,
        run,
    )


def _run_dataset(args: argparse.Namespace, run: Run) -> None:
    from ..phantoms import commands

    _said(
        commands.simulate_dataset(
            args.out,
            args.n,
            kind=args.kind,
            tracers=_names(args.tracer),
            split=args.split,
            fractions=_fractions(args.fraction),
            spacing_mm=args.spacing,
            presets=_names(args.preset) or (None,),
            first_seed=args.first_seed,
            workers=args.workers,
            run=run,
        ),
        args,
        run,
    )
