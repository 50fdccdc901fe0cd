"""`petdiffusion train` and `petdiffusion export`."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from .. import registry
from ..errors import OptionError, TrainingError
from ..progress import Run, silent
from .common import add_device, add_reporting, assignments, check_device
from .order import MethodAfter, explain_lack


class Streamed(MethodAfter):
    """NAME=VALUE each, of which PowerShell parts a value with commas."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Sequence[str],
                 option_string: str | None = None) -> None:  # fmt: skip
        super().__call__(parser, namespace, values, option_string)
        whole: list[str] = []
        for word in getattr(namespace, self.dest):
            if "=" in word or not whole:
                whole.append(word)
            else:
                whole[-1] += f",{word}"
        setattr(namespace, self.dest, whole)


def add(commands: Any) -> None:
    names = [name for name, card in registry.cards().items() if card.trainer]
    parser = commands.add_parser(
        "train", help="train a method on digital patients or on your own scans",
        description="Trains on a data set's folder or manifest ('petdiffusion simulate dataset' makes one). A training "
                    "that was stopped goes on where it was when the same command is given again. It may then be longer "
                    "and have other patients, which plan.json keeps on record; other settings are refused. A "
                    "manifest's column 'patient' says which scans are of one person: nobody may be in two splits.",
    )  # fmt: skip
    parser.add_argument("method", metavar="METHOD", help=f"one of {', '.join(names) or 'none yet'}")
    explain_lack(parser)
    after = {"action": MethodAfter, "methods": names}
    patients = parser.add_mutually_exclusive_group(required=True)
    patients.add_argument("--data", nargs="+", metavar="DIR", **after, help="folders with manifest.csv, or manifests")
    patients.add_argument(
        "--stream", nargs="+", metavar="NAME=VALUE", default=[], **after | {"action": Streamed},
        help="digital patients drawn meanwhile, without files, such as kind=brain tracer=FDG,DASB fraction=0.25,0.1",
    )  # fmt: skip
    parser.add_argument(
        "--from", dest="origin", metavar="MODEL", help="begin with the weights of a model, or of a training's folder"
    )
    parser.add_argument("--config", default="compact",
                        help="configuration of the method, of those that 'petdiffusion methods METHOD' lists "
                             "(default %(default)s)")  # fmt: skip
    length = parser.add_mutually_exclusive_group(required=True)
    length.add_argument("--minutes", type=float)
    length.add_argument("--steps", type=int)
    parser.add_argument(
        "--set", nargs="+", metavar="NAME=VALUE", default=[], extends=True, **after,
        help="training settings, such as batch=8; 'petdiffusion methods METHOD' lists them, with their defaults",
    )  # fmt: skip
    parser.add_argument(
        "--change", nargs="+", metavar="NAME=VALUE", default=[], extends=True, **after,
        help="fields of the configuration; 'petdiffusion methods METHOD' lists them",
    )  # fmt: skip
    add_device(parser)
    parser.add_argument("--out", required=True, metavar="DIR", help="folder of the training")
    add_reporting(parser)
    parser.set_defaults(execute=_train, patience=600.0)  # a checkpoint is worth waiting for
    export = commands.add_parser("export", help="make a model out of a training")
    export.add_argument("training", metavar="DIR", help="folder of the training")
    export.add_argument("--id", required=True, metavar="ID")
    export.add_argument("--facts", required=True, metavar="JSON",
                        help="what only people know of a model; Resources/examples/facts.json is a template, "
                             "explained in Resources/docs/training.md")  # fmt: skip
    export.add_argument("--part", default="", metavar="PREFIX,…", help="only the weights whose names begin so")
    export.add_argument("--out", required=True, metavar="DIR")
    export.add_argument("--overwrite", action="store_true", help="replace a model of this id in DIR")
    export.set_defaults(execute=_export)


def _train(args: argparse.Namespace, run: Run) -> None:
    from ..infer import device
    from ..training.loop import check_free, train
    from ..training.sides import check_patch

    check_device(args.device)
    device.prepare_process()
    run.device = args.device
    card = registry.card(args.method)
    if not card.trainer:
        raise OptionError(f"Method '{card.name}'", "cannot be trained", "See 'petdiffusion methods'.")
    module, name = card.trainer.split(":")
    task = getattr(importlib.import_module(module), name)(args.config, _values(args.change))
    settings = _settings(args)
    check_patch(task, settings.patch)
    check_free(args.out)
    with _patients(args, task, settings, run) as patients:
        folder = train(task, patients, settings, args.out, run, origin=args.origin)
    if run.report is not silent:  # as it is in all but the first of several devices' processes
        print(f"Trained: {folder}. Next: petdiffusion export {folder} --id ID --facts facts.json --out DIR")


def _settings(args: argparse.Namespace) -> Any:
    from ..training.settings import LENGTH, TrainSettings

    said = _values(args.set)
    if length := [name for name in LENGTH if name in said]:
        raise OptionError(f"Training setting '{length[0]}'", "is an option of its own", f"Give --{length[0]}.")
    return TrainSettings.from_json({**said, **{name: getattr(args, name) for name in LENGTH}})


@contextlib.contextmanager
def _patients(args: argparse.Namespace, task: Any, settings: Any, run: Run) -> Iterator[Any]:
    from ..training.bank import load_bank
    from ..training.streamed import open_stream

    own = getattr(task, "load", None)  # unsupervised methods read normal-dose images alone
    if args.stream and own:
        raise OptionError(f"Method '{args.method}'", "is trained from files only", "Give --data.")
    if args.stream:
        with contextlib.closing(open_stream(assignments(args.stream), task.derive, settings, run)) as streamed:
            yield streamed
    else:
        yield own(args.data, settings, run) if own else load_bank(args.data, task.derive, settings, run)


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
    parts = tuple(args.part.split(","))
    print(export(args.training, args.out, args.id, facts, parts, overwrite=args.overwrite))
