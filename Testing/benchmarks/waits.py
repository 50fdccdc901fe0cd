"""What a user waits for: the five diffusion methods at the sizes of full scans, on this machine's device.

    python Testing/benchmarks/waits.py [--device auto|cpu|cuda] [--only NAME,...] [--json FILE] [--half-size]
                                       [--layouts] [--beside-cpu]

A row is one method on one scan: network evaluations, seconds of each (of the second run), seconds of a first run with
the loading of the model (a later row of the same model finds it loaded) and of a second, and a GPU's peak of memory.
Scans are ellipsoids with noise: times hardly depend on what is shown. A row that fails says why and the others go on;
the exit code is then 1. `amdiff-paper` has UNTRAINED weights, for its time alone; it runs on a GPU, or where named.

`--half-size` halves every side (twice: quarters it). `--beside-cpu` runs each row on the CPU too, and says by how much
the images differ, as a part of what the method changes. `--layouts` times one 3D network in each memory layout instead.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import Any
from unittest.mock import patch

from petdiffusion.infer.device import prepare_process

prepare_process()

import numpy as np  # noqa: E402
import torch  # noqa: E402
from petdiffusion import registry  # noqa: E402
from petdiffusion.errors import PETDiffusionError  # noqa: E402
from petdiffusion.infer import device as devices  # noqa: E402
from petdiffusion.infer import residual  # noqa: E402
from petdiffusion.infer.plan import PatchRules  # noqa: E402
from petdiffusion.methods.contract import Case, Output  # noqa: E402
from petdiffusion.prepare import case as preparing  # noqa: E402
from petdiffusion.progress import Run  # noqa: E402
from petdiffusion.volume import HU, SUVBW, Geometry, LabelMap, Volume  # noqa: E402
from petdiffusion.zoo import store  # noqa: E402
from petdiffusion.zoo.card import ModelCard  # noqa: E402

MEAN, SAMPLE = {"samples": 0}, {"samples": 1, "estimate": "sample"}
FEW = {"samples": 1, "steps": 2, "threshold": 0.99, "smallest_ml": 100.0}  # 2 evaluations of 40; hardly any lesions
PAPER, SIDE = "amdiff-paper", 128
COLUMNS = "{:17} {:>14} {:>6} {:>9} {:>9} {:>9} {:>8}  {}"


@dataclass(frozen=True)
class Row:
    """`size` is (x, y, z); `anatomy` is what is given beside the PET."""

    name: str
    method: str
    size: tuple[int, int, int]
    voxel_mm: float
    options: Mapping[str, Any] = field(default_factory=dict)
    anatomy: str = ""
    model: str | None = None


ROWS = (
    Row("csrd-brain", "csrd", (128, 128, 90), 2.0, MEAN, model="csrd-brain"),
    Row("csrd-body", "csrd", (192, 192, 300), 4.0, MEAN, model="csrd-body"),
    Row("csrd-body-sd", "csrd", (192, 192, 300), 4.0, {"samples": 5}, model="csrd-body"),
    Row("text-ddpm", "text-ddpm", (288, 192, 520), 2.0, MEAN, "labels"),
    Row("text-ddpm-sample", "text-ddpm", (288, 192, 520), 2.0, SAMPLE, "labels"),
    Row("bc-dpm", "bc-dpm", (128, 128, 90), 4.0),
    Row("upete", "upete", (256, 256, 160), 3.5, anatomy="ct"),
    Row("amdiff", "amdiff", (192, 192, 300), 4.0),
    Row(PAPER, "amdiff", (440, 440, 620), 1.65, FEW),
)

TISSUES = (
    ("air", 0.01, -1000, None, None),
    ("body", 0.7, 40, (0.5, 0.5, 0.5), (0.49, 0.42, 0.45)),
    ("lung_right", 0.4, -700, (0.68, 0.48, 0.37), (0.12, 0.16, 0.09)),
    ("liver", 2.3, 60, (0.52, 0.45, 0.38), (0.07, 0.15, 0.13)),
    ("heart", 3.5, 40, (0.62, 0.4, 0.55), (0.04, 0.07, 0.06)),
    ("kidney_left", 4.0, 40, (0.46, 0.62, 0.62), (0.05, 0.05, 0.04)),
    ("urinary_bladder", 15.0, 10, (0.25, 0.45, 0.5), (0.03, 0.06, 0.06)),
)
"""Name, SUV, HU, middle and half axes (z, y, x) as parts of the field. The body fills 39 % of it."""
NOISE = 0.3  # SD at SUV 1; it grows as the root of the activity


@lru_cache(maxsize=1)
def scan(size: tuple[int, int, int], voxel_mm: float, anatomy: str) -> Case:
    pet, ct, labels = drawn(size, voxel_mm, anatomy)
    return preparing.build(pet, ct, labels=labels)


def drawn(size: tuple[int, int, int], voxel_mm: float, anatomy: str = ""
          ) -> tuple[Volume, Volume | None, LabelMap | None]:
    """PET, and what anatomy is asked for."""
    geometry = Geometry(size, (voxel_mm,) * 3)
    tissue = np.zeros(geometry.shape, np.int16)
    for value in range(1, len(TISSUES)):
        draw(tissue, value, *TISSUES[value][3:])
    suv = np.array([t[1] for t in TISSUES], np.float32)[tissue]
    for middle in ((0.55, 0.5, 0.42), (0.7, 0.5, 0.66), (0.35, 0.55, 0.45), (0.8, 0.5, 0.5)):  # lesions
        draw(suv, 8.0, middle, (0.012, 0.025, 0.025))
    noise = np.random.default_rng(0).standard_normal(suv.shape, np.float32) * NOISE * np.sqrt(suv)
    pet = Volume(np.maximum(suv + noise, 0), geometry, SUVBW)
    ct = Volume(np.array([t[2] for t in TISSUES])[tissue], geometry, HU) if anatomy == "ct" else None
    names = {value: t[0] for value, t in enumerate(TISSUES) if value > 1}
    labels = LabelMap(np.where(tissue > 1, tissue, 0), geometry, names) if anatomy == "labels" else None
    return pet, ct, labels


def draw(image: np.ndarray, value: float, middle: tuple[float, ...], half: tuple[float, ...]) -> None:
    """An ellipsoid, worked on in its own box."""
    middle, half = np.multiply(middle, image.shape), np.multiply(half, image.shape)
    first, last = np.maximum(middle - half, 0).astype(int), np.minimum(middle + half + 1, image.shape).astype(int)
    away = [((np.arange(a, b) - m) / h) ** 2 for a, b, m, h in zip(first, last, middle, half)]
    inside = away[0][:, None, None] + away[1][:, None] + away[2] <= 1
    image[tuple(slice(a, b) for a, b in zip(first, last))][inside] = value


@contextmanager
def untrained() -> Iterator[str]:
    """AMDiff's config `paper` before any training, in patches as large as it is trained on."""
    from petdiffusion.methods.amdiff import method
    from petdiffusion.methods.amdiff.config import CONFIGS
    from petdiffusion.methods.amdiff.network import AmdiffNetwork
    from safetensors.torch import save_file

    config = CONFIGS["paper"]
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder, "untrained.safetensors")
        network = AmdiffNetwork(config)
        save_file(network.state_dict(), weights)
        card = ModelCard("untrained", "amdiff", "0", store.sha256(weights), weights.stat().st_size, "untrained", "none",
                         "none", "Apache-2.0", (), (1.0, 8.0), (0.01, 1.0), "timing", "untrained",
                         config=config.to_json())  # fmt: skip
        weights.with_suffix(".json").write_text(json.dumps(card.to_json()), encoding="utf-8")
        rules = PatchRules(multiple=network.denoiser.config.multiple, largest=SIDE)
        with patch.object(method, "rules_of", lambda network: rules):
            yield str(weights)


