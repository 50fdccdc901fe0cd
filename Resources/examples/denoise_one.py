"""Paste into Slicer's Python console (View > Python Console): denoise one PET and look at the numbers.

Put the names of your own volumes in the first two lines.
"""

import slicer

pet = slicer.util.getNode("PET")
ct = slicer.util.getNode("CT")

logic = slicer.modules.petdiffusiondenoise.logic()
nodes = logic.denoise(pet, method="csrd", ct=ct, samples=3, seed=1)  # samples=0: no uncertainty map, much faster

print("Denoised volume:", nodes.denoised.GetName())
print("Uncertainty:", nodes.uncertainty.GetName() if nodes.uncertainty else "none")
print("Model:", nodes.record["details"]["model"])
print("Warnings:", nodes.warnings or "none")
print("Look again:", *nodes.record["check"], sep="\n  ")
for name, table in nodes.tables.items():
    print(f"Table of {name}:", table.GetNumberOfRows(), "rows")
