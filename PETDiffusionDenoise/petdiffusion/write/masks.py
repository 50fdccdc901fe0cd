"""The files of a segmentation alone: masks, their tables and the run record, moved into place together."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from ..methods.contract import MethodCard
from ..progress import Run, finite
from ..request import Result
from . import labels, outputs, staging, tables

TABLES = ("clinical", "marks_left_out", "lesions", "lesion_totals", "organs")


def write(result: Result, sources: Sequence[str], card: MethodCard, out: Path, overwrite: bool,
          run: Run) -> dict[str, str]:  # fmt: skip
    """Write into `out`; returns the files by name."""
    format_ = result.record["request"]["format"]
    suffix = outputs.SUFFIX[format_]
    old = outputs.earlier_files(out) if overwrite else []
    with staging.Staging(out, list(sources), overwrite, last=outputs.RECORD, obsolete=old) as folder:
        files = {"organs": labels.write(result.organs, folder / f"organs{suffix}"),
                 "lesions": labels.write(result.lesions, folder / f"lesions{suffix}")}  # fmt: skip
        (folder / "tables").mkdir()
        for name in TABLES:
            if rows := result.tables.get(name):
                files[f"table_{name}"] = tables.write_csv(rows, folder / "tables" / f"{name}.csv")
        if format_ == "dicom":
            files |= outputs.masks_as_dicom(result, card, folder, run)
            result = outputs.with_warnings(result, run)
        files["record"] = folder / outputs.RECORD
        names = {name: path.relative_to(folder).as_posix() for name, path in files.items()}
        record = finite({**result.record, "files": names})
        files["record"].write_text(json.dumps(record, indent=2, allow_nan=False, default=str) + "\n", encoding="utf-8")
        run.check()
    return {name: str(Path(out) / relative) for name, relative in names.items()}
