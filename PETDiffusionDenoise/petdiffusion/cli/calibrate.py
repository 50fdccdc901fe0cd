"""`petdiffusion calibrate MODEL`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import registry
from ..errors import InputError, ModelError, OptionError
from ..progress import Run
from .common import add_device, add_reporting, check_device, options_of, table

if TYPE_CHECKING:
    from ..trust.conformal import Calibration
    from ..zoo.card import ModelCard


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "calibrate",
        help="learn how wide a model's intervals must be, on patients that its training never saw",
        description="Draws samples for every case of a manifest that has a reference, and writes the calibration to "
        "DIR/calibration.json. With --write it goes onto the model's card, where every later run finds it. Cases of "
        "one patient count as one: by the manifest's column 'patient', without it where ids differ only in a dose at "
        "their end ('p7-0.1', 'p7-0.25'). With --check nothing is learnt: it counts how many truths lie within the "
        "intervals of the calibration that the card has, of all cases and by scanner (the manifest's column "
        "'preset'), with the 95 % interval of that coverage. A calibration holds for the options of the method that "
        "its samples were drawn with: they are noted with it, and --check takes them unless others are named.",
    )
    parser.add_argument("model", metavar="MODEL", help="id, or path of its .safetensors")
    parser.add_argument("--manifest", required=True, nargs="+", metavar="CASES.csv",
                        help="with pet, reference, labels, lesions; several are put together")  # fmt: skip
    parser.add_argument("--samples", type=int, default=5, metavar="N", help="as in later runs (default 5)")
    parser.add_argument("--option", metavar="NAME=VALUE", action="append", default=[],
                        help="a setting of the method, repeatable; the default of each where it is not named")
    parser.add_argument("--out", required=True, metavar="DIR", help="keeps the numbers of finished cases")
    parser.add_argument("--data", default="", metavar="TEXT",
                        help="what the patients are, for the card: '8 digital patients, validation split'")  # fmt: skip
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--write", action="store_true", help="put the calibration onto the model's card")
    what.add_argument("--check", action="store_true", help="coverage by the card's calibration, on other patients")
    parser.add_argument("--seed", type=int, default=0, metavar="S")
    add_device(parser)
    add_reporting(parser)
    parser.set_defaults(execute=_execute, patience=5.0)


def _execute(args: argparse.Namespace, run: Run) -> None:
    from ..trust import calibrate, coverage
    from ..trust.held import noted
    from ..zoo import store

    check_device(args.device)
    model, folder = store.find(args.model), Path(args.out)
    on_card = _on_card(model.card) if args.check else None
    if not args.check and not args.data:
        raise InputError("Option --data", "is missing", "Say what the patients are, such as '8 digital patients'.")
    options = _options(args.option, model.card.method, on_card)
    settings = {"model": args.model, "seed": args.seed, "device": args.device, "samples": args.samples} | (
        {"options": options} if options else {})
    scores = calibrate.collect([Path(one) for one in args.manifest], model.card.method, settings, folder / "cases", run)
    if on_card is not None:
        _said(args, run, coverage.by_scanner(on_card, scores), folder / "coverage.json")
        return
    method = registry.card(model.card.method)
    known = replace(calibrate.fit(scores, args.data), options=noted(method, method.resolve(options)))
    file = folder / "calibration.json"
    file.write_text(json.dumps(known.to_json(), indent=2) + "\n", encoding="utf-8")
    rows = coverage.left_out(scores, args.data)
    if args.write:
        put_on_card(model.weights.with_suffix(".json"), known.to_json())
    if args.json_lines:
        run.report({"event": "result", "files": {"calibration": str(file)}, "tables": {"coverage": rows}})
    else:
        print(table(rows, 40) or "One patient alone: coverage on unseen ones cannot be told.")
        print(f"\n  calibration  {file}")


def _options(pairs: Sequence[str], method: str, on_card: Calibration | None) -> dict[str, Any]:
    """Those that differ from their defaults: as named, or as the calibration to check was learnt with."""
    from ..trust.held import learnt_with

    card, named = registry.card(method), options_of(method, pairs)
    if "samples" in named:
        raise OptionError("--option samples", "is one of the calibration itself", "Give --samples N.")
    found = card.resolve((learnt_with(on_card, card) if on_card else {}) | named)
    return {o.name: found[o.name] for o in card.options if found[o.name] != o.default}


def _on_card(card: ModelCard) -> Calibration:
    from ..trust.uncertainty import calibration_of

    found = calibration_of(card.results)
    if found is None:
        raise ModelError(f"Model {card.id}", "has no calibration to check", "Calibrate it first, with --write.")
    return found


def _said(args: argparse.Namespace, run: Run, rows: list[dict[str, Any]], file: Path) -> None:
    file.write_text(json.dumps({"model": args.model, "data": args.data, "coverage": rows}, indent=2) + "\n",
                    encoding="utf-8")  # fmt: skip
    if args.json_lines:
        run.report({"event": "result", "files": {"coverage": str(file)}, "tables": {"coverage": rows}})
    else:
        print(f"{table(rows, len(rows))}\n\n  coverage  {file}")


def put_on_card(card: Path, known: dict[str, Any]) -> None:
    """The card keeps everything else as it is."""
    from ..trust.uncertainty import CALIBRATION
    from ..write import moving
    from ..write.staging import writing
    from ..zoo.card import ModelCard

    data = json.loads(card.read_text(encoding="utf-8"))
    data["results"] = {**data.get("results", {}), CALIBRATION: known}
    ModelCard.from_json(data, card.name)
    with writing(card):
        aside = card.with_name(f".{card.name}.partial")
        aside.write_text(json.dumps(data, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        moving.replace(aside, card)
