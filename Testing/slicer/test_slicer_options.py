"""Settings: what a reader sets is what the method gets, and what is said of an effort is true of the method."""

from __future__ import annotations

import pytest
from petdiffusion.volume import BQML


def card(*options, outputs=("denoised", "uncertainty")):
    from petdiffusion.methods.contract import MethodCard

    return MethodCard("m", "M", "Does.", "nowhere:denoise", family="diffusion", options=options, outputs=outputs)


@pytest.fixture
def form(scene):
    import qt
    from petdiffusion.methods.contract import Option
    from PETDiffusionDenoiseLib.options_form import OptionsForm

    frame = qt.QWidget()
    made = OptionsForm(frame)
    made.keep = frame
    made.show(card(Option("fraction", "float", 0.0, "Part of a dose.", 0, 1),
                   Option("counts", "float", 0.0, "Events.", 0, 1e9), Option("samples", "int", 5, "Runs.", 0, 100)))
    return made  # fmt: skip


def test_a_value_that_the_field_shows_rounded_is_still_the_value(form) -> None:
    """A script may set more digits than a field shows; a change of another setting must not round them."""
    form.set_values({"fraction": 0.012345678, "counts": 312345.678})
    form.fields["samples"].widget.setValue(3)
    assert form.values() == {"fraction": 0.012345678, "counts": 312345.678, "samples": 3}
    form.fields["fraction"].widget.setValue(0.5)
    assert form.values()["fraction"] == 0.5


def test_a_two_hundredth_of_a_dose_can_be_typed(form) -> None:
    spin = form.fields["fraction"].widget
    spin.setValue(0.005)
    assert form.values() == {"fraction": 0.005} and spin.text.startswith("0.005")


def test_events_step_by_their_own_size(form) -> None:
    spin = form.fields["counts"].widget
    spin.setValue(300_000.0)
    spin.stepUp()
    assert spin.value >= 310_000.0 and spin.decimals <= 1


@pytest.mark.parametrize(
    "least, quick", [(0, "fastest, no uncertainty map"), (1, "less work, no uncertainty map")]
)  # fmt: skip
def test_a_quick_look_without_samples_says_that_no_uncertainty_comes(scene, least, quick) -> None:
    from petdiffusion.methods.contract import Option
    from PETDiffusionDenoiseLib import presets

    with_samples = card(Option("samples", "int", 5, "Runs.", least, 100), Option("steps", "int", 8, "Levels.", 1, 50))
    assert presets.text_of("Quick look", with_samples) == quick
    assert presets.text_of("Thorough", with_samples) == "slower, better uncertainty"


def test_a_method_without_uncertainty_is_promised_none(scene) -> None:
    from petdiffusion import registry
    from PETDiffusionDenoiseLib import presets

    tv = registry.card("tv")
    assert "Thorough" in presets.presets(tv) and presets.text_of("Thorough", tv) == "slower, more steps"
    assert presets.text_of("Quick look", tv) == "less work, for a first impression"


@pytest.mark.parametrize("name", ["csrd", "amdiff", "upete", "text-ddpm", "bc-dpm"])
def test_no_effort_with_an_uncertainty_map_loses_its_calibration(scene, name) -> None:
    """A map is calibrated for the options that its samples were drawn with."""
    from petdiffusion import registry
    from petdiffusion.methods.contract import NOTHING
    from PETDiffusionDenoiseLib import presets

    known = registry.card(name)
    for values in presets.presets(known).values():
        if known.resolve(values)["samples"] > 1:
            assert all(known.option(option).moves == NOTHING for option in values)


@pytest.mark.parametrize("name", ["csrd", "amdiff", "upete", "text-ddpm", "bc-dpm"])
def test_every_effort_of_every_method_can_be_run_and_is_recognised(scene, name) -> None:
    from petdiffusion import registry
    from PETDiffusionDenoiseLib import presets

    known = registry.card(name)
    for title, values in presets.presets(known).items():
        known.resolve(values)
        assert presets.preset_of(known, values) == title and presets.text_of(title, known)


