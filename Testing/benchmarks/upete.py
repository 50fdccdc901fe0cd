"""uPETe: what each compression keeps, gives and costs, and what the CT is worth.

    python Testing/benchmarks/upete.py [--patients 3] [--models upete-body,upete-body-f4] [--only compression,ct]

Digital validation patients on the mCT, at 1/10 of the dose against the normal dose; simulated. Compression: the normal
dose through the autoencoder alone, and the mean of the low-count scan with its CT. CT: the mean with the scan's own CT,
with that CT somewhere else, with another patient's, with one of air, and without; `warned` counts the patients where
the run said that it does not fit. Means over patients; lesions are those of 8 voxels and more.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

from petdiffusion.infer.device import prepare_process

prepare_process()

import numpy as np  # noqa: E402
from petdiffusion import registry  # noqa: E402
from petdiffusion.bench.few_numbers import measured  # noqa: E402
from petdiffusion.errors import ModelError  # noqa: E402
from petdiffusion.infer.device import choose_policy  # noqa: E402
from petdiffusion.methods.contract import Case, Output  # noqa: E402
from petdiffusion.methods.upete.config import UpeteConfig  # noqa: E402
from petdiffusion.methods.upete.method import load_network  # noqa: E402
from petdiffusion.methods.upete.scan import Codec, LatentScan  # noqa: E402
from petdiffusion.phantoms.scan import patient_of, scan  # noqa: E402
from petdiffusion.prepare import case as preparing  # noqa: E402
from petdiffusion.progress import Run  # noqa: E402
from petdiffusion.volume import LabelMap, Volume  # noqa: E402
from petdiffusion.zoo import store  # noqa: E402

FIRST, FRACTION, AIR_HU, SHIFT_MM = 850_002, 0.1, -1000.0, 20.0


@dataclass(frozen=True)
class Subject:
    case: Case
    normal: Volume
    organs: LabelMap
    lesions: LabelMap

    def numbers(self, output: Output) -> dict[str, float]:
        return measured(output, self.case, self.normal, self.organs, self.lesions)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", type=int, default=3)
    parser.add_argument("--models", default="upete-body,upete-body-f4")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--only", default="compression,ct")
    args = parser.parse_args()
    people = [subject(FIRST + number) for number in range(args.patients)]
    print(f"Digital validation patients {FIRST} to {FIRST + len(people) - 1}, {FRACTION:g} of the dose", flush=True)
    if "compression" in args.only:
        for model in args.models.split(","):
            try:
                compression(people, model, args.device)
            except ModelError as error:
                print(f"{model}: left out. {error}")
    if "ct" in args.only:
        anatomy(people, args.models.split(",")[0], args.device)


def subject(seed: int) -> Subject:
    made = scan(patient_of("body", seed, spacing_mm=4.0), preset="mCT", fractions=(FRACTION,), seed=seed)
    case = preparing.build(made.low[FRACTION], ct=made.patient.ct)
    return Subject(case, made.normal, made.patient.organs, made.patient.lesion_map)


def denoised(case: Case, model: str, device: str) -> tuple[Output, list[str], float, float]:
    """Output, warnings, seconds and CPU seconds."""
    card, run = registry.card("upete"), Run(device=device, model=model)
    began, worked = time.perf_counter(), time.process_time()
    output = card.load()(case, card.resolve({"samples": 0}), run)
    return output, list(run.warnings), time.perf_counter() - began, time.process_time() - worked


def through(one: Subject, model: str, device: str) -> Output:
    """The normal dose, encoded and decoded."""
    found = store.find(model)
    config, network = UpeteConfig.from_json(found.card.config), load_network(found)
    coded = LatentScan.of(replace(one.case, pet=one.normal), config, network.f)
    policy = choose_policy(device)
    codec = Codec(policy.place(network), coded, policy, Run(device=device))
    return Output(one.normal.with_array(coded.image(codec.decoded(codec.encoded(coded.u)))))


def compression(people: list[Subject], model: str, device: str) -> None:
    f = store.find(model).card.config["autoencoder"]["f"]
    alone = [one.numbers(through(one, model, device)) for one in people]
    runs = [(one, *denoised(one.case, model, device)) for one in people]
    print(f"{model}, f = {f}")
    print(f"  normal dose through the autoencoder: {line(alone)}")
    print(f"  1/10 with CT: {line([one.numbers(output) for one, output, *_ in runs])}, "
          f"{np.mean([r[3] for r in runs]):.1f} s ({np.mean([r[4] for r in runs]):.1f} CPU seconds)")


def line(found: list[dict[str, float]]) -> str:
    values = {key: [n[key] for n in found if n[key] is not None] for key in found[0]}
    changes = values["lesion_SUVmax_bias"]
    each = f" (patients {min(changes):+.1f} to {max(changes):+.1f})" if changes else ""
    return (f"{np.mean(values['PSNR_dB']):.2f} dB, SSIM {np.mean(values['SSIM']):.4f}, lesions' SUVmean "
            f"{np.mean(values['lesion_SUVmean_bias']):+.1f} %, SUVmax {np.mean(changes):+.1f} %{each}")  # fmt: skip


def anatomy(people: list[Subject], model: str, device: str) -> None:
    own: dict[int, float] = {}
    kinds: dict[str, list[tuple[float, float, bool]]] = {}
    for number, one in enumerate(people):
        other = people[(number + 1) % len(people)].case.ct
        for name, ct in cts(one.case.ct, other):
            output, warnings, *_ = denoised(replace(one.case, ct=ct), model, device)
            psnr = one.numbers(output)["PSNR_dB"]
            own.setdefault(number, psnr)
            kinds.setdefault(name, []).append((psnr, psnr - own[number], any("CT" in text for text in warnings)))
    print(f"{model}, the CT:")
    for name, found in kinds.items():
        psnr, change, warned = zip(*found)
        print(f"  {name:24} {np.mean(psnr):.2f} dB, {np.mean(change):+.2f} ({min(change):+.2f} to {max(change):+.2f}), "
              f"warned in {sum(warned)} of {len(found)}", flush=True)  # fmt: skip


def cts(own: Volume, other: Volume) -> Iterator[tuple[str, Volume | None]]:
    """The first is the scan's own."""
    yield "its own", own
    for axis, name in ((0, "along the body"), (2, "to the side")):
        voxels = round(SHIFT_MM / own.geometry.spacing[2 - axis])
        yield f"{SHIFT_MM:g} mm {name}", own.with_array(np.roll(own.array, voxels, axis))
    yield "another patient's", own.with_array(placed(other.array, own.array.shape))
    yield "of air", own.with_array(np.full_like(own.array, AIR_HU))
    yield "none", None


def placed(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Another's CT in the middle of this grid."""
    found = np.full(shape, AIR_HU, array.dtype)
    sizes = [min(a, b) for a, b in zip(array.shape, shape)]
    cut = [tuple(slice((n - s) // 2, (n - s) // 2 + s) for n, s in zip(of, sizes)) for of in (array.shape, shape)]
    found[cut[1]] = array[cut[0]]
    return found


if __name__ == "__main__":
    main()
