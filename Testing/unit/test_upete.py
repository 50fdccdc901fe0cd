"""uPETe: its noise, its attention, its compression, where a scan enters and what the CT does. Small random networks."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from petdiffusion import registry
from petdiffusion.bench.few_numbers import measured
from petdiffusion.bench.papers import paper
from petdiffusion.errors import ModelError, OptionError
from petdiffusion.infer.device import choose_policy
from petdiffusion.methods.contract import Output
from petdiffusion.methods.upete import attention as attending
from petdiffusion.methods.upete import parts, perturb, scan
from petdiffusion.methods.upete.attention import WINDOW, GuidedAttention
from petdiffusion.methods.upete.autoencoder import Autoencoder, AutoencoderConfig, cosines
from petdiffusion.methods.upete.chain import LEAST, Chains, correlated, levels_of, start_of
from petdiffusion.methods.upete.config import CONFIGS, UpeteConfig
from petdiffusion.methods.upete.method import Job
from petdiffusion.methods.upete.network import UpeteNetwork
from petdiffusion.methods.upete.scan import LatentScan
from petdiffusion.methods.upete.units import convolved, level_of, smoothed, units_of, warm_of
from petdiffusion.physics.poisson import generator
from petdiffusion.prepare.noise import measure
from petdiffusion.progress import Run
from petdiffusion.volume import SUVBW, Geometry, Volume
from support.blobs import blobs
from support.tiny_models import OWN, write_models

CARD = registry.card("upete")
KNOWN = replace(CONFIGS["compact"], normal_level=0.06, sigma_data=2.0, latent_noise=1.5)


@pytest.fixture(autouse=True)
def small_models(tmp_path_factory, monkeypatch, no_models_of_the_user, no_bundled_models):
    folder = tmp_path_factory.getbasetemp() / "upete-models"
    if not folder.exists():
        folder.mkdir()
        write_models(folder)
    monkeypatch.setenv("PETDIFFUSION_MODELS", str(folder))


def tiny() -> UpeteNetwork:
    """As in the tests' model, with a CT that matters."""
    torch.manual_seed(0)
    network = UpeteNetwork(replace(KNOWN, **OWN["upete"]))
    for part in (network.last, network.denoiser.across.out, *(a.out for a in network.denoiser.guided)):
        torch.nn.init.normal_(part.weight, std=0.3)
    return network.eval()


def denoise(case, run=None, **options):
    return CARD.load()(case, CARD.resolve({"samples": 0, **options}), run or Run(seed=3))


def case_of(**changes):
    return blobs(**{"shape": (20, 24, 28), "relative_noise": 0.3, **changes}).case()


# ---- Poisson diffusion --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sinogram():
    known = blobs(shape=(4, 24, 28), spacing=(8.0, 8.0, 8.0))
    return perturb.Sinogram.of(known.truth, known.ct)


def test_poisson_deviates_have_the_variance_of_their_mean_and_keep_totals(sinogram):
    scale = sinogram.scale(2e5)
    expected = sinogram.scan.expected(scale).double()
    drawn = torch.stack([sinogram.counts(scale, generator(0, k)).double() for k in range(24)])
    assert drawn.min() >= 0
    assert float(drawn.sum() / 24 / expected.sum()) == pytest.approx(1, abs=4 / float(24 * expected.sum()) ** 0.5)
    order = expected.flatten().argsort()
    for part in order.chunk(4):  # from the coldest bins to the hottest: the same ratio
        mean, variance = expected.flatten()[part].mean(), drawn.var(0).flatten()[part].mean()
        assert float(variance / mean) == pytest.approx(1, rel=0.05)


def test_noise_has_no_mean_and_a_quarter_of_the_counts_doubles_it(sinogram):
    body = sinogram.clean > 0.3 * sinogram.clean.max()
    sds = []
    for counts in (8e5, 2e5):
        noise = torch.stack([sinogram.noise(sinogram.scale(counts), generator(1, k)) for k in range(6)])[:, body]
        sds.append(float(noise.std(0).mean()))
        assert abs(float(noise.mean())) < 0.2 * sds[-1]
    assert sds[1] / sds[0] == pytest.approx(2, rel=0.2)


