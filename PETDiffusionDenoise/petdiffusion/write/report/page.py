"""Puts the report together: one HTML file, nothing outside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from typing import Any

from ... import __version__
from . import clinical, figures, maps, sections, trust, viewer, words
from .model import QUALITY, REFERENCE, SD, CaseReport
from .views import Views

OBLIQUE_DEGREES = 2.0
BANNER = (
    "For research use only. Not a medical device, not for diagnosis. "
    "A denoised image can hide or invent detail: read it beside the original."
)


def case_report(report: CaseReport) -> str:
    """The whole page. Every text given is escaped; every picture is inside."""
    views = Views(report)
    parts = [
        _head(report),
        _aside("Warnings of this run", report.warnings, "warn"),
        _summary(report),
        _aside("Check before relying on these numbers", words.checks(report), "check"),
        _part("Overview", _overview_note(views), figures.projections(views)),
        _part("Browse", "", viewer.viewer(views), "browse"),
        _part("Slices and what changed", _slices_note(views), figures.slices(views)),
        _found(report, views),
        _lesions(report, views),
        _organs(report),
        _trust(report, views),
        _certainty(report),
        _part("Image quality", _quality_note(report), sections.image_section(report)) if report.image_rows else "",
        *(_part(name, _maps_note(), maps.section(report, views, name, list(report.other_tables.get(name, ()))))
          for name in report.maps),
        *(_part(name, "", (sections.quality_section if name == QUALITY else sections.other_section)(rows))
          for name, rows in report.other_tables.items() if rows),
        _part("How this was made", "", sections.settings_section(report.settings)) if report.settings else "",
        f"<footer>PETDiffusion {escape(__version__)} · {escape(BANNER)}</footer>",
    ]
    style = files(__package__).joinpath("style.css").read_text(encoding="utf-8")
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
        f"style-src 'unsafe-inline'; script-src 'unsafe-inline'\">"
        f"<title>{escape(report.title)}</title><style>{style}</style></head>"
        f"<body><main>{''.join(parts)}</main></body></html>\n"
    )


def _head(report: CaseReport) -> str:
    facts = report.low.facts
    grid, spacing = report.low.geometry.size, report.low.geometry.spacing
    known = [
        words.SIMULATED.get(facts.simulated),
        facts.tracer,
        facts.scanner,
        _dose(report),
        _uptake(report),
        " × ".join(map(str, grid)) + " voxels of " + " × ".join(f"{s:.2f}" for s in spacing) + " mm",
        report.unit,
    ]
    line = " · ".join(escape(str(k)) for k in known if k)
    return (
        f'<header><p class="over">PETDiffusion · case report</p><h1>{escape(report.title)}</h1>'
        f'<p class="facts">{line}</p><p class="banner">{escape(BANNER)}</p></header>'
    )


def _dose(report: CaseReport) -> str:
    facts = report.low.facts
    injected = f"{words.fact(facts.injected_dose_bq / 1e6, 0)} MBq" if facts.injected_dose_bq else ""
    part = f"{100 * facts.dose_fraction:.3g} % of the normal dose" if facts.dose_fraction else ""
    return ", ".join(t for t in (injected, part) if t)


def _uptake(report: CaseReport) -> str:
    minutes = report.low.facts.acquired_minutes
    return f"{words.fact(minutes, 0)} min p.i." if minutes else ""


def _aside(title: str, texts: Sequence[str], kind: str) -> str:
    if not texts:
        return ""
    items = "".join(f"<li>{escape(text)}</li>" for text in texts)
    return f'<aside class="{kind}"><h2>{escape(title)}</h2><ul>{items}</ul></aside>'


def _summary(report: CaseReport) -> str:
    tiles = "".join(_tile(key) for key in words.keys(report))
    text = words.summary(report)
    return (f'<p class="lead">{text}</p>' if text else "") + (f'<div class="tiles">{tiles}</div>' if tiles else "")


def _tile(key: words.Key) -> str:
    unit = f"<small> {escape(key.unit)}</small>" if key.unit else ""
    normal = f'<span class="normal">normal dose {escape(key.reference)}{unit}</span>' if key.reference else ""
    return (
        f'<div class="tile"><h3>{escape(key.label)}</h3><p><span class="before">{escape(key.before)}</span>'
        f'<span class="arrow" aria-label="to">→</span><b>{escape(key.after)}</b>{unit}</p>{normal}</div>'
    )


def _part(title: str, note: str, content: str, name: str = "") -> str:
    notes = f'<p class="note">{note}</p>' if note else ""
    return f'<section class="part"{f" id={name!r}" if name else ""}><h2>{escape(title)}</h2>{notes}{content}</section>'


def _overview_note(views: Views) -> str:
    scale = f"{escape(views.grey.label)} 0 to {words.tick(views.grey.high)}"
    oblique = (
        f" The scan is tilted by {views.turn.oblique_degrees:.0f}° against the patient’s axes; pictures follow "
        "the scan."
        if views.turn.oblique_degrees > OBLIQUE_DEGREES
        else ""
    )
    return f"Maximum intensity projections, all on one scale ({scale}). The patient’s left is on the right.{oblique}"


def _maps_note() -> str:
    return ("Axial slices of the denoised image from the head down. Coloured: what makes the structures named above "
            "each slice match it best, by the text encoder alone; no finding.")  # fmt: skip


def _sd_note(facts: Mapping[str, Any]) -> str:
    if facts.get("sd_factor"):
        return "The SD is calibrated: 1.96 of it cover 95 % of voxels in patients like those it was calibrated on."
    if facts.get("samples"):
        return "The SD shows how much the method’s own samples differ; it is not a calibrated error."
    return "The SD is what the method expects of the scan’s noise; other errors are not in it."


def _slices_note(views: Views) -> str:
    where = "the hottest point of the lesions" if views.peaks else "the middle of the patient"
    first = "first " if len(views.differences) > 1 else ""
    sd = f" {_sd_note(views.report.interval_facts)}" if SD in views.images else ""
    return (
        f"Planes through {where}. The {first}difference shows what was removed: grain without the shapes of organs "
        f"or lesions is noise; a shape is signal that was changed.{sd}"
    )


def _quality_note(report: CaseReport) -> str:
    if REFERENCE not in report.images:
        return "No normal-dose scan was given, so only noise and activity can be measured."
    return "Against the normal-dose scan, which is noisy itself."


def _lesions(report: CaseReport, views: Views) -> str:
    if not report.lesion_rows and (views.lesions is None or not views.lesions.any()):
        empty = report.lesions is not None and not report.lesions.array.any() and not report.marked
        return _part("Lesions before and after", "", "<p>The lesion mask given holds no lesion.</p>") if empty else ""
    whose = "The lesions that the method marked" if report.marked else "Each connected part of the lesion mask given"
    note = (
        f"{whose}, measured in the same mask in every image. Noise raises the maximum of a noisy image: compare the "
        "peak and the mean. The peak is the highest mean in a sphere of 1 ml centred in the lesion; the sphere may "
        "reach beyond it, so in a lesion of about 1 ml or less the peak can lie below the mean. Close-ups are axial, "
        "on the scale of the slices above."
    )
    close = figures.close_ups(views)
    return _part(
        "Lesions before and after",
        note,
        sections.totals(report)
        + (f'<div class="closeups">{close}</div>' if close else "")
        + (sections.legend(report) + sections.lesion_section(report) if report.lesion_rows else ""),
    )


def _organs(report: CaseReport) -> str:
    if not report.organ_rows:
        return ""
    note = "Lesions are left out of the organs. CoV is SD / mean over the organ, true differences in it included."
    return _part("Organs before and after", note, sections.legend(report) + sections.organ_section(report))


def _found(report: CaseReport, views: Views) -> str:
    if not report.clinical_rows:
        return ""
    others = "" if report.marked else " Outlines and numbers in the pictures are those of the lesions given, not these."
    return _part("What the method found", clinical.note(report.interval_facts) + others,
                 clinical.section(report.clinical_rows, report.left_out_rows, views), "marks")  # fmt: skip


def _trust(report: CaseReport, views: Views) -> str:
    if not report.trust_facts:
        return ""
    return _part(
        "Does the scan support it?", trust.trust_note(report.trust_facts), trust.trust_section(report, views), "trust"
    )


def _certainty(report: CaseReport) -> str:
    if not report.interval_rows:
        return ""
    note, section = trust.certainty_note(report.interval_facts), trust.certainty_section(report)
    return _part("How certain the numbers are", note, section, "certainty")
