"""The command line: forms that others rely on, JSON lines, errors, Ctrl-C."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from petdiffusion import read, registry
from petdiffusion.cli import main
from petdiffusion.errors import OptionError
from petdiffusion.methods.contract import MethodCard, Option
from petdiffusion.progress import Run
from support.scans import write_patient


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return write_patient(tmp_path_factory.mktemp("patient"))


def events(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


def test_help_of_every_command_answers_and_loads_nothing_heavy():
    code = (
        "import sys, petdiffusion.cli.app as app\n"
        "names = app.parser()._subparsers._group_actions[0].choices\n"
        "heavy = [m for m in ('torch', 'SimpleITK', 'scipy', 'nibabel', 'pydicom', 'skimage') if m in sys.modules]\n"
        "print(len(names), heavy)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split(None, 1)
    assert int(out[0]) >= 11 and out[1].strip() == "[]"


def test_denoise_prints_numbers_and_files(files, tmp_path, capsys):
    assert main(["denoise", files["pet"], "--method", "gaussian", "--labels", files["labels"],
                 "--reference", files["reference"], "--out", str(tmp_path / "out")]) == 0  # fmt: skip
    text = capsys.readouterr().out
    assert "liver" in text and "report.html" in text and "research use only" in text


def test_the_seconds_said_are_those_of_all_stages(capsys):
    """The run record cannot hold the time of its own writing; the sentence on the terminal does."""
    from types import SimpleNamespace

    from petdiffusion.cli.denoise import say_result

    record = {"check": [], "seconds": {"denoise": 2.0}, "method": {"title": "Filter"}}
    run = Run()
    with run.stage("denoise", ""), run.stage("registering within it", ""):
        time.sleep(0.02)
    with run.stage("write", ""):
        time.sleep(0.01)
    assert run.whole == pytest.approx(run.seconds["denoise"] + run.seconds["write"])
    run.whole = 5.0
    scan = SimpleNamespace(facts=SimpleNamespace(simulated=None))
    say_result(SimpleNamespace(record=record, tables={}, files={}, low=scan), SimpleNamespace(json_lines=False), run)
    assert "5.0 s in all" in capsys.readouterr().out


def test_json_lines_are_json_and_end_in_the_result(files, tmp_path, capsys):
    out = tmp_path / "out"
    assert (
        main(
            [
                "denoise",
                files["pet"],
                "--method",
                "gaussian",
                "--option",
                "fwhm_mm=6",
                "--json-lines",
                "--out",
                str(out),
            ]
        )
        == 0
    )
    said = events(capsys.readouterr().out)
    assert {e["event"] for e in said} >= {"stage", "progress", "result"}
    assert all(0 <= e["fraction"] <= 1 for e in said if e["event"] == "progress")
    assert said[-1]["event"] == "result" and Path(said[-1]["files"]["denoised"]).is_file()
    assert said[-1]["record"]["options"]["fwhm_mm"] == 6.0


def test_errors_are_one_clear_message_or_one_json_event(files, tmp_path, capsys):
    wrong = ["denoise", files["pet"], "--method", "gausian", "--out", str(tmp_path / "out")]
    assert main(wrong) == 1
    assert "Did you mean 'gaussian'" in capsys.readouterr().err
    assert main([*wrong, "--json-lines"]) == 1
    error = events(capsys.readouterr().out)[-1]["error"]
    assert error["type"] == "OptionError" and error["remedy"]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("fwhm_mm", "--option fwhm_mm=6.0."),
        ("fwhm", "--option fwhm_mm=6.0."),
        ("fwhm_mm=wide", "is not a number."),
    ],
)
def test_a_wrong_option_is_answered_with_one_that_the_method_has(files, tmp_path, capsys, option, said):
    assert main(["denoise", files["pet"], "--method", "gaussian", "--option", option, "--out", str(tmp_path)]) == 1
    assert said in capsys.readouterr().err
    (tmp_path / "cases.csv").write_text(f"pet\n{files['pet']}\n")
    evaluate = ["evaluate", "--manifest", str(tmp_path / "cases.csv"), "--methods", "gaussian", "--out", str(tmp_path)]
    assert main([*evaluate, "--option", f"gaussian.{option}"]) == 1
    assert said.replace("--option ", "--option gaussian.") in capsys.readouterr().err


def test_a_device_that_is_no_word_for_one_is_refused_before_reading_by_every_method(tmp_path, capsys):
    for method in registry.cards():
        wrong = ["denoise", "none.nii", "--method", method, "--device", "foo", "--out", str(tmp_path / "o")]
        assert main(wrong) == 1
        assert "Device 'foo'" in capsys.readouterr().err


def test_an_empty_output_folder_is_not_the_current_one(files, tmp_path, monkeypatch, capsys):
    """As of a script whose variable is not set."""
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    for words in (["denoise", files["pet"], "--method", "gaussian", "--out="], ["batch", "cases.csv", "--out", " "]):
        with pytest.raises(SystemExit) as ended:
            main(words)
        assert ended.value.code == 2 and "--out: is empty" in capsys.readouterr().err
    assert sorted(tmp_path.iterdir()) == before


def test_a_filter_is_run_without_torch(files):
    code = (
        "import sys, petdiffusion\n"
        f"petdiffusion.denoise({files['pet']!r}, 'gaussian', device='cuda')\n"
        "print([m for m in sys.modules if m == 'torch'])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_a_value_of_another_kind_is_refused_in_plain_words():
    words = {"float": "is not a number", "int": "is not a whole number", "bool": "is not true or false",
             "str": "is not a text"}  # fmt: skip
    for kind, said in words.items():
        with pytest.raises(OptionError, match=said):
            Option("name", kind, None, "").check([1])
    for value in (2, "x"):
        with pytest.raises(OptionError, match=r"The default is chosen automatically\."):
            Option("name", "float", None, "", minimum=0, maximum=1).check(value)


def test_a_defect_is_said_as_one_and_not_as_a_trace(files, tmp_path, capsys, monkeypatch):
    import petdiffusion.run

    def broken(*_, **__):
        raise KeyError("surprise")

    monkeypatch.setattr(petdiffusion.run, "denoise", broken)
    assert main(["denoise", files["pet"], "--out", str(tmp_path / "out")]) == 70
    text = capsys.readouterr().err
    assert "A defect of this program" in text and "Traceback" not in text


def test_a_reader_that_has_gone_is_no_error_to_speak_of():
    """As `petdiffusion methods --json | head -1` does."""
    process = subprocess.Popen([sys.executable, "-m", "petdiffusion", "methods", "--json"], stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True)  # fmt: skip
    process.stdout.close()
    assert process.stderr.read() == "" and process.wait() == 141


def test_methods_lists_every_card_and_survives_json(capsys):
    assert main(["methods", "--json"]) == 0
    cards = [MethodCard.from_json(data) for data in json.loads(capsys.readouterr().out)]
    assert {c.name: c for c in cards} == dict(registry.cards())
    for name in registry.cards():
        assert main(["methods", name]) == 0
        assert registry.card(name).title in capsys.readouterr().out


def test_models_alone_lists_them(capsys):
    assert main(["models", "list"]) == 0
    listed = capsys.readouterr().out
    assert main(["models"]) == 0
    assert capsys.readouterr().out == listed and "csrd-body" in listed
    for words in (["models", "--json"], ["models", "--json", "list"]):
        assert main(words) == 0 and isinstance(json.loads(capsys.readouterr().out), list)


def test_models_list_is_json_and_doctor_answers(capsys):
    assert main(["models", "list", "--json"]) == 0
    assert isinstance(json.loads(capsys.readouterr().out), list)
    assert main(["models", "verify"]) == 0
    capsys.readouterr()
    assert main(["doctor", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["usable"] and {m["name"] for m in found["methods"]} == set(registry.cards())


def test_quantify_compare_and_convert(files, tmp_path, capsys):
    assert main(["quantify", files["pet"], "--labels", files["labels"], "--lesions", files["lesions"],
                 "--out", str(tmp_path / "q")]) == 0  # fmt: skip
    assert "liver" in (tmp_path / "q" / "organs.csv").read_text()
    assert "MTV" in (tmp_path / "q" / "lesion_totals.csv").read_text()
    assert main(["compare", files["pet"], "--reference", files["reference"], "--out", str(tmp_path / "c")]) == 0
    assert "PSNR" in (tmp_path / "c" / "image.csv").read_text()
    target = tmp_path / "made" / "pet.nrrd"
    assert main(["convert", files["pet"], str(target), "--to", "Bq/ml"]) == 0
    capsys.readouterr()
    ratio = read.image(target, unit="Bq/ml").array.sum() / read.image(files["pet"]).array.sum()
    assert ratio == pytest.approx(1 / 2e-4, rel=1e-4)
    assert main(["quantify", files["pet"], "--out", str(tmp_path / "none")]) == 1
    assert "Nothing to quantify" in capsys.readouterr().err


def test_a_run_is_repeated_from_its_record(files, tmp_path, capsys):
    assert main(["denoise", files["pet"], "--method", "median", "--out", str(tmp_path / "one"), "--quiet"]) == 0
    assert main(["rerun", str(tmp_path / "one"), "--out", str(tmp_path / "two"), "--quiet"]) == 0
    one, two = (read.image(tmp_path / name / "denoised.nii.gz").array for name in ("one", "two"))
    np.testing.assert_array_equal(one, two)


@pytest.mark.skipif(os.name == "nt", reason="signals are sent otherwise on Windows")
@pytest.mark.parametrize("stubborn", [False, True], ids=["between steps", "deep inside a library"])
def test_ctrl_c_stops_soon_and_leaves_nothing(files, tmp_path, stubborn):
    """A method that never ends, once checking for a cancel and once not."""
    out = tmp_path / "out"
    body = "time.sleep(60)" if stubborn else "[(run.check(), time.sleep(0.02)) for _ in range(3000)]"
    code = f"""
