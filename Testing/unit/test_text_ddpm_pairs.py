"""Text-guided DDPM without its text: pairs of slices leave no jumps, schedule and configurations are the paper's."""

import json

import numpy as np
import pytest
import torch
from petdiffusion.diffusion.schedules import linear_alpha_bar, sigma_of
from petdiffusion.infer.engine import Model, Sampling, Scene, sample_volume
from petdiffusion.infer.patches import PatchRules
from petdiffusion.methods.text_ddpm import method, parts
from petdiffusion.methods.text_ddpm.config import CONFIGS, PairConfig
from petdiffusion.methods.text_ddpm.seams import pair_seams
from petdiffusion.progress import Run

# ---- pairs of slices -----------------------------------------------------------------------------------------------


def tilted(x, sigma, cond=None):
    """A network that is wrong by +0.1 in the first slice of a pair and by -0.1 in the second."""
    return torch.zeros_like(x) + torch.tensor([0.1, -0.1]).reshape(1, 2, 1, 1)


@pytest.mark.parametrize(("overlap", "expected"), [(0, 0.2), (1, 0.0)])
def test_overlapping_pairs_leave_no_jumps(overlap, expected):
    """By hand: alone, slices of a pair differ by 0.2; blended, +0.1 and -0.1 meet in every slice between the ends."""
    rules = PatchRules(dims=2, multiple=4, slab=2, slab_overlap=overlap, smallest=8)
    found = sample_volume(Model(tilted, rules=rules), Scene((8, 16, 16)), Sampling((1.0, 0.0)), Run()).image[0].numpy()
    steps = np.abs(np.diff(found[:, 8, 8]))
    np.testing.assert_allclose(steps[1:-1].max(), expected, atol=1e-6)


def test_seams_are_measured_by_hand():
    """Steps 1, 3, 1, 3, ...: those between pairs are three times those within; a ramp has none."""
    body = np.ones((9, 2, 2), bool)
    steps = np.cumsum([0, 1, 3, 1, 3, 1, 3, 1, 3])
    image = np.broadcast_to(steps[:, None, None], body.shape).astype(np.float32)
    assert pair_seams(image, body) == pytest.approx(3.0)
    ramp = np.broadcast_to(np.arange(9)[:, None, None], body.shape).astype(np.float32)
    assert pair_seams(ramp, body) == pytest.approx(1.0)


# ---- schedule and configurations -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("sampler", "evaluations"), [("heun", 1 + 2 * 6 + 1), ("dpmpp_2m", 8)])
def test_the_gap_below_pure_noise_is_one_evaluation_for_heuns_method_too(sampler, evaluations):
    """Its correction there would leave samples a fifth too wide."""
    options = {"steps": 8, "sampler": sampler, "samples": 1, "estimate": "sample"}
    assert method.sampling(options, CONFIGS["compact"], 4.0).evaluations == evaluations


def test_levels_begin_with_pure_noise_of_the_papers_schedule():
    config = CONFIGS["compact"]
    bars = linear_alpha_bar(1000, 1e-4, 0.02)
    few = method.levels({"steps": 6, "sampler": "dpmpp_2m"}, config)
    assert len(few) == 7 and few[-1] == 0 and float(few[0]) == pytest.approx(float(sigma_of(bars)[-1]))
    own = method.levels({"steps": 1000, "sampler": "ddpm"}, config)
    torch.testing.assert_close(own[:-1].flip(0), sigma_of(bars))


def test_the_papers_configuration_says_what_the_paper_says():
    paper = CONFIGS["paper"]
    assert (paper.T, paper.beta_1, paper.beta_T, paper.predicts, paper.encoder) == (
        1000, 1e-4, 0.02, "noise", "clip-vit-b-32")  # fmt: skip
    again = PairConfig.from_json(json.loads(json.dumps(paper.to_json())))
    assert paper.network["in_channels"] == 2 and json.dumps(again.to_json()) == json.dumps(paper.to_json())


def test_compact_models_stay_below_five_megabytes():
    config = parts.with_context(CONFIGS["compact"], 128)
    assert 2 * sum(p.numel() for p in parts.network_of(config).parameters()) < 5e6
