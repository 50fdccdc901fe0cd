"""What the numbers of a PET node mean: hand-worked factors, DICOM headers, and every way to be unclear."""

from __future__ import annotations

import types

import pytest
from petdiffusion.errors import UnitError
from petdiffusion.volume import BQML, SUVBW

WEIGHT_KG, DOSE_BQ, HALF_LIFE_S, UPTAKE_S = 80.0, 300e6, 6586.2, 3600.0
FACTOR = 1000 * WEIGHT_KG / (DOSE_BQ * 2 ** (-UPTAKE_S / HALF_LIFE_S))
"""SUVbw of 1 Bq/ml, worked out by hand: weight in grams over the dose left at the start of the scan."""


@pytest.fixture
def from_dicom(scene, tmp_path, monkeypatch):
    """A PET node whose DICOM files hold these tags."""
    import builders
    import slicer

    def make(**tags):
        paths = {f"1.2.{i}": str(tmp_path / f"slice {i} ü.dcm") for i in range(3)}
        for uid, path in paths.items():
            _write(path, uid, tags)
        monkeypatch.setattr(slicer, "dicomDatabase", types.SimpleNamespace(fileForInstance=paths.get), raising=False)
        node = builders.pet(None)
        node.SetAttribute("DICOM.instanceUIDs", " ".join(paths))
        return node

    return make


def _write(path, uid, tags):
    import pydicom
    from pydicom.dataset import Dataset, FileMetaDataset

    info = Dataset()
    info.RadionuclideTotalDose, info.RadionuclideHalfLife = DOSE_BQ, HALF_LIFE_S
    info.RadiopharmaceuticalStartTime, info.Radiopharmaceutical = "090000", "FDG"
    ds = Dataset()
    ds.SOPInstanceUID, ds.SOPClassUID, ds.Modality = uid, "1.2.840.10008.5.1.4.1.1.128", "PT"
    ds.Units, ds.DecayCorrection, ds.PatientWeight = "BQML", "START", WEIGHT_KG
    ds.CorrectedImage = ["ATTN", "DECY", "SCAT"]
    ds.SeriesDate = ds.AcquisitionDate = "20240102"
    ds.SeriesTime = ds.AcquisitionTime = "100000"
    ds.RadiopharmaceuticalInformationSequence = [info]
    for name, value in tags.items():
        if value is None:
            delattr(ds, name)
        else:
            setattr(ds, name, value)
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    ds.save_as(path, enforce_file_format=True)


def test_bq_per_ml_with_dose_weight_and_times_gives_the_factor(from_dicom) -> None:
    from PETDiffusionDenoiseLib import units

    found = units.find(from_dicom())
    assert (found.unit, found.suv_known) == (BQML, True) and found.factor == pytest.approx(FACTOR, rel=1e-6)
    assert found.to_suv == pytest.approx(FACTOR) and f"{FACTOR:.4g}" in found.text


def test_suv_in_dicom_is_suv(from_dicom) -> None:
    from PETDiffusionDenoiseLib import units

    found = units.find(from_dicom(Units="GML"))
    assert (found.unit, found.to_suv) == (SUVBW, 1.0)


@pytest.mark.parametrize(
    "tags, words",
    [
        ({"PatientWeight": None}, "weight"),
        ({"DecayCorrection": "NONE"}, "ecay"),
        ({"CorrectedImage": ["DECY"]}, "ATTN"),
        ({"RadiopharmaceuticalInformationSequence": None}, ""),
    ],
)
def test_a_factor_that_cannot_be_had_is_explained_and_bq_per_ml_still_works(from_dicom, tags, words) -> None:
    from PETDiffusionDenoiseLib import units

    found = units.find(from_dicom(**tags))
    assert (found.unit, found.factor) == (BQML, None) and words in found.problem and found.remedy
    assert "No SUV" in found.text


@pytest.mark.parametrize(
    "tags, words",
    [({"Units": "CNTS"}, "counts"), ({"Units": "CPS"}, "CPS"), ({"Units": "GML", "SUVType": "LBM"}, "body weight")],
)
def test_a_unit_that_cannot_be_used_is_refused_with_the_reason(from_dicom, tags, words) -> None:
    from PETDiffusionDenoiseLib import units

    found = units.find(from_dicom(**tags))
    assert found.unit is None and words in found.problem and found.remedy


