"""The command `petdiffusion`. Importing it loads neither torch nor an image library."""

from .app import main

__all__ = ["main"]
