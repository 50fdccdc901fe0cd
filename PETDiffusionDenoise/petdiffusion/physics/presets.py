"""Scanners as the papers used them: resolution, reconstruction, sensitivity and usual doses.

Figures are approximate. They come from published NEMA measurements and protocols, named with each scanner; what no
source states (randoms per true in a patient, overlap of beds) is a typical value, and every field can be replaced with
`dataclasses.replace`.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import PhysicsError
from .blur import Psf
from .geometry import ScanGeometry
from .poisson import Background

F18_HALF_LIFE_S = 6586.2
C11_HALF_LIFE_S = 1223.4
_NEMA_LINE_MM = 700.0
_USUAL_BODY_MM = 250.0
_MM_PER_PS = 0.299792458 / 2
"""Place along the line of response that a picosecond of time difference stands for."""


@dataclass(frozen=True)
class Scanner:
    """A scanner with its usual protocol and reconstruction."""

    name: str
    title: str
    resolution_mm: float
    """FWHM within the slice near the centre (NEMA, 1 cm)."""
    axial_resolution_mm: float
    iterations: int
    subsets: int
    models_psf: bool
    """Whether the reconstruction models the resolution."""
    post_filter_mm: float
    n_angles: int
    scatter_fraction: float
    """Scattered events among scattered and true ones, NEMA."""
    randoms: float
    """Random events per true one in a usual patient."""
    sensitivity: float
    """Counts a second per kBq of the NEMA line source of 70 cm, without attenuation."""
    axial_fov_mm: float
    tof_ps: float | None
    mbq_per_kg: float
    uptake_minutes: float
    seconds: float
    """Duration of one bed position."""
    beds_per_slice: float = 1.0
    """How many overlapping bed positions see a slice, on average."""
    half_life_s: float = F18_HALF_LIFE_S

    @property
    def background(self) -> Background:
        return Background(self.randoms, self.scatter_fraction / (1 - self.scatter_fraction))

    def geometry(self, n_pixels: Sequence[int], pixel_mm: Sequence[float]) -> ScanGeometry:
        """Bins as wide as the pixels, with this scanner's angles."""
        return ScanGeometry.covering(tuple(n_pixels), tuple(pixel_mm), n_angles=self.n_angles)

    def psf(self, slice_mm: float) -> Psf:
        return Psf(self.resolution_mm, self.axial_resolution_mm, slice_mm)

    @property
    def cps_per_kbq(self) -> float:
        """Counts a second from a kBq inside the field of view: a shorter scanner sees only a part of the NEMA line."""
        return self.sensitivity * _NEMA_LINE_MM / min(_NEMA_LINE_MM, self.axial_fov_mm)

    @property
    def bqml_per_suv(self) -> float:
        """Activity at SUV 1 when scanning starts, at the usual dose."""
        return self.mbq_per_kg * 1e3 * 0.5 ** (self.uptake_minutes * 60 / self.half_life_s)

    @property
    def equivalent_iterations(self) -> int:
        """Iterations that reach without time of flight what `iterations` reach with it.

        Time of flight is not simulated; it converges faster (Karp et al., J Nucl Med 2008;49:462), here by its gain.
        """
        return round(self.iterations * self.tof_gain(_USUAL_BODY_MM))

    @property
    def tof_mm(self) -> float:
        """Width along a line of response to which time of flight places an event; infinite without it."""
        return math.inf if self.tof_ps is None else self.tof_ps * _MM_PER_PS

    def tof_gain(self, diameter_mm: float) -> float:
        """How many counts without time of flight one with it is worth in a body of this diameter.

        D / (1.6 dx), with dx the place that the timing resolution gives (Budinger 1983; Conti, Phys Med 2009;25:1).
        """
        return max(1.0, diameter_mm / (1.6 * self.tof_mm))


