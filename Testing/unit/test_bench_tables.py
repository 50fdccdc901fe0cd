"""Tables of benchmarks: tests against the champion, claims, layout, tuning's ends. Hand-worked numbers."""

import json

import numpy as np
import pytest
from petdiffusion.bench import curve, real, render, store, summary, tuning
from petdiffusion.bench.cases import CaseResult
from petdiffusion.bench.contract import Claim, Metric, Point, Row
from petdiffusion.bench.papers import paper, papers
from petdiffusion.errors import InputError, OptionError
from petdiffusion.measure.statistics import least_p
from petdiffusion.methods.contract import Case, Option
from petdiffusion.phantoms.splits import split_of
from support.scans import small_patient

PSNR, BIAS = Metric("PSNR_dB", "PSNR, dB", "high", 2), Metric("bias", "bias, %", "zero", 1, "error")
ROWS = tuple(Row(name, name.upper(), "gaussian", tuned=name == "c") for name in ("a", "b", "c", "best"))


def results(values: dict[str, list], key="PSNR_dB", dose="4x"):
    """One CaseResult a patient from lists by row; None leaves a row out."""
    count = len(next(iter(values.values())))
    return [CaseResult(f"p{i}", dose, {n: {key: v[i]} for n, v in values.items() if v[i] is not None}, {})
            for i in range(count)]  # fmt: skip


def test_signed_rank_and_holm_by_hand():
    """Six patients. a: all below; b: the smallest difference turned; c: the second smallest turned.

    Signed-rank p: 2/64, 4/64, 6/64. Holm: 3 x 2/64, 2 x 4/64, and not less than that for the last.
    """
    best = np.full(6, 30.0)
    steps = np.array([1.0, 2, 3, 4, 5, 6])
    turned = {"a": steps, "b": steps * [-1, 1, 1, 1, 1, 1], "c": steps * [1, -1, 1, 1, 1, 1]}
    found = results({name: list(best - d) for name, d in turned.items()} | {"best": list(best)})
    table = summary.summarise(found, ROWS, (PSNR,), "best")["4x"]["rows"]
    tests = {row["row"]: row["tests"]["PSNR_dB"] for row in table}
    assert [tests[n]["p"] for n in "abc"] == pytest.approx([2 / 64, 4 / 64, 6 / 64])
    assert [tests[n]["p_holm"] for n in "abc"] == pytest.approx([6 / 64, 8 / 64, 8 / 64])
    assert "p" not in tests["best"] and not tests["a"]["better"]
    assert table[0]["PSNR_dB"]["mean"] == pytest.approx(26.5)
    assert table[0]["PSNR_dB"]["sd"] == pytest.approx(np.sqrt(3.5))


def test_the_smallest_p_that_so_few_patients_allow():
    """Nine patients, eleven comparisons, all of one sign: 11 x 2 / 2^9, and no table can show less."""
    best = np.arange(9) + 30.0
    rows = tuple(Row(f"r{i}", "", "gaussian") for i in range(11)) + (ROWS[-1],)
    found = results({row.name: list(best - 1.5 ** np.arange(9)) for row in rows[:-1]} | {"best": list(best)})
    table = summary.summarise(found, rows, (PSNR,), "best")["4x"]["rows"]
    tests = [row["tests"]["PSNR_dB"] for row in table[:-1]]
    least = least_p([test["minimum_p"] for test in tests])
    assert least == pytest.approx(22 / 512)
    assert min(test["p_holm"] for test in tests) == pytest.approx(least)


DICE = Metric("dice", "Dice", "high", 2)


@pytest.fixture
def lesion_free():
    """Ten patients, five without lesions: a marks nothing in them, b something in three, which counts as 0."""
    marks = enumerate(zip([0.6] * 5 + [None] * 5, [0.6] * 5 + [0.0] * 3 + [None] * 2))
    numbers = [{"a": {"PSNR_dB": 29.0, "dice": a}, "b": {"PSNR_dB": 29.0, "dice": b}, "best": {"PSNR_dB": 30.0 + i}}
               for i, (a, b) in marks]  # fmt: skip
    found = [CaseResult(f"p{i}", "4x", rows, {}) for i, rows in enumerate(numbers)]
    return summary.summarise(found, ROWS, (PSNR, DICE), "b", (Claim("", "dice", "b", ("a",)),))["4x"]


def test_a_column_rests_on_the_scans_that_all_its_rows_have(lesion_free):
    rows = {row["row"]: row for row in lesion_free["rows"]}
    assert [rows[n]["dice"]["mean"] for n in ("a", "b", "best")] == [pytest.approx(0.6), pytest.approx(0.6), None]
    assert [rows[n]["dice"]["n"] for n in ("a", "b", "best")] == [5, 5, 0]
    assert [(rows[n]["PSNR_dB"]["n"], rows[n]["scans"]) for n in ("a", "best")] == [(10, 10), (10, 10)]
    assert lesion_free["claims"][0]["holds"] and lesion_free["claims"][0]["gain"] == 0