def test_strength_grows_linearly_with_t_and_steps_are_its_inverse():
    g = perturb.strength(torch.arange(1, 401), KNOWN)
    assert torch.all(g.diff() > 0) and float(g.diff().std() / g.diff().mean()) < 1e-4
    assert float(g[-1]) == pytest.approx(10 * 0.06)
    assert [perturb.step_of(float(v), KNOWN) for v in g[[0, 119, 399]]] == [1, 120, 400]


def test_a_perturbed_image_without_negative_values_has_none():
    u, noise = torch.rand(1, 1, 4, 4, 4), torch.randn(1, 1, 4, 4, 4)
    assert perturb.perturbed(u, noise).min() >= 0


# ---- where a scan enters ------------------------------------------------------------------------------------------


def test_the_start_is_the_step_of_the_scans_noise():
    tenth = start_of(0.0, 0.1, 0, KNOWN)
    assert tenth.t == 120 and tenth.g == pytest.approx(3 * 0.06), "a tenth of the dose has nine times the variance more"
    assert start_of(tenth.level, 0.0, 0, KNOWN).t == 120, "and is known by its noise"
    assert start_of(0.5, 0.2, 77, KNOWN).t == 77
    twice = start_of(0.1, 0.0, 0, replace(KNOWN, match=2.0))
    assert twice.g == pytest.approx((0.2**2 - 0.06**2) ** 0.5), "its noise counts as `match` says"
    steps = [start_of(level, 0.0, 0, KNOWN).t for level in (0.03, 0.1, 0.2, 0.4, 9.0)]
    assert steps == sorted(steps) and steps[0] == round(40 * LEAST) and steps[-1] == 400
    assert levels_of(tenth, 3, KNOWN) == pytest.approx([0.18, 0.12, 0.06, 0.0])


def test_a_noisier_scan_enters_at_a_later_step():
    found = [denoise(case_of(relative_noise=noise)).details["step"] for noise in (0.1, 0.3, 0.6)]
    assert found[0] < found[1] < found[2]


def test_units_do_not_depend_on_the_scale_and_nothing_hot_is_cut():
    known = blobs(relative_noise=0.3)
    array, body = known.noisy.array.copy(), known.body
    array[10, 12, 14] = 500.0
    for factor in (1.0, 1e4):
        units = units_of(array * factor, (4.0, 4.0, 4.0), body, KNOWN)
        u = units.forward(array * factor)
        np.testing.assert_allclose(units.inverse(u), array * factor, rtol=1e-5, atol=1e-4 * factor)
        warm = warm_of(array * factor, (4.0, 4.0, 4.0), body, KNOWN)
        if factor == 1.0:
            first, level = u, level_of(u, (4.0, 4.0, 4.0), warm, KNOWN)
        np.testing.assert_allclose(u, first, rtol=1e-3, atol=1e-4)
    assert level == pytest.approx(level_of(u, (4.0, 4.0, 4.0), warm, KNOWN), rel=1e-3) and u.max() > 20


# ---- the scan's own noise -----------------------------------------------------------------------------------------


def test_the_blend_is_what_is_expected_of_the_normal_dose():
    """c = 5 known, own noise of SD 1 in x, SD 2 added: regressing x on z gives the blend."""
    random = torch.Generator().manual_seed(0)
    x = 5 + torch.randn(200_000, generator=random)
    z = x + 2 * torch.randn(200_000, generator=random)
    slope = float(((z - z.mean()) * (x - x.mean())).mean() / z.var())
    expected = parts.blended(torch.full((1, 1, 1, 1, 1), 5.0), torch.full((1, 1, 1, 1, 1), 8.0), torch.tensor([2.0]),
                             torch.tensor([1.0]))  # fmt: skip
    assert float(expected) == pytest.approx(5 + slope * 3, abs=0.02) == 5.6
    assert float(parts.own_of(1.0, parts.GAUSSIAN, KNOWN)) == 0, "noise of another kind tells nothing"


# ---- compression --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("f", [2, 4])
def test_cosines_are_orthonormal_and_the_first_is_the_mean(f):
    matrix = cosines(f)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(f**3), atol=1e-12)
    np.testing.assert_allclose(matrix[0], f**-1.5)


