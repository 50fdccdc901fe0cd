"""AMDiff's parts: losses by hand, units both ways, ablations that leave out what they say, masks and numbers."""

import json
import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from petdiffusion import registry
from petdiffusion.diffusion.conditions import Conditions
from petdiffusion.diffusion.parameterisation import Adjusted
from petdiffusion.errors import ModelError
from petdiffusion.methods.amdiff import clinical, losses, parts
from petdiffusion.methods.amdiff.config import CONFIGS, ORGANS, VARIANTS, AmdiffConfig
from petdiffusion.methods.amdiff.masks import Masks, lesions_of, masks_of, organs_of
from petdiffusion.methods.amdiff.network import AmdiffNetwork, sizes
from petdiffusion.methods.amdiff.units import Units
from petdiffusion.methods.amdiff.views import denoisers
from petdiffusion.progress import Run
from petdiffusion.volume import Geometry, LabelMap
from petdiffusion.zoo import store
from scipy import ndimage
from support import tiny_models
from support.blobs import blobs

COMPACT = CONFIGS["compact"]
SMALL = replace(COMPACT, network=tiny_models.NETWORK, segmenter=tiny_models.SEGMENTER, sigma_data=0.8)
SHAPE = (2, 1, 4, 4, 4)


def images(*values):
    return torch.stack([torch.full(SHAPE[1:], float(v)) for v in values])


def test_warm_up_is_eq_11():
    """Of 800 epochs with e_T = 100: nothing before, exp(-5 (7/8)^2) at 100, 1 at the end."""
    assert losses.warm_up(99 / 800, 100 / 800) == 0
    assert losses.warm_up(100 / 800, 100 / 800) == pytest.approx(math.exp(-5 * 0.875**2))
    assert losses.warm_up(1.0, 0.125) == losses.warm_up(0.0, None) == 1


def test_the_regulariser_is_the_mean_error_of_each_class(monkeypatch):
    """32 voxels of lesion with error 2, 32 of liver with 1, the rest with 5: 0.5 * 2 + 0.7 / 7 * 1, and the rest."""
    monkeypatch.setattr(losses, "FEWEST", 1)
    error, lesions, organs = torch.full(SHAPE, 5.0), torch.zeros(SHAPE), torch.zeros(SHAPE)
    lesions[0, 0, :2], organs[0, 0, 2:] = 1, 1
    error[0, 0, :2], error[0, 0, 2:] = -2.0, 1.0
    both = torch.ones(2)
    assert losses.class_weighted(error, lesions, organs, (0, 0.5, 0.7), both) == pytest.approx(1.1)
    assert losses.class_weighted(error, lesions, organs, (1.0, 0, 0), both) == pytest.approx(5.0)
    assert losses.class_weighted(error, lesions, organs, (1.0, 0.5, 0.7), torch.tensor([1.0, 0])) == pytest.approx(1.1)


def test_lesions_are_cut_out_of_their_organ():
    lesion, organ = losses.class_masks(torch.ones(SHAPE), torch.full(SHAPE, 3.0))
    assert lesion.all() and not organ.any()


def test_focal_dice_by_hand():
    """P = 1/2 on 64 of 64 voxels of the class: Dice (2 * 32 + 1) / (16 + 64 + 1), to the power 3/4."""
    half, full = torch.full((1, 1, 4, 4, 4), 0.5), torch.ones(1, 1, 4, 4, 4)
    assert losses.dice_loss(half, full, "focal") == pytest.approx((1 - 65 / 81) ** 0.75, rel=1e-5)
    assert losses.dice_loss(full, full, "focal") < 2e-3


def test_the_printed_focal_dice_is_least_where_it_says_and_not_at_certainty():
    full = torch.ones(1, 1, 16, 16, 16)
    found = {p: float(losses.dice_loss(full * p, full, "printed")) for p in np.linspace(0.05, 1.0, 96)}
    assert 0.35 < min(found, key=found.get) < 0.65
    assert found[1.0] > 0.99
    focal = [float(losses.dice_loss(full * p, full, "focal")) for p in (0.2, 0.5, 0.8, 1.0)]
    assert focal == sorted(focal, reverse=True)


