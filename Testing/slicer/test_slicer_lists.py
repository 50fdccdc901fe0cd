"""What a result's lists, tables and images are called, and where a click on their lines goes."""

from __future__ import annotations

import pytest

FOUND = [
    {"what": "lesion", "name": "lesion 1", "organ": "liver", "volume_ml": 2.0, "SUVmean": 5.0, "SUVmax": 8.25,
     "SUVmax_low95": 7.0, "SUVmax_high95": 9.5, "SUVpeak": 7.0, "TLG": 10.0, "hottest_x_mm": -20.0,
     "hottest_y_mm": 8.0, "hottest_z_mm": 50.0, "SUVmax_sd": 0.5},
    {"what": "lesion", "name": "lesion 2", "volume_ml": 1234.0, "SUVmean": 3.0, "SUVmax": 4.0, "SUVpeak": 3.5,
     "TLG": 3.0, "x_mm": 1.0, "y_mm": 2.0, "z_mm": 3.0},  # as in scenes saved before places had names
    {"what": "total", "name": "all lesions", "lesions": 2, "volume_ml": 1236.0, "TLG": 13.0},
    {"what": "organ", "name": "liver", "volume_ml": 1500.0, "SUVmean": 2.0},
]  # fmt: skip


def result(tables, record=None):
    import patients
    from PETDiffusionDenoiseLib import results, units

    nodes = patients.result(lesion_rows=False)
    low = results.input_of(nodes.denoised)
    nodes.tables = results.add_tables(tables, "Demo")[0]
    nodes.record = record or {}
    results.sign(nodes, results.Inputs(low, units.find(low)), {"Method": "demo"})
    return nodes


def lists(tables):
    from PETDiffusionDenoiseLib import review_lists

    return review_lists.lists(result(tables))


def test_lesions_that_the_method_found_are_listed_with_their_intervals_and_places(scene) -> None:
    found = lists({"clinical": FOUND})["marked"]
    assert found.title == "Marked lesions: SUVmax, 95 % and volume"
    assert found.columns == ("Lesion", "SUVmax", "95 %", "ml")
    assert found.lines == [["1 liver", "8.25", "7.00 to 9.50", "2.00"], ["lesion 2", "4.00", "–", "1234"]]
    assert found.places == [(20.0, -8.0, 50.0), (-1.0, -2.0, 3.0)], "RAS"
    assert "Lesion 1 in liver: SUVpeak 7.00" in found.tips[0] and "no diagnosis" in found.tips[0]
    assert "not calibrated" in found.tips[0]


def test_calibrated_intervals_are_told_from_those_of_samples(scene) -> None:
    from PETDiffusionDenoiseLib import review_lists

    nodes = result({"clinical": FOUND}, {"uncertainty": {"clinical_calibrated": True}})
    tip = review_lists.lists(nodes)["marked"].tips[0]
    assert "not calibrated" not in tip and "calibrated, errors of the mask included" in tip


def test_lesions_without_intervals_have_no_empty_column(scene) -> None:
    found = lists({"clinical": FOUND[1:]})["marked"]
    assert found.columns == ("Lesion", "SUVmax", "ml") and found.title == "Marked lesions: SUVmax and volume"
    assert found.lines == [["lesion 2", "4.00", "1234"]]


def test_that_no_lesion_was_found_is_said(scene) -> None:
    none = [{"what": "total", "name": "all lesions", "lesions": 0, "volume_ml": 0.0, "TLG": 0.0}, FOUND[3]]
    found = lists({"clinical": none})["marked"]
    assert found.title == "Marked lesions: none" and found.places == [None]
    assert found.lines == [["None, which does not exclude one."]] and found.columns == ("Lesion",)


def test_marks_that_were_left_out_are_listed_to_be_looked_at(scene) -> None:
    gone = [{"region": 1, "organ": "small_bowel", "volume_ml": 2.0, "SUVmax": 8.25,
             "why": "its uptake goes on beyond it", "hottest_x_mm": 5.0, "hottest_y_mm": 6.0, "hottest_z_mm": 7.0},
            {"region": 2, "organ": "", "volume_ml": 1.0, "SUVmax": 4.0, "why": "where it lies"}]  # fmt: skip
    found = lists({"clinical": FOUND, "marks_left_out": gone})["left out"]
    assert found.lines == [["small bowel", "8.25", "2.00"], ["mark 2", "4.00", "1.00"]]
    assert found.places == [(-5.0, -6.0, 7.0), None] and "goes on beyond it" in found.tips[0]


def test_a_mark_that_has_neither_organ_nor_number_is_listed(scene) -> None:
    gone = [{"region": None, "organ": None, "volume_ml": 1.0, "SUVmax": 4.0, "why": "where it lies"}]
    assert lists({"clinical": FOUND, "marks_left_out": gone})["left out"].lines == [["mark", "4.00", "1.00"]]


