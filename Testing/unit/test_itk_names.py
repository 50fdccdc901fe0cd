"""Folders with letters beyond ASCII, which ITK does not find on Windows."""

import locale
from types import SimpleNamespace

import numpy as np
import pytest
import SimpleITK as sitk
from petdiffusion import read
from petdiffusion.read import itk_names
from petdiffusion.volume import SUVBW, Facts, Geometry, Volume
from petdiffusion.write import images

GRID = Geometry((7, 6, 5), (1.3, 2.0, 3.1), (1.0, -100.0, 5.0), (1, 0, 0, 0, 1, 0, 0, 0, 1))


@pytest.fixture
def windows(tmp_path, monkeypatch):
    """A folder 'Jürgen' whose short name is 'JRGEN~1', and an ITK that finds no other."""
    (tmp_path / "Jürgen").mkdir()
    (tmp_path / "JRGEN~1").symlink_to(tmp_path / "Jürgen")
    set_file, write = sitk.ImageFileReader.SetFileName, sitk.WriteImage

    def set_file_name(self, name):
        set_file(self, name if name.isascii() else "not there")

    def write_image(image, name, *more):
        if not name.isascii():
            raise RuntimeError("The file cannot be opened")
        write(image, name, *more)

    monkeypatch.setattr(sitk.ImageFileReader, "SetFileName", set_file_name)
    monkeypatch.setattr(sitk, "WriteImage", write_image)
    return tmp_path / "Jürgen"


def as_on_windows(monkeypatch, folder):
    monkeypatch.setattr(itk_names, "sys", SimpleNamespace(platform="win32"))
    monkeypatch.setattr(itk_names, "_short", lambda path: str(path).replace(folder.name, "JRGEN~1"))


@pytest.mark.parametrize("suffix", [".nrrd", ".nhdr", ".mha", ".mhd"])
def test_images_in_such_a_folder_are_written_and_read(windows, monkeypatch, suffix):
    as_on_windows(monkeypatch, windows)
    pet = Volume(np.random.default_rng(0).random(GRID.shape, np.float32), GRID, SUVBW, Facts(modality="PT"))
    file = images.write(pet, windows / f"pet{suffix}")
    assert file.is_file()
    np.testing.assert_array_equal(read.image(file).array, pet.array)


def test_names_are_in_utf_8_as_long_as_itk_has_them_and_not_longer(windows, monkeypatch):
    as_on_windows(monkeypatch, windows)
    asked = []

    def setlocale(category, word=None):
        asked.append(word)
        return "C"

    monkeypatch.setattr(itk_names.locale, "setlocale", setlocale)
    with itk_names.itk_name(windows / "Röntgen.mha") as name:
        assert name.endswith("JRGEN~1/Röntgen.mha") and asked == [None, ".UTF-8"]
    assert asked == [None, ".UTF-8", "C"]


def test_a_windows_without_that_locale_is_no_reason_to_stop(windows, monkeypatch):
    as_on_windows(monkeypatch, windows)

    def setlocale(category, word=None):
        if word == ".UTF-8":
            raise locale.Error("unsupported locale setting")
        return "C"

    monkeypatch.setattr(itk_names.locale, "setlocale", setlocale)
    with itk_names.itk_name(windows / "pet.mha") as name:
        assert name.endswith("JRGEN~1/pet.mha")


def test_elsewhere_a_name_is_what_it_is(windows):
    with itk_names.itk_name(windows / "pet.mha") as name:
        assert name == str(windows / "pet.mha")