def test_unknown_organs_teach_nothing():
    logits = torch.zeros(SHAPE), torch.randn(2, 1 + len(ORGANS), 4, 4, 4)
    given = (logits, torch.zeros(SHAPE), torch.full(SHAPE, float(losses.UNLABELLED)))
    alone = losses.segmentation(*given, (1.0, 0.0), "focal", torch.ones(2))
    assert losses.segmentation(*given, (1.0, 5.0), "focal", torch.ones(2)) == alone


@pytest.mark.parametrize("weight", [0.5, 1e-3, 1e-6])
@pytest.mark.parametrize("dice", ["focal", "printed"])
def test_a_patch_that_weighs_little_adds_little_even_alone(weight, dice):
    """By alpha-bar: next to nothing is learnt from where next to nothing is seen."""
    shape = (1, 1, 8, 8, 8)
    torch.manual_seed(0)
    lesions, organs = (torch.rand(shape) < 0.2).float(), torch.randint(0, 8, shape).float()
    logits = torch.randn(shape), torch.randn(1, 1 + len(ORGANS), 8, 8, 8)

    def of(items):
        found = losses.class_weighted(logits[0], lesions, organs, (1.0, 0.5, 0.5), items)
        return torch.stack([found, losses.segmentation(logits, lesions, organs, (1.0, 1.0), dice, items)])

    torch.testing.assert_close(of(torch.tensor([weight])), weight * of(torch.ones(1)))


def test_patches_count_beside_each_other_as_they_weigh():
    """Errors 1 and 3, of weights 1 and 1/2: (1 + 3/2) / 2."""
    error, nothing = images(1, 3), torch.zeros(SHAPE)
    found = losses.class_weighted(error, nothing, nothing, (1.0, 0, 0), torch.tensor([1.0, 0.5]))
    assert found == pytest.approx(1.25)


def test_segmentation_is_least_at_the_truth():
    lesions, organs = torch.zeros(SHAPE), torch.zeros(SHAPE)
    lesions[0, 0, 0], organs[:, 0, 2] = 1, 4
    sure = 20 * (2 * lesions - 1), 20 * torch.nn.functional.one_hot(organs[:, 0].long(), 8).movedim(-1, 1).float()
    wrong = -sure[0], sure[1].roll(1, 1)
    both = (1.0, 1.0), "focal", torch.ones(2)
    right = losses.segmentation(sure, lesions, organs, *both)
    assert right < 0.01 < 3 < losses.segmentation(wrong, lesions, organs, *both)


def test_units_go_both_ways_below_the_cut_and_hold_it():
    units = Units(images(1, 1), images(2, 3), images(0.5, 2), images(30, 3), 20.0)
    suv = images(7.0, 19.0)
    torch.testing.assert_close(units.inverse(units.forward(suv)), suv)
    torch.testing.assert_close(units.inverse(units.forward(images(55, 20))), images(20, 20))


def test_the_revision_brings_back_what_was_cut():
    """At the start of training it is the skip alone: P_HC where nothing was cut, the scan's own excess where it was."""
    network = AmdiffNetwork(SMALL)
    denoised, skip = images(20.0, 4.0), images(63.0, 5.0)
    revised = network.revised(denoised, skip, skip, images(1, 1))
    torch.testing.assert_close(revised, images(63.0, 4.0))
    assert AmdiffNetwork(replace(SMALL, revision=False)).revised(denoised, skip, skip, skip) is denoised


def test_levels_are_the_schedules_from_where_something_is_seen():
    every = parts.levels(COMPACT, 250)
    assert float(every[-1]) == 0 and 15 < float(every[0]) <= COMPACT.sigma_top and len(every) > 230
    assert float(parts.levels(CONFIGS["paper"], 250)[0]) > 1000
    assert len(parts.levels(COMPACT, 4)) == 5


