"""A function of images, patch by patch: blended without a seam, air left as it was, kept where there is room."""

import numpy as np
import torch
from petdiffusion.diffusion.conditions import Conditions
from petdiffusion.infer import blend
from petdiffusion.infer.device import Policy
from petdiffusion.infer.plan import PatchRules
from petdiffusion.progress import Run

RULES = PatchRules(multiple=2, largest=8, overlap=4)


def seen(cond):
    return torch.cat((cond.images[:, :1] * 2, cond.images[:, 1:2] + 1), 1)


def test_patches_of_a_local_function_are_the_function_of_the_whole():
    images = torch.randn(1, 2, 14, 19, 13, generator=torch.Generator().manual_seed(1))
    found = blend.blended(seen, Conditions(images=images), RULES, Policy(), Run(), channels=2)
    assert found.device.type == "cpu"
    torch.testing.assert_close(found, seen(Conditions(images=images))[0])


def test_patches_without_body_keep_the_fallback():
    images = torch.ones(1, 2, 8, 8, 40)
    body = np.zeros(images.shape[2:], bool)
    body[..., :4] = True
    fallback = torch.full((1, 2, *body.shape), -3.0)
    found = blend.blended(seen, Conditions(images=images), RULES, Policy(), Run(), channels=2, body=body,
                          fallback=fallback)  # fmt: skip
    assert (found[:, body] == 2).all() and (found[..., 30:] == -3).all() and (fallback == -3).all()


def test_whole_images_lie_on_a_card_with_much_room_alone(monkeypatch):
    monkeypatch.setattr(blend, "free_memory", {"cuda": 80e9}.__getitem__)
    card = Policy("cuda", bf16=True)
    assert blend._place(7e9, card) == "cuda" and blend._place(21e9, card) == "cpu"
