"""Terminals of other code pages: letters that they do not have are said by their numbers, and end no run."""

import io
import json
import os
import subprocess
import sys

import pytest
from petdiffusion.cli import main
from petdiffusion.cli.common import said
from support.scans import write_patient


def said_in(encoding, *words):
    """Standard output of the command on a terminal of that code page."""
    done = subprocess.run([sys.executable, "-m", "petdiffusion", *words], capture_output=True,
                          env={**os.environ, "PYTHONIOENCODING": encoding})  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.decode(encoding)


def test_a_path_that_the_terminal_has_no_letters_for_is_said_all_the_same(tmp_path):
    out, pet = tmp_path / "Łódź", write_patient(tmp_path / "p")["pet"]
    text = said_in("cp1252", "denoise", pet, "--method", "gaussian", "--out", str(out))
    assert (out / "record.json").is_file() and r"\u0141ód\u017a" in text


@pytest.mark.parametrize("words", [["evaluate"], ["bench"], ["simulate", "patient"]])
def test_help_is_said_on_every_terminal(words):
    assert "usage: petdiffusion" in said_in("cp437", *words, "--help")


@pytest.mark.parametrize(("encoding", "raw"), [("ascii", False), ("utf-8", True)])
def test_json_for_programs_stays_json_on_every_terminal(monkeypatch, encoding, raw):
    """A letter replaced after the JSON was written would be no JSON: it has no escape of two figures."""
    terminal = io.TextIOWrapper(io.BytesIO(), encoding, "backslashreplace")
    monkeypatch.setattr(sys, "stdout", terminal)
    print(said({"found": "é – Ł"}), flush=True)
    text = terminal.buffer.getvalue().decode(encoding)
    assert json.loads(text) == {"found": "é – Ł"} and ("é" in text) == raw


@pytest.mark.parametrize("words", [["denoise", "a.nii", "--out", "o", "--seed", "x"], ["denoise"],
                                   ["simulate", "patient", "--kind", "cat", "--out", "o"]])  # fmt: skip
def test_wrong_words_are_one_event_for_programs_too(words, capsys):
    for more, events in (["--json-lines"], 1), ([], 0):
        with pytest.raises(SystemExit) as end:
            main([*words, *more])
        heard = capsys.readouterr()
        assert end.value.code == 2 and "error: " in heard.err and f"usage: petdiffusion {words[0]}" in heard.err
        said_of = [json.loads(line) for line in heard.out.splitlines()]
        assert len(said_of) == events
        for event in said_of:
            assert event["event"] == "error" and event["error"]["why"] in heard.err
            assert f"petdiffusion {words[0]}" in event["error"]["remedy"]


@pytest.mark.skipif(os.name == "nt", reason="a descriptor is closed by the shell")
def test_a_run_that_nobody_hears_is_no_defect(tmp_path):
    """As of a scheduler that closes standard output: the result was there, and the exit code said defect."""
    pet, out = write_patient(tmp_path / "p")["pet"], tmp_path / "out"
    words = [sys.executable, "-m", "petdiffusion", "denoise", pet, "--method", "gaussian", "--out", str(out)]
    done = subprocess.run(["sh", "-c", '"$@" >&-', "sh", *words], capture_output=True, text=True)
    assert done.returncode == 0 and "defect" not in done.stderr and (out / "record.json").is_file()