def whole_image(kind, prefix="SUV"):
    """The row of a doubt that has no place."""
    from petdiffusion.trust import findings

    made = {
        findings.TOTAL: findings.Finding(findings.TOTAL, 1e-6, 1e-6, 5.0, 2.0, 2.4, 0.4, 0.05, 20.0),
        findings.STRUCTURE: findings.Finding(findings.STRUCTURE, 1e-6, 1e-5, 5.0, change_percent=40.0, size_mm=6.0),
    }
    return made[kind].row(1, prefix)


@pytest.mark.parametrize(
    "kind, line",
    [("total changed", ["● total changed", "2.00", "2.40", "< 0.001"]),
     ("structured residual", ["● structured residual", "–", "–", "< 0.001"])],
)  # fmt: skip
def test_doubts_about_the_whole_image_alone_are_listed(open_panel, kind, line) -> None:
    """None of their rows has a place, and a column without one number is still one of numbers."""
    from PETDiffusionDenoiseLib import review_lists, tables

    nodes = result({"trust": [whole_image(kind)], "clinical": FOUND})
    widget = open_panel()
    widget.panel.parameters.result = nodes.denoised
    assert widget.ui.listCombo.count == 2
    found = review_lists.lists(nodes)["doubts"]
    assert (found.lines, found.places) == ([line], [None])
    assert tables.rows_of(nodes.tables["trust"])[0]["x_mm"] is None


def test_a_scene_that_was_saved_with_words_for_missing_numbers_is_listed(scene) -> None:
    """Tables once kept a column without one number as empty words."""
    row = {key: "" if value is None else value for key, value in whole_image("structured residual").items()}
    assert lists({"trust": [row]})["doubts"].lines == [["● structured residual", "–", "–", "< 0.001"]]


def test_a_result_whose_lists_failed_is_not_taken_for_shown(open_panel, monkeypatch) -> None:
    from PETDiffusionDenoiseLib import review_lists

    nodes, made = result({"clinical": FOUND}), review_lists.lists
    widget = open_panel()
    monkeypatch.setattr(review_lists, "lists", lambda nodes: 1 / 0)
    widget.panel.parameters.result = nodes.denoised  # the observer of it tells the error on the console
    monkeypatch.setattr(review_lists, "lists", made)
    widget.panel.review.refresh()
    assert widget.ui.listCombo.count == 1


def test_a_click_on_a_found_lesion_goes_there(open_panel) -> None:
    widget = open_panel()
    nodes = result({"clinical": FOUND})
    widget.panel.parameters.result = nodes.denoised
    assert widget.ui.listCombo.itemText(0).startswith("Marked lesions")
    widget.ui.listTable.cellClicked.emit(0, 1)
    matrix = widget.panel.review.review.slice_node("denoised").GetSliceToRAS()
    assert [matrix.GetElement(i, 3) for i in range(3)] == pytest.approx([20.0, -8.0, 50.0], abs=0.01)


def test_prompts_and_matches_are_listed_by_height_and_a_click_goes_there(open_panel) -> None:
    told = {-60.0: "Axial slice including liver", 0.0: "", 60.0: "Axial slice including heart"}
    prompts = [{"slice": i, "z_mm": z, "prompt": text} for i, (z, text) in enumerate(told.items())]
    matches = [{"slice": 2, "z_mm": 60.0, "match_1": "heart", "score_1": 0.91, "match_2": "aorta", "score_2": 0.2}]
    widget = open_panel()
    nodes = result({"prompts": prompts, "matches": matches})
    widget.panel.parameters.result = nodes.denoised
    ui = widget.ui
    assert ui.listCombo.itemText(0) == "Prompts: 2 of 3 slices"
    table = [[ui.listTable.item(r, c).text() for c in range(3)] for r in range(ui.listTable.rowCount)]
    assert table == [["heart", "heart 0.91", "60.0"], ["–", "–", "0"], ["liver", "–", "−60.0"]], "the head on top"
    tip = ui.listTable.item(0, 0).toolTip()
    assert "Axial slice including heart" in tip and "aorta 0.2" in tip
    ui.axialButton.click()
    widget.panel.review.review.jump(11.0, 12.0, 0.0)
    ui.listTable.cellClicked.emit(2, 0)
    matrix = widget.panel.review.review.slice_node("denoised").GetSliceToRAS()
    assert matrix.GetElement(2, 3) == pytest.approx(-60.0, abs=0.01)


