"""Which frames have something to denoise, and which interval of a region stands beside its curve."""

import numpy as np
import pytest
from petdiffusion import read
from petdiffusion.dynamic import apart, curves
from petdiffusion.progress import Run
from petdiffusion.read.dynamic import Time
from petdiffusion.volume import SUVBW, Geometry
from petdiffusion.write import frames as frame_files
from petdiffusion.write import tables
from support.blobs import blobs


@pytest.mark.parametrize("part, empty", [(0.0005, ("frame_001",)), (0.002, ())])
def test_a_frame_of_less_than_a_thousandth_of_the_fullest_is_left_as_it_is(tmp_path, part, empty):
    """What scatter and noise leave before the injection is above zero, and yet nothing to denoise."""
    like = blobs().noisy
    frame_files.write(like, (like.array * np.float32(factor) for factor in (part, 1.0)), 2, tmp_path / "pet.nii.gz",
                      {"FrameTimesStart": [0, 60], "FrameDuration": [60, 60]})  # fmt: skip
    laid = apart.lay(read.frames(tmp_path / "pet.nii.gz"), [0, 1], tmp_path / "frames", {}, False, Run())
    assert laid.empty == empty


@pytest.mark.parametrize("prefix", ["SUV", ""])
def test_the_interval_beside_a_mean_is_that_of_the_mean(tmp_path, prefix):
    """Not of the maximum or peak, which stand in the same table before and after it."""
    of_frame = tmp_path / "frame_001" / "tables"
    of_frame.mkdir(parents=True)
    lesion = {"number": 1, "lesion": "node", "unit": SUVBW if prefix else "Bq/ml", f"{prefix}mean_low": 5.0}
    ends = {"max": (8.0, 12.0), "mean": (4.0, 6.0), "peak": (7.0, 9.0)}
    intervals = [{"kind": "lesion", "number": 1, "metric": f"{prefix}{metric}", "low95": low, "high95": high}
                 for metric, (low, high) in ends.items()]  # fmt: skip
    tables.write_csv([lesion], of_frame / "lesions.csv")
    tables.write_csv(intervals, of_frame / "intervals.csv")
    geometry = Geometry((1, 1, 1), (4.0, 4.0, 4.0))
    laid = apart.Laid(tmp_path, "time frames", ("frame_001",), (Time(0.0, 60.0),), (), geometry, {})
    (row,) = curves.activity(laid)
    assert (row["mean_low"], row["mean_low95"], row["mean_high95"]) == (5.0, 4.0, 6.0)