def test_an_untrained_autoencoder_keeps_gradients_and_means_of_blocks():
    network = Autoencoder(AutoencoderConfig(2, 4, (8, 16)))
    z, y, x = torch.meshgrid(*[torch.arange(8.0)] * 3, indexing="ij")
    ramp = (1 + 2 * z - y + 0.5 * x)[None, None]
    with torch.no_grad():
        torch.testing.assert_close(network.decode(network.encode(ramp)[0]), ramp, atol=1e-4, rtol=1e-4)
        rough = torch.rand(1, 1, 8, 8, 8, generator=torch.Generator().manual_seed(0))
        made = network.decode(network.encode(rough)[0])
    mean = torch.nn.functional.avg_pool3d
    torch.testing.assert_close(mean(made, 2), mean(rough, 2), atol=1e-5, rtol=1e-5)
    assert float((made - rough).abs().max()) > 0.1, "what does not fit four numbers is lost"
    with pytest.raises(ModelError):
        AutoencoderConfig(4, 4, (8, 16))


def test_patches_of_the_autoencoder_have_no_seams(monkeypatch):
    network = tiny()
    for layer in (network.autoencoder.kl.quant_conv_mu, network.autoencoder.kl.decoder.blocks[-1]):
        for parameter in layer.parameters():
            torch.nn.init.normal_(parameter, std=0.05)
    case = case_of(shape=(20, 24, 100))
    latents, images = [], []
    for largest in (64, 32):
        monkeypatch.setattr(scan, "LARGEST", largest)
        found = scan.LatentScan.of(case, KNOWN, 2)
        codec = scan.Codec(network, found, choose_policy("cpu"), Run())
        latents.append(codec.encoded(found.u))
        images.append(codec.decoded(latents[0]))
    for one, other in (latents, images):
        assert float((one - other).abs().max()) < 0.05 * float(one.std())


# ---- attention ----------------------------------------------------------------------------------------------------


def attention(**changes):
    torch.manual_seed(1)
    layer = GuidedAttention(8, 6, heads=2, width=4, **changes)
    for parameter in (layer.out.weight, layer.bias, layer.key.weight):
        torch.nn.init.normal_(parameter, std=0.5)
    return layer.eval()


