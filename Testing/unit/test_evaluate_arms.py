"""One method compared with itself: other options or another model, in one study with paired tests."""

import json

import pytest
from petdiffusion.cli import main
from petdiffusion.errors import OptionError
from petdiffusion.evaluate import Ask, arms, evaluate
from petdiffusion.write import images
from petdiffusion.write.tables import read_csv
from support.blobs import blobs


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    folder = tmp_path_factory.mktemp("arms")
    lines = ["id,pet,reference"]
    for name, seed in (("a", 1), ("b", 2)):
        patient = blobs((12, 16, 20), seed=seed)
        images.write(patient.noisy, folder / f"{name}.nii.gz")
        images.write(patient.truth, folder / f"{name}-truth.nii.gz")
        lines.append(f"{name},{name}.nii.gz,{name}-truth.nii.gz")
    (folder / "cases.csv").write_text("\n".join(lines) + "\n")
    return folder / "cases.csv"


def test_a_method_with_other_options_stands_beside_itself_under_a_word_of_its_own(cases, tmp_path):
    out = tmp_path / "out"
    assert main(["evaluate", "--manifest", str(cases), "--methods", "gaussian,gaussian@wide", "--out", str(out),
                 "--option", "gaussian.fwhm_mm=3", "--option", "gaussian@wide.fwhm_mm=15", "--quiet"]) == 0  # fmt: skip
    widths = {arm: json.loads((out / "runs" / arm / "a" / "record.json").read_text())["options"]["fwhm_mm"]
              for arm in ("gaussian", "gaussian@wide")}  # fmt: skip
    assert widths == {"gaussian": 3, "gaussian@wide": 15}
    means = {r["method"]: float(r["mean"]) for r in read_csv(out / "tables" / "metrics.csv")
             if r["metric"] == "noise_percent"}  # fmt: skip
    assert means["gaussian@wide"] < 0.7 * means["gaussian"] and "low-count" in means
    said, page = (out / "methods.txt").read_text(), (out / "report.html").read_text()
    assert "Gaussian filter (fwhm_mm 3" in said and "Gaussian filter (wide) (fwhm_mm 15" in said
    assert "2 methods on 2 scans" in page and "<th>Gaussian filter (wide)</th>" in page
    again = "--methods gaussian,gaussian@wide --out DIR --option gaussian.fwhm_mm=3 --option gaussian@wide.fwhm_mm=15"
    assert again in page


def test_each_has_its_own_model(cases, tmp_path, monkeypatch):
    given = []

    def batch(manifest, out, method, **settings):
        given.append((out.name, method, settings.get("model")))
        return [{"id": "a", "status": "failed", "error": "stopped here"}]

    monkeypatch.setattr("petdiffusion.evaluate.run.run_batch", batch)
    main(["evaluate", "--manifest", str(cases), "--methods", "unet-3d@ours,unet-3d", "--out", str(tmp_path / "out"),
          "--model", "unet-3d@ours=our-unet", "--quiet"])  # fmt: skip
    assert given == [("unet-3d@ours", "unet-3d", "our-unet"), ("unet-3d", "unet-3d", None)]
    assert arms.title_of("unet-3d@ours") == "3D U-net (ours)"


@pytest.mark.parametrize(("methods", "told"), [
    (("median", "median"), "must be one or more"), (("median@",), "has no word"), (("median@../up",), "has no word"),
    (("median@a@b",), "has no word"), (("medain@a",), "medain"),
])  # fmt: skip
def test_words_that_cannot_be_folders_and_methods_that_are_not_there_are_refused(cases, tmp_path, methods, told):
    with pytest.raises(OptionError, match=told):
        evaluate(Ask(cases, methods, tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_two_that_differ_by_capitals_alone_are_refused():
    """On Windows and macOS their runs would lie in one folder, and the report have one's numbers for both."""
    with pytest.raises(OptionError, match="each named once"):
        arms.check(("nlm@Fast", "nlm@fast"))
    arms.check(("nlm@fast", "nlm@faster"))
