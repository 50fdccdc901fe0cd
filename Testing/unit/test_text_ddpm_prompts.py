"""Prompts by hand: order by area, merging until there is room, dropping what has none, and the table to edit."""

import numpy as np
import pytest
from petdiffusion.errors import GeometryError, InputError
from petdiffusion.methods.contract import Case
from petdiffusion.methods.text_ddpm import metadata, table
from petdiffusion.methods.text_ddpm.prompts import MAX_TOKENS, fitted, slice_prompts, structures_of
from petdiffusion.methods.text_ddpm.structures import merged, mirrored, parsed
from petdiffusion.read.totalsegmentator import TOTAL
from petdiffusion.volume import SUVBW, Facts, Geometry, LabelMap, Volume
from petdiffusion.write.tables import write_csv
from support import clip


def words(text):
    """Stands for CLIP's count: a token a word, and the two marks."""
    return len(text.replace(",", " ,").split()) + 2


def label_map(*slices, names):
    return LabelMap(np.array(slices, np.int16), Geometry((4, 3, len(slices)), (2.0, 2.0, 3.0)), names)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("kidney_left", "left kidney"), ("rib_right_4", "right rib 4"), ("vertebrae_T10", "vertebra T10"),
     ("lung_upper_lobe_left", "left lung upper lobe"), ("lung_right", "right lung"), ("urinary_bladder", "bladder"),
     ("portal_vein_and_splenic_vein", "portal vein and splenic vein"), ("My organ", "my organ"),
     ("vertebrae", "vertebrae"), ("vertebrae_S1", "vertebra S1")],
)  # fmt: skip
def test_one_structure_in_words(name, expected):
    assert parsed(name).words == expected


def test_merging_by_hand():
    names = ["liver", "rib_left_4", "rib_left_6", "rib_right_5", "vertebrae_T12", "vertebrae_L1", "kidney_left",
             "kidney_right", "lung_upper_lobe_left", "lung_lower_lobe_left", "lung_middle_lobe_right"]  # fmt: skip
    parts = [parsed(name) for name in names]
    assert [p.words for p in merged(parts, 1)] == [
        "liver", "left ribs 4 to 6", "right rib 5", "vertebrae T12 to L1", "left kidney", "right kidney", "left lung",
        "right lung middle lobe"]  # fmt: skip
    assert [p.words for p in merged(parts, 2)] == ["liver", "ribs 4 to 6", "vertebrae T12 to L1", "kidneys", "lungs"]


def test_a_range_crosses_from_one_part_of_the_spine_to_the_next():
    places = {name: min(parsed(name).numbers) for name in TOTAL.values() if name.startswith("vertebrae_")}
    order = sorted(places, key=places.get)
    assert order[0] == "vertebrae_C1" and order[-1] == "vertebrae_S1" and len(set(places.values())) == 25
    assert order.index("vertebrae_T1") == order.index("vertebrae_C7") + 1


def test_the_larger_comes_first_and_what_is_not_there_is_left_out():
    names = {1: "liver", 2: "spleen", 3: "heart"}
    slices = [[2, 2, 2, 1], [2, 1, 0, 0], [0] * 4], [[0] * 4] * 3, [[3] * 4, [1] * 4, [1, 0, 0, 0]]
    found = slice_prompts(label_map(*slices, names=names), words)
    assert [p.text for p in found] == ["Axial slice including spleen, liver", "", "Axial slice including liver, heart"]


def test_structures_are_merged_only_where_there_is_no_room():
    pair = ("kidney_left", "kidney_right")
    assert fitted(pair, words).text == "Axial slice including left kidney, right kidney"
    many = (*pair, *(f"rib_{side}_{n}" for n in range(1, 13) for side in ("left", "right")))
    found = fitted(many, words)
    assert found.text == "Axial slice including left kidney, right kidney, left ribs 1 to 12, right ribs 1 to 12"
    assert found.dropped == () and found.tokens == words(found.text) <= MAX_TOKENS


def test_the_smallest_are_dropped_and_shown():
    organs = tuple(f"organ{n} of the body" for n in range(30))
    found = fitted(organs, words)
    kept = found.text.removeprefix("Axial slice including ").split(", ")
    assert kept == list(organs[: len(kept)]) and found.dropped == organs[len(kept) :]
    assert found.tokens <= MAX_TOKENS < words(f"{found.text}, {found.dropped[0]}")


def test_values_without_a_name_are_told_and_in_no_prompt():
    labels = label_map([[1] * 4, [7] * 4, [0] * 4], names={1: "liver"})
    assert structures_of(labels).unnamed == (7,)
    assert slice_prompts(labels, words)[0].text == "Axial slice including liver"


