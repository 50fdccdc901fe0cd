"""A patient's report, and its page taken apart, for the tests of the report."""

from __future__ import annotations

import base64
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
from petdiffusion import measure
from petdiffusion.volume import SUVBW, Facts, Geometry, LabelMap, Volume
from petdiffusion.write.report import DENOISED, LOW, REFERENCE, SD, CaseReport
from PIL import Image
from scipy.ndimage import gaussian_filter

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