def test_a_missing_package_is_said_and_does_not_break_the_panel(from_dicom, monkeypatch) -> None:
    import sys

    from PETDiffusionDenoiseLib import units

    node = from_dicom()
    monkeypatch.setitem(sys.modules, "pysuv.core.decay", None)
    monkeypatch.setitem(sys.modules, "pysuv.core.suv_calculator", None)
    found = units.find(node)
    assert found.unit == BQML and "pysuv" in found.problem and "Set-up" in found.remedy


@pytest.mark.parametrize(
    "code, scheme, meaning, unit, scale",
    [
        ("{SUVbw}g/ml", "UCUM", "Standardized Uptake Value body weight", SUVBW, 1.0),
        ("Bq/ml", "UCUM", "Becquerels/milliliter", BQML, 1.0),
        ("kBq/ml", "UCUM", "kilobecquerel", BQML, 1e3),
        ("xyz", "99", "SUVbw", SUVBW, 1.0),
    ],
)
def test_the_volumes_own_unit_is_understood(scene, code, scheme, meaning, unit, scale) -> None:
    import builders
    import slicer
    from PETDiffusionDenoiseLib import units

    node, entry = builders.pet(None), slicer.vtkCodedEntry()
    entry.SetValueSchemeMeaning(code, scheme, meaning)
    node.SetVoxelValueUnits(entry)
    found = units.find(node)
    assert (found.unit, found.scale) == (unit, scale)


@pytest.mark.parametrize("code", ["[hnsf'U]", "{SUVlbm}g/ml", "SUVlbm", "cm"])
def test_the_unit_of_something_else_is_refused(scene, code) -> None:
    import builders
    import slicer
    from PETDiffusionDenoiseLib import units

    node, entry = builders.pet(None), slicer.vtkCodedEntry()
    entry.SetValueSchemeMeaning(code, "UCUM", code)
    node.SetVoxelValueUnits(entry)
    found = units.find(node)
    assert found.unit is None and found.problem and found.remedy


def test_the_users_word_counts_more_than_the_files(from_dicom) -> None:
    from PETDiffusionDenoiseLib import units

    node = from_dicom()
    assert units.find(node, SUVBW).unit == SUVBW
    assert units.find(node, units.AUTOMATIC, 0.5).factor == 0.5


def test_a_result_in_thousands_by_the_users_word_alone_is_not_marked_as_ones(scene) -> None:
    """No code of a volume says kBq/ml here, and Bq/ml would be wrong a thousand times."""
    import builders
    from PETDiffusionDenoiseLib import units

    pet, result = builders.pet(None), builders.pet(None, "result")
    units.copy(result, pet, units.find(pet, "kBq/ml", 2e-4))
    assert units.find(result).unit is None
    units.copy(result, pet, units.find(pet, "Bq/ml", 2e-4))
    assert (units.find(result).unit, units.find(result).factor) == ("Bq/ml", 2e-4)


def test_a_result_has_the_quantity_that_dicom_gives_its_unit(scene) -> None:
    import builders
    import slicer
    from PETDiffusionDenoiseLib import units

    pet, result, quantity = builders.pet(SUVBW), builders.pet(None, "result"), slicer.vtkCodedEntry()
    quantity.SetValueSchemeMeaning("110821", "DCM", "Nuclear Medicine Tomographic Activity")
    pet.SetVoxelValueQuantity(quantity)
    units.copy(result, pet, units.find(pet))
    assert result.GetVoxelValueQuantity().GetAsString() == quantity.GetAsString()


def test_a_scan_without_any_word_on_its_unit_is_refused(scene) -> None:
    import builders
    from PETDiffusionDenoiseLib import exchange, units

    found = units.find(builders.pet(None))
    assert found.unit is None and "neither the volume nor DICOM" in found.problem
    with pytest.raises(UnitError, match="no number could be trusted"):
        exchange.working_unit(found, False)


