"""The commands that made the models of CSRD, the 3D U-net, Restormer, LeqMod-GAN and N2V-PT, and make those of the
GANs and the Spach Transformer, which are not bundled; run again, they go on.

    python Resources/training/csrd.py brain --work DIR            prints them
    python Resources/training/csrd.py brain --work DIR --run      runs them; models appear in DIR/models
    python Resources/training/csrd.py body --work DIR --real SCANS
    python Resources/training/csrd.py body --work DIR --real SCANS --only gans,spach-1 --run

Hours on two cores. `--real` adds real scans with simulated low counts (see real_scans.py).
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
PROGRAM = [sys.executable, "-m", "petdiffusion"]


@dataclass(frozen=True)
class DataSet:
    name: str
    n: int
    options: tuple[str, ...]


@dataclass(frozen=True)
class Stage:
    """One training; `model` is the id under which its end is exported, if it is."""

    name: str
    method: str
    steps: int
    begins: str | None = None
    """With the end of a stage before, or with a bundled model."""
    data: tuple[str, ...] = ()
    """Training sets; the validation set and real scans come to them."""
    changes: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    model: str | None = None
    facts: str = ""
    """Name of the file with the card's facts, where it is not the model's."""
    part: str = ""
    """Only the weights whose names begin so are kept."""


LINEAR = ("weight_power=1.0",)
"""The loss in SUV: what PSNR and lesions are measured in."""


def on_what_is_left(regression: str) -> tuple[str, str]:
    """Changes that make the residual refer to what the bundled regression makes of the scan."""
    return "base=regression", f"regression={regression}"


WITHOUT_LEQMOD = ("consistency=0", "lesion=0", "lesion_share=0.3")
"""The same network against its critic alone; not bundled."""
GANS = ("la-gan", "trans-gan", "df-gan", "ar-gan")
"""Of uPETe's Table 2; together the stages are called `gans`."""
_BRAIN = ("--kind", "brain", "--fraction", "0.25,0.1667,0.125")
_BODY = ("--kind", "body", "--fraction", "0.25,0.1,0.05", "--preset")
DATA = {
    "brain": (
        DataSet("brain-valid", 8, (*_BRAIN, "--tracer", "FDG,DASB", "--split", "validation")),
        DataSet("brain-train", 24, (*_BRAIN, "--tracer", "FDG,DASB")),
        DataSet("brain-more", 24, (*_BRAIN, "--tracer", "DASB", "--first-seed", "1000")),
    ),
    "body": (
        DataSet("body-valid", 6, (*_BODY, "mCT,Vision,Quadra", "--split", "validation")),
        DataSet("body-train", 24, (*_BODY, "mCT,Vision,mCT,DiscoveryST,Quadra,Discovery")),
    ),
}
_FEW, _ALL = ("brain-train",), ("brain-train", "brain-more")
STAGES = {
    "brain": (
        Stage("unet3d-1", "unet-3d", 2600, data=_FEW),
        Stage("unet3d-2", "unet-3d", 3000, "unet3d-1", _ALL, LINEAR, ("seed=1",), "unet3d-brain"),
        Stage("csrd-1", "csrd", 2000, "unet3d-2", _ALL, LINEAR, ("seed=2",)),
        Stage("csrd-2", "csrd", 1600, "csrd-1", _ALL, (*LINEAR, "mean_share=0.8"), ("seed=3", "learning_rate=7e-4")),
        Stage("csrd-3", "csrd", 1828, "csrd-2", _ALL, (*LINEAR, "mean_share=0.5", *on_what_is_left("unet3d-brain")),
              ("seed=4", "learning_rate=5e-4")),
        Stage("unet3d-3", "unet-3d", 1600, "unet3d-2", _ALL, (*LINEAR, "tissue=true"),
              ("seed=6", "learning_rate=5e-4"), "unet3d-brain"),
        Stage("csrd-4", "csrd", 800, "csrd-3", _FEW, (*LINEAR, "mean_share=0.5", *on_what_is_left("unet3d-brain")),
              ("seed=7", "learning_rate=4e-4"), "csrd-brain"),
        Stage("restormer-1", "restormer", 1700, "restormer-body", _ALL, LINEAR, ("seed=1",)),
        Stage("restormer-2", "restormer", 3900, "restormer-1", _ALL, LINEAR, ("seed=2",), "restormer-brain"),
    ),
    "body": (
        Stage("unet3d-1", "unet-3d", 2600, data=("body-train",), model="unet3d-body"),
        Stage("csrd-1", "csrd", 2600, "unet3d-1", ("body-train",), LINEAR, ("seed=2",), "csrd-body"),
        Stage("restormer-1", "restormer", 2600, data=("body-train",), model="restormer-body"),
        Stage("leqmod-1", "leqmod-gan", 2600, data=("body-train",), model="leqmod-body", part="generator."),
        Stage("gan-1", "leqmod-gan", 2600, data=("body-train",), changes=WITHOUT_LEQMOD, model="leqmod-body-without",
              facts="leqmod-body", part="generator."),
        *(Stage(f"{gan}-1", gan, 2600, data=("body-train",), model=f"{gan}-body", facts="gans-body", part="generator.")
          for gan in GANS),
        Stage("spach-1", "spach-transformer", 2600, data=("body-train",), model="spach-body"),
        Stage("n2v-pt-1", "n2v-pt", 4000, data=("body-train",), settings=("batch=16", "patch=64"), model="n2v-pt-body"),
    ),
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("region", choices=tuple(STAGES))
    parser.add_argument("--work", type=Path, required=True, help="folder for data, trainings and models")
    parser.add_argument("--real", type=Path, help="folder of real scans, for the body")
    parser.add_argument("--only", type=lambda names: names.split(","), help="names of stages, or gans; without, all")
    parser.add_argument("--run", action="store_true")
    args = parser.parse_args()
    for command in commands(args.region, args.work, args.real, args.only):
        print(shlex.join(command), flush=True)
        if args.run:
            subprocess.run(command, check=True)


def commands(region: str, work: Path, real: Path | None = None, only: list[str] | None = None) -> list[list[str]]:
    """Of all stages, or of those named and the data that they learn from."""
    data, stages = work / "data", chosen(region, only)
    simulate = [*PROGRAM, "simulate", "dataset", "--workers", "2"]
    needed = {f"{region}-valid", *(name for stage in stages for name in stage.data)}
    made = [[*simulate, "--n", str(d.n), *d.options, "--out", str(data / d.name)]
            for d in DATA[region] if d.name in needed]  # fmt: skip
    more = [f"{region}-valid"]
    if real is not None:
        made.append([sys.executable, str(HERE / "real_scans.py"), str(real), str(data / "real")])
        more.append("real")
    return [*made, *(command for stage in stages for command in trained(stage, work / region, data, more))]


def chosen(region: str, only: list[str] | None) -> list[Stage]:
    if only is None:
        return list(STAGES[region])
    names = [name for word in only for name in ([f"{gan}-1" for gan in GANS] if word == "gans" else [word])]
    known = {stage.name: stage for stage in STAGES[region]}
    if unknown := sorted(set(names) - set(known)):
        sys.exit(f"--only {','.join(unknown)}: not among the stages of {region}: {', '.join(known)}")
    return [known[name] for name in names]


def trained(stage: Stage, folder: Path, data: Path, more: list[str]) -> list[list[str]]:
    """The training, and its model if it has one."""
    out = folder / stage.name
    words = [*PROGRAM, "train", stage.method, "--data", *(str(data / name) for name in (*stage.data, *more))]
    words += ["--steps", str(stage.steps), *(["--from", _origin(stage.begins, folder)] if stage.begins else [])]
    words += [word for change in stage.changes for word in ("--change", change)]
    words += [word for setting in ("batch=4", *stage.settings) for word in ("--set", setting)]
    found = [[*words, "--out", str(out)]]
    if stage.model:
        facts, kept = str(HERE / f"{stage.facts or stage.model}.json"), ["--part", stage.part] if stage.part else []
        target = str(folder.parent / "models")
        found.append([*PROGRAM, "export", "--overwrite", str(out), "--id", stage.model, "--facts", facts,
                      *kept, "--out", target])  # fmt: skip
    return found


def _origin(begins: str, folder: Path) -> str:
    return str(folder / begins) if begins in {stage.name for stage in STAGES[folder.name]} else begins


if __name__ == "__main__":
    main()