_ALL = (
    # NEMA: Rausch et al. 2015, doi 10.1186/s40658-015-0132-1; TOF: Jakoby et al. 2011, doi 10.1088/0031-9155/56/8/004.
    # Reconstruction, dose and time: AMDiff, table 1 (5 min a bed).
    Scanner("mCT", "Siemens Biograph mCT", 4.4, 4.4, 2, 21, True, 5.0, 168, 0.335, 0.7, 9.6, 221.0, 527.0,
            3.5, 60.0, 300.0),
    # NEMA: van Sluis et al. 2019, doi 10.2967/jnumed.118.215418. Reconstruction: AMDiff, table 1.
    Scanner("Vision", "Siemens Biograph Vision 600", 3.6, 3.5, 2, 5, True, 2.0, 200, 0.38, 0.6, 16.4, 263.0, 210.0,
            3.0, 60.0, 150.0, 1.9),
    # NEMA, MRD 85: Prenosil et al. 2022, doi 10.2967/jnumed.121.261972.
    # Reconstruction: the text-guided DDPM paper; dose: Alberts et al. 2021, doi 10.1007/s00259-021-05282-7.
    Scanner("Quadra", "Siemens Biograph Vision Quadra", 3.35, 3.8, 4, 5, True, 2.0, 200, 0.36, 0.6, 83.0, 1060.0, 228.0,
            3.0, 60.0, 600.0),
    # NEMA: Spencer et al. 2021, doi 10.2967/jnumed.120.250597. Reconstruction, dose, uptake, time: AMDiff, table 1.
    Scanner("uEXPLORER", "United Imaging uEXPLORER", 3.0, 2.9, 4, 20, True, 0.0, 240, 0.363, 0.6, 174.0, 1940.0, 505.0,
            4.0, 120.0, 1200.0),
    # Resolution, sensitivity (about 6 % absolute) and scatter (42-54 %): Sossi et al. 2005, IEEE NSS, eleven centres.
    # Dose, 11C-DASB: the CSRD paper (577 MBq); iterations: usual for 3D-OP-OSEM; frame: 30-90 min after injection.
    Scanner("HRRT", "Siemens ECAT HRRT (brain)", 2.5, 2.5, 6, 16, False, 2.0, 288, 0.45, 0.8, 20.0, 252.0, None,
            7.7, 60.0, 3600.0, 1.0, C11_HALF_LIFE_S),
    # Wienhard et al. 1992, J Comput Assist Tomogr 16:804 (2D, with septa). Angles and 100 ML-EM iterations: BC-DPM.
    Scanner("ECAT921", "CTI ECAT EXACT 921", 6.0, 5.0, 100, 1, False, 0.0, 192, 0.12, 0.2, 1.0, 162.0, None,
            5.0, 60.0, 600.0),
    # NEMA: Bettinardi et al. 2011, doi 10.1118/1.3635220. Protocol: usual.
    Scanner("Discovery", "GE Discovery 690", 4.7, 4.74, 2, 24, False, 5.0, 288, 0.37, 0.7, 7.5, 157.0, 544.0,
            4.0, 60.0, 150.0, 1.3),
    # NEMA: Bettinardi et al. 2004, doi 10.1007/s00259-003-1442-x. No time of flight.
    Scanner("DiscoveryST", "GE Discovery ST", 6.2, 5.0, 2, 28, False, 6.0, 280, 0.45, 0.8, 9.0, 157.0, None,
            5.0, 60.0, 240.0, 1.3),
    # The same with septa between its rings (2D): a quarter of the sensitivity, half of the scatter, few randoms.
    # NEMA as above; 2.3 against 8.8 cps/kBq in its successor, Teras et al., Eur J Nucl Med Mol Imaging 2007;34:1683.
    Scanner("DiscoveryST2D", "GE Discovery ST with septa (2D)", 6.2, 5.0, 2, 28, False, 6.0, 280, 0.19, 0.3, 2.0, 157.0,
            None, 5.0, 60.0, 240.0, 1.3),
)
SCANNERS = {scanner.name: scanner for scanner in _ALL}

_WORDS = {"uexplorer": "uEXPLORER", "quadra": "Quadra", "vision": "Vision", "mct": "mCT", "hrrt": "HRRT",
          "921": "ECAT921", "exact": "ECAT921", "discovery st with septa": "DiscoveryST2D",
          "discovery st": "DiscoveryST", "discovery 690": "Discovery", "discovery 710": "Discovery"}


def scanner(preset: str | Scanner) -> Scanner:
    """A scanner by name, whatever its case; a Scanner is passed through."""
    if isinstance(preset, Scanner):
        return preset
    names = {name.lower(): name for name in SCANNERS}
    if str(preset).lower() in names:
        return SCANNERS[names[str(preset).lower()]]
    near = difflib.get_close_matches(str(preset).lower(), names, 1)
    raise PhysicsError(f"Scanner '{preset}'", f"is not one of {', '.join(SCANNERS)}",
                       f"Did you mean '{names[near[0]]}'?" if near else "Choose one, or make a Scanner of your own.")


def scanner_called(model: str | None) -> Scanner | None:
    """The scanner that a DICOM manufacturer's model name speaks of, if it is known."""
    text = (model or "").lower()
    return next((SCANNERS[name] for word, name in _WORDS.items() if word in text), None)


def body_diameter_mm(area_mm2: float) -> float:
    """Diameter of the circle of this area."""
    return 2 * math.sqrt(area_mm2 / math.pi)
