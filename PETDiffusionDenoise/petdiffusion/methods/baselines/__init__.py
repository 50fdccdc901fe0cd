"""Classical filters: no training, no weights, right on any unit and dose because they measure the noise first.

`strength` is always in units of the noise (or of its square root's), so one default serves every scan.
"""

from __future__ import annotations

from ..contract import Condition, MethodCard, Option

_STABILISE = Option("stabilise", "bool", True,
                    "Even out the noise, which in PET grows with activity, before filtering", advanced=True)
_ANATOMY = (Condition("ct", help="Borders of organs"), Condition("mr", help="Borders of organs"))


def _strength(default: float, help_: str, tune: tuple[float, ...], maximum: float = 10.0,
              minimum: float = 0.05) -> Option:
    return Option("strength", "float", default, help_, minimum, maximum, tune=tune)


def _length(name: str, default: float, help_: str, maximum: float, tune: tuple[float, ...] = (),
            minimum: float = 0.0, advanced: bool = False) -> Option:
    return Option(name, "float", default, help_, minimum, maximum, unit="mm", tune=tune, advanced=advanced)


def _entry(module: str, function: str = "denoise") -> str:
    return f"petdiffusion.methods.baselines.{module}:{function}"


CARDS = (
    MethodCard(
        "gaussian", "Gaussian filter", "Smooths everything alike; the clinic's usual filter and the yardstick.",
        _entry("gaussian"),
        options=(_length("fwhm_mm", 6.0, "Full width at half maximum", 40.0, (3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 12.0)),),
        activity_tolerance=0.05),
    MethodCard(
        "median", "Median filter", "Median over a box; keeps edges, flattens small lesions.",
        _entry("median"),
        options=(_length("radius_mm", 5.0, "Half the box's width; rounded to whole voxels", 25.0,
                         (2.0, 4.0, 5.0, 6.0, 8.0)),),
        activity_tolerance=0.12),
    MethodCard(
        "bilateral", "Bilateral filter", "Averages neighbours of similar activity.",
        _entry("bilateral"), paper="Tomasi and Manduchi, ICCV 1998",
        options=(_length("fwhm_mm", 16.0, "Width of the neighbourhood", 40.0, (10.0, 16.0, 20.0), 1.0),
                 _strength(1.5, "Difference that still counts as alike, in units of the noise", (1.0, 1.5, 2.0, 3.0)),
                 _length("guide_fwhm_mm", 6.0, "Smoothing before activities are compared", 20.0, advanced=True),
                 _STABILISE),
        activity_tolerance=0.06),
    MethodCard(
        "nlm", "Non-local means", "Averages voxels whose surroundings look alike.",
        _entry("nlm"), paper="Buades, Coll and Morel, CVPR 2005",
        options=(_strength(1.3, "Difference of patches that still counts as alike, in units of the noise",
                           (0.7, 1.0, 1.3, 1.8, 2.4)),
                 _length("patch_mm", 10.0, "Width of the patches that are compared", 30.0, (6.0, 10.0), 1.0),
                 _length("search_mm", 16.0, "Radius of the search", 60.0, (12.0, 16.0, 20.0), 1.0),
                 Option("neighbours", "int", 400, "At most so many neighbours; a wide search is thinned out",
                        8, 20000, advanced=True),
                 _STABILISE),
        activity_tolerance=0.08),
    MethodCard(
        "tv", "Total variation", "The image with the least total gradient that still explains the data.",
        _entry("tv"), paper="Rudin, Osher and Fatemi, Physica D 1992; Beck and Teboulle, IEEE TIP 2009",
        options=(_strength(1.0, "Weight of the gradient, in units of the noise", (0.4, 0.7, 1.0, 1.4, 2.0, 2.8), 50.0),
                 Option("iterations", "int", 100, "At most so many steps; it stops when nothing changes",
                        1, 10000, advanced=True),
                 _STABILISE),
        activity_tolerance=0.1, flip_equivariant=False, equivariance_tolerance=5e-3),
    MethodCard(
        "bm3d", "BM3D", "Collaborative filtering of similar blocks, slice by slice.",
        _entry("bm3d"), paper="Dabov, Foi, Katkovnik and Egiazarian, IEEE TIP 2007",
        options=(_strength(1.1, "Assumed noise over measured noise", (0.7, 0.9, 1.1, 1.4, 1.8)),
                 Option("search", "int", 8, "Reach of the search for similar blocks, in steps within the slice",
                        1, 40, advanced=True),
                 Option("correlated", "bool", True, "Measure the correlation of the noise; off: white noise",
                        advanced=True),
                 _STABILISE),
        activity_tolerance=0.08, flip_equivariant=False, equivariance_tolerance=1e-2),
    MethodCard(
        "bm4d", "BM4D", "Collaborative filtering of similar cubes; the slowest and often the best of the filters.",
        _entry("bm3d", "denoise_cubes"), paper="Maggioni, Katkovnik, Egiazarian and Foi, IEEE TIP 2013",
        options=(_strength(1.2, "Assumed noise over measured noise", (0.7, 0.9, 1.2, 1.5, 1.9)),
                 Option("search", "int", 4, "Reach of the search for similar cubes, in steps", 1, 12, advanced=True),
                 Option("correlated", "bool", True, "Measure the correlation of the noise; off: white noise",
                        advanced=True),
                 _STABILISE),
        activity_tolerance=0.06, flip_equivariant=False, equivariance_tolerance=1e-2),
    MethodCard(
        "guided", "Guided filter", "Locally a linear function of the PET itself and, if given, of CT or MR.",
        _entry("guided"), paper="He, Sun and Tang, IEEE TPAMI 2013", conditions=_ANATOMY,
        options=(Option("guide", "str", "auto", "Image that guides beside the PET; auto: MR, else CT, else none",
                        choices=("auto", "self", "ct", "mr")),
                 _length("radius_mm", 5.0, "Half the window's width", 40.0, (4.0, 5.0, 8.0), 1.0),
                 _strength(2.0, "Differences to be smoothed away, in units of the noise", (1.0, 1.5, 2.0, 3.0)),
                 _STABILISE),
        activity_tolerance=0.05),
    MethodCard(
        "anatomy", "Anatomical filter", "Averages neighbours of the same tissue in CT or MR (Bowsher).",
        _entry("anatomy"), paper="Bowsher et al., IEEE NSS 2004", conditions=_ANATOMY,
        options=(Option("guide", "str", "auto", "Image that shows the tissue; auto: MR, else CT",
                        choices=("auto", "ct", "mr")),
                 _length("fwhm_mm", 18.0, "Width of the neighbourhood", 40.0, (12.0, 18.0), 1.0),
                 Option("kept", "float", 0.35, "Part of the neighbours that counts as the same tissue", 0.02, 1.0,
                        tune=(0.2, 0.35, 0.6)),
                 _strength(2.0, "Difference in PET that still counts as alike, in units of the noise",
                           (1.0, 2.0, 3.0)),
                 _length("guide_fwhm_mm", 6.0, "Smoothing before activities are compared", 20.0, advanced=True),
                 _STABILISE),
        activity_tolerance=0.06),
)
