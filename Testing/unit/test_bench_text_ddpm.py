"""The benchmark of the text-guided DDPM: organs by hand, seams by hand, and claims about rows that are there."""

import numpy as np
import pytest
from petdiffusion.bench import render, summary
from petdiffusion.bench.cases import Settings, Subject, judged, run_rows
from petdiffusion.bench.contract import FILTERS
from petdiffusion.bench.organ_score import ORGANS, WHOLE, axial_steps, grouped, measured
from petdiffusion.bench.papers import paper
from petdiffusion.bench.papers.text_ddpm import PLACES
from petdiffusion.errors import DependencyError
from petdiffusion.methods.contract import Case, Output
from petdiffusion.progress import Run
from petdiffusion.read.totalsegmentator import TOTAL
from petdiffusion.volume import SUVBW, Geometry, LabelMap, Volume
from support import clip
from support.blobs import blobs
from support.tiny_models import write_models

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


def test_organs_of_the_bench_end_at_the_body_and_keep_their_lesions():
    """So its published figures were made; the tables of a run leave lesions out."""
    labels, body = organ_map(liver=5), np.ones(GRID.shape, bool)
    body[4:] = False
    normal = np.full(GRID.shape, 10.0, np.float32)
    lesions = LabelMap((labels.array > 0) * (np.indices(GRID.shape)[0] < 2), GRID)
    image = normal + 0.1 * (lesions.array > 0) + 5.0 * ~body  # half of the liver in the body is lesion
    pet = Volume(image, GRID, SUVBW)
    found = measured(Output(pet), Case(pet, body, 0.1), pet.with_array(normal), labels, lesions)
    assert found["PSNR_dB_liver"] == pytest.approx(40.0 + 10 * np.log10(2), abs=1e-3)


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
        assert table.champion in rows
        for claim in table.claims:
            assert {claim.first, *claim.others} <= rows and claim.metric in metrics, claim.text


def subject():
    """A small patient with some of the organs."""
    patient = blobs(shape=(8, 24, 28))
    names = LabelMap(patient.labels.array, patient.labels.geometry, {2: "lung_upper_lobe_left", 4: "liver"})
    return Subject({"patient": "blobs"}, 1, patient.case(labels=names, text=""), patient.truth, names, None)


@pytest.fixture
def rows(tmp_path, monkeypatch, no_bundled_models):
    """Of every table, with tiny models of random weights; the filter's is made elsewhere."""
    folder = tmp_path / "models"
    folder.mkdir()
    monkeypatch.setenv("PETDIFFUSION_MODELS", str(write_models(folder, "text-ddpm", "ddpm-2.5d", "unet-2.5d")))
    monkeypatch.setenv("PETDIFFUSION_CACHE", str(tmp_path / "cache"))
    return [(table, [row for row in table.rows if not row.tuned]) for table in paper("text-ddpm").tables]


def run_on(table, rows):
    return run_rows(judged(subject(), table.judge), rows, {}, Settings(), Run(), "blobs", "1/20")


def test_every_row_runs_and_gives_the_numbers_of_its_table(rows):
    clip.needed()
    for table, chosen in rows:
        found = run_on(table, chosen)
        assert found.skipped == {} and set(found.rows) == {row.name for row in chosen}
        for numbers in found.rows.values():
            assert {metric.key for metric in table.metrics} <= set(numbers)
            assert all(numbers.get(f"{name}_liver") is not None for name in ("PSNR_dB", "SSIM"))
        summed = summary.summarise([found], chosen, table.metrics, table.champion, table.claims)["1/20"]
        shown = render.grid(summed["rows"], table.metrics)
        assert all(row.title in shown for row in chosen) and "whole" in shown


def test_without_a_text_encoder_the_rows_with_text_are_left_out(rows, monkeypatch):
    """Their numbers, without text, would be kept as if they had been told something."""
    def missing():
        raise DependencyError("open_clip_torch", "cannot be used here (a test)", "Install it.")

    monkeypatch.setattr("petdiffusion.methods.text_ddpm.clip.open_clip", missing)
    table, chosen = rows[0]
    found = run_on(table, [row for row in chosen if row.name in ("unet", "text-mean")])
    assert set(found.rows) == {"unet"} and "text encoder" in found.skipped["text-mean"]