@pytest.mark.parametrize(
    "value, text",
    [(None, "–"), (0.0, "0"), (0.8, "0.800"), (2.125, "2.12"), (12.0, "12.0"), (999.6, "1000"), (1234.5, "1234"),
     (48210.0, "48210"), (-1500.0, "-1500"), (0.00012, "0.000120")],
)  # fmt: skip
def test_numbers_are_never_written_in_powers_of_ten(value, text) -> None:
    from PETDiffusionDenoiseLib import review_lists

    assert review_lists.number(value) == text


@pytest.mark.parametrize(
    "name, listed, below",
    [("Lesion 2 (lymph node)", "2 lymph node", "2"), ("lesion 3 (2)", "3, part 2", "3, part 2"),
     ("lesion 2 (lymph node) (1)", "2 lymph node, part 1", "2, part 1"), ("Metastasis", "Metastasis", "Metastasis"),
     ("lesion 4", "lesion 4", "4")],
)  # fmt: skip
def test_a_lesion_of_several_parts_keeps_its_number(name, listed, below) -> None:
    """A mask that falls apart is measured part by part: `lesion 3 (2)` is the second part of lesion 3."""
    from PETDiffusionDenoiseLib import review_lists, tables

    assert (review_lists.short_lesion(name), tables.short(name)) == (listed, below)


def test_yes_and_no_are_words_in_a_table(scene) -> None:
    from PETDiffusionDenoiseLib import tables

    node = tables.add_table([{"item": "noise", "look": True}, {"item": "edges", "look": False}, {"item": "x"}], "Q")
    assert [row["look"] for row in tables.rows_of(node)] == ["yes", "no", ""]


def test_tables_are_called_what_they_hold(scene) -> None:
    from PETDiffusionDenoiseLib import review_content

    kinds = ("image", "organs", "organ_errors", "lesions", "lesion_totals", "clinical", "trust", "intervals", "quality",
             "prompts", "matches", "transitions", "something_new")  # fmt: skip
    nodes = result({kind: [{"a": 1.0}] for kind in kinds})
    assert [title for title, _ in review_content.numbers(nodes).values()] == [
        f"Table: {title}" for title in (
            "whole image", "organs", "organs, errors against the normal dose", "lesions", "lesions, totals",
            "marked lesions and organs", "doubts", "95 % intervals", "quality control", "prompts of the slices",
            "best matches of the slices", "search of the transitions", "something new")
    ]  # fmt: skip
    assert nodes.tables["trust"].GetName() == "Demo: doubts"


@pytest.mark.parametrize(
    "column, title",
    [("low95", "95 % from"), ("sd", "SD of samples"), ("expected", "Mean of samples"), ("z", "z"),
     ("p_adjusted", "Chance anywhere"), ("p", "Chance in its place"), ("denoised", "Denoised"),
     ("SUVmax_sd", "SUVmax, SD of samples"), ("SUVsd_low", "SD in SUV before"), ("sd_denoised", "SD denoised"),
     ("local_noise_percent", "Noise in the body (%)"), ("liver_CoV_percent", "Noise in the liver, CoV (%)"),
     ("activity_vs_low_percent", "Activity, change from before (%)"), ("change_percent", "Change (%)"),
     ("SUVchange_low95", "SUV change, 95 % from"), ("body_mean", "Mean in the body"), ("PSNR_dB", "PSNR (dB)"),
     ("size_mm", "Size (mm)"), ("TLG_low95", "TLG, 95 % from"), ("look", "Look again"),
     ("hottest_x_mm", "Hottest x (mm, left)"), ("centre_z_mm", "Centre z (mm, up)")],
)  # fmt: skip
def test_columns_are_called_what_they_hold(column, title) -> None:
    from PETDiffusionDenoiseLib import tables

    assert tables.title_of(column) == title


def test_a_heat_map_of_the_text_encoder_is_called_so(scene) -> None:
    """The backend hands maps over as files named `map_…`."""
    from PETDiffusionDenoiseLib import results

    assert results.title_of("map_matches") == "Best matches (Grad-CAM)"
    assert results.title_of("map_new_thing") == "new thing"


@pytest.fixture
def guided(open_panel):
    """A result of a text-guided method: slices 10 mm apart, some without a prompt."""
    told = {z: f"Axial slice including organ at {z:g} <" if 0 <= z <= 50 else "" for z in range(-200, 210, 10)}
    prompts = [{"slice": i, "z_mm": float(z), "prompt": text, "scan": "1/10 dose FDG"}
               for i, (z, text) in enumerate(told.items())]  # fmt: skip
    widget = open_panel()
    widget.panel.parameters.result = result({"prompts": prompts}).denoised
    widget.ui.reviewSection.collapsed = False
    widget.ui.axialButton.click()
    return widget


