"""A page around its content: in the reports' style, self-contained, and shut to everything from outside."""

from __future__ import annotations

from html import escape
from importlib.resources import files as package_files

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def document(title: str, body: str, style: str = "") -> str:
    """`body` is HTML whose texts are escaped; `style` comes after the reports' own."""
    own = package_files(__package__).joinpath("style.css").read_text(encoding="utf-8")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        f"<title>{escape(title)}</title><style>{own}{style}</style></head><body><main>{body}</main></body></html>\n"
    )