def test_an_estimate_from_epsilon_is_held_where_errors_grow():
    """At t = T an error of 0.01 of the network's becomes tens of units; the clamp keeps the range of the data."""
    config = CONFIGS["paper"]
    x, sigma = torch.zeros(1, 1, 2, 2, 2), torch.tensor(parts.top(config))
    D = parts.denoiser(lambda x, t, **_: torch.full_like(x, 0.01), config)
    assert isinstance(D, Adjusted) and float(D.denoiser(x, sigma).abs().max()) > 20
    assert float(D(x, sigma).abs().max()) <= 1
    assert float(parts.trust(sigma[None], torch.zeros(1, dtype=torch.bool), config)) < 1e-6


def test_compact_fits_its_size_and_paper_has_the_papers():
    assert sum(sizes(AmdiffNetwork(COMPACT)).values()) * 2 <= 7e6
    with torch.device("meta"):
        paper = sizes(AmdiffNetwork(CONFIGS["paper"]))
    assert 14e6 < paper["segmenter"] < 18e6


@pytest.mark.parametrize("name", VARIANTS)
def test_a_variant_differs_in_what_its_name_says(name):
    one = CONFIGS[f"compact-{name}"]
    assert one != COMPACT and AmdiffConfig.from_json(one.to_json()) == one
    network = AmdiffNetwork(replace(one, network=tiny_models.NETWORK))
    assert (network.revision is None) == (name in ("no-revision", "separate"))
    assert ("mamba" in " ".join(network.state_dict())) == (name != "no-resmamba")


def test_unknown_entries_are_refused():
    with pytest.raises(ModelError, match="newer version"):
        AmdiffConfig.from_json({"colour": 1})


def test_lesions_are_numbered_by_size_and_small_ones_dropped():
    probability = np.zeros((6, 6, 6))
    probability[0, 0, :2], probability[3:5, 3:5, 3:5], probability[0, 5, 5] = 0.9, 0.6, 0.9
    found = lesions_of(probability, 0.5, 1.0, 0.5)
    assert np.bincount(found.ravel())[1:].tolist() == [8, 2]
    assert lesions_of(probability, 0.7, 0.0, 0.5).max() == 2


def test_stray_pieces_of_an_organ_are_dropped_but_both_kidneys_stay():
    probability = np.zeros((len(ORGANS), 8, 8, 8))
    liver, kidney, aorta = (probability[ORGANS.index(name)] for name in ("liver", "kidney", "aorta"))
    liver[:3, :3, :3], liver[0, 7, 7] = 0.8, 0.8
    kidney[5:7, 0, 0], kidney[5:7, 7, 7], kidney[5, 3, 3] = 0.9, 0.9, 0.9
    aorta[4, 0, :3], aorta[4, 5, 5] = 0.7, 0.7
    counts = np.bincount(organs_of(probability, np.ones((8, 8, 8), bool)).ravel(), minlength=len(ORGANS) + 1)[1:]
    assert dict(zip(ORGANS, counts)) == dict.fromkeys(ORGANS, 0) | {"liver": 27, "kidney": 4, "aorta": 4}


def test_an_organ_may_ask_for_more_than_being_the_most_likely():
    probability = np.zeros((len(ORGANS), 4, 4, 4))
    aorta, liver = (probability[ORGANS.index(name)] for name in ("aorta", "liver"))
    aorta[1, 1, :3], liver[3] = (0.5, 0.6, 0.9), 0.52
    inside = np.ones((4, 4, 4), bool)
    inside[0] = False
    value = ORGANS.index("aorta") + 1
    assert np.argwhere(organs_of(probability, inside) == value).tolist() == [[1, 1, 1], [1, 1, 2]]
    probability[ORGANS.index("aorta"), 1, 1, 0] = 0.51
    for surely, first in (({}, 0), ({"aorta": 0.55}, 1), ({"aorta": 0.7}, 2)):
        found = organs_of(probability, inside, surely)
        assert np.argwhere(found == value).tolist() == [[1, 1, x] for x in range(first, 3)]
        assert (found == ORGANS.index("liver") + 1).sum() == 16


