"""Every column that a run writes is explained on the page of the tables."""

import csv
import re
from pathlib import Path

from petdiffusion import denoise, denoise_frames, read
from petdiffusion.cli import main
from petdiffusion.write import frames
from support.scans import small_patient, write_patient

PAGE = (Path(__file__).parents[2] / "Resources" / "docs" / "tables.md").read_text(encoding="utf-8")
EXPLAINED = set(re.findall(r"`([A-Za-z0-9_]+)`", PAGE))
IMAGE = re.compile(r"(_(low|denoised|reference|PET))(_vs_(low|reference)_percent)?$|_(low95|high95)$")
"""What the page says once for all: the image that a number is of, its change, the ends of an interval."""


def unexplained(folder):
    """Columns of a folder's tables that the page does not name, with their table."""
    found = []
    for file in sorted(folder.glob("*.csv")):
        with file.open(encoding="utf-8-sig") as stream:
            columns = next(csv.reader(stream))
        plain = {column: IMAGE.sub("", column) for column in columns}
        found += [f"{file.stem}: {column}" for column, name in plain.items()
                  if not {column, name, name.removesuffix("_vs")} & EXPLAINED]  # fmt: skip
    return found


def test_every_column_of_a_run_is_explained(tmp_path):
    """By methods with intervals, lesions of their own, a reference and a change that noise does not explain."""
    paths = write_patient(tmp_path / "patient")
    given = {name: paths[name] for name in ("labels", "lesions", "reference")}
    for method, options in (("csrd", {"samples": 2}), ("amdiff", {"samples": 2}), ("gaussian", {"fwhm_mm": 12.0})):
        denoise(paths["pet"], method, out=tmp_path / method, report=False, options=options, **given)
        assert not unexplained(tmp_path / method / "tables"), method
    assert (tmp_path / "gaussian" / "tables" / "trust.csv").is_file()
    assert (tmp_path / "csrd" / "tables" / "intervals.csv").is_file()


def test_every_column_of_a_dynamic_scan_is_explained(tmp_path):
    paths = write_patient(tmp_path / "patient")
    values = [small_patient(seed)["pet"].array for seed in range(2)]
    frames.write(read.image(paths["pet"]), iter(values), 2, tmp_path / "pet.nii.gz", {"FrameDuration": [60, 60]})
    denoise_frames(tmp_path / "pet.nii.gz", tmp_path / "out", "gaussian", labels=paths["labels"])
    assert not unexplained(tmp_path / "out" / "tables")


def test_every_column_of_studies_is_explained(tmp_path):
    """What `quantify` and `compare` call an image is a name's end as well; the page says so."""
    paths = write_patient(tmp_path / "patient")
    manifest = tmp_path / "cases.csv"
    places = ",".join(paths[name] for name in ("pet", "reference", "labels", "lesions"))
    rows = "id,dose_fraction,pet,reference,labels,lesions", f"a,0.1,{places}", f"b,0.2,{places}", "c,0.2,none.nii,,,"
    manifest.write_text("\n".join(rows))
    words = ["--manifest", str(manifest), "--methods", "gaussian,median", "--out", str(tmp_path / "study"), "--quiet"]
    main(["evaluate", *words])
    assert {file.stem for file in (tmp_path / "study" / "tables").iterdir()} > {"cases", "metrics_by_dose", "failed"}
    assert not unexplained(tmp_path / "study" / "tables")
    assert not unexplained(tmp_path / "study" / "runs" / "gaussian")
    assert main(["quantify", paths["pet"], "--lesions", paths["lesions"], "--out", str(tmp_path / "numbers")]) == 0
    assert not unexplained(tmp_path / "numbers")


def test_a_column_that_is_not_on_the_page_is_found(tmp_path):
    (tmp_path / "image.csv").write_text("image,SUVmax_low,mystery_denoised\n", encoding="utf-8")
    assert unexplained(tmp_path) == ["image: mystery_denoised"]
