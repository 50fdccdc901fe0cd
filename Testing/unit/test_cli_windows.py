"""The command line as PowerShell hands it over, and what Windows says where others have a word of their own."""

import errno
import json
from types import SimpleNamespace

import pytest
from petdiffusion.cli import app, main
from petdiffusion.cli.app import parser


@pytest.mark.parametrize(("words", "name", "value"), [
    ("evaluate --manifest c.csv --methods {} --out o", "methods", "gaussian,nlm"),
    ("simulate patient --out o --fraction {}", "fraction", "1,0.5,0.1"),
    ("simulate patient --out o --spacing {} --seed 3", "spacing", "2,2,3"),
    ("simulate patient --out o --field-mm {}", "field_mm", "256,256,180"),
    ("simulate dataset --n 2 --out o --tracer {}", "tracer", "FDG,DASB"),
    ("simulate dataset --n 2 --out o --preset {}", "preset", "mCT,Vision"),
])  # fmt: skip
def test_a_list_with_commas_may_come_as_a_word_each(words, name, value):
    for given in (value, value.replace(",", " ")):
        assert getattr(parser().parse_args(words.format(given).split()), name) == value


def test_a_stream_keeps_the_values_that_came_apart():
    words = "train csrd --minutes 1 --out o --stream kind=brain tracer=FDG DASB fraction=0.25 0.1"
    assert parser().parse_args(words.split()).stream == ["kind=brain", "tracer=FDG,DASB", "fraction=0.25,0.1"]


def test_of_other_lists_it_is_said_what_became_of_them(monkeypatch, capsys):
    words = ["dynamic", "pet.nii", "--out", "o", "--frames", "1", "3-5"]
    for system, told in (("linux", False), ("win32", True)):
        monkeypatch.setattr(app.sys, "platform", system)
        with pytest.raises(SystemExit):
            main(words)
        assert ("PowerShell ends a word at a comma" in capsys.readouterr().err) == told


def test_a_reader_that_went_away_is_no_fault_of_a_file(monkeypatch, capsys):
    """`petdiffusion methods | select -First 3`"""

    def closed(args, run):
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(app.info, "_methods", closed)
    monkeypatch.setattr(app, "_unread", lambda: app.EXIT_UNREAD)
    monkeypatch.setattr(app.sys, "platform", "win32")
    assert main(["methods"]) == app.EXIT_UNREAD
    assert capsys.readouterr().err == ""


def test_a_defect_is_placed_in_this_program_also_where_folders_are_parted_otherwise(monkeypatch):
    place = SimpleNamespace(filename="C:\\Users\\me\\petdiffusion\\cli\\app.py", lineno=7)
    monkeypatch.setattr(app.traceback, "extract_tb", lambda trace: [place])
    assert "(at cli/app.py:7)" in app._defect(ValueError("x")).why
    assert json.dumps(app._defect(ValueError("x")).to_json())