import sys, time
from petdiffusion.methods import contract
from petdiffusion.cli import main
def endless(case, options, run):
    print("working", flush=True)
    {body}
contract.MethodCard.load = lambda self: endless
sys.exit(main(["denoise", {files["pet"]!r}, "--method", "gaussian", "--quiet", "--out", {str(out)!r}]))
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline().strip() == "working"
    sent = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130 and "Stopped by the user" in err
    assert time.monotonic() - sent < 20
    assert not out.exists() or not list(out.iterdir())


def test_compare_names_every_image_apart(files, tmp_path, capsys):
    from shutil import copy

    for place in ("one", "two"):
        (tmp_path / place).mkdir()
        for name in ("denoised.nii.gz", "reference.nii.gz"):
            copy(files["pet"], tmp_path / place / name)
    images = [
        str(tmp_path / place / name) for place in ("one", "two") for name in ("denoised.nii.gz", "reference.nii.gz")
    ]
    assert (
        main(["compare", *images, "--unit", "SUVbw", "--reference", files["reference"], "--out", str(tmp_path / "c")])
        == 0
    )
    rows = (tmp_path / "c" / "image.csv").read_text(encoding="utf-8-sig").splitlines()[1:]
    assert [row.split(",")[0] for row in rows] == [
        "one/denoised",
        "one/reference",
        "two/denoised",
        "two/reference",
        "reference",
    ]


