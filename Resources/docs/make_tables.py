"""Writes the table of methods in README.md from the cards; a test fails where it is out of date."""

from __future__ import annotations

import sys
from pathlib import Path

from petdiffusion import registry
from petdiffusion.zoo import store

README = Path(__file__).parents[2] / "README.md"
BEGIN = "<!-- methods: made from the cards by `python Resources/docs/make_tables.py` -->\n"
END = "<!-- end of methods -->"


def table() -> str:
    lines = ["| method | what it does | uses beside the PET |", "| --- | --- | --- |"]
    for card in registry.cards().values():
        uses = ", ".join(c.kind.upper() + ("" if c.required else " (optional)") for c in card.conditions) or "–"
        mark = " **(default)**" if card.name == registry.DEFAULT_METHOD else ""
        model = "" if not card.needs_model or bundled(card.name) else " *No model is bundled: train one first.*"
        lines.append(f"| `{card.name}`{mark} | {card.title}: {card.summary}{model} | {uses} |")
    return "\n".join(lines) + "\n"


def bundled(method: str) -> bool:
    """Models of the user's own do not count: the table is the same on every machine."""
    return any(model.bundled for model in store.models(method).values())


def updated(text: str) -> str:
    head, rest = text.split(BEGIN)
    return head + BEGIN + table() + END + rest.split(END, 1)[1]


if __name__ == "__main__":
    text = README.read_text(encoding="utf-8")
    if "--check" in sys.argv:
        sys.exit(updated(text) != text and "README.md: the table of methods is out of date")
    README.write_text(updated(text), encoding="utf-8")
