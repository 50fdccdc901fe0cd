"""Every rule of support/windows_rules.py bites, and nothing else is refused."""

import os
import shutil
import sys

import numpy as np
import pytest
from support import windows_rules

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the rules ask Linux what is open")


@pytest.fixture(autouse=True)
def rules():
    """Also where `make test-windows-rules` has put them in force for all tests."""
    if windows_rules.in_force():
        yield
        return
    windows_rules.begin()
    yield
    windows_rules.end()


def refused(act, *words):
    with pytest.raises(OSError, match="Windows"):
        act(*words)


def test_what_is_open_is_neither_removed_nor_replaced_nor_put_in_place_of_something(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_bytes(b"1")
    two.write_bytes(b"2")
    with one.open("rb"):
        for act in (os.remove, os.unlink):
            refused(act, one)
        for act in (os.replace, os.rename):
            refused(act, one, tmp_path / "three")
            refused(act, two, one)
        refused(shutil.rmtree, tmp_path)
    os.replace(two, one)
    one.unlink()


def test_what_is_mapped_is_not_replaced_either(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros(5000))
    mapped = np.load(tmp_path / "a.npy", mmap_mode="r")
    refused(os.remove, tmp_path / "a.npy")
    del mapped
    os.remove(tmp_path / "a.npy")


def test_a_folder_is_not_moved_while_a_file_in_it_is_open_nor_onto_another(tmp_path):
    (tmp_path / "from").mkdir()
    (tmp_path / "there").mkdir()
    with (tmp_path / "from" / "a").open("wb"):
        refused(os.rename, tmp_path / "from", tmp_path / "to")
    refused(os.replace, tmp_path / "from", tmp_path / "there")
    os.rename(tmp_path / "from", tmp_path / "to")


@pytest.mark.parametrize("name", ["a:b", 'a"b', "a?", "a|b", "a<b", "CON", "nul.txt", "com1.nii.gz", "dot.", "space "])
def test_names_that_cannot_be_are_not_made(tmp_path, name):
    (tmp_path / "real").write_bytes(b"")
    refused((tmp_path / name).mkdir)
    refused((tmp_path / name).write_bytes, b"")
    refused(os.replace, tmp_path / "real", tmp_path / name)
    refused(os.open, tmp_path / name, os.O_CREAT | os.O_WRONLY)


@pytest.mark.parametrize("name", ["größe", "a b", "console", "com10", ".hidden", "low_0.1.nii.gz"])
def test_other_names_can(tmp_path, name):
    (tmp_path / name).mkdir()


def test_a_folder_is_not_opened(tmp_path):
    refused(os.open, tmp_path, os.O_RDONLY)


def test_the_lock_is_that_of_windows(tmp_path):
    from petdiffusion.errors import OutputError
    from petdiffusion.write import lock

    with lock.alone_in(tmp_path), pytest.raises(OutputError, match="at work"), lock.alone_in(tmp_path):
        raise AssertionError("two at once")
    assert lock.sys.platform == "win32" and not list(tmp_path.iterdir())