def test_what_was_said_of_one_scan_is_not_said_of_the_next(open_panel) -> None:
    """Another patient has another SUV factor: taken over silently, every number would be wrong."""
    import builders

    widget = open_panel()
    first, second = builders.pet(None, "First"), builders.pet(None, "Second")
    ui, given = widget.ui, widget.panel.parameters
    ui.petSelector.setCurrentNode(first)
    given.unit, given.suv_factor, given.dose_fraction, given.text = BQML, 2e-4, 0.05, "adult female"
    assert widget.panel.inputs.unit.factor == 2e-4
    ui.petSelector.setCurrentNode(second)
    assert widget.panel.inputs.unit.unit is None
    assert (given.unit, given.suv_factor, given.dose_fraction, given.text) == ("auto", 0.0, 0.0, "")


def test_what_was_said_before_a_scan_was_chosen_is_of_that_scan(open_panel) -> None:
    import builders

    widget = open_panel()
    pet = builders.pet(None, "First")
    widget.ui.promptEdit.setText("adult female")
    widget.ui.promptEdit.editingFinished.emit()
    widget.ui.doseSpin.setValue(0.1)
    widget.ui.petSelector.setCurrentNode(pet)
    assert widget.panel.parameters.text == "adult female" and widget.panel.parameters.dose_fraction == 0.1


def test_what_was_said_of_a_scan_that_was_removed_is_not_said_of_one_that_a_script_chose(open_panel) -> None:
    import builders
    import slicer

    given = open_panel().panel.parameters
    first, second = builders.pet(None, "First"), builders.pet(None, "Second")
    given.choose_pet(first)
    given.unit, given.suv_factor = BQML, 2e-4
    slicer.mrmlScene.RemoveNode(first)
    given.pet = second
    given.choose_pet(second)
    assert (given.unit, given.suv_factor) == ("auto", 0.0)


def test_practice_data_come_without_what_was_said_of_another_scan(open_panel) -> None:
    import builders

    widget = open_panel()
    given = widget.panel.parameters
    given.pet = builders.pet(None, "First")
    given.unit, given.suv_factor = BQML, 2e-4
    low = builders.pet(name="Practice")
    widget.panel._on_sample({"low": low, "normal": None}, "CT")
    assert given.pet is low and widget.panel.inputs.unit.unit == "SUVbw"


@pytest.fixture
def saved(open_panel, tmp_path):
    """A scene of patient A with what was said of the scan, saved; the present scene is another."""
    import builders
    import bundle
    import slicer
    import slicer_app

    def save(change=lambda given: None):
        widget = open_panel()
        given = widget.panel.parameters
        widget.ui.petSelector.setCurrentNode(builders.pet(None, "Patient A"))
        given.unit, given.suv_factor, given.dose_fraction, given.text = BQML, 2e-4, 0.1, "adult female"
        change(given)
        path = tmp_path / f"{slicer.mrmlScene.GetNumberOfNodes()}.mrb"
        bundle.save(path)
        widget.cleanup()
        slicer_app.new_scene()
        return path

    return save


def _as_an_older_program_saved_it(given) -> None:
    given.node.SetParameter("said_of", given.pet.GetID())
    given.node.SetNodeReferenceID("said_of", None)


SAID, NOTHING_SAID = (BQML, 2e-4, 0.1, "adult female"), ("auto", 0.0, 0.0, "")


def said(given) -> tuple:
    return given.unit, given.suv_factor, given.dose_fraction, given.text


