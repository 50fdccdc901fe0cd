"""The Slicer side of PETDiffusion: the only code that touches slicer, qt and ctk."""
