"""Paste into Slicer's Python console: set the panel from a script, then click Denoise yourself."""

import slicer

slicer.util.selectModule("PETDiffusionDenoise")
settings = slicer.modules.petdiffusiondenoise.logic().parameters()
settings.pet = slicer.util.getNode("PET")
settings.method = "gaussian"
settings.set_options("gaussian", {"fwhm_mm": 6.0})
settings.make_difference = True
