"""Beyond SUV 20, where the diffusion sees nothing: no method that goes by it may lose what lies there."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from petdiffusion import registry
from petdiffusion.methods.amdiff.after import After
from petdiffusion.methods.amdiff.units import Units
from petdiffusion.progress import Run
from support import tiny_models
from support.blobs import blobs

ALONE = ("med-ddpm-3d", "nnmamba")
"""Without the revision, which brings back what was cut."""


@pytest.fixture
def tiny(monkeypatch, tmp_path):
    monkeypatch.setenv("PETDIFFUSION_MODELS", str(tmp_path))
    for name in ("amdiff", *ALONE):
        tiny_models._write(tmp_path, registry.card(name))


def hot(times):
    case = blobs(relative_noise=0.05).case()
    return replace(case, pet=case.pet.with_array(case.pet.array * (times / case.pet.array.max())))


def run(name, case):
    card, said = registry.card(name), Run()
    output = card.load()(case, card.resolve({"samples": 0}), said)
    return output, [text for text in said.warnings if "above SUV 20" in text]


@pytest.mark.parametrize("name", ALONE)
def test_where_the_network_sees_nothing_the_scan_stands_and_it_is_told(tiny, name):
    case = hot(60.0)
    output, told = run(name, case)
    beyond = case.pet.array > 20
    low, found = case.pet.array[beyond], output.pet.array[beyond]
    assert found.max() > 50 and (found <= low + 1e-4).all() and (found > low - 5).all()
    ml = beyond.sum() * case.pet.geometry.voxel_ml
    assert len(told) == 1 and told[0].startswith(f"{ml:.1f} ml")


@pytest.mark.parametrize("name", ALONE)
def test_nothing_is_told_or_added_where_nothing_was_cut(tiny, name, monkeypatch):
    case = hot(19.0)
    output, told = run(name, case)
    monkeypatch.setattr(Units, "with_what_was_cut", lambda self, suv: suv)
    np.testing.assert_array_equal(run(name, case)[0].pet.array, output.pet.array)
    assert not told


def test_the_revision_needs_no_word(tiny):
    assert run("amdiff", hot(60.0))[1] == []


def test_the_segmenter_is_shown_what_it_was_taught(tiny, monkeypatch):
    """The image as it was cut; what is measured is the whole one."""
    seen, plain = [], After._probabilities

    def watched(self, cond):
        seen.append(float(cond.images[:, 0].max()))
        return plain(self, cond)

    monkeypatch.setattr(After, "_probabilities", watched)
    output, _ = run("nnmamba", hot(60.0))
    assert max(seen) < 30 < output.pet.array.max()


class Sevens(torch.nn.Module):
    """A second half that says the same of every patch that it sees."""

    revision = True

    def revised(self, denoised, *others):
        return torch.full_like(denoised, 7.0)


def test_where_no_patch_lies_the_diffused_image_stands_with_what_was_cut():
    """Beyond the body: an arm, a catheter or a marker may be as hot as anything."""
    low = torch.full((1, 1, 64, 12, 12), 0.5)
    low[..., 60, 6, 6] = 60.0
    units, body = Units(low, torch.zeros_like(low), torch.ones_like(low), low, 20.0), np.zeros((64, 12, 12), bool)
    body[2:10, 4:8, 4:8] = True
    after = After(Sevens(), SimpleNamespace(window=16), SimpleNamespace(suv=lambda x: x, units=units),
                  SimpleNamespace(body=body, labels=None), {}, Run(device="cpu"))  # fmt: skip
    found = after.revised(low.clamp_max(20.0))
    assert found[body] == pytest.approx(7.0)
    np.testing.assert_array_equal(found[40:], low[0, 0, 40:].numpy())


def test_a_voxel_below_the_cut_stays_as_the_network_has_it():
    low, suv = torch.tensor([5.0, 19.0, 21.0, 37.0]), torch.tensor([6.0, 22.0, 18.0, 22.0])
    units = Units(low, low, low, low, 20.0)
    torch.testing.assert_close(units.with_what_was_cut(suv), torch.tensor([6.0, 22.0, 19.0, 37.0]))
    torch.testing.assert_close(units.as_cut(units.with_what_was_cut(suv)), torch.tensor([6.0, 22.0, 19.0, 20.0]))
