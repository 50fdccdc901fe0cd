"""Paste into Slicer's Python console: a batch over many patients.

Every case gets a folder with images, tables and a run record. A case that fails is listed with its reason and does not
stop the others. If it is stopped (or the computer is), the same lines go on where it was.
"""

from pathlib import Path

import slicer

data = Path("D:/PET")  # one folder per patient, each with pet.nii.gz and, if there is one, ct.nii.gz
cases = [{"id": folder.name, "pet": folder / "pet.nii.gz",
          "ct": folder / "ct.nii.gz" if (folder / "ct.nii.gz").exists() else None}
         for folder in sorted(data.iterdir()) if (folder / "pet.nii.gz").exists()]

logic = slicer.modules.petdiffusiondenoise.logic()
summary = logic.denoiseBatch(cases, data / "denoised", method="nlm")
for row in summary:
    print(row)