def test_all_of_totalsegmentator_fits_into_clip():
    """All 117 in one slice, which no body has: what CLIP reads is 77 tokens, the rest is shown."""
    clip.needed()
    from petdiffusion.methods.text_ddpm.clip import token_count, tokenized

    found = fitted(tuple(TOTAL.values()), token_count)
    assert found.tokens <= MAX_TOKENS and found.dropped
    assert tokenized([found.text])[0, found.tokens - 1] == 49407  # the end mark: nothing was cut
    assert token_count("Axial slice including spleen") == 7  # axial slice including sple-en, and two marks


def test_left_and_right_change_places_in_the_mirror():
    text = "Axial slice including left kidney, right ribs 4 to 6, liver"
    assert mirrored(text) == "Axial slice including right kidney, left ribs 4 to 6, liver"
    assert mirrored(mirrored(text)) == text and mirrored("upright bright") == "upright bright"


def test_a_table_comes_back_as_it_was_written(tmp_path):
    labels = label_map([[1] * 4] * 3, [[0] * 4] * 3, [[2] * 4] * 3, names={1: "liver", 2: "heart"})
    prompts = slice_prompts(labels, words)
    path = write_csv(table.rows_of(prompts, labels.geometry), tmp_path / "prompts.csv")
    assert table.read(path, labels.geometry, words) == prompts


def test_a_table_of_another_grid_is_taken_by_height(tmp_path):
    """Every second slice of a finer scan: the rows at these heights."""
    fine = Geometry((4, 3, 6), (2.0, 2.0, 1.5))
    rows = [{"slice": k, "z_mm": 1.5 * k, "prompt": f"p{k}"} for k in range(6)]
    path = write_csv(rows, tmp_path / "prompts.csv")
    coarse = Geometry((4, 3, 3), (2.0, 2.0, 3.0))
    assert [p.text for p in table.read(path, fine, words)] == [f"p{k}" for k in range(6)]
    texts = [p.text for p in table.read(path, coarse, words)]
    assert texts[0] in ("p0", "p1") and texts[1] in ("p1", "p2", "p3") and texts[2] in ("p3", "p4", "p5")


@pytest.mark.parametrize(
    ("rows", "told"),
    [([{"words": "liver"}], "columns prompt"), ([{"slice": 9, "prompt": "x"}], "slice 9"),
     ([{"z_mm": 5000.0, "prompt": "x"}], "height"), ([{"z_mm": "high", "prompt": "x"}], "'high'"),
     ([{"slice": 0, "prompt": "word " * 80}], "tokens")],
)  # fmt: skip
def test_a_wrong_table_is_an_error_that_says_why(tmp_path, rows, told):
    path = write_csv(rows, tmp_path / "prompts.csv")
    with pytest.raises(InputError, match=told):
        table.read(path, Geometry((4, 3, 3), (2.0, 2.0, 3.0)), words)


def test_words_of_the_scan():
    facts = Facts(tracer="FDG", sex="F", age_years=70, scanner="Siemens Biograph mCT", dose_fraction=0.05)
    pet = Volume(np.zeros((2, 2, 2)), Geometry((2, 2, 2), (2.0, 2.0, 2.0)), SUVBW, facts)
    case = Case(pet, np.zeros((2, 2, 2), bool), 0.0)
    assert metadata.words_of(case) == "1/20 dose FDG, older adult female, Siemens Biograph mCT"
    assert metadata.words_of(Case(pet.with_facts(sex=None, age_years=None, scanner=None), case.body, 0.0)) == (
        "1/20 dose FDG"
    )
    assert [metadata.age_band(years) for years in (None, 17, 18, 64, 65)] == [
        "", "child", "young adult", "adult", "older adult"]  # fmt: skip


def test_slices_without_heights_are_those_of_the_file(tmp_path):
    """A file that begins at the head, and one that was read along the patient's back."""
    file = tmp_path / "prompts.csv"
    write_csv([{"slice": 0, "prompt": "head"}, {"slice": 1, "prompt": "neck"}], file)
    upright = Geometry((4, 3, 5), (2.0, 2.0, 3.0))
    downwards = Geometry((4, 3, 5), (2.0, 2.0, 3.0), direction=(1, 0, 0, 0, 1, 0, 0, 0, -1))
    for as_given, expected in ((None, ["head", "neck", "", "", ""]), (downwards, ["", "", "", "neck", "head"])):
        assert [p.text for p in table.read(file, upright, words, as_given)] == expected
    coronal = Geometry((4, 5, 3), (2.0, 3.0, 2.0), direction=(1, 0, 0, 0, 0, 1, 0, 1, 0))
    with pytest.raises(GeometryError, match="slices are not axial"):
        table.read(file, upright, words, coronal)
