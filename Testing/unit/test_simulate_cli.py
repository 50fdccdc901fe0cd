"""`petdiffusion simulate`: choices reach the drawing, tracers and scanners come in turn, nonsense writes nothing."""

import json
from pathlib import Path

import pytest
from petdiffusion.cli import main
from petdiffusion.errors import OptionError
from petdiffusion.phantoms import commands, recipe
from petdiffusion.phantoms.scan import patient_of
from petdiffusion.write import tables
from support.cylinder import cylinder


@pytest.fixture(autouse=True)
def quick_patients(monkeypatch):
    """Cylinders in the place of people; returns what each drawing was asked for."""
    asked = []

    def draw(kind, seed, **options):
        asked.append({"kind": kind, "seed": seed, **options})
        return cylinder(seed, kind, options["tracer"], size=16, slices=4)

    monkeypatch.setattr(recipe, "patient_of", draw)
    monkeypatch.setattr(commands, "patient_of", draw)
    return asked


def simulate(*arguments: object) -> int:
    return main(["simulate", *map(str, arguments), "--quiet"])


def test_what_is_chosen_about_a_body_reaches_the_drawing(tmp_path, quick_patients) -> None:
    assert simulate("patient", "--seed", 8, "--arms", "down", "--sex", "F", "--field", "trunk", "--lesions", 3,
                    "--spacing", "2,2,3", "--counts", 1e6, "--nested", "--out", tmp_path / "p") == 0
    asked = quick_patients[0]
    chosen = {name: asked[name] for name in ("kind", "seed", "arms", "sex", "field", "lesions", "spacing_mm")}
    assert chosen == {"kind": "body", "seed": 8, "arms": "down", "sex": "F", "field": "trunk", "lesions": 3,
                      "spacing_mm": (2.0, 2.0, 3.0)}


def test_what_is_not_chosen_is_left_to_the_seed(tmp_path, quick_patients) -> None:
    assert simulate("patient", "--kind", "brain", "--field-mm", "200,220,160", "--spacing", 1.65,
                    "--out", tmp_path / "p") == 0
    asked = quick_patients[0]
    assert asked["field_mm"] == (200.0, 220.0, 160.0) and asked["spacing_mm"] == 1.65 and asked["lesions"] is None
    assert not {"arms", "sex", "field"} & set(asked)


def test_choices_of_the_other_kind_are_refused() -> None:
    for kind, choice in (("brain", {"arms": "up"}), ("body", {"field_mm": (99, 99, 99)}), ("body", {"hair": "red"})):
        with pytest.raises(OptionError, match=next(iter(choice))):
            patient_of(kind, 1, **choice)


def test_choices_change_the_patient() -> None:
    """Drawn for real, coarsely: a trunk without a head, of the sex asked for."""
    drawn = patient_of("body", 1, spacing_mm=12.0, lesions=0, field="trunk", sex="M")
    assert drawn.sex == "M" and drawn.organs.mask("prostate").any() and not drawn.organs.mask("brain").any()


@pytest.mark.parametrize("wrong", [("--spacing", "4,x"), ("--fraction", "2"), ("--fraction", "0"), ("--counts", "0"),
                                   ("--counts", "nan"), ("--preset", "Vison"), ("--field-mm", "a")])
def test_nonsense_is_said_before_anything_is_drawn_or_written(tmp_path, quick_patients, capsys, wrong) -> None:
    assert simulate("patient", *wrong, "--out", tmp_path / "p") == 1
    assert "Error" in capsys.readouterr().err and not quick_patients and not (tmp_path / "p").exists()


def dealt(folder: Path) -> list[tuple[str, str, str]]:
    """(id, tracer, scanner) of each patient by the manifest, after comparing it with the patients' own files."""
    found = []
    for row in tables.read_csv(folder / "manifest.csv"):
        name = Path(row["pet"]).parent.name
        own = json.loads((folder / name / "patient.json").read_text())
        assert (own["tracer"], own["preset"], own["seed"]) == (row["tracer"], row["preset"], row["seed"])
        found.append((name, row["tracer"], row["preset"]))
    return found


def test_tracers_and_scanners_of_a_data_set_are_dealt_out_in_turn(tmp_path, quick_patients) -> None:
    """Every pair of tracer and scanner before the first comes again; the same when the set grows later."""
    command = ("dataset", "--kind", "brain", "--tracer", "FDG,DASB", "--preset", "mCT,Vision", "--fraction", 0.5)
    assert simulate(*command, "--n", 3, "--out", tmp_path / "set") == 0
    assert simulate(*command, "--n", 6, "--out", tmp_path / "set") == 0
    turns = [("FDG", "mCT"), ("DASB", "mCT"), ("FDG", "Vision"), ("DASB", "Vision")]
    expected = [(f"brain-{seed:06d}", *turns[seed % 4]) for seed in range(6)]
    assert dealt(tmp_path / "set") == expected
    assert [(asked["seed"], asked["tracer"]) for asked in quick_patients] == [(s, turns[s % 4][0]) for s in range(6)]


def test_the_turn_begins_with_the_data_set_wherever_its_seeds_do(tmp_path) -> None:
    assert simulate("dataset", "--kind", "brain", "--tracer", "FDG,DASB", "--fraction", 0.5, "--split", "validation",
                    "--first-seed", 7, "--n", 2, "--out", tmp_path / "set") == 0
    assert dealt(tmp_path / "set") == [("brain-800007", "FDG", "mCT"), ("brain-800008", "DASB", "HRRT")]


@pytest.mark.parametrize("wrong", [("--kind", "body", "--tracer", "FDG,DASB"), ("--kind", "brain", "--tracer", "FDG,X"),
                                   ("--preset", "mCT,Vison"), ("--n", 0), ("--tracer", ","), ("--fraction", "1")])
def test_what_cannot_be_dealt_out_is_refused_before_anything_is_written(tmp_path, quick_patients, wrong) -> None:
    arguments = {"--n": 2, "--out": tmp_path / "set"} | dict(zip(wrong[::2], wrong[1::2]))
    assert simulate("dataset", *(word for pair in arguments.items() for word in pair)) == 1
    assert not quick_patients and not (tmp_path / "set").exists()
