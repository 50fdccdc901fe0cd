"""The report: complete in one file, safe against the texts given to it, upright for every grid."""

from __future__ import annotations

import base64
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import permutations, product

import numpy as np
import pytest
from petdiffusion import measure
from petdiffusion.errors import GeometryError, InputError
from petdiffusion.methods.contract import Case, MethodCard
from petdiffusion.request import Result
from petdiffusion.volume import ARBITRARY, BQML, SUVBW, Facts, Geometry, LabelMap, Volume
from petdiffusion.write.report import DENOISED, LOW, REFERENCE, SD, CaseReport, case_report, of_result
from petdiffusion.write.report.colour import png
from petdiffusion.write.report.orient import upright
from petdiffusion.write.report.views import Views
from petdiffusion.write.report.words import lesion_name
from PIL import Image
from scipy.ndimage import gaussian_filter

EVIL = "<script>alert('x')</script>\"&"
VOID = {"meta", "img", "input", "br", "path"}


class Page(HTMLParser):
    """Collects what the tests ask for, and checks that every element is closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open, self.attributes, self.texts, self.scripts, self.images = [], [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == [], self.open

    def handle_starttag(self, tag, attrs):
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag == "img":
            self.images.append(dict(attrs))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_startendtag(self, tag, attrs):
        self.attributes += [(tag, name, value) for name, value in attrs]

    def handle_data(self, data):
        (self.scripts if self.open and self.open[-1] == "script" else self.texts).append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.texts))

    @property
    def data(self) -> dict:
        return json.loads(next(s for s in self.scripts if s.startswith("{")))


def picture(uri: str) -> np.ndarray:
    kind, data = uri.split(",", 1)
    assert kind in ("data:image/png;base64", "data:image/jpeg;base64")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"))


def patient(seed: int = 0) -> dict:
    rng = np.random.default_rng(seed)
    geometry = Geometry((24, 20, 40), (4.0, 4.0, 5.0))
    truth, organs, lesions = np.zeros(geometry.shape), np.zeros(geometry.shape, int), np.zeros(geometry.shape, int)
    body = np.zeros(geometry.shape, bool)
    body[:, 3:17, 3:21] = True
    organs[10:30, 4:14, 4:15] = 5
    lesions[15:19, 6:9, 6:9], lesions[32:35, 10:13, 15:18] = 1, 2
    truth[body], truth[organs == 5], truth[lesions > 0] = 1.0, 2.0, 6.0
    truth = gaussian_filter(truth, 0.7)
    facts = Facts(tracer="FDG", injected_dose_bq=2e8, uptake_minutes=60.0, dose_fraction=0.05, suv_factor=0.002)
    volumes = {
        name: Volume(np.maximum(truth + sd * rng.standard_normal(truth.shape), 0), geometry, SUVBW, facts)
        for name, sd in (("low", 0.5), ("denoised", 0.08), ("reference", 0.15))
    }
    return {
        "volumes": volumes,
        "body": body,
        "organs": LabelMap(organs, geometry, {5: "liver"}),
        "lesions": LabelMap(lesions, geometry, {1: "node", 2: "bone"}),
        "sd": volumes["low"].with_array(np.where(body, 0.1, 0.0)),
    }


def report(case: dict, **changes) -> CaseReport:
    v = case["volumes"]
    rows = measure.tables(v, case["body"], case["organs"], case["lesions"])
    return replace(
        CaseReport(
            "A case",
            {LOW: v["low"], DENOISED: v["denoised"], REFERENCE: v["reference"], SD: case["sd"]},
            "Some method",
            case["body"],
            case["organs"],
            case["lesions"],
            rows["image"],
            rows["organs"],
            rows["lesions"],
            rows["lesion_totals"],
            {"Prompts": [{"slice": 3, "text": "liver"}]},
            {"Run": {"seed": 4321}},
            ["Watch out."],
        ),
        **changes,
    )


@pytest.fixture(scope="module")
def case() -> dict:
    return patient()


@pytest.fixture(scope="module")
def full(case) -> CaseReport:
    return report(case)


@pytest.fixture(scope="module")
def page(full) -> Page:
    return Page(case_report(full))


def test_nothing_is_fetched_from_outside(full, page):
    for tag, name, value in page.attributes:
        if name in ("src", "href", "srcset", "action", "poster", "data", "background", "xlink:href"):
            assert value.startswith("data:image/"), (tag, name, value[:60])
        if name == "style":
            assert "url(" not in value
    assert not any(tag in ("link", "iframe", "object", "embed", "base", "form") for tag, _, _ in page.attributes)
    html = case_report(full)
    assert not re.search(r"https?:|//[a-z]+\.[a-z]|@import|url\(|fetch\(|XMLHttp|WebSocket|import\(", html)
    assert (
        "meta",
        "content",
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'",
    ) in page.attributes


def test_the_numbers_given_are_in_it(full, page):
    low, denoised, reference = full.image_rows
    for value in (
        low["liver_CoV_percent"],
        denoised["liver_CoV_percent"],
        reference["liver_CoV_percent"],
        denoised["PSNR_dB"],
    ):
        assert f"{value:.1f}" in page.text
    for row in full.lesion_rows:
        for metric in ("SUVmax", "SUVpeak", "SUVmean"):
            for image in ("low", "denoised", "reference"):
                assert f"{row[f'{metric}_{image}']:.2f}" in page.text
    assert f"{full.organ_rows[0]['SUVmean_denoised']:.2f}" in page.text
    assert f"{full.lesion_totals[0]['MTV_ml']:.1f} ml" in page.text
    for text in (
        "Watch out.",
        "4321",
        "Some method",
        "research use only",
        "FDG",
        "200 MBq",
        "5 % of the normal dose",
        "gaussian 11, sigma 1.5, 3D",
        "scipy",
        "Prompts",
    ):
        assert text in page.text


def test_texts_cannot_become_markup(case):
    names = LabelMap(case["lesions"].array, case["lesions"].geometry, {1: EVIL, 2: EVIL})
    organs = LabelMap(case["organs"].array, case["organs"].geometry, {5: EVIL})
    evil = report(
        {**case, "lesions": names, "organs": organs},
        title=EVIL,
        method=EVIL,
        warnings=[EVIL],
        settings={EVIL: {EVIL: EVIL, "list": [EVIL], "map": {EVIL: EVIL}}},
        other_tables={EVIL: [{EVIL: EVIL}]},
    )
    evil = replace(
        evil,
        images={n: v.with_facts(tracer=EVIL, scanner=EVIL) for n, v in evil.images.items()},
        image_rows=[{**row, "library": EVIL, "SSIM_window": EVIL} for row in evil.image_rows],
    )
    html = case_report(evil)
    page = Page(html)
    assert html.count("<script") == 2 and "<script>alert" not in html
    assert page.text.count("<script>alert('x')</script>\"&") >= 10  # shown as text, and not lost
    assert not any("alert" in script for script in page.scripts)


def test_script_data_cannot_end_the_script(full, monkeypatch):
    monkeypatch.setattr(CaseReport, "quantity", property(lambda _: "</script><b>"))
    assert Page(case_report(full)).data["quantity"] == "</script><b>"


def test_the_same_case_gives_the_same_file(full):
    assert case_report(full) == case_report(full)


def test_pictures_share_one_scale_with_hot_in_black(full):
    views = Views(full)
    assert views.grey.low == 0 and views.grey.high in (2, 3, 4, 5, 7)
    shown = picture(png(np.array([[-1.0, 0.0, views.grey.high / 2, views.grey.high, 99.0]]), views.grey))
    assert shown[0, :, 0].tolist() == [255, 255, 127, 0, 0]
    for image in Page(case_report(full)).images:
        if "difference" not in image["alt"] and "−" not in image["alt"] and "SD" not in image["alt"]:
            drawn = picture(image["src"])
            assert np.array_equal(drawn[..., 0], drawn[..., 2])


def test_differences_are_white_at_zero_and_symmetrical(full):
    scale = Views(full).diverging
    assert scale.low == -scale.high
    below, zero, above = picture(png(np.array([[-99.0, 0.0, 99.0]]), scale))[0].astype(int)
    assert zero.min() >= 252 and below[2] > below[0] and above[0] > above[2]


DIRECTIONS = [
    np.diag(signs)[list(order)] for order in permutations(range(3)) for signs in product((1.0, -1.0), repeat=3)
]


def turned(direction: np.ndarray, angle: float = 0.0) -> tuple[Volume, np.ndarray]:
    """Any grid whose one hot voxel lies to the patient's left, front and head of the middle."""
    cos, sin = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    direction = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]]) @ direction
    spacing = np.abs(np.linalg.inv(direction)) @ np.array([2.0, 3.0, 5.0]) if angle == 0 else np.array([2.0, 3.0, 5.0])
    size = tuple(round(float(120 / s)) for s in spacing)
    affine = np.eye(4)
    affine[:3, :3] = direction * spacing
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(size) - 1) / 2)
    geometry = Geometry.from_affine(size, affine)
    target = np.array([40.0, -30.0, 45.0, 1.0])  # left, front, head
    i, j, k = np.rint(np.linalg.solve(geometry.affine, target)[:3]).astype(int)
    array = np.zeros(geometry.shape, np.float32)
    array[k, j, i] = 10.0
    return Volume(array, geometry, SUVBW), array


