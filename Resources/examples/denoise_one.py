"""Paste into Slicer's Python console (View > Python Console): denoise one PET and look at the numbers.

Put the names of your own volumes in the first two lines.
"""

import slicer

pet = slicer.util.getNode("PET")
ct = slicer.util.getNode("CT")

logic = slicer.modules.petdiffusiondenoise.logic()
nodes = logic.denoise(pet, method="nlm", ct=ct, seed=1)

print("Denoised volume:", nodes.denoised.GetName())
print("Warnings:", nodes.warnings or "none")
for name, table in nodes.tables.items():
    print(f"Table of {name}:", table.GetNumberOfRows(), "rows")
