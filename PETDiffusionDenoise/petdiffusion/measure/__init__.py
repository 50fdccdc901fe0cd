"""Numbers: image quality, texture, organs, lesions, segmentation, agreement, statistics and calibration.

Every function is pure and takes arrays, volumes or label maps. A number always comes back with the settings it was
computed with. Where a number is not defined (an empty region, a flat image) it is None in rows and NaN from functions.
"""

from .case import tables

__all__ = ["tables"]
