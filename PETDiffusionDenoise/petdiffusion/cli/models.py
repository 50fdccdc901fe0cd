"""`petdiffusion models [list|show|add|remove|verify]`; alone it lists them."""

from __future__ import annotations

import argparse
import json
from typing import Any

from ..progress import Run
from .common import said, table


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "models", help="list, show, add, remove and verify models", description="Without an action, lists them."
    )
    parser.add_argument("--json", action="store_true", help="list the cards as JSON")
    parser.set_defaults(execute=_list)  # without an action
    actions = parser.add_subparsers(dest="action", metavar="ACTION")
    _action(actions, "list", "all models").add_argument(
        "--json", action="store_true", default=argparse.SUPPRESS, help="the cards as JSON"
    )
    _action(actions, "show", "a model's card in full").add_argument("id", metavar="ID")
    _action(actions, "add", "copy a model in").add_argument(
        "source", metavar="SOURCE", help="folder, zip or .safetensors with its .json card beside it"
    )
    _action(actions, "remove", "delete a model that was added").add_argument("id", metavar="ID")
    _action(actions, "verify", "check the weights against their cards").add_argument("id", metavar="ID", nargs="?")


def _action(actions: Any, name: str, help_: str) -> argparse.ArgumentParser:
    parser = actions.add_parser(name, help=help_)
    parser.set_defaults(execute=globals()[f"_{name}"])
    return parser


def _list(args: argparse.Namespace, run: Run) -> None:
    from ..zoo import store

    found = store.models()
    if args.json:
        print(json.dumps([{**m.card.to_json(), "bundled": m.bundled} for m in found.values()], indent=2))
        return
    rows = [
        {
            "model": m.card.id,
            "method": ", ".join(m.card.methods),
            "version": m.card.version,
            "MB": m.card.bytes / 1e6,
            "where": "bundled" if m.bundled else "added",
            "trained for": m.card.summary,
        }
        for m in found.values()
    ]
    print(
        table(rows, limit=1000)
        or f"No models yet. Add one with 'petdiffusion models add'; folder: {store.user_folder()}"
    )


def _show(args: argparse.Namespace, run: Run) -> None:
    from ..zoo import store

    print(said(store.find(args.id).card.to_json()))


def _add(args: argparse.Namespace, run: Run) -> None:
    from ..zoo import store

    model = store.add(args.source)
    print(f"Added {model.card.id} for {', '.join(model.card.methods)}: {model.weights}")


def _remove(args: argparse.Namespace, run: Run) -> None:
    from ..zoo import store

    store.remove(args.id)
    print(f"Removed {args.id}.")


def _verify(args: argparse.Namespace, run: Run) -> None:
    from ..zoo import store

    chosen = [store.find(args.id)] if args.id else [m.verify() for m in store.models().values()]
    for model in chosen:
        print(f"ok  {model.card.id}  {model.card.sha256}")
    if not chosen:
        print("No models are installed.")
