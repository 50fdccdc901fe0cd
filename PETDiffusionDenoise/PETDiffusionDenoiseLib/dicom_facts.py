"""Run by the Python that computes: what the headers of a PET's DICOM files tell, as one line of JSON.

    python dicom_facts.py LIST

LIST is a JSON file with the paths: a scan's would be too long for a command line on Windows. Needs `petdiffusion` and
nothing of Slicer's.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path


def main(listing: str) -> None:
    import pydicom
    from petdiffusion.errors import PETDiffusionError
    from petdiffusion.progress import Run
    from petdiffusion.read import enhanced
    from petdiffusion.read.dicom import pet_facts
    from petdiffusion.suv import factor_from_dicom

    files = json.loads(Path(listing).read_text(encoding="utf-8"))
    headers = [ds for file in files
               for ds in enhanced.classic(pydicom.dcmread(file, stop_before_pixels=True), Path(file).name)]  # fmt: skip
    run = Run()
    answer = {"facts": {**pet_facts(headers, Path(), run).to_json(), "source": None}}
    try:
        answer["factor"] = factor_from_dicom(headers)
        answer["doubts"] = run.warnings
    except PETDiffusionError as error:
        answer |= {"problem": f"{error.what}: {error.why}.", "remedy": "Enter the SUV factor if you know it."}
    print(json.dumps(answer))


if __name__ == "__main__":
    main(sys.argv[1])
