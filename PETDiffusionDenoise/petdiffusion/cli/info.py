"""`petdiffusion methods` and `petdiffusion doctor`: what there is, and what this machine can run."""

from __future__ import annotations

import argparse
import json
from typing import Any

from .. import registry
from ..progress import Run
from .common import said, table
from .trainable import training_of


def add(commands: Any) -> None:
    methods = commands.add_parser("methods", help="the methods, what they need and their options")
    methods.add_argument("method", nargs="?", metavar="M", help="one method in full")
    methods.add_argument("--json", action="store_true", help="the cards as JSON")
    methods.set_defaults(execute=_methods)
    doctor = commands.add_parser("doctor", help="what this machine can run, and why not the rest")
    doctor.add_argument("--json", action="store_true", help="as JSON")
    doctor.set_defaults(execute=_doctor)


def _methods(args: argparse.Namespace, run: Run) -> None:
    cards = [registry.card(args.method)] if args.method else list(registry.cards().values())
    if args.json:
        print(json.dumps([card.to_json() for card in cards], indent=2))
    elif args.method:
        print(_in_full(cards[0]))
    else:
        print(
            table(
                [
                    {
                        "method": c.name,
                        "family": c.family,
                        "uses": ", ".join(x.kind for x in c.conditions) or "PET alone",
                        "what it does": c.summary + (" (no model here)" if _lacks_model(c) else ""),
                    }
                    for c in cards
                ],
                limit=1000,
            )
        )
        print(f"\nThe default is {registry.DEFAULT_METHOD}. 'petdiffusion methods M' shows a method's options.")


def _lacks_model(card: Any) -> bool:
    from ..zoo import store

    return card.needs_model and not store.models(card.name)


def _in_full(card: Any) -> str:
    lines = [f"{card.title} ({card.name}, {card.family})", card.summary]
    if _lacks_model(card):
        lines += [f"It has no model on this machine: train one (petdiffusion train {card.name} --help) or add one "
                  "(petdiffusion models add SOURCE)."]  # fmt: skip
    lines += [f"Paper: {card.paper}"] if card.paper else []
    lines += [f"{'Needs' if c.required else 'Can use'} {c.kind.upper()}: {c.help}" for c in card.conditions]
    lines += [f"Gives: {', '.join(card.outputs)}", "", "Options (--option NAME=VALUE)"]
    rows = [
        {
            "name": o.name,
            "default": "automatic" if o.default is None else o.default,
            "range": _range(o),
            "meaning": o.help,
        }
        for o in card.options
    ]
    shown = table(rows, limit=1000) if rows else "none"
    return "\n".join([*lines, shown, *(training_of(card) if card.trainer else ())])


def _range(option: Any) -> str:
    if option.choices:
        return " | ".join(option.choices)
    if option.minimum is None and option.maximum is None:
        return option.kind
    return f"{option.minimum} to {option.maximum} {option.unit}".strip()


def _doctor(args: argparse.Namespace, run: Run) -> int:
    from ..doctor import examine

    findings = examine()
    if args.json:
        print(said(findings))
    else:
        for row in findings["checks"]:
            print(_line(row["ok"], row["name"], row["found"], row["remedy"]))
        for method in findings["methods"]:
            print(_line(method["ready"], f"method {method['name']}", "ready" if method["ready"] else method["why"]))
        print(f"\n{findings['verdict']}")
    return 0 if findings["usable"] else 1


def _line(ok: bool, name: str, found: str, remedy: str = "") -> str:
    return f"{'ok ' if ok else '-- '} {name:22} {found}" + (f"\n{'':26}{remedy}" if remedy else "")
