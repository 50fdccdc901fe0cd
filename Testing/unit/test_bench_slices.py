"""Tables on slices at count levels: what is measured, who is measured, and what methods are told."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from petdiffusion import registry
from petdiffusion.bench import cases, real, render, run, slices, stacks
from petdiffusion.bench.contract import Bench, Claim, Dose, Metric, Row, SliceTable
from petdiffusion.bench.papers import paper
from petdiffusion.bench.slice_score import score_slices
from petdiffusion.errors import OptionError
from petdiffusion.methods.contract import MethodCard, Output
from petdiffusion.physics.geometry import ScanGeometry
from petdiffusion.physics.projector import Projector
from petdiffusion.prepare.noise import noise_sd
from petdiffusion.progress import Run
from petdiffusion.volume import Geometry, Volume
from petdiffusion.zoo import store as zoo
from support import tiny_models
from support.scans import small_patient, write_patient

LEVELS = (Dose("1M", 0.0, counts=1e6), Dose("0.1M", 0.0, counts=1e5))
METRICS = (Metric("PSNR_dB", "PSNR, dB", "high", 2), Metric("SSIM", "SSIM", "high"))
ROWS = (Row("low", "Low-count"), Row("gaussian", "Gaussian, tuned", "gaussian", tuned=True, paper="Gaussian"))
TABLE = SliceTable("tiny", "Tiny slices", LEVELS, ROWS, "gaussian", METRICS, ("0.1M",), patients=2, quick_patients=1,
                   tuning_patients=1, slices=3, levels={"1M": {"Gaussian": {"PSNR_dB": (32.94, None)}}},
                   claims=(Claim("better", "PSNR_dB", "gaussian", ("low",)),))  # fmt: skip
BENCH = Bench("tiny", "Tiny", "Nobody, nowhere.", (TABLE,), quick=("tiny",))
DRAWN: list[int] = []


@pytest.fixture(autouse=True)
def small_world(monkeypatch, tmp_path):
    monkeypatch.setenv("PETDIFFUSION_CACHE", str(tmp_path / "cache"))
    drawn = stacks._normal
    monkeypatch.setattr(stacks, "_normal", lambda t, who, r: small(who) if isinstance(who, int) else drawn(t, who, r))
    monkeypatch.setattr(stacks, "ITERATIONS", 6)
    DRAWN.clear()


def small(seed: int) -> Volume:
    DRAWN.append(seed)
    return small_patient(seed)["reference"]


def ask(**changes) -> run.Ask:
    return run.Ask(workers=0, command="petdiffusion bench tiny", **changes)


def test_a_stack_holds_slices_of_the_body_far_apart_and_nothing_is_changed():
    normal = small_patient()["reference"]
    normal = normal.with_array(np.maximum(normal.array, 0))
    stack, body = stacks.stack(normal, 5)
    assert stack.array.shape == body.shape == (5, 128, 128)
    assert stack.geometry.spacing == (4.0, 4.0, stacks.APART_MM) and stack.unit == normal.unit
    whole = stacks.body_mask(normal)
    places = [next(z for z in range(22) if np.array_equal(a[b], normal.array[z][whole[z]]))
              for a, b in zip(stack.array, body)]  # fmt: skip
    assert places[0] <= 1 and places[-1] >= 20 and set(np.diff(places)) <= {4, 5}
    middle = [np.flatnonzero(body.any(axis))[[0, -1]].mean() for axis in ((0, 2), (0, 1))]
    assert np.allclose(middle, 64, atol=1)


def test_every_slice_holds_the_counts_asked_for(monkeypatch):
    """ML-EM keeps the counts: line integrals of the low-count slice are those of the reference, to within the noise."""
    monkeypatch.setattr(stacks, "ITERATIONS", 100)
    normal, low, body = stacks.load(TABLE, 900_000, LEVELS[0], Run())
    project = Projector(ScanGeometry((128, 128), (4.0, 4.0))).forward
    ratio = project(torch.tensor(low.array)).sum((1, 2)) / project(torch.tensor(normal.array)).sum((1, 2))
    torch.testing.assert_close(ratio, torch.ones(3), atol=0.02, rtol=0)
    lower = stacks.load(TABLE, 900_000, LEVELS[1], Run())[1]
    noise = [np.std((v.array - normal.array)[body]) for v in (low, lower)]
    assert 2.0 < noise[1] / noise[0] < 4.5  # about the root of ten


def test_scores_by_hand():
    normal, _, body = stacks.load(TABLE, 900_000, LEVELS[0], Run())
    reference = normal.array + 0.2
    normal = normal.with_array(reference)
    error = 0.1 * reference
    found = score_slices(Output(normal.with_array(1.1 * reference), sd=normal.with_array(2 * error)), normal, body)
    each = [10 * np.log10(r[b].max() ** 2 / np.mean((0.1 * r[b].astype(float)) ** 2)) for r, b in zip(reference, body)]
    assert found["PSNR_dB"] == pytest.approx(np.mean(each), abs=1e-3) and found["slices"] == 3
    assert found["sharpness"] == pytest.approx(1.1, rel=1e-4) and found["bias_percent"] == pytest.approx(10, rel=1e-4)
    assert found["SD_rank"] == pytest.approx(1, abs=1e-3) and found["SD_over_error"] == pytest.approx(2, rel=1e-4)
    assert found["SD_ENCE"] == pytest.approx(0.5, rel=1e-4) and found["SD_covers_68"] == found["SD_covers_95"] == 1
    assert "SD_rank" not in score_slices(Output(normal), normal, body)


def test_slices_do_not_reach_into_each_other():
    """A filter in three dimensions on the stack is the filter on every slice alone."""
    subject = slices.subject_of(TABLE, 900_000, LEVELS[1], Run())
    denoise, options = registry.card("gaussian").load(), {"fwhm_mm": 25.0}
    whole = denoise(subject.case, options, Run()).pet.array
    for case, _ in slices._pairs(TABLE, 900_000, LEVELS[1], Run()):
        alone = denoise(case, options, Run()).pet.array[0]
        assert min(np.abs(whole - alone).max((1, 2))) < 1e-5


def test_a_table_may_take_every_so_many_th_slice():
    whole = slices.subject_of(TABLE, 900_000, LEVELS[0], Run())
    part = slices.subject_of(replace(TABLE, every=2), 900_000, LEVELS[0], Run())
    assert np.array_equal(part.case.pet.array, whole.case.pet.array[1::2]) and part.id != whole.id
    assert part.measured(Output(part.case.pet))["slices"] == 1


def test_a_table_is_of_test_patients_and_tuned_on_others(tmp_path):
    report = run.bench(BENCH, ask(out=str(tmp_path)))
    part = report["tables"][0]
    assert part["patients"] == ["body-900000", "body-900001"] and "6 slices" in part["data"]
    assert sorted(DRAWN) == [800_500, 900_000, 900_001]
    page = render.page(report)
    assert "paper: Gaussian" in page.split("### Dose 1M")[1].split("### Dose 0.1M")[0]
    assert "paper: Gaussian" not in page.split("### Dose 0.1M")[1] and "Lesion" not in page and "sharpness" in page
    assert part["summary"]["0.1M"]["claims"][0]["holds"] is not None
    quick = run.bench(BENCH, ask(quick=True))["tables"][0]
    assert quick["patients"] == ["body-900000"] and list(quick["summary"]) == ["0.1M"] and len(DRAWN) == 3
    with pytest.raises(OptionError, match="train"):
        slices.run_case(TABLE, ROWS, 7, LEVELS[0], {}, cases.Settings(), Run())
    with pytest.raises(OptionError, match="test patient"):
        slices.tuned(TABLE, ROWS[1], LEVELS[0], [900_000], Run())


def test_methods_are_told_the_count_level(monkeypatch, tmp_path):
    tiny_models._write(tmp_path, registry.card("bc-dpm"))
    monkeypatch.setattr(zoo, "BUNDLED", tmp_path)
    seen, load = [], MethodCard.load

    def watched(card):
        return lambda case, options, quiet: (seen.append(options), load(card)(case, options, quiet))[1]

    monkeypatch.setattr(MethodCard, "load", watched)
    rows = (Row("one", "One", "bc-dpm", {"samples": 2, "transitions": 2}, told=True),)
    found = slices.run_case(TABLE, rows, 900_000, LEVELS[1], {}, cases.Settings(), Run())
    assert not found.skipped and seen[0]["counts"] == 1e5 and seen[0]["each_slice"] and seen[0]["samples"] == 2
    assert found.rows["one"]["evaluations"] == 4 and -1 <= found.rows["one"]["SD_rank"] <= 1


def test_real_slices_are_of_patients_that_nothing_was_tuned_on(tmp_path):
    for number in (2, 3, 29, 30):
        folder = tmp_path / "people" / f"STS_{number:03}"
        write_patient(folder, number)
        (folder / "reference.nii.gz").rename(folder / real.PET)
        (folder / "lesions.nii.gz").rename(folder / real.TUMOUR)
        (folder / "reference.json").unlink(missing_ok=True)
    table = replace(TABLE, name="real", numbers=(29, 30), tuning_numbers=(2, 3), tuning_patients=1)
    part = run.bench(replace(BENCH, real=table), ask(parts=("real",), real=str(tmp_path / "people")))["real"]
    assert part["patients"] == ["STS_029", "STS_030"] and part["tuned"][0]["patients"] == ["STS_002"]
    assert "real scans" in part["data"] and not DRAWN
    with pytest.raises(OptionError, match="not a test patient"):
        slices.run_case(table, ROWS, tmp_path / "people" / "STS_003", LEVELS[0], {}, cases.Settings(), Run())


def test_the_papers_table_has_its_numbers_and_every_part_has_its_rows():
    bench = paper("bc-dpm")
    assert bench.table("table1").levels["0.3M"]["BC-DPM"] == {"PSNR_dB": (33.9297, None), "SSIM": (0.97, None)}
    for table in (*bench.tables, bench.real):
        names = [row.name for row in table.rows]
        assert table.champion in names and len(set(names)) == len(names)
        assert {c.first for c in table.claims} <= set(names)
        for row in table.rows:
            if row.method:
                registry.card(row.method).resolve(row.options)


def test_the_noise_of_a_stack_with_thick_slices_is_found():
    """Blocks thinner than a slice are none."""
    noise = np.random.default_rng(0).normal(size=(40, 30, 30)).astype(np.float32)
    volume = Volume(10 + noise, Geometry((30, 30, 40), (4.0, 4.0, 100.0)))
    assert noise_sd(volume, np.ones(noise.shape, bool)) == pytest.approx(1.0, rel=0.05)