@pytest.mark.parametrize("direction", DIRECTIONS, ids=str)
@pytest.mark.parametrize("angle", [0.0, 20.0])
def test_a_mark_appears_on_the_right_side_of_every_grid(direction, angle):
    volume, _ = turned(direction, angle)
    views = Views(CaseReport("t", {LOW: volume, DENOISED: volume}))
    expected = {"coronal": (1, -1), "sagittal": (-1, -1), "axial": (1, -1)}  # right/left of, above/below the middle
    for plane, (across, down) in expected.items():
        shown = views.projection_of(views.images[LOW], plane)
        y, x = np.unravel_index(shown.values.argmax(), shown.values.shape)
        width, height = shown.size_mm
        right = (x + 0.5) * shown.pixel_mm[1] - width / 2
        below = (y + 0.5) * shown.pixel_mm[0] - height / 2
        assert np.sign(right) == across and np.sign(below) == down, plane
        if angle == 0:
            mm = {"coronal": (40, -45), "sagittal": (-30, -45), "axial": (40, -30)}[plane]
            assert abs(right - mm[0]) <= 2.5 and abs(below - mm[1]) <= 2.5, plane
    assert upright(volume.geometry).oblique_degrees == pytest.approx(angle, abs=0.01)


def test_the_page_shows_the_mark_where_the_reader_expects_it():
    volume, _ = turned(np.diag([-1.0, -1.0, 1.0]))
    page = Page(case_report(CaseReport("t", {LOW: volume, DENOISED: volume})))
    front = picture(next(i["src"] for i in page.images if "from the front" in i["alt"]))[..., 0]
    y, x = np.unravel_index(front.argmin(), front.shape)
    assert x > 0.7 * front.shape[1] and y < 0.3 * front.shape[0]  # left of the patient is right on the page, head up
    for plane, (right, above) in {"coronal": (True, True), "sagittal": (False, True), "axial": (True, True)}.items():
        data, sheet = page.data["planes"][plane], picture(page.data["images"][0]["sheets"][plane])[..., 0]
        y, x = np.unravel_index(sheet.argmax(), sheet.shape)
        frame = (y // data["h"]) * data["columns"] + x // data["w"]
        assert (x % data["w"] > data["w"] / 2) == right and (y % data["h"] < data["h"] / 2) == above, plane
        # the head comes first in axial sheets, the front first in coronal ones, the right first in sagittal ones
        assert (frame < data["frames"] / 2) == (plane != "sagittal"), plane
    turn, sheet = page.data["planes"]["mip"], picture(page.data["images"][0]["sheets"]["mip"])[..., 0]
    first = sheet[: turn["h"], : turn["w"]]
    y, x = np.unravel_index(first.argmax(), first.shape)
    assert x > turn["w"] / 2 and y < turn["h"] / 2
    assert turn["frames"] == 36


def test_a_tilted_scan_says_so():
    volume, _ = turned(np.eye(3), 20.0)
    assert "tilted by 20°" in case_report(CaseReport("t", {LOW: volume, DENOISED: volume}))
    straight, _ = turned(np.eye(3))
    assert "tilted" not in case_report(CaseReport("t", {LOW: straight, DENOISED: straight}))


def test_pictures_keep_the_proportions_of_the_patient(full, page):
    views = Views(full)
    for image in page.images:
        if image["alt"] == "Coronal slice, Denoised":
            height, width, _ = picture(image["src"]).shape
            mm = views.slice_of(views.images[LOW], "coronal", 0).size_mm
            assert width / height == pytest.approx(mm[0] / mm[1], rel=0.02)
            assert mm[0] / mm[1] == pytest.approx(views.shape[2] * 4.0 / (views.shape[0] * 5.0))


def test_outlines_lie_on_the_lesions(full):
    views = Views(full)
    s, _, _ = views.peaks[1]
    path = views.outlines("axial", s)[1]
    points = np.array([[float(v) for v in pair.split()] for pair in re.findall(r"[\d.]+ [\d.]+", path)])
    middle = (points.min(axis=0) + points.max(axis=0)) / 2
    rows, columns = np.nonzero(views.lesions[s] == 1)
    assert middle == pytest.approx([(columns.mean() + 0.5) * 4, (rows.mean() + 0.5) * 4], abs=0.6)
    assert points.max(axis=0)[0] - middle[0] == pytest.approx(1.5 * 4, abs=2.5)


def test_the_viewer_goes_to_every_lesion_of_the_table(full, page):
    buttons = {value for tag, name, value in page.attributes if name == "data-lesion"}
    assert buttons == set(page.data["lesions"]) == {"1", "2"}
    views = Views(full)
    axial = page.data["lesions"]["1"]["axial"]
    assert views.shape[0] - 1 - axial == views.peaks[1][0]
    assert str(axial) in page.data["planes"]["axial"]["outlines"]


def test_two_images_alone_are_enough(case):
    v = case["volumes"]
    bare = Page(case_report(CaseReport("t", {LOW: v["low"], DENOISED: v["denoised"]})))
    assert "Lesions" not in bare.text and "Organs" not in bare.text and "Normal dose" not in bare.text
    assert "research use only" in bare.text


def test_large_differences_are_pointed_out(full, case):
    calm = Page(case_report(replace(full, organ_rows=(), lesion_rows=(), lesion_totals=())))
    assert "Check before relying" not in calm.text
    rows = [{**r, "SUVpeak_denoised_vs_reference_percent": -31.26} for r in full.lesion_rows]
    loud = Page(case_report(replace(full, lesion_rows=rows)))
    assert "Check before relying" in loud.text and "−31.3" in loud.text


def test_other_units_are_not_called_suv(case):
    v = {name: Volume(volume.array * 5000, volume.geometry, BQML) for name, volume in case["volumes"].items()}
    rows = measure.tables(v, case["body"], case["organs"], case["lesions"])
    text = Page(
        case_report(
            CaseReport(
                "t",
                {LOW: v["low"], DENOISED: v["denoised"], REFERENCE: v["reference"]},
                "m",
                case["body"],
                case["organs"],
                case["lesions"],
                rows["image"],
                rows["organs"],
                rows["lesions"],
                rows["lesion_totals"],
            )
        )
    ).text
    assert "SUV" not in text and "Bq/ml" in text


@pytest.mark.parametrize("shape", [(1, 30, 30), (30, 1, 30), (30, 30, 1), (1, 1, 1), (3, 200, 2)])
@pytest.mark.parametrize("value", [0.0, 3.0])
def test_thin_empty_and_constant_images(shape, value):
    volume = Volume(np.full(shape, value, np.float32), Geometry(shape[::-1], (1.0, 1.0, 1.0)), ARBITRARY)
    rows = measure.tables({"low": volume, "denoised": volume}, None)
    page = Page(case_report(CaseReport("t", {LOW: volume, DENOISED: volume}, image_rows=rows["image"])))
    assert "nan" not in page.text.lower().split() and "inf" not in page.text.lower().split()


def test_what_does_not_fit_together_is_refused(case):
    v = case["volumes"]
    other = Volume(v["low"].array, Geometry(v["low"].geometry.size, (4.0, 4.0, 5.0), (9.0, 0.0, 0.0)), SUVBW)
    with pytest.raises(GeometryError):
        CaseReport("t", {LOW: v["low"], DENOISED: other})
    with pytest.raises(InputError, match="Denoised"):
        CaseReport("t", {LOW: v["low"]})
    with pytest.raises(InputError, match="units"):
        CaseReport("t", {LOW: v["low"], DENOISED: v["low"].with_array(v["low"].array, BQML)})
    with pytest.raises(InputError, match="Before"):
        CaseReport("t", {LOW: v["low"], DENOISED: v["low"], "Before": v["low"]})


def test_the_page_stays_small():
    """A whole body with noise in every voxel, the worst that compression meets."""
    geometry = Geometry((192, 192, 300), (2.6, 2.6, 3.27))
    rng = np.random.default_rng(0)
    body = np.zeros(geometry.shape, bool)
    body[:, 50:140, 20:170] = True
    image = np.where(body, 2 + rng.standard_normal(geometry.shape, dtype=np.float32), 0)
    volume = Volume(image, geometry, SUVBW)
    page = case_report(CaseReport("t", {LOW: volume, DENOISED: volume, REFERENCE: volume, SD: volume}, body=body))
    assert len(page) < 15e6


def test_a_result_becomes_a_report_in_the_unit_of_its_numbers(case):
    """The images come back in Bq/ml, the numbers are SUV: the report converts the pictures and names no folder."""
    v, factor = case["volumes"], 0.002

    def raw(volume):
        return Volume(volume.array / factor, volume.geometry, BQML, volume.facts)

    rows = measure.tables(v, case["body"], case["organs"], case["lesions"])
    record = {
        "version": "9.9",
        "request": {
            "seed": 7,
            "pet": "/scans/someone/Jane_Doe.nii",
            "ct": "/scans/ct.nii",
            "model": "/scans/someone/models/best.safetensors",
        },
        "options": {"steps": 18},
        "details": {"weights": "C:\\Users\\someone\\w.safetensors"},
        "seconds": {"denoise": 1.25},
        "versions": {"python": "3.11"},
        "input": {"facts": {"tracer": "FDG"}},
    }
    result = Result(
        pet=raw(v["denoised"]),
        low=raw(v["low"]),
        sd=raw(case["sd"]),
        organs=case["organs"],
        lesions=case["lesions"],
        reference=v["reference"],
        tables={**rows, "tuning": [{"fwhm": 4.5}]},
        record=record,
        warnings=("Mind the gap.",),
    )
    given = Case(pet=v["low"], body=case["body"], noise=0.1)
    card = MethodCard("m", "Fine method", "Does things.", "a:b", paper="Someone 2024")
    html = of_result(result, given, card)
    page = Page(html)
    for text in (
        "Fine method",
        "Someone 2024",
        "Mind the gap.",
        "best.safetensors",
        "w.safetensors",
        "steps",
        "18",
        "Settings tried",
        "4.5",
        "1.2 s",
    ):
        assert text in page.text, text
    assert "someone" not in html.replace("Someone", "") and "Jane" not in html and "organ errors" not in page.text
    shown = picture(next(i["src"] for i in page.images if i["alt"] == "Coronal slice, Denoised"))
    direct = picture(
        next(i["src"] for i in Page(case_report(report(case))).images if i["alt"] == "Coronal slice, Denoised")
    )
    assert np.abs(shown.astype(int) - direct).max() <= 1


@pytest.mark.parametrize(
    ("name", "shown"),
    [("lesion 1 (hip_right)", "hip right"), ("tumour (2)", "tumour (2)"), ("lesion 12", "lesion 12"), ("lesion 1", "")],
)
def test_a_lesions_name_does_not_repeat_its_number(name, shown):
    assert lesion_name({"lesion": name, "number": 1}) == shown


def test_facts_are_said_as_a_reader_says_them():
    from petdiffusion.write.report.result import scan_in_words

    said = scan_in_words({"tracer": "FDG", "half_life_s": 6586.2, "injected_dose_bq": 255177360, "dose_fraction": 0.1,
                          "suv_factor": 0.000434878, "source": "/scans/name"})  # fmt: skip
    assert said == {"tracer": "FDG", "half-life": "109.8 min", "injected dose": "255 MBq",
                    "part of the normal dose": "10.0 %", "SUV per kBq/ml": "0.4349"}  # fmt: skip


def test_numbers_of_lesions_do_not_cover_one_another():
    from petdiffusion.write.report.figures import _labels

    outlines = {n: f"M{10 + n * 1.2:.1f} 20L{13 + n * 1.2:.1f} 20L{13 + n * 1.2:.1f} 23Z" for n in (6, 16, 17, 7)}
    placed = _labels(outlines, 10.0, 300.0)
    wide = {n: (0.7 * len(str(n)) + 0.2) * 10 for n in placed}
    for one, (x, y) in placed.items():
        for other, (u, v) in placed.items():
            assert one == other or x >= u + wide[other] or u >= x + wide[one] or abs(y - v) >= 10.0
