"""`petdiffusion quantify`, `compare` and `convert`: numbers and files without denoising."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..progress import Run
from ..suv.injection import MOMENTS
from .common import add_output, add_reporting, add_unit, add_weight, shown, table


def add(commands: Any) -> None:
    _add_quantify(commands)
    _add_compare(commands)
    _add_convert(commands)


def _add_quantify(commands: Any) -> None:
    parser = commands.add_parser("quantify", help="SUVs, MTV and TLG of organs and lesions in a PET")
    parser.add_argument("pet", metavar="PET")
    parser.add_argument("--labels", metavar="L", help="organ labels")
    parser.add_argument("--lesions", metavar="M", help="lesion mask; each connected part is a lesion")
    parser.add_argument(
        "--find-lesions",
        type=float,
        metavar="SUV",
        help="take every connected region above this SUV as a lesion; physiological uptake included",
    )
    parser.add_argument("--reference", metavar="REF", help="normal-dose PET, for columns beside")
    add_unit(parser)
    add_weight(parser)
    add_output(parser, "folder for the tables")
    add_reporting(parser)
    parser.set_defaults(execute=_quantify)


def _add_compare(commands: Any) -> None:
    parser = commands.add_parser("compare", help="image quality of one or more PETs against a reference")
    parser.add_argument("images", metavar="PET", nargs="+")
    parser.add_argument("--reference", metavar="REF", required=True)
    parser.add_argument("--labels", metavar="L", help="organ labels, for bias per organ, drawn on the reference")
    parser.add_argument("--lesions", metavar="M", help="lesion mask, drawn on the reference")
    parser.add_argument("--register", action="store_true", help="move each image rigidly onto the reference first; "
                        "labels and lesions stay where they are")  # fmt: skip
    add_unit(parser)
    add_weight(parser)
    add_output(parser, "folder for the tables")
    add_reporting(parser)
    parser.set_defaults(execute=_compare)


def _add_convert(commands: Any) -> None:
    parser = commands.add_parser("convert", help="change format or unit: DICOM to NIfTI, Bq/ml to SUV")
    parser.add_argument("image", metavar="IN")
    parser.add_argument("target", metavar="OUT", help="file ending in .nii.gz, .nii, .nrrd, .mha; with --like a folder")
    parser.add_argument("--role", choices=("pet", "ct", "mr", "labels"), default="pet", help="what the image is")
    parser.add_argument("--to", choices=("SUVbw", "Bq/ml"), help="unit of the result")
    parser.add_argument("--frames", metavar="N-M", help="of a dynamic or gated PET: one image of these frames, their "
                        "mean weighted by how long each lasted, such as 3 or 10-24")  # fmt: skip
    parser.add_argument("--like", metavar="DICOM", help="folder of a DICOM PET on the same grid: OUT becomes a DICOM "
                        "series derived from it, of its patient and study")  # fmt: skip
    parser.add_argument("--only", metavar="NAME", action="append", default=[], help="of a label map, a SEG or an "
                        "RTSTRUCT: keep this structure, repeatable")  # fmt: skip
    parser.add_argument("--overwrite", action="store_true", help="replace OUT")
    add_unit(parser)
    add_weight(parser)
    lost = parser.add_argument_group("SUV of a PET in Bq/ml whose file lost dose and times (the new file tells them)")
    lost.add_argument("--dose-mbq", type=float, metavar="MBQ", help="injected, less what stayed in the syringe")
    lost.add_argument("--uptake-minutes", type=float, metavar="MIN", help="from the injection to the start of the scan")
    lost.add_argument("--nuclide", metavar="N", help="such as F-18, where the file does not say it")
    lost.add_argument("--corrected-to", choices=MOMENTS, help="moment that the image is corrected for decay to "
                      "(default: the start of the scan)")  # fmt: skip
    lost.add_argument("--suv-factor", type=float, metavar="F", help="instead: what Bq/ml are multiplied by to give SUV")
    add_reporting(parser)
    parser.set_defaults(execute=_convert)


def _quantify(args: argparse.Namespace, run: Run) -> None:
    from .. import quantifying

    rows = quantifying.quantify(
        args.pet,
        labels=args.labels,
        lesions=args.lesions,
        find_above_suv=args.find_lesions,
        reference=args.reference,
        unit=args.unit,
        weight_kg=args.weight_kg,
        run=run,
    )
    _finish(rows, args, run)


def _compare(args: argparse.Namespace, run: Run) -> None:
    from .. import quantifying

    rows = quantifying.compare(
        args.images,
        args.reference,
        labels=args.labels,
        lesions=args.lesions,
        unit=args.unit,
        weight_kg=args.weight_kg,
        register=args.register,
        run=run,
    )
    _finish(rows, args, run)


def _finish(tables: dict[str, list[dict[str, Any]]], args: argparse.Namespace, run: Run) -> None:
    from ..write import staging
    from ..write import tables as files

    with staging.Staging(args.out, overwrite=args.overwrite) as folder:
        names = [files.write_csv(rows, folder / f"{name}.csv").name for name, rows in tables.items() if rows]
    written = {name.removesuffix(".csv"): str(Path(args.out) / name) for name in names}
    if args.json_lines:
        run.report({"event": "result", "files": written, "tables": tables, "warnings": run.warnings})
        return
    for name, rows in tables.items():
        if rows:
            print(f"\n{name.capitalize().replace('_', ' ')}\n{table(shown(name, rows))}")
    print("\n" + "\n".join(f"  {name:13} {path}" for name, path in written.items()))


def _convert(args: argparse.Namespace, run: Run) -> None:
    from .. import quantifying

    path = quantifying.convert(
        args.image,
        args.target,
        role=args.role,
        unit=args.unit,
        weight_kg=args.weight_kg,
        to=args.to,
        frames=args.frames,
        like=args.like,
        only=args.only,
        dose_mbq=args.dose_mbq,
        uptake_minutes=args.uptake_minutes,
        nuclide=args.nuclide,
        corrected_to=args.corrected_to,
        suv_factor=args.suv_factor,
        overwrite=args.overwrite,
        run=run,
    )
    if args.json_lines:
        run.report({"event": "result", "files": {"image": str(path)}, "warnings": run.warnings})
    else:
        print(path)
