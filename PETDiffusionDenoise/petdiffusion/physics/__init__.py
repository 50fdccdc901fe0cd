"""PET physics: projector, reconstruction, counting statistics, attenuation, scanners and dose reduction.

Import the modules themselves (`petdiffusion.physics.dose`, ...); they load torch, this file does not.
"""