def test_attention_is_softmax_of_ct_with_position_bias_over_values_of_the_pet():
    """Eq. 2 written out, voxel by voxel, for one window."""
    layer, x, ct = attention(), torch.randn(1, 8, 4, 4, 4), torch.randn(1, 6, 4, 4, 4)
    with torch.no_grad():
        q, k, v = layer.query(layer.guide_norm(ct)), layer.key(layer.guide_norm(ct)), layer.value(layer.norm(x))
        q, k, v = (image.flatten(2)[0].unflatten(0, (2, -1)) for image in (q, k, v))
        logits = torch.einsum("hdi,hdj->hij", q, k) / 2
        for i in range(64):
            for j in range(64):
                (a, b, c), (d, e, f) = np.unravel_index(i, (4, 4, 4)), np.unravel_index(j, (4, 4, 4))
                logits[:, i, j] += layer.bias[:, (a - d + 3) * 49 + (b - e + 3) * 7 + (c - f + 3)]
        mixed = torch.einsum("hij,hcj->hci", logits.softmax(-1), v).flatten(0, 1).reshape(1, 8, 4, 4, 4)
        torch.testing.assert_close(layer(x, ct), x + layer.out(mixed), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("shifted", [False, True])
def test_the_ct_says_where_and_the_pet_what(shifted):
    layer, ct = attention(shifted=shifted), torch.randn(2, 6, 8, 8, 12)
    even = torch.ones(2, 8, 8, 8, 12) * torch.arange(1.0, 9).reshape(1, 8, 1, 1, 1)
    with torch.no_grad():
        assert layer(even, ct).shape == even.shape
        torch.testing.assert_close(layer(even, ct), layer(even, torch.randn_like(ct)))  # a mean of equals is that value
        x = torch.randn_like(even)
        one, other = layer(x, ct), layer(x, ct.flip(4))
        assert float((one - other).abs().max()) > 0.01
        # values enter linearly: the weights do not look at the PET
        layer.norm = torch.nn.Identity()
        layer.value.bias.zero_(), layer.out.bias.zero_()
        torch.testing.assert_close(layer(3 * x, ct), 3 * layer(x, ct), atol=1e-4, rtol=1e-4)


def test_windows_a_few_at_a_time_give_the_same(monkeypatch):
    layer, x, ct = attention(), torch.randn(1, 8, 16, 8, 8), torch.randn(1, 6, 16, 8, 8)
    with torch.no_grad():
        whole = layer(x, ct)
        monkeypatch.setattr(attending, "AT_ONCE", 5)  # of 16
        torch.testing.assert_close(layer(x, ct), whole)


def test_windows_of_a_patch_are_those_of_the_whole():
    layer, x, ct = attention(), torch.randn(1, 8, 16, 8, 8), torch.randn(1, 6, 16, 8, 8)
    with torch.no_grad():
        whole, part = layer(x, ct), layer(x[:, :, WINDOW : 3 * WINDOW], ct[:, :, WINDOW : 3 * WINDOW])
    torch.testing.assert_close(whole[:, :, WINDOW : 3 * WINDOW], part)


def test_the_filter_looks_for_like_tissue_and_is_a_gaussian_where_all_is_alike():
    image = torch.randn(1, 1, 12, 12, 12, generator=torch.Generator().manual_seed(0))
    even, width = torch.full_like(image, 40.0), torch.tensor(1.5)
    torch.testing.assert_close(
        parts.guided(image, even, width, 80.0), parts.gaussian(image, width), atol=0.02, rtol=0.1
    )
    halves = even.clone()
    halves[..., 6:] = -800.0
    step = torch.where(halves < 0, 1.0, 5.0)
    torch.testing.assert_close(parts.guided(step, halves, width, 80.0), step)
    assert float((parts.gaussian(step, width) - step).abs().max()) > 0.5


@pytest.mark.parametrize(("part", "mm"), [(1.0, 3.9), (1 / 4, 4.9), (1 / 10, 6.0), (1 / 20, 7.0)])
def test_the_filter_is_as_wide_as_was_best_at_each_dose(part, mm):
    """On a point, between identities in place of the compression; a Gaussian's width is in the ratio of neighbours."""
    point = torch.zeros(1, 1, 9, 9, 9)
    point[0, 0, 4, 4, 4] = 1.0
    denoiser = parts.LatentDenoiser(lambda u, part: u, replace(KNOWN, guided=False))
    given = {"vector": torch.zeros(1, 4), "images": torch.zeros(1, 9, 9, 9, 9)}
    along = denoiser._filtered(point, torch.tensor([part**-0.5]), given)[0, 0, 4, 4]
    width = parts.REFERENCE_MM * 2.3548 / float(torch.sqrt(2 * torch.log(along[4] / along[5])))
    assert width == pytest.approx(mm, rel=0.06)


# ---- the whole method ---------------------------------------------------------------------------------------------


def test_another_ct_gives_another_image(monkeypatch):
    """Shifted, shuffled, of air alone, or none."""
    from petdiffusion.methods.upete import method

    network = tiny()
    monkeypatch.setattr(method, "load_network", lambda model: network)
    case = case_of()
    hu, random = case.ct.array, np.random.default_rng(0)
    others = (np.roll(hu, 4, 2), random.permutation(hu.ravel()).reshape(hu.shape), np.full_like(hu, -1000))
    right = denoise(case).pet.array
    for other in (*(replace(case, ct=case.ct.with_array(o)) for o in others), replace(case, ct=None)):
        assert np.abs(denoise(other).pet.array - right).max() > 1e-3
    plain = denoise(case, diffusion="gaussian").pet.array
    assert np.abs(plain - right).max() > 1e-3, "the network is told which noise it is to remove"


def test_air_is_encoded_by_the_shortcut_and_by_the_whole_where_there_is_none():
    network, policy = tiny(), choose_policy("cpu")
    known = LatentScan.of(case_of(), KNOWN, network.f)
    codec = scan.Codec(network, known, policy, Run())
    torch.testing.assert_close(codec.of_air(), network.autoencoder.linear(known.air_units))
    network.autoencoder.config = replace(network.autoencoder.config, shortcut=False)
    torch.testing.assert_close(codec.of_air(), codec.encoded(known.air_units))


def test_attention_is_that_of_the_library():
    torch.manual_seed(0)
    query, key, value = torch.randn(3, 2, 64, 8), torch.randn(3, 2, 64, 8), torch.randn(3, 2, 64, 5)
    bias = torch.randn(2, 64, 64)
    expected = torch.nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=bias)
    torch.testing.assert_close(attending.mixture(query, key, value, bias), expected)