def test_numbers_that_json_has_no_word_for_become_null(capsys):
    from petdiffusion.progress import JsonLines

    JsonLines()({"event": "result", "tables": {"a": [{"x": float("inf"), "y": (float("nan"), 1.5)}]}})
    assert events(capsys.readouterr().out)[0]["tables"] == {"a": [{"x": None, "y": [None, 1.5]}]}


def test_quiet_runs_still_say_their_doubts(files, tmp_path, capsys):
    silent = tmp_path / "pet.nii.gz"
    silent.write_bytes(Path(files["pet"]).read_bytes())  # without its sidecar
    assert main(["denoise", str(silent), "--method", "gaussian", "--quiet", "--out", str(tmp_path / "out")]) == 0
    assert "unit is unknown" in capsys.readouterr().err


STUCK = """
import os, signal, sys, time
from petdiffusion.cli.interrupt import stops_on_signals
from petdiffusion.progress import Run
from petdiffusion.write.staging import Staging
with stops_on_signals(Run(), patience=0.1), Staging(sys.argv[1]) as temporary:
    (temporary / "half of an image").write_text("x")
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(600)  # deep inside a library, which asks nobody
"""


def test_a_run_that_does_not_hear_ctrl_c_is_ended_and_leaves_no_file(tmp_path):
    ended = subprocess.run([sys.executable, "-c", STUCK, str(tmp_path / "out")], capture_output=True, text=True)
    assert ended.returncode == 130 and "No partial file was left" in ended.stderr
    assert list(tmp_path.iterdir()) == []
