"""Fig. 1: which structures match a slice, and where; the heat map by hand, and its way into files and report."""

import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from petdiffusion.methods.text_ddpm import method
from petdiffusion.methods.text_ddpm.clip import SIZE, pictures, spread
from petdiffusion.methods.text_ddpm.matches import grad_cam, matches, structures
from petdiffusion.run import denoise
from petdiffusion.volume import LabelMap
from support import clip
from support.blobs import blobs
from support.tiny_models import write_models


def planted(maps):
    """A tower whose features are these maps and whose vectors are their means."""
    image = SimpleNamespace(features=lambda images: maps, pooled=lambda features: features.mean((2, 3)))
    return SimpleNamespace(image=image, bias=torch.tensor(0.0), logits=lambda a, b: a @ b.T)


def test_the_heat_lies_where_the_matching_feature_is():
    """Two features of equal mean at two places; a text along the first: heat where the first lies, none elsewhere."""
    maps = torch.zeros(1, 2, 16, 24)
    maps[0, 0, 2:4, 3:5], maps[0, 1, 10:12, 20:22] = 1.0, 1.0
    texts = torch.tensor([[1.0, 0.0]])
    scores, heat = grad_cam(planted(maps), torch.zeros(1, 1, *SIZE), texts)
    expected = torch.zeros(16, 24)
    expected[2:4, 3:5] = 1.0
    torch.testing.assert_close(heat[0], expected)
    # (1, 1) / sqrt 2 along (1, 0)
    assert float(scores[0, 0]) == pytest.approx(1 / (1 + np.exp(-np.sqrt(0.5))), abs=1e-6)


@pytest.mark.parametrize(("shape", "pixel_mm"), [((64, 96), (6, 6)), ((40, 70), (6, 6)), ((96, 120), (4, 4))])
def test_a_place_in_the_picture_comes_back_to_where_it_was(shape, pixel_mm):
    image = torch.zeros(1, *shape)
    image[0, shape[0] // 3, shape[1] // 4] = 400.0
    picture = pictures(image, pixel_mm)[:, 0] + 1
    back = spread(picture, shape, pixel_mm)[0]
    peak = np.unravel_index(int(back.argmax()), shape)
    assert np.abs(np.array(peak) - [shape[0] // 3, shape[1] // 4]).max() <= 1


def test_every_slice_of_the_body_has_its_best_three():
    clip.needed()
    from petdiffusion.methods.text_ddpm.clip import ClipConfig, PetClip, vocabulary_of

    torch.manual_seed(0)
    tower = PetClip(ClipConfig(vocabulary_of(clip.WORDS), width=16, heads=2, layers=1, embed=8, channels=4))
    patient = blobs()
    found = matches(tower, patient.noisy, patient.body)
    filled = np.flatnonzero(patient.body.any((1, 2)))
    assert [row["slice"] for row in found.rows] == filled.tolist()
    assert all(row["score_1"] >= row["score_2"] >= row["score_3"] > 0 for row in found.rows)
    assert {row["match_1"] for row in found.rows} <= set(structures()) and "left kidney" in structures()
    assert found.heat.geometry == patient.noisy.geometry and 0 <= found.heat.array.min() <= found.heat.array.max() <= 1
    assert not found.heat.array[~np.isin(np.arange(len(patient.body)), filled)].any()


def numbered(*given):
    """The same matches, each slice's best with the slice's number as its score."""
    found = matches(*given)
    return replace(found, rows=[{**row, "score_1": row["slice"] / 100} for row in found.rows])


def test_map_and_table_are_written_and_shown(tmp_path, monkeypatch, no_bundled_models):
    clip.needed()
    (tmp_path / "models").mkdir()
    monkeypatch.setenv("PETDIFFUSION_MODELS", str(write_models(tmp_path / "models", "text-ddpm")))
    monkeypatch.setattr(method, "matches", numbered)
    patient = blobs()
    labels = LabelMap(patient.labels.array, patient.labels.geometry, {4: "liver", 2: "lung_left"})
    result = denoise(patient.noisy, "text-ddpm", labels=labels, samples=0, out=tmp_path / "out")
    assert (tmp_path / "out" / "map_matches.nii.gz").is_file() and result.maps["matches"].array.max() > 0
    assert (tmp_path / "out" / "tables" / "matches.csv").is_file()
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "Best matching structures" in page and page.count("Heat map: ") >= 3
    first, last = (float(re.findall(r"Heat map: .*? ([0-9.]+)[,\"]", page)[n]) for n in (0, -1))
    assert first > last  # from the head down
    assert result.record["details"]["guided"] and result.record["details"]["encoder"]["id"] == clip.ID
