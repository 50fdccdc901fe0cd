"""The paragraph for a paper's methods section: what was done, with which settings, and what to cite."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .. import __version__, registry
from .numbers import Row
from .run import Evaluation, names_alone
from .summary import referenced

METRIC_WORDS = (
    "PSNR and SSIM were computed in 3D inside the body, with the maximum of the normal-dose scan in the body as data "
    "range (SSIM: Gaussian window of 11 voxels, sigma 1.5); NRMSE is the RMSE over the range of the normal-dose scan. "
    "SUVmax, SUVmean and SUVpeak (largest mean in a sphere of 1 ml centred in the lesion) were measured in the same "
    "masks in all images; errors are absolute relative differences from the normal-dose scan, averaged over the "
    "lesions or organs (of more than 5 ml) of a scan."
)
TEST_WORDS = (
    "Scans of one patient were averaged; methods were compared with {baseline} by two-sided Wilcoxon signed-rank tests "
    "over patients, with Holm's correction over the methods of each metric. Intervals are 95 % percentile bootstrap "
    "intervals over patients (10,000 draws)."
)
TRUST_WORDS = (
    "Each result was checked against its own scan: places where the difference of scan and output exceeds the scan's "
    "noise (matched filters of 6 to 24 mm, chance over the whole scan below 0.05) are counted, and apart from them "
    "lesions and organs whose mean changed by more than the noise (Holm-adjusted p below 0.05 within a scan, and at "
    "least 5 % of a lesion or 2 % of an organ)."
)


def paragraph(made: Evaluation) -> str:
    """Plain text."""
    parts = [_data(made), _methods(made), METRIC_WORDS]
    baseline = made.titles[made.ask.baseline or made.ask.methods[0]]
    if len(made.ask.methods) > 1:
        parts.append(TEST_WORDS.format(baseline=baseline))
    parts.append(TRUST_WORDS)
    if made.failed:
        parts.append(
            f"{len(made.failed)} runs failed and were left out; a patient counts in a comparison only with the scans "
            "that all methods finished."
        )
    papers = [f"[{i}] {p}" for i, p in enumerate(_papers(made), 1)]
    return "\n\n".join([" ".join(parts), *([" ".join(["References:", *papers])] if papers else [])]) + "\n"


def _data(made: Evaluation) -> str:
    said = []
    for data, group in made.groups.items():
        doses = sorted({r["fraction"] for r in group.cases if r["fraction"]})
        at = f" at {', '.join(f'{100 * d:.3g} %' for d in doses)} of the normal dose" if doses else ""
        said.append(scans_of(group.cases, "low-count scan", f"{at} ({data})"))
    return "Data were " + "; ".join(said) + ". Results of simulated and real scans were kept apart."


def scans_of(cases: Sequence[Row], word: str = "scan", about: str = "") -> str:
    """`3 scans of 3 patients, of which 2 scans of 2 patients have a normal-dose scan`; the last is left unsaid where
    all have one."""
    scans, patients = (len({row[key] for row in cases}) for key in ("case", "patient"))
    text, (known, whose) = f"{_count(scans, word)} of {_count(patients, 'patient')}{about}", referenced(cases)
    if known == scans:
        return text
    if not known:
        return f"{text}, none with a normal-dose scan"
    have = "has" if known == 1 else "have"
    return f"{text}, of which {_count(known, 'scan')} of {_count(whose, 'patient')} {have} a normal-dose scan"


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


def _methods(made: Evaluation) -> str:
    said, papers = [], _papers(made)
    for method in made.ask.methods:
        card, record = registry.card(method), made.records.get(method, {})
        options = ", ".join(f"{k} {v}" for k, v in told_of(method, record.get("options", {})).items())
        model = _model(record.get("details", {}))
        cited = f" [{papers.index(card.paper) + 1}]" if card.paper else ""
        inside = "; ".join(t for t in (options, model) if t)
        said.append(f"{card.title}{cited}" + (f" ({inside})" if inside else ""))
    return (f"They were denoised by {'; '.join(said)}, with PETDiffusion {__version__} and seed {made.ask.seed}, "
            "for research use.")  # fmt: skip


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
    return list(dict.fromkeys(p for m in made.ask.methods if (p := registry.card(m).paper)))
