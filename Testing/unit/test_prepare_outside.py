"""Organs of a map that reaches beyond the PET, as of a CT that shows more of the patient."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import petdiffusion
import pytest
from petdiffusion.prepare import outside
from petdiffusion.progress import Run
from petdiffusion.quantifying import compare, quantify
from petdiffusion.volume import Geometry, LabelMap
from support.scans import GEOMETRY, small_patient

BEYOND = 4
"""Slices of 5 mm that the map shows below the PET."""
LONGER = Geometry((28, 26, 22 + BEYOND), GEOMETRY.spacing, (-54.0, -50.0, 10.0 - 5.0 * BEYOND))


def column(value, below, within):
    """Ten voxels a slice, in so many slices below the PET's edge and above it."""
    array = np.zeros(LONGER.shape, np.int16)
    array[BEYOND - below:BEYOND + within, 12, 8:18] = value
    return array


def told(how, organs):
    pet, run = small_patient()["pet"], Run()
    if how == "quantify":
        quantify(pet, labels=organs, run=run)
    elif how == "compare":
        compare([pet], pet.with_array(pet.array * 0.9), labels=organs, run=run)
    else:
        petdiffusion.denoise(pet, "gaussian", labels=organs, run=run)
    return [text for text in run.warnings if text.startswith(outside.BEGINS)]


@pytest.mark.parametrize("how", ["denoise", "quantify", "compare"])
def test_how_much_of_which_organ_lies_outside_is_told(how):
    """Three of eight slices of the liver: 30 voxels of 0.08 ml of 80; all of the bladder; nothing of the spleen."""
    array = column(5, below=3, within=5)
    array[0, 4:8, :10], array[-1, 4, :5] = 21, 1
    said, = told(how, LabelMap(array, LONGER, {5: "liver", 21: "urinary_bladder", 1: "spleen"}))
    assert "liver (2.4 of 6.4 ml lie outside), urinary_bladder (all 3.2 ml lie outside)." in said
    assert "spleen" not in said and "inside it alone" in said


@pytest.mark.parametrize("how", ["denoise", "quantify"])
def test_a_map_within_the_pet_is_told_nothing_of(how):
    assert told(how, LabelMap(column(5, below=0, within=8), LONGER, {5: "liver"})) == []
    assert told(how, small_patient()["labels"]) == []


def test_a_hundredth_of_an_organ_is_no_news():
    assert told("quantify", LabelMap(column(5, 0, 20) + _some_below(2), LONGER)) == []
    assert "label 5 (0.24 of 16.2 ml" in told("quantify", LabelMap(column(5, 0, 20) + _some_below(3), LONGER))[0]


def _some_below(count):
    array = np.zeros(LONGER.shape, np.int16)
    array[0, 12, :count] = 5
    return array


def test_of_many_organs_those_that_lose_most_are_named():
    array = column(30, below=0, within=1)
    for value in range(1, 13):
        array[0, value, :value] = value
    said, = told("quantify", LabelMap(array, LONGER))
    assert said.index("label 12 (all 0.96 ml") < said.index("label 3 (all 0.24 ml") and said.endswith(" and 2 more.")
    assert "label 2 " not in said


def test_the_millilitres_are_those_of_the_maps_own_voxels():
    organs = LabelMap(column(5, below=2, within=2), replace(LONGER, spacing=(2.0, 2.0, 5.0)), {5: "liver"})
    assert "liver (0.4 of 0.8 ml" in told("quantify", organs)[0]