def test_a_ct_that_lies_elsewhere_is_warned_about():
    case = case_of(shape=(40, 48, 56), spacing=(8.0, 8.0, 8.0))
    hu = case.ct.array
    for ct, told in ((hu, False), (np.roll(hu, 14, 2), True), (np.full_like(hu, -1000), True)):
        run = Run()
        denoise(replace(case, ct=case.ct.with_array(ct)), run)
        assert any("does not fit the PET" in text for text in run.warnings) == told


def test_chains_cost_what_is_said_and_their_spread_is_shown():
    seen, run = [], Run(seed=3)
    run.on_sample = seen.append
    output = denoise(case_of(), run, samples=3, steps=3)
    assert output.evaluations == 1 + 3 * 2 and len(seen) == 3
    np.testing.assert_allclose(output.sd.array, np.std(seen, 0, ddof=1), atol=1e-4)
    assert denoise(case_of()).evaluations == 1 and denoise(case_of()).sd is None
    one = denoise(case_of(), samples=1, estimate="sample", steps=3)
    np.testing.assert_allclose(one.pet.array, seen[0], atol=1e-5)
    assert one.pet.array.std() > 0


def test_of_gaussian_noise_a_chain_keeps_the_level_at_every_step(monkeypatch):
    """Closed form: behind z_t = c + n_t lies a z_s whose noise is a part of n_t: Var(z_s - c) = Cov(z_s, z_t) = K_s^2.
    """
    noise, seen = KNOWN.latent_noise, []
    monkeypatch.setattr(Chains, "fresh", lambda self, random: noise * torch.randn(self.z.shape, generator=random))

    def exact(z, sigma, cond):
        seen.append((float(sigma), z.clone()))
        return torch.full_like(z, 3.0)

    chains = Chains(exact, None, KNOWN, None, None, torch.zeros(1, 4, 40, 40, 40), parts.POISSON, 5)
    top = 0.3
    chains.z = 3 + noise * chains.level(top) * torch.randn(chains.z.shape, generator=generator(2))
    last = chains.sample(torch.full_like(chains.z, 3.0), [top, 0.2, 0.1, 0.0], 1)
    assert len(seen) == 2
    for sigma, z in [*seen, (noise * chains.level(0.0), last)]:
        assert float((z - 3).std()) == pytest.approx(sigma, rel=0.01)
        assert float(((z - 3) * (chains.z - 3)).mean()) == pytest.approx(sigma**2, rel=0.03)


def test_what_compression_lost_comes_back_beyond_its_bound_in_sds_of_such_losses():
    """By hand: of losses from -4 to 4 in steps of 1/2 half lie within 2, which is the SD times 0.6745."""
    lost = torch.arange(-4.0, 4.5, 0.5).reshape(1, 1, 1, 1, -1)
    case = SimpleNamespace(pet=SimpleNamespace(array=np.zeros((1, 1, 17), np.float32)), body=np.ones((1, 1, 17), bool))
    job = SimpleNamespace(options={"skip": 1.0}, case=case, codec=SimpleNamespace(decoded=torch.zeros_like),
                          scan=SimpleNamespace(u=lost, units=SimpleNamespace(inverse=lambda u: u)))  # fmt: skip
    found = Job._with_skip(job, np.ones((1, 1, 17), np.float32), lost)
    sd = 1.4826 * 2
    expected = [v + sd if v < -sd else v - sd if v > sd else 0.0 for v in lost.flatten().tolist()]
    np.testing.assert_allclose(found.ravel(), 1 + np.array(expected), atol=1e-6)


def test_a_sample_is_as_noisy_as_a_normal_dose_and_less_than_the_scan():
    case = case_of(shape=(40, 48, 56), structure=False, relative_noise=0.4)
    images = [case.pet.array, *(denoise(case, samples=1, estimate=e).pet.array for e in ("sample", "mean"))]
    noise = [float(np.std((image - denoise(case).pet.array)[case.body])) for image in images]
    assert noise[0] > noise[1] > noise[2] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(("shape", "spacing", "fwhm"), [
    ((64, 60, 56), (3.5, 3.5, 3.5), 6.0), ((40, 80, 80), (2.0, 2.0, 4.0), 8.0),
    ((1, 300, 300), (4.0, 4.0, 3.0), 5.0), ((50, 50, 50), (4.0, 4.0, 4.0), 0.0),
])  # fmt: skip
def test_fresh_noise_is_as_wide_as_the_scans_and_of_level_one(shape, spacing, fwhm):
    n = correlated(shape, (fwhm,) * 3, spacing, generator(5), KNOWN)
    assert level_of(n.numpy(), spacing, np.ones(shape, bool), KNOWN) == pytest.approx(1, rel=0.04)
    if fwhm and shape[0] > 1:
        seen = Volume(5 + 0.3 * (n / n.std()).numpy(), Geometry(shape[::-1], spacing), SUVBW)
        assert measure(seen, np.ones(shape, bool)).fwhm_mm == pytest.approx((fwhm,) * 3, rel=0.15)


