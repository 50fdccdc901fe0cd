"""Digital brains: the MNI152 maps deformed, refilled and surrounded by a head, from a seed."""

from .drawing import FIELD_MM, draw
from .names import BRAIN, whole

__all__ = ["BRAIN", "FIELD_MM", "draw", "whole"]
