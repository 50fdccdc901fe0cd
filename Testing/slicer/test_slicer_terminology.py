"""Terms of structures: every name the program uses has one, written as Slicer reads it."""

from __future__ import annotations

import pytest
from petdiffusion.phantoms import labels as phantom_labels
from PETDiffusionDenoiseLib import terminology

AMDIFF = ("liver", "lung", "bone", "muscle", "kidney", "spleen", "aorta")


def test_all_117_structures_and_the_general_organs_have_a_term() -> None:
    names = [*phantom_labels.TOTAL.values(), *AMDIFF]
    assert len(names) == 124 and [n for n in names if terminology.term(n) is None] == []


@pytest.mark.parametrize(
    "name, code, side",
    [
        ("liver", "10200004", ""),
        ("Kidney left", "64033007", "left"),
        ("kidney_right", "64033007", "right"),
        ("rib_left_12", "43993008", "left"),
        ("vertebrae_L5", "49668003", ""),
        ("lesion 3", "4147007", ""),
        ("aorta", "15825003", ""),
    ],
)
def test_names_find_their_codes(name, code, side) -> None:
    found = terminology.term(name)
    assert (found.code, found.side) == (code, side)


def test_an_unknown_name_has_no_term() -> None:
    assert terminology.term("left sock") is None


def test_left_and_right_of_a_pair_differ_in_the_modifier_alone() -> None:
    left, right = (terminology.entry(terminology.term(f"kidney_{side}")) for side in ("left", "right"))
    assert left.replace("SCT^7771000^Left", "SCT^24028007^Right") == right != left


def test_slicers_own_parser_reads_an_entry(scene) -> None:
    import slicer

    entry = slicer.vtkSlicerTerminologyEntry()
    logic = slicer.vtkSlicerTerminologiesModuleLogic()
    assert logic.DeserializeTerminologyEntry(terminology.entry(terminology.term("kidney_left")), entry)
    assert entry.GetCategoryObject().GetCodeValue() == "123037004"
    assert entry.GetTypeObject().GetCodeValue() == "64033007"
    assert entry.GetTypeModifierObject().GetCodeMeaning() == "Left"