def test_scans_and_the_least_p_of_a_column_are_told_where_they_differ(lesion_free):
    """Of PSNR ten patients make two comparisons, of Dice five make one: equal pairs carry no sign."""
    rows = lesion_free["rows"]
    cells = [[c.strip() for c in line.strip("|").split("|")] for line in render.grid(rows, (PSNR, DICE)).splitlines()]
    assert cells[-2:] == [["scans of the column", "10", "5", "", "", ""], ["least p", "", "1", "", "", ""]]
    lines = render.grid(rows, (PSNR,)).splitlines()
    assert len(lines) == 5 and "least" not in lines[-1] and "scans" not in lines[-1]


def test_the_legend_speaks_of_the_least_p_where_it_stands(lesion_free):
    part = {"metrics": [], "champion_title": "B", "timing": "here", "summary": {"4x": lesion_free}}
    told = "where 'least p' stands"
    assert told in render._legend(part | {"metrics": [vars(DICE)]})
    assert told not in render._legend(part | {"metrics": [vars(PSNR)]})


def test_the_patient_is_the_unit_over_doses():
    found = results({"a": [1.0, 2.0], "best": [3.0, 5.0]}) + results({"a": [3.0, None], "best": [4.0, 5.0]}, dose="8x")
    assert summary.per_patient(found, "a", "PSNR_dB") == {"p0": 2.0}  # p1 lacks a dose
    both = summary.summarise(found, ROWS, (PSNR,), "best")
    assert list(both) == ["4x", "8x", "all"]
    pooled = {row["row"]: row for row in both["all"]["rows"]}
    assert pooled["a"]["PSNR_dB"]["n"] == 3 and pooled["best"]["tests"]["PSNR_dB"]["patients"] == 1


def test_of_a_bias_its_size_is_tested():
    found = [CaseResult(f"p{i}", "4x", {"a": {"bias": b, "error": abs(b)}, "best": {"bias": 0.5, "error": 0.5}}, {})
             for i, b in enumerate([-9.0, 9.1, -8.0, 8.2, -7.0, 7.3])]  # fmt: skip
    row = summary.summarise(found, ROWS, (BIAS,), "best")["4x"]["rows"][0]
    assert abs(row["bias"]["mean"]) < 0.2 and row["tests"]["bias"]["of"] == "error"
    assert row["tests"]["bias"]["p"] == pytest.approx(2 / 64) and row["tests"]["bias"]["better"] is False
    signed = summary.summarise(found, ROWS, (Metric("bias", "", "zero"),), "best")["4x"]["rows"][0]["tests"]["bias"]
    assert "p" in signed and "better" not in signed  # further below zero is not better


def judged(claim, **values):
    table = [{"row": name, "PSNR_dB": {"mean": v, "median": v}, "bias": {"mean": v, "median": v}}
             for name, v in values.items()]  # fmt: skip
    return summary.judge(claim, table, ROWS, (PSNR, BIAS))


def test_claims_are_judged_against_the_strongest():
    above = Claim("", "PSNR_dB", "best", ("a", "b"), 1.5)
    assert judged(above, best=33.0, a=31.5, b=30.0)["holds"]
    weak = judged(above, best=33.0, a=31.6, b=30.0)
    assert weak["holds"] is False and weak["against"] == "a" and weak["gain"] == pytest.approx(1.4)
    assert judged(Claim("", "PSNR_dB", "best", (summary.FILTERS,)), best=3.0, a=9.0, c=2.0)["against"] == "c"
    assert judged(above, best=33.0)["holds"] is None and judged(above, a=3.0, b=4.0)["holds"] is None
    assert judged(Claim("", "bias", "best", ("a",)), best=-2.0, a=3.0)["holds"]
    assert judged(Claim("", "bias", "best", (), 5.0), best=-5.1)["holds"] is False


def spread(mean, sd=1.0):
    return {"n": 3, "mean": mean, "sd": sd, "median": mean}


