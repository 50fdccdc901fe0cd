"""The benchmark of the text-guided DDPM: organs by hand, seams by hand, and claims about rows that are there."""


import numpy as np
import pytest
from petdiffusion.bench.contract import FILTERS
from petdiffusion.bench.organ_score import ORGANS, WHOLE, axial_steps, grouped, measured
from petdiffusion.bench.papers import paper
from petdiffusion.bench.papers.text_ddpm import PLACES
from petdiffusion.methods.contract import Case, Output
from petdiffusion.read.totalsegmentator import TOTAL
from petdiffusion.volume import SUVBW, Geometry, LabelMap, Volume

GRID = Geometry((12, 10, 8), (4.0, 4.0, 4.0))
VALUES = {name: value for value, name in TOTAL.items()}


def organ_map(**columns):
    """Structures by the x at which their column of voxels lies."""
    array = np.zeros(GRID.shape, np.int16)
    for name, x in columns.items():
        array[:, :, x] = VALUES[name]
    return LabelMap(array, GRID, TOTAL)


def test_parts_of_an_organ_count_as_one():
    labels = organ_map(lung_upper_lobe_left=1, lung_lower_lobe_right=2, aorta=3, iliac_vena_left=4, liver=5, brain=6)
    found = grouped(labels)
    order = dict(enumerate(ORGANS, start=1))
    assert [order.get(int(v)) for v in found.array[0, 0, :8]] == [
        None, "lung", "lung", "vessels", "vessels", "liver", None, None]  # fmt: skip
    assert set(ORGANS["vessels"]) | set(ORGANS["lung"]) <= set(VALUES)


def test_psnr_of_an_organ_by_hand():
    """An error of 0.1 in the liver alone, of a range of 10: 40 dB there, none elsewhere."""
    labels, body = organ_map(liver=5, spleen=8), np.ones(GRID.shape, bool)
    normal = np.full(GRID.shape, 2.0, np.float32)
    normal[0, 0, 0] = 10.0
    image = normal + 0.1 * (labels.array == VALUES["liver"])
    pet = Volume(image, GRID, SUVBW)
    found = measured(Output(pet), Case(pet, body, 0.1), pet.with_array(normal), labels, None)
    assert found["PSNR_dB_liver"] == pytest.approx(40.0, abs=1e-3)
    assert found["PSNR_dB_whole"] == pytest.approx(40.0 + 10 * np.log10(12), abs=1e-3)
    assert found["PSNR_dB_heart"] is None and found["SSIM_heart"] is None
    assert found["SSIM_spleen"] > found["SSIM_liver"]


def test_seams_make_steps_along_z_larger():
    body = np.ones((40, 40, 4), bool)
    rng = np.random.default_rng(0)
    error = rng.normal(size=body.shape)
    normal = np.zeros(body.shape)
    assert axial_steps(error, normal, body) == pytest.approx(1.0, abs=0.05)
    stripes = error + np.where(np.arange(40) % 2, 1.0, -1.0)[:, None, None]
    assert axial_steps(stripes, normal, body) == pytest.approx(np.sqrt((2 + 4) / 2), rel=0.05)


def test_claims_and_champions_are_rows_and_numbers_of_their_table():
    bench = paper("text-ddpm")
    assert PLACES == (WHOLE, *ORGANS)
    for table in bench.tables:
        rows, metrics = {row.name for row in table.rows} | {FILTERS}, {m.key for m in table.metrics}
        assert table.champion in rows and table.patients >= 20
        for claim in table.claims:
            assert {claim.first, *claim.others} <= rows and claim.metric in metrics, claim.text
