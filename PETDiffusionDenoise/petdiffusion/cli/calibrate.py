"""`petdiffusion calibrate MODEL`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from ..progress import Run
from .common import add_reporting, table


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "calibrate",
        help="learn how wide a model's intervals must be, on patients that its training never saw",
        description="Draws samples for every case of a manifest that has a reference, and writes the calibration to "
        "DIR/calibration.json. With --write it goes onto the model's card, where every later run finds it. Cases of "
        "one patient count as one where the manifest's ids differ only after the last '-'.",
    )
    parser.add_argument("model", metavar="MODEL", help="id, or path of its .safetensors")
    parser.add_argument("--manifest", required=True, metavar="CASES.csv", help="with pet, reference, labels, lesions")
    parser.add_argument("--samples", type=int, default=5, metavar="N", help="as in later runs (default 5)")
    parser.add_argument("--out", required=True, metavar="DIR", help="keeps the numbers of finished cases")
    parser.add_argument("--data", required=True, metavar="TEXT",
                        help="what the patients are, for the card: '8 digital patients, validation split'")  # fmt: skip
    parser.add_argument("--write", action="store_true", help="put the calibration onto the model's card")
    parser.add_argument("--seed", type=int, default=0, metavar="S")
    parser.add_argument("--device", default="auto")
    add_reporting(parser)
    parser.set_defaults(execute=_execute, patience=5.0)


def _execute(args: argparse.Namespace, run: Run) -> None:
    from ..trust import calibrate
    from ..zoo import store

    model, folder = store.find(args.model), Path(args.out)
    settings = {"model": args.model, "seed": args.seed, "device": args.device, "samples": args.samples}
    scores = calibrate.collect(Path(args.manifest), model.card.method, settings, folder / "cases", run)
    groups = [score.id.rsplit("-", 1)[0] for score in scores]
    known = calibrate.fit(scores, args.data, len(set(groups)))
    file = folder / "calibration.json"
    file.write_text(json.dumps(known.to_json(), indent=2) + "\n", encoding="utf-8")
    rows = calibrate.left_out(scores, groups, args.data)
    if args.write:
        put_on_card(model.weights.with_suffix(".json"), known.to_json())
    if args.json_lines:
        run.report({"event": "result", "files": {"calibration": str(file)}, "tables": {"coverage": rows}})
    else:
        print(table(rows, 40) or "One patient alone: coverage on unseen ones cannot be told.")
        print(f"\n  calibration  {file}")


def put_on_card(card: Path, known: dict[str, Any]) -> None:
    """The card keeps everything else as it is."""
    from ..trust.uncertainty import CALIBRATION
    from ..write.staging import writing
    from ..zoo.card import ModelCard

    data = json.loads(card.read_text(encoding="utf-8"))
    data["results"] = {**data.get("results", {}), CALIBRATION: known}
    ModelCard.from_json(data, card.name)
    with writing(card):
        aside = card.with_name(f".{card.name}.partial")
        aside.write_text(json.dumps(data, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        aside.replace(card)
