"""BC-DPM at work: count levels said, grids and crops undone, the search for l, the command line's shortcuts."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from petdiffusion import registry
from petdiffusion.cli import main
from petdiffusion.cli.denoise import events
from petdiffusion.errors import OptionError
from petdiffusion.methods.bc_dpm import search
from petdiffusion.methods.bc_dpm.chain import Settings, Steering
from petdiffusion.methods.bc_dpm.placed import MARGIN, place, working_grid
from petdiffusion.progress import Run
from petdiffusion.volume import Geometry
from support.blobs import blobs
from support.scans import write_patient
from support.tiny_models import write_models

CARD = registry.card("bc-dpm")


@pytest.fixture(autouse=True)
def small_models(tmp_path_factory, monkeypatch, no_models_of_the_user, no_bundled_models):
    folder = tmp_path_factory.getbasetemp() / "bc-dpm-models"
    if not folder.exists():
        folder.mkdir()
        write_models(folder)
    monkeypatch.setenv("PETDIFFUSION_MODELS", str(folder))


def denoise(case, run=None, **options):
    return CARD.load()(case, CARD.resolve({"samples": 2, **options}), run or Run(seed=3))


def case_of(**changes):
    return blobs(**{"shape": (6, 32, 40), "relative_noise": 0.3, **changes}).case()


# ---- count level --------------------------------------------------------------------------------------------------


def test_the_count_level_is_said_and_kept_and_decides_l():
    # 0.3M events in a slice of 40 x 32 pixels leave hardly any noise
    for options, told, steps in (({"counts": 3e5}, "Count level 0.3M a slice, as given.", 3),
                                 ({"fraction": 0.2}, "Count level 1M a slice, 0.2 of the 5M", 5)):  # fmt: skip
        run = Run()
        output = denoise(case_of(), run, **options)
        assert any(text.startswith(told) for text in run.warnings)
        assert output.details["settings"]["transitions"] == steps
        assert output.evaluations == 2 * steps, "from the scan on, a run costs l evaluations"
    run = Run()
    denoise(case_of(), run)
    assert any("estimated from the noise of the image" in text for text in run.warnings)


def test_a_noisier_scan_is_taken_for_fewer_counts():
    quiet, loud = (denoise(case_of(shape=(12, 40, 48), relative_noise=n)).details["counts"] for n in (0.15, 0.6))
    assert quiet > 4 * loud


def test_the_whole_chain_of_the_paper_costs_its_steps():
    output = denoise(case_of(), start="noise", steps=20, transitions=2, counts=3e5)
    assert output.details["settings"]["transitions"] == 2 and 2 * 10 <= output.evaluations <= 2 * 20


def test_conditions_and_their_weight_change_the_result():
    case = case_of()
    changes = ({}, {"balance": 0.6}, {"conditions": "gaussian"}, {"conditions": "none"}, {"resolution": 0.0})
    found = [denoise(case, counts=3e5, **o).pet.array for o in changes]
    for other in found[1:]:
        assert np.abs(other - found[0]).max() > 1e-3
    np.testing.assert_allclose(denoise(case, counts=3e5, balance=0.0).pet.array, found[2], atol=1e-5)


def test_the_sd_map_is_that_of_the_runs_and_every_run_is_shown():
    seen = []
    run = Run(seed=3)
    run.on_sample = seen.append
    output = denoise(case_of(), run, samples=4, counts=3e5)
    np.testing.assert_allclose(output.pet.array, np.mean(seen, 0), atol=1e-4)
    np.testing.assert_allclose(output.sd.array, np.std(seen, 0, ddof=1), atol=1e-4)
    assert len(seen) == 4 and denoise(case_of(), samples=1, counts=3e5).sd is None


def test_hot_voxels_are_not_cut_off():
    case = case_of()
    array = case.pet.array.copy()
    array[3, 14:18, 18:22] = 500.0
    output = denoise(replace(case, pet=case.pet.with_array(array)), counts=1e6)
    assert output.pet.array[3, 14:18, 18:22].mean() > 300


# ---- grids and crops ----------------------------------------------------------------------------------------------


def test_pixels_that_the_network_knows_are_left_alone_and_others_brought_to_the_nearest():
    g = Geometry((50, 40, 7), (3.0, 3.0, 5.0), (-10.0, 4.0, 9.0))
    assert working_grid(g, None) is g and working_grid(g, (2.0, 5.0)) is g and working_grid(g, (3.3, 5.0)) is g
    coarse = working_grid(g, (6.9, 9.0))
    assert coarse.size == (25, 20, 7) and coarse.spacing == pytest.approx((6.0, 6.0, 5.0))
    assert coarse.origin == pytest.approx((-10.0 + 1.5, 4.0 + 1.5, 9.0)), "the same edges"
    fine = working_grid(g, (1.0, 1.3))
    assert fine.size == (100, 80, 7) and fine.origin == pytest.approx((-10.0 - 0.75, 4.0 - 0.75, 9.0))


def test_the_body_is_cropped_and_put_back_where_it_was():
    case = case_of(shape=(5, 96, 120))
    body = np.zeros_like(case.body)
    body[1:4, 40:60, 30:70] = True
    placed = place(replace(case, body=body), (1.0, 9.0))
    assert placed.low.shape[0] <= 5 and placed.low.shape[1] < 96 and placed.low.shape[2] < 120
    y, x = placed.box[1:]
    assert y.start <= 40 - MARGIN + 8 and y.stop >= 60 + MARGIN - 8 and x.start <= 30 and x.stop >= 70
    np.testing.assert_array_equal(placed.back(placed.low, case.pet.array), case.pet.array)
    np.testing.assert_array_equal(placed.cropped(placed.low).array, placed.low)
    marked = placed.back(np.full(placed.low.shape, 7.0), np.zeros_like(case.pet.array))
    assert (marked[placed.box] == 7).all() and marked.sum() == 7 * placed.low.size


@pytest.mark.parametrize("spacing", [(0.5, 0.5, 3.0), (14.0, 14.0, 5.0), (4.0, 2.0, 4.0)])
def test_slices_of_other_pixels_and_sizes_come_back_on_their_own_grid(spacing):
    """Resampled where the network (trained from 1 to 9 mm) would not know them; totals stay."""
    case = case_of(shape=(4, 30, 50), spacing=spacing)
    output = denoise(case, counts=1e6)
    assert output.pet.geometry == case.pet.geometry and output.sd.geometry == case.pet.geometry
    before, after = case.pet.array[case.body].sum(), output.pet.array[case.body].sum()
    assert after == pytest.approx(before, rel=0.1)


# ---- the search for l ---------------------------------------------------------------------------------------------


def test_l_is_searched_for_on_a_digital_patient_and_the_best_is_taken(monkeypatch):
    """With the network's own sampling replaced by images whose error is known, the least error wins."""
    normal = np.random.default_rng(0).random((4, 20, 24)).astype(np.float32) + 1
    body = np.ones(normal.shape, bool)
    monkeypatch.setattr(search, "known_slices", lambda *a: (normal, body, (4.0, 4.0, 12.0)))

    class Found:
        def __init__(self, mean):
            self.mean = torch.from_numpy(mean)[None]

    def sampled(scan, settings, *rest):
        error = abs(settings.transitions - 4) * 0.1 + 0.05
        return Found((normal + error * (-1.0) ** np.arange(24, dtype=np.float32)) / scan.units.scale)

    monkeypatch.setattr(search, "sample", sampled)
    output = denoise(case_of(), search=True, counts=3e5)
    rows = output.tables["transitions"]
    assert [row["transitions"] for row in rows] == [2, 3, 4, 6]  # parts of 3, the l of so small a slice
    assert output.details["settings"]["transitions"] == 4
    assert max(rows, key=lambda r: r["psnr"])["transitions"] == 4


