"""Paste into Slicer's Python console: the same PET by several methods, each result beside the others.

A method that cannot run here says why and does not stop the rest.
"""

import slicer
from petdiffusion import registry
from petdiffusion.errors import PETDiffusionError

pet = slicer.util.getNode("PET")
logic = slicer.modules.petdiffusiondenoise.logic()

results = {}
for name, card in registry.cards().items():
    if card.family != "classical" or any(condition.required for condition in card.conditions):
        continue
    try:
        results[name] = logic.denoise(pet, method=name)
        print(f"{card.title}: done")
    except PETDiffusionError as error:
        print(f"{card.title}: {error}")