def test_a_grid_with_the_papers_rows_below_their_own():
    rows = [{"row": "a", "title": "Low-dose", "PSNR_dB": spread(32.216), "bias": spread(None, None), "seconds": 0.0,
             "evaluations": 0, "scans": 3, "tests": {"PSNR_dB": {"p_holm": 0.049}}},
            {"row": "best", "title": "Best", "PSNR_dB": spread(36.0, None), "bias": spread(None, None), "seconds": 1.26,
             "evaluations": 1, "scans": 1, "tests": {}}]  # fmt: skip
    text = render.grid(rows, (PSNR, BIAS), {"Low": {"PSNR_dB": (35.07, 4.21)}, "Other": {}}, {"a": "Low"})
    cells = [[c.strip() for c in line.strip("|").split("|")] for line in text.splitlines()]
    assert cells[0] == ["", "PSNR, dB", "s", "evaluations", "scans"]  # no number of bias, no column
    assert cells[2] == ["Low-dose", "32.22 ± 1.00*", "0.0", "0", "3"]
    assert cells[3] == ["paper: Low", "35.07 ± 4.21", "", "", ""]
    assert cells[4] == ["Best", "36.00", "1.3", "1", "1"]
    assert cells[5] == ["paper: Other", "", "", "", ""]
    assert len({len(line) for line in text.splitlines()}) == 1


WIDTH = Option("w", "float", 6.0, "", 0.0, 40.0, tune=(3.0, 6.0))


@pytest.mark.parametrize(
    "tried, best, after",
    [
        ((3.0, 6.0), 6.0, 12.0),
        ((3.0, 6.0), 3.0, 1.5),
        ((3.0, 6.0, 9.0), 6.0, None),
        ((10.0, 30.0), 30.0, 40.0),
        ((30.0, 40.0), 40.0, None),
        ((0.0, 2.0), 0.0, None),
    ],
)
def test_tuning_looks_beyond_its_ends(tried, best, after):
    assert tuning.beyond(WIDTH, [{"w": w} for w in tried], best) == after


def test_a_slab_is_the_middle_of_the_body_on_its_own_grid():
    patient = small_patient()
    pet = patient["pet"]
    body = np.zeros(pet.array.shape, bool)
    body[2:22, 5:20, 5:20] = True
    case, normal = tuning.slab(Case(pet, body, 0.3, patient["ct"], patient["ct"]), patient["reference"], part=0.5)
    assert case.pet.array.shape[0] == 10 and np.array_equal(case.pet.array, pet.array[7:17])
    assert case.noise == 0.3 and case.body.shape == case.ct.array.shape == case.mr.array.shape == normal.array.shape
    assert case.pet.geometry.affine @ [0, 0, 0, 1] == pytest.approx(pet.geometry.affine @ [0, 0, 7, 1])


def test_the_curves_means_are_over_patients():
    numbers = [{"PSNR_dB": v, "evaluations": 8, "seconds": 1.0} for v in (30.0, 32.0)]
    found = [CaseResult("p", "8x", {"sample 8": one}, {}) for one in numbers]
    rows = curve.table_of(found, [Point(8, 2, 4)], ["PSNR_dB"])
    assert [(r["name"], r["PSNR_dB"], r["evaluations"]) for r in rows] == [("sample 8", 31.0, 8)]


@pytest.mark.parametrize(("spent", "said"), [(1, "mean at once (1 evaluation)"), (4, "mean at once (4 evaluations)")])
def test_the_curve_says_how_many_evaluations_the_mean_at_once_takes(monkeypatch, tmp_path, spent, said):
    from matplotlib.axes import Axes

    lines = []
    monkeypatch.setattr(Axes, "axhline", lambda axes, y, label, **more: lines.append(label))
    rows = [{"estimate": "mean", "name": name, "evaluations": count, "PSNR_dB": 30.0, "SSIM": 0.9, "H_dist": 1.0}
            for name, count in ((curve.FIRST, spent), ("mean 8", 8.0))]  # fmt: skip
    curve.draw(rows, "A curve", tmp_path / "curve.png")
    assert set(lines) == {said}


def test_a_broken_file_counts_as_absent(tmp_path):
    file = tmp_path / "deep" / "one.json"
    store.write_json({"a": 1}, file)
    assert store.read_json(file) == {"a": 1} and [p.name for p in file.parent.iterdir()] == ["one.json"]
    file.write_text('{"a": ')
    assert store.read_json(file) is None