def test_what_is_found_in_air_does_not_take_an_organs_place():
    """The larger piece lies outside the body: the liver inside stays."""
    case = blobs(relative_noise=0.3).case()
    depth = ndimage.distance_transform_edt(case.body)
    deepest = np.unravel_index(depth.argmax(), depth.shape)
    probabilities = np.zeros((1 + len(ORGANS), *case.body.shape), np.float32)
    liver = probabilities[1 + ORGANS.index("liver")]
    liver[deepest] = liver[~case.body] = 0.9
    found = masks_of(probabilities, case, 0.5, 0.0).organs.array
    assert depth.max() > 2 and np.argwhere(found).tolist() == [list(deepest)]


def two_lesions():
    lesions, organs = np.zeros((6, 6, 6), np.int16), np.zeros((6, 6, 6), np.int16)
    organs[:3], lesions[1, 1, 1:3], lesions[4, 4, 4] = 1, 1, 2
    geometry = Geometry((6, 6, 6), (10.0, 10.0, 10.0))
    return Masks(LabelMap(organs, geometry, dict(enumerate(ORGANS, 1))), LabelMap(lesions, geometry)), geometry


def test_the_clinical_table_by_hand():
    masks, geometry = two_lesions()
    image = np.where(masks.lesions.array == 1, 6.0, np.where(masks.lesions.array == 2, 3.0, 2.0)).astype(np.float32)
    first, second, total, liver = clinical.numbers(image, masks, geometry)
    assert (first["volume_ml"], first["SUVmean"], first["TLG"]) == (2.0, 6.0, 12.0)
    assert second["SUVmax"] == 3.0 and second["SUVpeak"] < 3.0
    assert (total["lesions"], total["volume_ml"], total["TLG"]) == (2, 3.0, 15.0)
    assert liver == {"what": "organ", "name": "liver", "volume_ml": 106.0, "SUVmean": 2.0}


def test_the_spread_beside_an_uptake_is_that_of_the_samples():
    masks, geometry = two_lesions()
    spreads = clinical.Spreads()
    for value in (4.0, 6.0):
        spreads.add(clinical.numbers(np.full((6, 6, 6), value, np.float32), masks, geometry))
    row = spreads.beside(clinical.numbers(np.full((6, 6, 6), 5.0, np.float32), masks, geometry))[0]
    assert row["SUVmean_sd"] == pytest.approx(math.sqrt(2)) and row["TLG_sd"] == pytest.approx(2 * math.sqrt(2))
    assert "volume_ml_sd" not in row


def test_a_lesions_row_says_where_it_is_hottest():
    masks, geometry = two_lesions()
    image = masks.lesions.array.astype(np.float32)
    image[1, 1, 2] = 9.0
    row = clinical.numbers(image, masks, geometry)[0]
    assert [row[f"hottest_{axis}_mm"] for axis in "xyz"] == [20.0, 10.0, 10.0]


@pytest.fixture
def tiny(monkeypatch, tmp_path):
    monkeypatch.setenv("PETDIFFUSION_MODELS", str(tmp_path))
    for name in ("amdiff", "med-ddpm-3d", "nnmamba"):
        tiny_models._write(tmp_path, registry.card(name))


def run(name, model=None, **options):
    card, case = registry.card(name), blobs(relative_noise=0.3).case()
    model = model or f"{name}-tiny"
    return card.load()(case, card.resolve({"samples": 2, "steps": 2, **options}), Run(model=model)), case


def test_masks_alone_leave_the_scan_and_are_the_same_masks(tiny):
    full, case = run("amdiff")
    alone, _ = run("amdiff", masks_only=True)
    np.testing.assert_array_equal(alone.pet.array, case.pet.array)
    assert alone.sd is None and alone.evaluations == 2
    for a, b in ((full.organs, alone.organs), (full.lesions, alone.lesions)):
        np.testing.assert_array_equal(a.array, b.array)