def timed(row: Row, case: Case, device: str, model: str | None) -> tuple[Output, float, list[str]]:
    card, run, began = registry.card(row.method), Run(device=device, model=model), now(device)
    output = card.load()(case, card.resolve(row.options), run)
    return output, now(device) - began, run.warnings


def now(device: str) -> float:
    """Seconds, once the device has done all that it was given."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return time.perf_counter()


def measured(row: Row, device: str, beside_cpu: bool) -> dict[str, Any]:
    case = scan(row.size, row.voxel_mm, row.anatomy)
    if on_gpu := device.startswith("cuda"):
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    with untrained() if row.name == PAPER else nullcontext(row.model) as model:
        output, first, warnings = timed(row, case, device, model)
        second = None if row.name == PAPER else timed(row, case, device, model)[1]
        there = timed(row, case, "cpu", model)[0] if beside_cpu and row.name != PAPER else None
    if not np.isfinite(output.pet.array).all():
        raise ArithmeticError("the image holds values that are not finite")
    kept = output.pet.array[case.body].sum() / case.pet.array[case.body].sum()
    return {"evaluations": output.evaluations, "first_s": first, "second_s": second,
            "each_s": (second or first) / max(output.evaluations, 1), "body": float(case.body.mean()),
            "peak_gb": torch.cuda.max_memory_reserved() / 1e9 if on_gpu else None, "activity": float(kept),
            "differs": None if there is None else difference(output, there, case), "warnings": warnings,
            "sampling_s": output.details.get("seconds"), "plan": output.details.get("plan")}  # fmt: skip


def difference(one: Output, other: Output, case: Case) -> float:
    """SD in the body, over that of what the method changes there."""
    away, changed = ((image - other.pet.array)[case.body].std() for image in (one.pet.array, case.pet.array))
    return float(away / max(changed, 1e-9))


def shown(row: Row, found: Mapping[str, Any], name: str) -> str:
    values = (found.get(key) for key in ("each_s", "first_s", "second_s", "peak_gb"))
    numbers = ("-" if value is None else f"{value:.3f}" for value in values)
    more = [name, found.get("why"), "UNTRAINED weights, two evaluations" if row.name == PAPER else None,
            None if found.get("differs") is None else f"differs from the CPU by {found['differs']:.1%}"]  # fmt: skip
    size, spent = "x".join(map(str, row.size)), found.get("evaluations", "-")
    return COLUMNS.format(row.name, size, spent, *numbers, "; ".join(filter(None, more)))


def tried(row: Row, device: str, beside_cpu: bool) -> dict[str, Any]:
    """What was measured, or `why` not; `failed` where that is a fault."""
    if row.name != PAPER and not store.models(row.method):
        return {"why": "no model"}
    try:
        return measured(row, device, beside_cpu)
    except PETDiffusionError as error:
        return {"why": f"{type(error).__name__}: {error}", "failed": True}
    except Exception as error:  # whatever it is, the other rows go on
        traceback.print_exc()
        return {"why": " ".join(f"{type(error).__name__}: {error}".split())[:200], "failed": True}


def layouts(device: str, side: int = 128, rounds: int = 5) -> None:
    """Milliseconds of CSRD's body network on one patch."""
    net = residual.load_network(store.find("csrd-body")).to(device)
    x = torch.zeros(1, 1, side, side, side, device=device)
    images, vector, began = x.expand(-1, 7, -1, -1, -1), torch.zeros(1, 4, device=device), 0.0
    for layout, half, tried in product((torch.contiguous_format, torch.channels_last_3d), (True, False), (False, True)):
        torch.backends.cudnn.benchmark = tried
        net.to(memory_format=layout)
        with torch.no_grad(), torch.autocast(torch.device(device).type, torch.bfloat16, enabled=half):
            for number in range(rounds + 2):
                began = now(device) if number == 2 else began
                net(x, torch.zeros(1, device=device), images=images, vector=vector)
        spent = 1000 * (now(device) - began) / rounds
        print(f"{layout}, bf16 {half}, cudnn.benchmark {tried}: {spent:.1f} ms for {side}^3", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--only", default="", metavar="NAME,...", help=", ".join(row.name for row in ROWS))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--half-size", action="count", default=0)
    for flag in ("--beside-cpu", "--layouts"):
        parser.add_argument(flag, action="store_true")
    args = parser.parse_args()
    device = devices.pick_device(args.device)
    facts = {**devices.describe(), "device": device, "name": devices._device_name(device),
             "cudnn": torch.backends.cudnn.version()}  # fmt: skip
    print(", ".join(f"{key} {value}" for key, value in facts.items()), flush=True)
    if args.layouts:
        layouts(device, SIDE >> args.half_size)
        return 0
    usual = (row.name for row in ROWS if row.name != PAPER or device.startswith("cuda"))
    wanted = set(filter(None, args.only.split(",")) if args.only else usual)
    if unknown := wanted - {row.name for row in ROWS}:
        parser.error(f"no row is called {', '.join(sorted(unknown))}")
    print(COLUMNS.format("method", "size", "evals", "s each", "s first", "s second", "GPU GB", "device"), flush=True)
    done: list[dict[str, Any]] = []
    for row in (replace(r, size=tuple(n >> args.half_size for n in r.size)) for r in ROWS if r.name in wanted):
        done.append(asdict(row) | tried(row, device, args.beside_cpu))
        print(shown(row, done[-1], facts["name"]), flush=True)
        if args.json:
            args.json.write_text(json.dumps({"machine": facts, "rows": done}, indent=1, default=str), encoding="utf-8")
    return int(any(row.get("failed") for row in done))


if __name__ == "__main__":
    sys.exit(main())
