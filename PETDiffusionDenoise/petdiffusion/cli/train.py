"""`petdiffusion train` and `petdiffusion export`."""

from __future__ import annotations

import argparse
import importlib
import json
from pathlib import Path
from typing import Any

from .. import registry
from ..errors import OptionError, TrainingError
from ..progress import Run
from .common import add_reporting, assignments


def add(commands: Any) -> None:
    names = [name for name, card in registry.cards().items() if card.trainer]
    parser = commands.add_parser(
        "train", help="train a method on digital patients or on your own scans",
        description="Trains on a data set's folder or manifest ('petdiffusion simulate dataset' makes one). A training "
                    "that was stopped goes on where it was when the same command is given again.",
    )  # fmt: skip
    parser.add_argument("method", metavar="METHOD", help=f"one of {', '.join(names) or 'none yet'}")
    parser.add_argument(
        "--data", required=True, nargs="+", metavar="DIR", help="folders with manifest.csv, or manifests"
    )
    parser.add_argument(
        "--from", dest="origin", metavar="MODEL", help="begin with the weights of a model, or of a training's folder"
    )
    parser.add_argument("--config", default="compact", help="configuration of the method (default %(default)s)")
    length = parser.add_mutually_exclusive_group(required=True)
    length.add_argument("--minutes", type=float)
    length.add_argument("--steps", type=int)
    parser.add_argument(
        "--set", metavar="NAME=VALUE", action="append", default=[], help="a training setting, such as batch=8"
    )
    parser.add_argument(
        "--change", metavar="NAME=VALUE", action="append", default=[], help="a field of the configuration"
    )
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder of the training")
    add_reporting(parser)
    parser.set_defaults(execute=_train, patience=600.0)  # a checkpoint is worth waiting for
    export = commands.add_parser("export", help="make a model out of a training")
    export.add_argument("training", metavar="DIR", help="folder of the training")
    export.add_argument("--id", required=True, metavar="ID")
    export.add_argument("--facts", required=True, metavar="JSON", help="file with the card's descriptive fields")
    export.add_argument("--out", required=True, metavar="DIR")
    export.set_defaults(execute=_export)


def _train(args: argparse.Namespace, run: Run) -> None:
    from ..infer import device
    from ..training.bank import load_bank
    from ..training.loop import train
    from ..training.settings import TrainSettings

    device.prepare_process()
    run.device = args.device
    card = registry.card(args.method)
    if not card.trainer:
        raise OptionError(f"Method '{card.name}'", "cannot be trained", "See 'petdiffusion methods'.")
    module, name = card.trainer.split(":")
    task = getattr(importlib.import_module(module), name)(args.config, _values(args.change))
    settings = TrainSettings.from_json({**_values(args.set), "minutes": args.minutes, "steps": args.steps})
    bank = load_bank(args.data, task.derive, settings, run)
    folder = train(task, bank, settings, args.out, run, origin=args.origin)
    print(f"Trained: {folder}. Next: petdiffusion export {folder} --id ID --facts facts.json --out DIR")


def _values(pairs: list[str]) -> dict[str, Any]:
    """NAME=VALUE with the value read as JSON where it is JSON."""

    def parsed(text: str) -> Any:
        try:
            return json.loads(text)
        except ValueError:
            return text

    return {name: parsed(text) for name, text in assignments(pairs).items()}


def _export(args: argparse.Namespace, run: Run) -> None:
    from ..training.export import export

    try:
        facts = json.loads(Path(args.facts).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TrainingError(f"Facts {args.facts}", f"cannot be read ({error})", "Give a JSON file.") from None
    print(export(args.training, args.out, args.id, facts))