@pytest.mark.parametrize(("base", "images", "signs"), [("none", 1, [1]), ("filtered", 4, [1, 1, 1, -1])])
def test_the_mirrored_view_negates_coordinates_and_no_scan(base, images, signs):
    """A model of the image itself, as the paper's, is not told where a voxel lies: its last image is the scan."""
    seen, config = [], replace(CONFIGS["compact"], base=base, sigma_data=0.8)
    D, _ = denoisers(SimpleNamespace(denoiser=lambda x, noise, images, **more: seen.append(images) or x), config)
    cond = Conditions(images=torch.rand(1, images, 2, 3, 4))
    D(torch.zeros(1, 1, 2, 3, 4), torch.tensor(parts.top(config)), cond)
    assert torch.equal(seen[0], cond.images)
    assert torch.equal(seen[1], cond.images.flip(-1) * torch.tensor(signs).reshape(1, -1, 1, 1, 1))


def test_the_evaluations_said_are_those_made(tiny):
    """Two views at the top once; of each of 2 samples one more level."""
    assert run("amdiff")[0].evaluations == 2 + 2 * 1
    assert run("amdiff", samples=0)[0].evaluations == 2


def test_the_segmenter_runs_once_whatever_the_samples(tiny, monkeypatch):
    from petdiffusion.methods.amdiff.after import After

    calls, plain = [], After.segmented
    monkeypatch.setattr(After, "segmented", lambda self, image: calls.append(1) or plain(self, image))
    output, _ = run("amdiff", samples=3)
    assert len(calls) == 1 and any("SUVmean_sd" in row for row in output.tables["clinical"])


def test_the_standalone_denoiser_may_be_half_of_the_standalone_pair(tiny, tmp_path):
    """The same image as the pair's, and no masks."""
    card = tmp_path / "nnmamba-tiny.json"
    card.write_text(json.dumps(json.loads(card.read_text()) | {"serves": ["med-ddpm-3d"]}))
    whole, half = run("nnmamba", samples=0)[0], run("med-ddpm-3d", "nnmamba-tiny", samples=0)[0]
    np.testing.assert_array_equal(half.pet.array, whole.pet.array)
    assert half.organs is None and half.lesions is None and whole.organs is not None


def test_what_is_quantified_goes_beyond_the_cut(tiny):
    """A bladder of SUV 60 comes out as such, not as 20."""
    card, case = registry.card("amdiff"), blobs(relative_noise=0.05).case()
    hot = case.pet.array * (60 / case.pet.array.max())
    output = card.load()(replace(case, pet=case.pet.with_array(hot)), card.resolve({"samples": 0}), Run())
    assert output.pet.array.max() > 35
    assert store.find("amdiff-tiny").card.config["cut_suv"] == 20


def test_a_denoiser_begins_a_whole_model_and_a_wrong_one_is_refused():
    whole, denoiser = AmdiffNetwork(SMALL), AmdiffNetwork(SMALL).denoiser
    whole.adopt(denoiser.state_dict())
    torch.testing.assert_close(whole.denoiser.state_dict(), denoiser.state_dict())
    with pytest.raises(RuntimeError, match="do not fit"):
        whole.adopt({"first.weight": torch.zeros(3)})


def test_the_standalone_segmenter_sends_nothing_back():
    for joint, reached in ((True, True), (False, False)):
        network = AmdiffNetwork(replace(SMALL, joint=joint, revision=False))
        denoised = torch.rand(1, 1, 16, 16, 16, requires_grad=True)
        _, logits = network.finish(denoised, denoised.detach(), denoised, denoised, torch.zeros(1, 3, 16, 16, 16))
        sum(part.sum() for part in logits).backward()
        assert (denoised.grad is not None) == reached
