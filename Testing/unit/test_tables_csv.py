"""CSV tables: what is written comes back; a spreadsheet runs nothing."""

from __future__ import annotations

import csv
import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from petdiffusion.errors import InputError, OutputError
from petdiffusion.write.tables import read_csv, write_csv

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), min_size=1).filter(
    lambda t: (
        t not in ("true", "false")
        and not t.lstrip("-").replace("inf", "").replace(".", "").isdigit()
        and t not in ("inf", "-inf")
        and not _numeric(t)
    )
)


def _numeric(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


CELL = st.one_of(
    st.none(), st.booleans(), st.integers(-(10**15), 10**15), st.floats(allow_nan=False, allow_infinity=False), TEXT
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.fixed_dictionaries({"a": CELL, "=b": CELL, 'ä, "c"': CELL}), min_size=1, max_size=4))
def test_rows_come_back(tmp_path_factory, rows):
    path = write_csv(rows, tmp_path_factory.mktemp("t") / "t.csv")
    assert read_csv(path) == rows


def test_columns_keep_their_first_order_and_gaps_are_empty(tmp_path):
    path = write_csv([{"b": 1, "a": None}, {"c": "x", "b": float("nan")}], tmp_path / "t.csv")
    assert path.read_text(encoding="utf-8") == "b,a,c\n1,,\n,,x\n"
    assert read_csv(path) == [{"b": 1, "a": None, "c": None}, {"b": None, "a": None, "c": "x"}]


@pytest.mark.parametrize("text", ["=1+1", "+1", "-cmd", "@SUM(A1)", "\tx", "\nx", '=HYPERLINK("http://x")'])
def test_no_cell_can_be_run_as_a_formula(tmp_path, text):
    path = write_csv([{text: text}], tmp_path / "t.csv")
    with path.open(encoding="utf-8", newline="") as file:
        cells = [cell for line in csv.reader(file) for cell in line]
    assert all(cell.startswith("'") for cell in cells) and len(cells) == 2
    assert read_csv(path) == [{text: text}]


def test_negative_numbers_stay_numbers(tmp_path):
    path = write_csv(
        [{"x": -1.5, "y": np.float32(0.1), "z": np.int64(-3), "w": np.bool_(True), "v": -np.inf}], tmp_path / "t.csv"
    )
    assert path.read_text().splitlines()[1] == "-1.5,0.1,-3,true,-inf"
    assert read_csv(path) == [{"x": -1.5, "y": 0.1, "z": -3, "w": True, "v": -np.inf}]


def test_identifiers_with_leading_zeros_stay_text(tmp_path):
    assert read_csv(write_csv([{"id": "007", "v": "1_000"}], tmp_path / "t.csv")) == [{"id": "007", "v": "1_000"}]


def test_a_failed_write_leaves_the_old_table_and_no_rest(tmp_path, monkeypatch):
    path = write_csv([{"a": 1}], tmp_path / "t.csv")

    class Broken(dict):
        def get(self, *_):
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError):
        write_csv([Broken(a=1)], path)
    with monkeypatch.context() as broken, pytest.raises(RuntimeError):
        broken.setattr(os, "replace", lambda *_: Broken().get())
        write_csv([{"a": 2}], path)
    assert read_csv(path) == [{"a": 1}] and [p.name for p in tmp_path.iterdir()] == ["t.csv"]
    with pytest.raises(OutputError, match="cannot be written"):
        write_csv([{"a": 1}], tmp_path / "none" / "t.csv")


def test_a_name_that_is_no_unicode_costs_no_table(tmp_path):
    """As of a folder that an archive of Windows made."""
    assert read_csv(write_csv([{"pet": "M\udcfcller"}], tmp_path / "t.csv")) == [{"pet": "M\\udcfcller"}]


def test_damaged_tables_are_named(tmp_path):
    (tmp_path / "t.csv").write_text("a,b\n1\n")
    with pytest.raises(InputError, match="line 2"):
        read_csv(tmp_path / "t.csv")
    with pytest.raises(InputError):
        read_csv(tmp_path / "none.csv")
    (tmp_path / "e.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError):
        read_csv(tmp_path / "e.csv")
    assert read_csv(write_csv([], tmp_path / "empty.csv")) == []