@pytest.mark.parametrize(
    "height, text", [(28.0, "at 30 &lt;"), (120.0, "none"), (-40.0, "none"), (204.0, "none"), (212.0, "none")]
)
def test_a_slice_without_a_prompt_is_not_given_that_of_another(guided, height, text) -> None:
    label = guided.ui.promptView
    guided.panel.review.review.jump(0.0, 0.0, height)
    assert not label.isHidden() and label.text.split("<br>")[0].endswith(text)
    assert label.text.startswith("<b>Prompt of this slice:</b>") and label.text.endswith("1/10 dose FDG")


def test_a_prompt_is_of_an_axial_slice_also_in_another_view(guided) -> None:
    guided.ui.coronalButton.click()
    guided.panel.review.review.jump(0.0, 0.0, 31.0)
    assert guided.ui.promptView.text.startswith("<b>Prompt of the axial slice at the middle:</b>")
    assert "at 30" in guided.ui.promptView.text


@pytest.mark.parametrize("given", [True, False])
def test_marks_of_the_method_are_told_from_lesions_that_were_given(open_panel, given) -> None:
    """The backend hands its own marks over beside the lesions given; they are outlined, in a colour of their own."""
    import builders
    import numpy as np
    import slicer
    from PETDiffusionDenoiseLib import results, review_content, review_lists, scripted

    pet = builders.pet()
    open_panel("marks" if given else "explains")
    mask = builders.node_of(np.ones(builders.SHAPE, np.int16), "Given", kind="vtkMRMLLabelMapVolumeNode")
    nodes = scripted.denoise(pet, "diffuse", lesions=mask if given else None, labels=mask)
    assert "lesions_marked" not in nodes.extras
    if not given:
        assert nodes.marked is None and nodes.lesions is not None
        return
    found = results.of_denoised(nodes.denoised)
    assert found.marked.GetID() == nodes.marked.GetID() and nodes.marked in nodes.all() and nodes.lesions is None
    assert nodes.marked.GetName() == "PET marked lesions (diffuse)"
    assert (nodes.marked, "lesions") in review_content.segmentations(nodes)
    segment = nodes.marked.GetSegmentation().GetNthSegment(0)
    assert segment.GetName() == "Lesion 1" and segment.GetColor() != pytest.approx((1.0, 0.39, 0.1), abs=0.1)
    titles = [listing.title for listing in review_lists.lists(nodes).values()]
    assert titles[:2] == ["Lesions: SUVmax and volume", "Marked lesions: SUVmax and volume"]
    assert not slicer.mrmlScene.GetFirstNodeByName("PET lesions marked (diffuse)")


def test_lesions_measured_in_the_marks_of_the_method_are_called_so(scene) -> None:
    rows = [{"lesion": "lesion 1", "centre_x_mm": 1.0, "centre_y_mm": 2.0, "centre_z_mm": 3.0, "volume_ml": 2.0,
             "SUVmax_low": 9.0, "SUVmax_denoised": 8.0}]  # fmt: skip
    from PETDiffusionDenoiseLib import review_lists

    given = result({"lesions": rows, "clinical": FOUND}, {"request": {"lesions": "node 'Mask', removed since"}})
    assert review_lists.lists(given)["lesions"].title == "Lesions: SUVmax and volume"
    assert review_lists.lists(given)["lesions"].places == [(-1.0, -2.0, 3.0)]
    titles = [listing.title for listing in lists({"lesions": rows, "clinical": FOUND}).values()]
    assert titles == ["Marked lesions, before and after: SUVmax and volume",
                      "Marked lesions: SUVmax, 95 % and volume"]  # fmt: skip


def test_a_check_names_places_as_slicer_does_and_a_click_goes_there(open_panel) -> None:
    """The backend speaks of LPS, Slicer shows RAS: the same numbers would be a place on the other side."""
    text = "In 2 places the output differs: new hot spot at (-13, 22, 27) mm LPS; "
    text += "lost hot spot in liver at (0, -4, 9) mm LPS."
    widget = open_panel()
    nodes = result({}, {"check": [text, "The mean of the liver changed."]})
    widget.panel.parameters.result = nodes.denoised
    shown = widget.ui.listTable.item(0, 0).text()
    assert "at R 13, A -22, S 27 mm" in shown and "at R 0, A 4, S 9 mm" in shown and "(-13" not in shown
    assert "LPS" not in shown
    widget.ui.listTable.cellClicked.emit(0, 0)
    matrix = widget.panel.review.review.slice_node("denoised").GetSliceToRAS()
    assert [matrix.GetElement(i, 3) for i in range(3)] == pytest.approx([13.0, -22.0, 27.0], abs=0.01)
    widget.panel.run._say_success(nodes, 1.0)
    assert "R 13, A -22, S 27" in widget.ui.messageLabel.text
