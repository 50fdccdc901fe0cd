"""The extension's descriptions agree with one another, with the package and with what Slicer's index asks for."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from urllib.parse import urlparse

import pytest

ROOT = Path(__file__).resolve().parents[2]
RAW = "https://raw.githubusercontent.com/petdiffusion/PETDiffusion/main/"
SCHEMA_FIELDS = {
    "$schema": str,
    "category": str,
    "scm_url": str,
    "scm_revision": str,
    "scm_type": str,
    "build_dependencies": list,
    "dicom_support_rule": str,
    "build_subdirectory": str,
    "enabled": bool,
    "tier": int,
}
"""The properties of Slicer's catalogue entry schema 1.0.2, which allows no others."""


def cmake() -> dict[str, str]:
    text = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
    found = dict(re.findall(r'set\(EXTENSION_(\w+) "(.*)"\)', text))
    return {**found, "project": re.search(r"project\((\w+)\)", text).group(1)}


def s4ext() -> dict[str, str]:
    lines = (ROOT / "PETDiffusion.s4ext").read_text(encoding="utf-8").splitlines()
    pairs = [line.partition(" ") for line in lines if line and not line.startswith("#")]
    return {key: value for key, _, value in pairs}


def entry() -> dict:
    return json.loads((ROOT / "PETDiffusion.json").read_text(encoding="utf-8"))


def test_project_and_file_names_are_the_extensions_name() -> None:
    assert cmake()["project"] == "PETDiffusion"
    assert (ROOT / "PETDiffusion.s4ext").is_file() and (ROOT / "PETDiffusion.json").is_file()


def test_the_json_entry_follows_the_schema() -> None:
    data = entry()
    assert {"$schema", "category", "scm_url"} <= set(data) <= set(SCHEMA_FIELDS)
    assert [k for k, v in data.items() if not isinstance(v, SCHEMA_FIELDS[k])] == []
    assert "schema-v1.0." in data["$schema"] and 1 <= data["tier"] <= 5
    assert data["dicom_support_rule"] == "Modality == 'PT'"


@pytest.mark.parametrize(
    "in_cmake, in_s4ext",
    [
        ("HOMEPAGE", "homepage"),
        ("CATEGORY", "category"),
        ("CONTRIBUTORS", "contributors"),
        ("ICONURL", "iconurl"),
        ("DESCRIPTION", "description"),
        ("SCREENSHOTURLS", "screenshoturls"),
        ("DEPENDS", "depends"),
    ],
)
def test_cmake_and_s4ext_agree(in_cmake, in_s4ext) -> None:
    assert cmake()[in_cmake] == s4ext()[in_s4ext]


@pytest.mark.parametrize(
    "in_json, in_s4ext",
    [
        ("category", "category"),
        ("scm_url", "scmurl"),
        ("scm_revision", "scmrevision"),
        ("scm_type", "scm"),
        ("build_subdirectory", "build_subdirectory"),
    ],
)
def test_json_and_s4ext_agree(in_json, in_s4ext) -> None:
    assert entry()[in_json] == s4ext()[in_s4ext]


def test_icon_and_screenshots_are_files_of_the_repository() -> None:
    urls = [cmake()["ICONURL"], *cmake()["SCREENSHOTURLS"].split()]
    assert [u for u in urls if not u.startswith(RAW) or not (ROOT / u.removeprefix(RAW)).is_file()] == []
    assert all(urlparse(url).scheme == "https" for url in urls)


def test_the_contributors_are_the_packages_authors() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert ", ".join(author["name"] for author in project["authors"]) == cmake()["CONTRIBUTORS"]


def test_the_licence_is_apache_2() -> None:
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in text and "Version 2.0, January 2004" in text