def test_what_dicom_says_goes_along_to_the_backend_without_names(from_dicom) -> None:
    from PETDiffusionDenoiseLib import units

    facts = units.facts_of(from_dicom(PatientName="Doe^Jane"))
    assert (facts.modality, facts.weight_kg, facts.injected_dose_bq, facts.source) == ("PT", WEIGHT_KG, DOSE_BQ, None)
    assert facts.tracer == "FDG" and "Doe" not in str(facts)


def test_files_that_are_gone_are_no_reason_to_fail(from_dicom, tmp_path) -> None:
    from PETDiffusionDenoiseLib import units

    node = from_dicom()
    for path in tmp_path.glob("*.dcm"):
        path.unlink()
    assert units.find(node).unit is None and units.facts_of(node).modality == "PT"


@pytest.fixture
def without_pysuv(monkeypatch):
    """Slicer's Python as it comes."""
    import sys

    for name in ("core.decay", "core.suv_calculator", "radionuclides"):
        monkeypatch.setitem(sys.modules, f"pysuv.{name}", None)


def test_another_python_that_has_the_packages_is_asked(from_dicom, without_pysuv, monkeypatch) -> None:
    """It is there to leave Slicer's own Python alone, so nothing may have to be installed into that one."""
    import sys

    from PETDiffusionDenoiseLib import backend, other_python, units

    monkeypatch.setattr(backend, "chosen", lambda: backend.Backend(sys.executable))
    node = from_dicom()
    assert units.find(node).factor == pytest.approx(FACTOR, rel=1e-6)
    facts = units.facts_of(node)
    assert (facts.weight_kg, facts.tracer, facts.source) == (WEIGHT_KG, "FDG", None)
    other_python._told.clear()
    found = units.find(from_dicom(PatientWeight=None))
    assert found.factor is None and "weight" in found.problem and "Enter the SUV factor" in found.remedy


@pytest.mark.parametrize("other", [False, True])
def test_what_is_odd_about_the_injection_is_told(from_dicom, open_panel, monkeypatch, other) -> None:
    """Six hours before the scan: no reason to refuse the SUV, and one to look at the clocks. Whichever Python reads."""
    import sys

    from PETDiffusionDenoiseLib import other_python, units

    node = from_dicom(SeriesTime="150000", AcquisitionTime="150000")
    if other:
        other_python._told.clear()
        for name in ("core.decay", "core.suv_calculator", "radionuclides"):
            monkeypatch.setitem(sys.modules, f"pysuv.{name}", None)
        monkeypatch.setattr(units.backend, "chosen", lambda: units.backend.Backend(sys.executable))
    found = units.find(node)
    assert found.suv_known and len(found.doubts) == 1 and "6.0 h" in found.doubts[0]
    other_python._told.clear()
    assert units.find(from_dicom()).doubts == ()
    if not other:
        widget = open_panel()
        widget.panel.parameters.choose_pet(from_dicom(SeriesTime="150000", AcquisitionTime="150000"))
        assert "6.0 h" in str(widget.ui.unitLabel.text)
        widget.ui.applyButton.click()
        while widget.panel.run.running:
            widget.panel.run._poll()
        assert "6.0 h" in str(widget.ui.messageLabel.text)


def test_a_package_that_another_python_lacks_is_to_be_installed_there(
    from_dicom, without_pysuv, monkeypatch, tmp_path
) -> None:
    from PETDiffusionDenoiseLib import backend, units

    other = tmp_path / "python"
    other.write_text("#!/bin/sh\necho \"ModuleNotFoundError: No module named 'pysuv'\" >&2\nexit 1\n")
    other.chmod(0o755)
    monkeypatch.setattr(backend, "chosen", lambda: backend.Backend(str(other)))
    found = units.find(from_dicom())
    assert str(other) in found.problem and "No module named 'pysuv'" in found.problem
    assert "Copy install command" in found.remedy
    monkeypatch.setattr(backend, "chosen", lambda: backend.Backend(str(tmp_path / "nowhere")))
    assert str(tmp_path / "nowhere") in units.find(from_dicom()).problem