@pytest.mark.parametrize("change", [lambda given: None, _as_an_older_program_saved_it], ids=["new", "older"])
def test_what_was_said_of_a_scan_stays_with_it_in_a_scene_that_is_added(open_panel, saved, tmp_path, change) -> None:
    """The scan gets another ID there, and its old one is another patient's."""
    import builders
    import bundle

    path = saved(change)
    widget, other = open_panel(), builders.pet(None, "Patient B")
    bundle.add(path, tmp_path / "cache")
    given = widget.panel.parameters
    assert given.pet.GetName() == "Patient A" and said(given) == SAID
    assert given.pet.GetID() != other.GetID()
    ours = given.pet
    widget.ui.petSelector.setCurrentNode(None)
    widget.ui.petSelector.setCurrentNode(ours)
    assert said(given) == SAID, "the same scan again"
    widget.ui.petSelector.setCurrentNode(other)
    assert said(given) == NOTHING_SAID


def _removed(given) -> None:
    import slicer

    slicer.mrmlScene.RemoveNode(given.pet)


def _removed_in_an_older_program(given) -> None:
    _as_an_older_program_saved_it(given)
    _removed(given)


@pytest.mark.parametrize("change", [_removed, _removed_in_an_older_program], ids=["new", "older"])
@pytest.mark.parametrize("added", [False, True], ids=["opened", "added"])
def test_what_was_said_of_a_scan_that_is_gone_is_not_said_of_the_one_with_its_id(
    open_panel, saved, tmp_path, change, added
) -> None:
    import builders
    import bundle

    path = saved(change)
    if added:
        other = builders.pet(None, "Patient B")
        bundle.add(path, tmp_path / "cache")
    else:
        bundle.load(path, tmp_path / "cache")
        other = builders.pet(None, "Patient B")
    widget = open_panel()
    widget.ui.petSelector.setCurrentNode(None)
    widget.ui.petSelector.setCurrentNode(other)
    assert other.GetID() == "vtkMRMLScalarVolumeNode1" and said(widget.panel.parameters) == NOTHING_SAID


def test_amdiff_gets_the_ct_that_its_options_speak_of(scene, monkeypatch) -> None:
    """`leave_out=fat` needs the CT; it also says of each lesion whether it lies in fat."""
    from PETDiffusionDenoiseLib import exchange, jobs

    wanted = jobs.JobRequest(exchange.Sources(None), "amdiff").wanted()
    assert "ct" in wanted and "labels" in wanted


def test_every_setting_of_every_method_can_be_set_from_end_to_end(scene) -> None:
    """What the fields let a user choose is what the cards accept, and what is not touched stays the default."""
    import qt
    from petdiffusion import registry
    from PETDiffusionDenoiseLib.options_form import OptionsForm

    frame = qt.QWidget()
    form = OptionsForm(frame)
    for method in registry.cards().values():
        form.show(method)
        assert form.values() == {}, method.name
        for name, field in form.fields.items():
            if field.option.kind not in ("int", "float") or field.option.choices:
                continue
            for end in (-1e12, 1e12):
                field.widget.setValue(max(min(end, 2**31 - 1), -(2**31)))
                method.resolve(form.values())
            assert form.values()[name] == field.option.maximum or field.option.maximum is None, (method.name, name)
            least = field.option.minimum if field.option.default is not None else None
            field.put(least)
            assert method.resolve(form.values())[name] == (least if least is not None else field.option.default)
            form.set_values({})


@pytest.mark.parametrize(
    "option, words", [(("b", "bool", True, "Help."), "Default: yes"), (("b", "bool", False, "Help."), "Default: no"),
                      (("s", "str", "", "Help."), "Default: none"),
                      (("f", "float", None, "Help."), "Default: automatic"),
                      (("f", "float", 2.5, "Help.", 1.0, 9.0, (), "mm"), "Default: 2.5 mm. From 1 to 9 mm"),
                      (("n", "int", 0, "Help.", 0), "Default: 0. From 0")],
)  # fmt: skip
def test_the_tip_of_a_setting_says_its_default_and_range(scene, option, words) -> None:
    from petdiffusion.methods.contract import Option
    from PETDiffusionDenoiseLib.options_form import tip_of

    assert tip_of(Option(*option)).split("\n")[-1] == words