def test_noise_is_encoded_by_the_shortcut_as_by_the_whole_where_that_adds_nothing(monkeypatch):
    def fresh(chains, random):
        state, by_shortcut = random.get_state(), usual(chains, random)
        with monkeypatch.context() as patch:
            patch.setattr(scan.Codec, "has_shortcut", False)
            random.set_state(state)
            whole = usual(chains, random)
        seen.append((by_shortcut - whole).abs().max() / whole.std())
        return by_shortcut

    usual, seen = Chains.fresh, []
    monkeypatch.setattr(Chains, "fresh", fresh)
    denoise(case_of(), samples=2)
    assert seen and max(seen) < 1e-3


def test_a_gpus_smoothing_is_the_processors():
    image = torch.randn((20, 24, 28), generator=generator(1))
    here, there = smoothed(image.numpy(), (2.0, 3.0, 4.0), 6.0), convolved(image, (2.0, 3.0, 4.0), 6.0).numpy()
    inside = (slice(5, -5),) * 3
    assert np.abs(here - there)[inside].max() < 1e-6 < np.abs(image.numpy() - here)[inside].max()


def test_what_compression_loses_comes_back_where_it_exceeds_noise():
    case = case_of()
    array = case.pet.array.copy()
    array[10, 12, 14] = 60.0  # one voxel: half of it does not fit the latent
    hot = replace(case, pet=case.pet.with_array(array))
    lost, kept = (denoise(hot, skip=s).pet.array for s in (0.0, 3.0))
    assert kept[10, 12, 14] > lost[10, 12, 14] + 5
    assert np.abs(kept - lost)[:5].max() < 1.5


def test_ablations_are_variants_of_one_config():
    base = CONFIGS["compact"]
    for name, diffusion, guided in (("ldm", "gaussian", False), ("ldm-p", "poisson", False),
                                    ("ldm-ct", "gaussian", True), ("ldm-p-ct", "poisson", True)):  # fmt: skip
        assert CONFIGS[name] == replace(base, diffusion=diffusion, guided=guided)
    assert UpeteConfig.from_json(base.to_json()) == base
    for wrong in ({"diffusion": "salt"}, {"late": 0}, {"filtered": True, "autoencoder": {"shortcut": False}}):
        with pytest.raises(ModelError):
            replace(base, **wrong)
    with pytest.raises(OptionError):
        CARD.resolve({"start": 401})


# ---- benchmark ----------------------------------------------------------------------------------------------------


def test_few_numbers_are_those_of_a_known_error():
    known = blobs()
    case, body = known.case(), known.body
    brighter = Output(case.pet.with_array(known.truth.array * np.float32(1.1)))
    numbers = measured(brighter, case, known.truth, known.labels, known.labels)
    truth = known.truth.array[body].astype(float)
    expected = 10 * np.log10(truth.max() ** 2 / np.mean((0.1 * truth) ** 2))
    assert numbers["PSNR_dB"] == pytest.approx(expected, abs=1e-3)
    assert numbers["lesion_SUVmax_bias"] == pytest.approx(10, abs=1e-3) == numbers["lesion_SUVmean_error"]
    assert numbers["MAE"] == pytest.approx(0.1 * truth.mean(), rel=1e-3)


def test_the_table_is_the_papers_and_one_model_makes_all_its_variants():
    table = paper("upete").table("table1")
    assert [row.name for row in table.rows if row.method == "upete"] == ["ldm", "ldm-p", "ldm-ct", "ldm-p-ct"]
    for row in table.rows:
        if row.method == "upete":
            CARD.resolve(row.options)
            assert (row.options.get("diffusion") != "gaussian") == ("-p" in row.name)
            assert (row.anatomy == ("ct",)) == row.name.endswith("-ct") and row.paper in table.paper
