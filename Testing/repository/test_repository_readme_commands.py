"""The README's commands, executed: on small files in place of its capital words."""

import re
import shlex
import shutil
from pathlib import Path

import pytest
from petdiffusion import convert, read
from petdiffusion.cli import main
from petdiffusion.cli.app import parser
from petdiffusion.write import images
from petdiffusion.write.frames import write as write_frames
from support import dicom_factory
from support.contours import ball, structure_set
from support.scans import small_patient, write_patient

LINES = re.findall(r"^petdiffusion .*$", (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8"), re.M)
LONG = ("simulate patient", "simulate dataset")
"""Draw whole patients: with the slow tests."""
ELSEWHERE = ("--engine ray", " bench ", " train ", " export ", " calibrate ")
"""Need a cluster, minutes or a training: run small in Testing/unit (test_batch, test_bench, test_training,
test_training_streamed, test_trust_calibrate). Here their words are held against the command line."""


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    """Everything the README names, small."""
    place = tmp_path_factory.mktemp("readme")
    files = write_patient(place / "patient")
    dicom_factory.pet(place / "series", vendor="Siemens")
    (place / "cases.csv").write_text(f"id,pet,reference\none,{files['pet']},{files['reference']}\n")
    for name in ("A.nii.gz", "B.nii.gz"):
        images.write(small_patient(3)["pet"], place / name)
    like, frames = read.image(files["pet"]), [small_patient(seed)["pet"].array for seed in range(3)]
    dynamic = write_frames(like, frames, 3, place / "dynamic.nii.gz", {"FrameDuration": [60, 60, 60]})
    contours = structure_set(place, [("GTV", ball(12.0, read.image(files["pet"]).geometry.origin))])
    processed = convert(place / "series", place / "processed.nii.gz")
    bare = images.write(read.image(place / "series").with_facts(suv_factor=None), place / "bare.nii.gz")
    (place / "bare.json").unlink()
    words = {"PET": files["pet"], "PET_IN_BQML": str(bare), "DYNAMIC": str(dynamic), "CT": files["ct"],
             "ORGANS": files["labels"],
             "PROCESSED": str(processed), "CONTOURS": str(contours), "LESIONS": files["lesions"],
             "NORMAL_DOSE": files["reference"], "DICOM_FOLDER": str(place / "series")}  # fmt: skip
    return place, words


def run_line(line, workplace, monkeypatch):
    place, words = workplace
    monkeypatch.chdir(place)
    arguments = [words.get(word, word) for word in shlex.split(line, comments=True)[1:]]
    if "--out" in arguments and "rerun" not in arguments and "batch" not in arguments:
        shutil.rmtree(place / arguments[arguments.index("--out") + 1], ignore_errors=True)
    if "rerun" in arguments and not (place / "results").exists():  # the test may run without those before it
        assert main(["denoise", words["PET"], "--method", "gaussian", "--out", "results"]) == 0
    return main(arguments)


@pytest.mark.parametrize("line", [x for x in LINES if not any(word in x for word in (*ELSEWHERE, *LONG))])
def test_a_command_of_the_readme_runs(line, workplace, monkeypatch, capsys):
    assert run_line(line, workplace, monkeypatch) == 0, capsys.readouterr().err
    place = workplace[0]
    if "--format dicom" in line:
        assert read.image(place / "results" / "dicom").geometry.size == read.image(place / "series").geometry.size


@pytest.mark.parametrize("line", [x for x in LINES if any(word in x for word in ELSEWHERE)])
def test_a_command_that_runs_elsewhere_is_understood(line):
    assert parser().parse_args(shlex.split(line, comments=True)[1:]).execute


@pytest.mark.slow
@pytest.mark.parametrize("line", [x for x in LINES if any(long in x for long in LONG)])
def test_a_long_command_of_the_readme_runs(line, workplace, monkeypatch, capsys):
    assert run_line(line.replace("--n 200", "--n 1"), workplace, monkeypatch) == 0, capsys.readouterr().err


@pytest.mark.slow
def test_the_demo_runs(workplace, monkeypatch):
    assert run_line("petdiffusion demo --out demo-output", workplace, monkeypatch) == 0
    assert (workplace[0] / "demo-output" / "report.html").stat().st_size > 100_000