@pytest.mark.parametrize("bench", papers().values(), ids=str)
def test_every_paper_is_sound(bench):
    from petdiffusion import registry

    for table in (*bench.tables, *([bench.real] if bench.real else [])):
        names = [row.name for row in table.rows]
        assert len(set(names)) == len(names) and table.champion in names
        for row in table.rows:
            card = registry.card(row.method) if row.method else None
            assert not row.options or card.resolve(row.options)
            assert all(card.uses(kind) for kind in row.anatomy)
            assert not row.tuned or any(o.tune for o in card.options)
            assert not row.matched or names.index(row.matched) < names.index(row.name)
        for claim in table.claims:
            assert claim.metric in {m.key for m in table.metrics}
            assert {claim.first, *claim.others} <= {*names, summary.FILTERS}
        assert json.dumps([m.title for m in table.metrics])
    for table in bench.tables:
        assert {split_of(s) for s in table.test_seeds(table.patients)} == {"test"}
        assert {split_of(s) for s in table.tuning_seeds()} == {"validation"}
        assert set(table.quick_doses) <= {dose.label for dose in table.doses}
        for numbers in [table.paper] if hasattr(table, "paper") else table.levels.values():
            assert set(numbers) >= {row.paper for row in table.rows if row.paper and numbers}
    assert bench.curve is None or {split_of(s) for s in curve.seeds(bench.curve)} == {"validation"}


@pytest.mark.parametrize("name", ("csrd", "text-ddpm", "upete"))
def test_a_whole_run_has_patients_enough_to_pass_holm(name):
    for table in paper(name).tables:
        assert least_p([2.0 ** (1 - table.patients)] * (len(table.rows) - 1)) < 0.05, table.name


@pytest.mark.parametrize("name", ("amdiff", "text-ddpm", "upete"))
def test_tables_of_one_scanner_share_their_patients(name):
    tables = paper(name).tables
    assert len({table.job(900_000) for table in tables}) == len({table.preset for table in tables})
    assert len({table.doses for table in tables}) > 1
    for table in tables:
        assert {dose.fraction for dose in table.doses} <= set(table.job(900_000).fractions)


ROWS_OF_PAPERS = {
    ("csrd", "brain"): "Low-Dose, TV, U-net, Restormer, CSRD w/o MR, CSRD w MR",
    ("bc-dpm", "table1"): "Gaussian, BM3D, N2V-PT, CycleWGAN, BC-DPM",
    ("upete", "table1"): "LDM, LDM-P, LDM-CT, LDM-P-CT",
    ("upete", "table2"): "DIP, Noisier2Noise, LA-GAN, MR-GDD, Trans-GAN, Noise2Void, DF-GAN, AR-GAN, uPETe",
    ("amdiff", "table2"): "LeqMod-GAN, SpachTransformer, 3D Med-DDPM, AMDiff",
    ("amdiff", "table3"): "SwinUNETR, nnMamba, Med-SAM, AMDiff",
    ("amdiff", "table4"): "AMDiff, w/o revision, w/o organ regulariser, w/o lesion regulariser, w/o ResMamba",
}
"""Of the tables that the papers print; the text-guided DDPM's has bars alone."""


@pytest.mark.parametrize("name, part", ROWS_OF_PAPERS)
def test_every_row_of_a_papers_table_is_shown_also_of_methods_that_are_not_here(name, part):
    tables = [table for table in paper(name).tables if table.name.split("-")[0] == part]
    assert len(tables) == (3 if part in ("table2", "table3") and name == "amdiff" else 1)
    for table in tables:
        for numbers in [table.paper] if hasattr(table, "paper") else table.levels.values():
            own = {row.name: row.paper for row in table.rows if row.paper}
            rows = [{"row": row, "title": row, **{m.key: spread(1.0) for m in table.metrics}, "seconds": 0.0,
                     "evaluations": 0, "scans": 1, "tests": {}} for row in own]  # fmt: skip
            shown = [line.split("|")[1] for line in render.grid(rows, table.metrics, numbers, own).splitlines()]
            found = sorted(text.split("paper: ")[1].split(",")[0].strip() for text in shown if "paper: " in text)
            assert found == sorted(ROWS_OF_PAPERS[name, part].split(", "))


def test_two_folders_with_the_number_of_one_patient_are_told(tmp_path):
    for name in ("STS_007", "STS_008"):
        (tmp_path / name).mkdir()
        for file in (real.PET, real.TUMOUR):
            (tmp_path / name / file).touch()
    assert [f.name for f in real.folders(tmp_path, (8, 9))] == ["STS_008"]
    (tmp_path / "other-8").mkdir()
    (tmp_path / "other-8" / real.PET).touch()
    with pytest.raises(InputError, match="holds patient 8 twice: STS_008 and other-8"):
        real.folders(tmp_path, (7, 9))


def test_an_unknown_paper_names_the_nearest():
    with pytest.raises(OptionError, match="Did you mean 'csrd'"):
        paper("crsd")


def test_markdown_has_no_minus_before_zero_and_no_bar_within_a_cell():
    assert [render.number(v, 2) for v in (-0.004, 0.0, -0.006, None)] == ["0.00", "0.00", "-0.01", "–"]
    head, _, line = render.aligned([["", "s"], ["a | b", "1"]]).split("\n")
    assert line == r"| a \| b | 1 |" and len(head) == len(line)