def test_another_python_that_was_mended_is_asked_again(from_dicom, without_pysuv, monkeypatch, tmp_path) -> None:
    import sys

    from PETDiffusionDenoiseLib import backend, units

    other, node = tmp_path / "python", from_dicom()
    other.write_text("#!/bin/sh\nexit 1\n")
    other.chmod(0o755)
    monkeypatch.setattr(backend, "chosen", lambda: backend.Backend(str(other)))
    assert "cannot read the DICOM files" in units.find(node).problem
    other.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    assert units.find(node).factor == pytest.approx(FACTOR, rel=1e-6)


@pytest.fixture
def from_enhanced(scene, tmp_path, monkeypatch):
    """A PET node of an enhanced object: all frames in one file, which has the dose in MBq and no classic tag."""
    import builders
    import slicer
    from support import dicom_factory, enhanced_dicom

    def make(edit=None):
        series = dicom_factory.pet(tmp_path / "classic")
        file = enhanced_dicom.enhanced(series.datasets, tmp_path / "enhanced" / "pet.dcm", edit)
        monkeypatch.setattr(slicer, "dicomDatabase", types.SimpleNamespace(fileForInstance={"1.2": str(file)}.get),
                            raising=False)  # fmt: skip
        node = builders.pet(None)
        node.SetAttribute("DICOM.instanceUIDs", "1.2")
        return node

    return make


@pytest.mark.parametrize("other", [False, True])
def test_an_enhanced_object_is_understood_as_the_classic_series_would_be(from_enhanced, monkeypatch, other) -> None:
    """Whichever Python reads."""
    import sys

    from PETDiffusionDenoiseLib import other_python, units

    if other:
        other_python._told.clear()
        for name in ("core.decay", "core.suv_calculator", "radionuclides"):
            monkeypatch.setitem(sys.modules, f"pysuv.{name}", None)
        monkeypatch.setattr(units.backend, "chosen", lambda: units.backend.Backend(sys.executable))
    found = units.find(node := from_enhanced())
    assert (found.unit, found.problem, found.doubts) == (BQML, "", ())
    assert found.factor == pytest.approx(2.763367e-4, rel=1e-6)
    assert units.facts_of(node).injected_dose_bq == 370e6


def test_an_enhanced_object_that_cannot_be_understood_is_explained(from_enhanced) -> None:
    from PETDiffusionDenoiseLib import units

    def damaged(ds):
        ds.PerFrameFunctionalGroupsSequence = ds.PerFrameFunctionalGroupsSequence[:-1]

    found = units.find(node := from_enhanced(damaged))
    assert found.unit is None and "5 items for them" in found.problem
    assert "5 items for them" in units.find(node, BQML).problem
    assert units.facts_of(node).injected_dose_bq is None


TAKEN = "The normal-dose PET says no unit: its values are taken to be in that of the PET, "


@pytest.mark.parametrize("unit, word", [(SUVBW, "SUV."), (BQML, "Bq/ml.")])
def test_a_normal_dose_pet_that_says_no_unit_is_told_before_the_run_and_after_it(open_panel, unit, word) -> None:
    import builders
    import slicer
    from PETDiffusionDenoiseLib import units

    widget = open_panel()
    given, ui = widget.panel.parameters, widget.ui
    pet = builders.pet(None, "Low")
    units.mark(pet, unit, 2e-4 if unit == BQML else None)
    ui.petSelector.setCurrentNode(pet)
    assert TAKEN not in ui.unitLabel.text
    ui.referenceSelector.setCurrentNode(builders.pet(None, "Full"))
    assert TAKEN + word in ui.unitLabel.text
    ui.applyButton.click()
    while widget.panel.run.running:
        slicer.app.processEvents()
    assert TAKEN + word in ui.messageLabel.text
    units.mark(given.reference, unit, 2e-4 if unit == BQML else None)
    widget.panel.refresh()
    assert TAKEN not in ui.unitLabel.text


def test_nothing_is_said_of_a_normal_dose_pet_where_the_pet_says_no_unit_either(open_panel) -> None:
    import builders

    widget = open_panel()
    widget.ui.petSelector.setCurrentNode(builders.pet(None, "Low"))
    widget.ui.referenceSelector.setCurrentNode(builders.pet(None, "Full"))
    assert "The normal-dose PET" not in widget.ui.unitLabel.text
    widget.panel.parameters.unit = SUVBW
    assert TAKEN + "SUV." in widget.ui.unitLabel.text