def test_psnr_is_the_mean_over_slices():
    reference = np.stack([np.full((4, 4), 2.0), np.full((4, 4), 10.0)])
    image = reference + np.array([0.2, 0.1])[:, None, None]
    both = search.mean_psnr(image, reference, np.ones(reference.shape, bool))
    assert both == pytest.approx((20.0 + 40.0) / 2)


def test_candidates_stay_within_the_chain():
    assert search.candidates(10, 100) == [5, 7, 10, 14, 20] and search.candidates(1, 100) == [1, 2]
    assert max(search.candidates(80, 100)) == 100


# ---- command line -------------------------------------------------------------------------------------------------


def test_events_are_read_as_people_write_them():
    assert [events(t) for t in ("0.3M", "300k", "3e5", "300000")] == [3e5] * 4


def test_the_command_line_has_shortcuts_for_counts_and_fraction(tmp_path):
    files = write_patient(tmp_path / "patient")
    base = ["denoise", files["pet"], "--method", "bc-dpm", "--option", "samples=2", "--no-report", "--quiet"]
    for words, told in ((["--counts", "0.3M"], 3e5), (["--fraction", "0.1"], 5e5)):
        out = tmp_path / words[0].strip("-")
        assert main([*base, *words, "--out", str(out)]) == 0
        assert json.loads((out / "record.json").read_text())["details"]["counts"] == pytest.approx(told)


def test_shortcuts_are_refused_by_methods_without_such_options(tmp_path, capsys):
    files = write_patient(tmp_path / "patient")
    base = ["denoise", files["pet"], "--method", "gaussian", "--quiet", "--out", str(tmp_path / "out")]
    assert main([*base, "--counts", "1M"]) != 0 and "counts" in capsys.readouterr().err
    assert main([*base, "--tune"]) != 0 and "--tune REF" in capsys.readouterr().err


def test_impossible_options_are_errors():
    for wrong in ({"balance": 1.2}, {"counts": -1}, {"conditions": "all"}, {"steps": 5}, {"resolution": 2}):
        with pytest.raises(OptionError):
            CARD.resolve(wrong)


@pytest.mark.skipif(torch.backends.mps.is_available(), reason="such a graphics card has generators of its own")
def test_counts_are_drawn_by_the_processor_for_apples_graphics_cards_which_draw_none():
    image = torch.ones(2, 4, 4)
    steering = Steering(Settings(2, 0.2, 4.0, 2.0), image, image, None, None, None, seed=7)
    steering._begin(2, torch.device("mps"))
    assert [counts.device.type for counts in steering._counts] == ["cpu", "cpu"]
