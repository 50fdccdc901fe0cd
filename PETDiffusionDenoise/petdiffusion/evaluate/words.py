"""The paragraph for a paper's methods section: what was done, with which settings, and what to cite."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from .. import __version__
from ..volume import SUVBW
from ..wording import counted
from . import arms
from .numbers import LOW, WORDS, Row, unit_word, units_of
from .run import Evaluation, names_alone
from .summary import in_unit, referenced

WINDOW = " (SSIM: Gaussian window of 11 voxels, sigma 1.5)"
PEAK = " (largest mean in a sphere of 1 ml centred in the lesion)"
SPOTS_CHECKED = (
    "Each result was checked against its own scan: places where the difference of scan and output exceeds the scan's "
    "noise (matched filters of 6 to 24 mm, chance over the whole scan below 0.05) are counted"
)
REGIONS_CHECKED = (
    ", and apart from them lesions and organs whose mean changed by more than the noise (Holm-adjusted p below 0.05 "
    "within a scan, and at least 5 % of a lesion or 2 % of an organ)"
)


def paragraph(made: Evaluation) -> str:
    """Plain text. Each sentence stands only where there are numbers that it tells of."""
    found = [row for rows in made.metrics.values() for row in rows]
    keys = {row["metric"] for row in found}
    parts = [_data(made), _methods(made), _image_words(keys), _region_words(made, keys), _unit_words(made),
             _test_words(made, found), _trust_words(keys), _failed_words(made)]  # fmt: skip
    papers = [f"[{i}] {p}" for i, p in enumerate(_papers(made), 1)]
    text = " ".join(part for part in parts if part)
    return "\n\n".join([text, *([" ".join(["References:", *papers])] if papers else [])]) + "\n"


def _data(made: Evaluation) -> str:
    said = []
    for data, group in made.groups.items():
        doses = sorted({r["fraction"] for r in group.cases if r["fraction"]})
        at = f" at {', '.join(f'{100 * d:.3g} %' for d in doses)} of the normal dose" if doses else ""
        said.append(scans_of(group.cases, "low-count scan", f"{at} ({data})"))
    apart = " Results of different kinds of data were kept apart." if len(said) > 1 else ""
    return f"Data were {'; '.join(said)}.{apart}"


def _image_words(keys: Collection[str]) -> str:
    said = [name for name, key in (("PSNR", "PSNR_dB"), ("SSIM", "SSIM")) if key in keys]
    window = WINDOW if "SSIM" in keys else ""
    whole = (f"{_and(said)} {_were(said)} computed in 3D inside the body, with the maximum of the normal-dose scan in "
             f"the body as data range{window}.") if said else ""  # fmt: skip
    nrmse = "NRMSE is the RMSE over the range of the normal-dose scan." if "NRMSE" in keys else ""
    return " ".join(part for part in (whole, nrmse) if part)


def _region_words(made: Evaluation, keys: Collection[str]) -> str:
    in_suv = units_of(_cases(made)) == [SUVBW]
    names = {key: f"SUV{key}" if in_suv else word for key, word in WORDS.items()}
    lesions = [names[key] for key in ("max", "mean", "peak") if f"lesion_{key}_percent" in keys]
    organs = [f"{names['mean']} of organs of more than 5 ml"] if "organ_mean_percent" in keys else []
    if not lesions and not organs:
        return ""
    peak = PEAK if "lesion_peak_percent" in keys else ""
    what = ([f"{_and(lesions)}{peak} of lesions"] if lesions else []) + organs
    whose = " or ".join((["lesions"] if lesions else []) + (["organs"] if organs else []))
    return (f"{_capital(_and(what))} {_were(lesions + organs)} measured in the same masks in all images; errors are "
            "absolute relative differences from the normal-dose scan, averaged over the "
            f"{whose} of a scan.")  # fmt: skip


def _unit_words(made: Evaluation) -> str:
    """Nothing where all scans are in SUV."""
    cases = _cases(made)
    units = units_of(cases)
    if units == [SUVBW]:
        return ""
    (first, count), *others = ((unit_word(u), len({r["case"] for r in in_unit(cases, u)})) for u in units)
    said = [f"{counted(count, 'scan')} {'was' if count == 1 else 'were'} measured in {first}"]
    said += [f"{number} in {unit}" for unit, number in others]
    apart = "; agreement was computed for each unit by itself" if others and any(made.agreement.values()) else ""
    return f"{', '.join(said)}{apart}."


def _test_words(made: Evaluation, found: Sequence[Row]) -> str:
    said, cases = [], _cases(made)
    scans, patients = (len({row[key] for row in cases}) for key in ("case", "patient"))
    if scans > patients:
        said.append("Scans of one patient were averaged.")
    tested = {row["method"] for row in found if row.get("p_holm") is not None}
    whom = [made.titles[method] for method in made.ask.methods if method in tested]
    whom += ["the low-count scan"] if LOW in tested else []
    if whom:
        baseline = made.titles[made.ask.baseline or made.ask.methods[0]]
        holm = ", with Holm's correction over the comparisons of each metric" if len(whom) > 1 else ""
        said.append(f"{_capital(_and(whom))} {_were(whom)} compared with {baseline} by two-sided Wilcoxon signed-rank "
                    f"tests over patients{holm}.")  # fmt: skip
    if any(row.get("ci_low") is not None for row in found):
        said.append("Intervals are 95 % percentile bootstrap intervals over patients (10,000 draws).")
    return " ".join(said)


def _trust_words(keys: Collection[str]) -> str:
    if "doubts" not in keys:
        return ""
    return f"{SPOTS_CHECKED}{REGIONS_CHECKED if 'regions_changed' in keys else ''}."


def _failed_words(made: Evaluation) -> str:
    if not made.failed:
        return ""
    fewer = "; a patient counts in a comparison only with the scans that all methods finished"
    left_out = "was left out" if len(made.failed) == 1 else "were left out"
    return f"{counted(len(made.failed), 'run')} failed and {left_out}{fewer if len(made.ask.methods) > 1 else ''}."


def _cases(made: Evaluation) -> list[Row]:
    return [row for group in made.groups.values() for row in group.cases]


def _and(words: Sequence[str]) -> str:
    """`a, b and c`"""
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


def _were(subjects: Sequence[str]) -> str:
    return "were" if len(subjects) > 1 else "was"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def scans_of(cases: Sequence[Row], word: str = "scan", about: str = "") -> str:
    """`3 scans of 3 patients, of which 2 scans of 2 patients have a normal-dose scan`; the last is left unsaid where
    all have one."""
    scans, patients = (len({row[key] for row in cases}) for key in ("case", "patient"))
    text, (known, whose) = f"{counted(scans, word)} of {counted(patients, 'patient')}{about}", referenced(cases)
    if known == scans:
        return text
    if not known:
        return f"{text}, none with a normal-dose scan"
    have = "has" if known == 1 else "have"
    return f"{text}, of which {counted(known, 'scan')} of {counted(whose, 'patient')} {have} a normal-dose scan"


def _methods(made: Evaluation) -> str:
    """Those that finished a scan."""
    said, papers = [], _papers(made)
    for method in _used(made):
        card, record = arms.card_of(method), made.records[method]
        options = ", ".join(f"{k} {v}" for k, v in told_of(method, record.get("options", {})).items())
        model = _model(record.get("details", {}))
        cited = f" [{papers.index(card.paper) + 1}]" if card.paper else ""
        inside = "; ".join(t for t in (options, model) if t)
        said.append(f"{made.titles[method]}{cited}" + (f" ({inside})" if inside else ""))
    they = "It was" if len({row["case"] for row in _cases(made)}) == 1 else "They were"
    return (f"{they} denoised by {'; '.join(said)}, with PETDiffusion {__version__} and seed {made.ask.seed}, "
            "for research use.")  # fmt: skip


def _used(made: Evaluation) -> list[str]:
    return [method for method in made.ask.methods if method in made.records]


def told_of(method: str, options: Mapping[str, Any]) -> dict[str, str]:
    """`told`, with files by their names alone."""
    return told(names_alone(method, options))


def told(options: Mapping[str, Any]) -> dict[str, str]:
    """Settings as a reader of a paper takes them: none that was left to the method, nothing that stands for nothing."""
    said = {True: "yes", False: "no"}
    return {k: said[v] if isinstance(v, bool) else str(v) for k, v in options.items() if v is not None and v != ""}


def _model(details: Mapping[str, Any]) -> str:
    if not details.get("model"):
        return ""
    version, sha256 = details.get("model_version", ""), details.get("model_sha256", "")[:12]
    return f"model {details['model']} {version}, SHA-256 {sha256}"


def _papers(made: Evaluation) -> list[str]:
    return list(dict.fromkeys(p for m in _used(made) if (p := arms.card_of(m).paper)))
