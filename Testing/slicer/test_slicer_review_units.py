"""The review where numbers are not SUV in the nodes: one window for all, each colour bar in its own unit."""

from __future__ import annotations

import pytest
from petdiffusion.volume import BQML, SUVBW

FACTOR = 2e-4


def finished(unit=None, factor=FACTOR, choice=BQML, code=None):
    """A result of a PET whose numbers are Bq/ml by the user's word, and a normal dose that says nothing."""
    import builders
    import slicer
    import slicer.util
    from PETDiffusionDenoiseLib import results, units

    low, full = builders.pet(unit, "Low"), builders.pet(unit, "Full", seed=1)
    for node in (low, full):
        slicer.util.updateVolumeFromArray(node, slicer.util.arrayFromVolume(node) / FACTOR)
        node.GetDisplayNode().SetWindowLevelMinMax(0.0, 6.0 / FACTOR)
        if code:
            entry = slicer.vtkCodedEntry()
            entry.SetValueSchemeMeaning(code, "UCUM", code)
            node.SetVoxelValueUnits(entry)
    inputs = results.Inputs(low, units.find(low, choice, factor), reference=full)
    array = slicer.util.arrayFromVolume(low)
    nodes = results.ResultNodes(results.add_denoised(array, inputs, "Demo"))
    nodes.difference = results.add_difference(0.1 * array, inputs, low, "Demo")
    nodes.uncertainty = results.add_uncertainty(0.1 * array, inputs, "Demo")
    results.sign(nodes, inputs, {"Method": "demo"})
    return nodes, low, full


@pytest.mark.parametrize("unit", [None, BQML])
def test_one_window_in_suv_for_a_scan_whose_factor_the_user_gave(scene, unit) -> None:
    from PETDiffusionDenoiseLib import review

    nodes, low, full = finished(unit)
    found = review.Review()
    found.high = 5.0
    found.show(nodes)
    for node in (low, nodes.denoised, full):
        assert node.GetDisplayNode().GetWindowLevelMax() == pytest.approx(5.0 / FACTOR), node.GetName()
    low.GetDisplayNode().SetWindowLevelMinMax(0.0, 3.0 / FACTOR)  # with the mouse
    assert full.GetDisplayNode().GetWindowLevelMax() == pytest.approx(3.0 / FACTOR)
    assert found.high == pytest.approx(3.0)


def test_a_normal_dose_with_its_own_unit_keeps_it(scene) -> None:
    from PETDiffusionDenoiseLib import review, units

    nodes, _, full = finished()
    units.mark(full, SUVBW)
    found = review.Review()
    found.high = 5.0
    found.show(nodes)
    assert full.GetDisplayNode().GetWindowLevelMax() == pytest.approx(5.0)


@pytest.mark.parametrize(
    "made, word",
    [({"unit": BQML}, "Bq/ml"), ({"unit": BQML, "factor": 0.0}, "Bq/ml"), ({"unit": SUVBW, "choice": "auto"}, "SUV"),
     ({"code": "kBq/ml", "choice": "auto"}, "kBq/ml"), ({}, "Bq/ml")],
)  # fmt: skip
def test_a_colour_bar_says_the_unit_of_its_own_numbers(scene, made, word) -> None:
    """A map of a scan in Bq/ml is in Bq/ml, also where the SUV factor is known."""
    import slicer.util
    from PETDiffusionDenoiseLib import review

    review.Review().show(finished(**made)[0], maps=("difference", "uncertainty"))
    legends = slicer.util.getNodesByClass("vtkMRMLColorLegendDisplayNode")
    assert sorted(node.GetTitleText() for node in legends) == [f"{word} change", f"{word}, 1 SD"]


def test_a_unit_that_the_user_said_is_that_of_the_results(scene) -> None:
    """Also where the volume says another one: the user knows better, and is taken at the word."""
    from PETDiffusionDenoiseLib import units

    nodes, low, _ = finished(SUVBW)
    found = units.find(nodes.denoised)
    assert (found.unit, found.factor) == (BQML, FACTOR) and units.find(low).unit == SUVBW


def test_a_window_is_kept_for_scans_of_its_own_unit_alone(open_panel) -> None:
    widget = open_panel()
    ui, given = widget.ui, widget.panel.parameters
    suv = finished(SUVBW, choice="auto")[0]
    own = finished(BQML, factor=0.0)[0]
    given.result = suv.denoised
    ui.windowSlider.setValue(4.0)
    given.result = own.denoised
    assert ui.windowLabel.text == "Window (Bq/ml):" and ui.windowSlider.value > 1000
    ui.windowSlider.setValue(20000.0)
    given.result = suv.denoised
    assert ui.windowLabel.text == "SUV window:" and ui.windowSlider.value == 4.0
    given.result = own.denoised
    assert ui.windowSlider.value == 20000.0


def test_the_slider_is_in_the_scan_s_own_unit(open_panel) -> None:
    widget = open_panel()
    widget.panel.parameters.result = finished(code="kBq/ml", choice="auto", factor=0.0)[0].denoised
    assert widget.ui.windowLabel.text == "Window (kBq/ml):"


def test_a_window_that_is_set_with_the_mouse_stays_when_a_map_is_added(open_panel) -> None:
    widget = open_panel()
    nodes = finished(SUVBW, choice="auto")[0]
    widget.panel.parameters.result = nodes.denoised
    widget.ui.compareButton.click()
    nodes.denoised.GetDisplayNode().SetWindowLevelMinMax(0.0, 40.0)
    assert widget.ui.windowSlider.value == pytest.approx(40.0), "beyond the slider's usual end"
    nodes.denoised.GetDisplayNode().SetWindowLevelMinMax(0.0, 3.5)
    assert widget.ui.windowSlider.value == pytest.approx(3.5)
    widget.ui.differenceButton.click()
    assert nodes.denoised.GetDisplayNode().GetWindowLevelMax() == pytest.approx(3.5)
