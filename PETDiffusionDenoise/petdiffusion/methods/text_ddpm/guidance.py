"""What the network is told in words of a scan: a prompt for each slice, and words for the whole; whence, or why not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...errors import Cancelled, DependencyError, InputError, ModelError, PETDiffusionError
from ...progress import Run
from ...volume import LabelMap
from ..contract import Case
from . import metadata, pet_organs, segment, table
from .prompts import MAX_TOKENS, Prompt, slice_prompts, structures_of
from .structures import mirrored

ORDERS = ("own", "empty", "shuffled", "wrong")
NOTHING = "no text guides this run"


@dataclass(frozen=True)
class Guidance:
    """`prompts` has one for each slice, or none at all. `source` says where they come from, for the run record."""

    prompts: list[Prompt] = field(default_factory=list)
    scan: str = ""
    source: str = "none"
    organs: LabelMap | None = None
    """A segmentation that was made for it."""
    by: Mapping[str, Any] = field(default_factory=dict)
    """The facts of the model that made it, where one of this program's did."""

    def rows(self, case: Case) -> list[dict[str, Any]]:
        rows = table.rows_of(self.prompts, case.pet.geometry)
        return [{**row, "scan": self.scan} for row in rows] if self.scan else rows


def guidance(case: Case, options: Mapping[str, Any], reader: Any, run: Run) -> Guidance:
    """From a table of prompts, else from labels, else from CT or MR by segmentation, else none, which is said."""
    scan = _scan_text(case, options, reader)
    if options["prompts"]:
        prompts = table.read(options["prompts"], case.pet.geometry, reader.count, case.as_given)
        found = Guidance(prompts, scan, f"table {Path(options['prompts']).name}")
    elif case.labels is not None:
        found = _of_labels(case.labels, reader, scan, "labels", run)
    else:
        found = _of_images(case, options, reader, scan, run)
    if not any(p.text for p in found.prompts) and found.source != "none":
        run.warn(f"No slice has a structure with a name: {NOTHING}." if not scan else
                 "No slice has a structure with a name: only the words of the scan guide this run.")  # fmt: skip
    if unknown := reader.unknown([*(p.text for p in found.prompts), scan]):
        run.warn(f"The text encoder does not know: {', '.join(unknown[:8])}. These words change nothing sensible.")
    return found


def reader_of(facts: Mapping[str, Any] | None, options: Mapping[str, Any], run: Run) -> Any | None:
    """The encoder that the model names; without its library no text is read, which is said, or an error where text is
    required."""
    from .clip import open_clip
    from .encoder import encoder

    try:
        open_clip()
    except DependencyError as error:
        if options["segment"] == "required":
            raise ModelError("The model's text encoder", f"cannot be used ({error.what} {error.why})",
                             error.remedy) from None  # fmt: skip
        if options["prompts"]:
            raise
        run.warn(f"{error} Without it {NOTHING}.")
        return None
    return encoder(facts)


def _scan_text(case: Case, options: Mapping[str, Any], reader: Any) -> str:
    """The user's own words, else those of the table, else what is known of the scan."""
    text = " ".join(case.text.split())
    if not text and options["metadata"]:
        written = table.scan_words(options["prompts"]) if options["prompts"] else None
        text = metadata.words_of(case) if written is None else written
    if text and reader.count(text) > MAX_TOKENS:
        raise InputError(f"The text '{text[:60]}…'", f"takes {reader.count(text)} tokens, CLIP reads {MAX_TOKENS}",
                         "Shorten it.")  # fmt: skip
    return text


def _of_labels(labels: LabelMap, reader: Any, scan: str, source: str, run: Run,
               organs: LabelMap | None = None, by: Mapping[str, Any] = {}) -> Guidance:  # fmt: skip
    unnamed = structures_of(labels).unnamed
    if unnamed:
        values = ", ".join(map(str, unnamed[:8]))
        run.warn(f"The label map names no structure for the values {values}: they are in no prompt. Names can be given "
                 "in a table beside it (value, name).")  # fmt: skip
    return Guidance(slice_prompts(labels, reader.count), scan, source, organs, by)


def _of_images(case: Case, options: Mapping[str, Any], reader: Any, scan: str, run: Run) -> Guidance:
    """A segmentation is asked for only where there is something to segment."""
    kind = "ct" if case.ct is not None else "mr" if case.mr is not None else "pet" if options["pet_organs"] else None
    alone = Guidance([Prompt("")] * len(case.pet.array), scan)
    if kind is None or options["segment"] == "never":
        if options["segment"] == "required":
            raise InputError("Organs for the prompts", "cannot be found: there are neither labels nor CT nor MR",
                             "Give --labels, --ct or --mr, or pet_organs=true.")  # fmt: skip
        asked = "" if options["segment"] == "never" else " pet_organs=true names those found in the PET itself."
        run.warn(f"There is nothing to name organs by (labels, CT or MR): {_instead(scan)}.{asked}")
        return alone
    try:
        organs, who, by = _organs(kind, case, options, run)
    except Cancelled:
        raise
    except PETDiffusionError as error:
        if options["segment"] == "required":
            raise
        run.warn(f"No organs were found in the {kind.upper()}: {error} So {_instead(scan)}.")
        return alone
    return _of_labels(organs, reader, scan, f"{who} on the {kind.upper()}", run, organs, by)


def _organs(kind: str, case: Case, options: Mapping[str, Any], run: Run) -> tuple[LabelMap, str, dict[str, Any]]:
    """And by what they were found, with the facts of its model."""
    if kind == "pet":
        organs, by = pet_organs.found(case, run)
        return organs, pet_organs.METHOD, by
    source = segment.source_of(case.ct if kind == "ct" else case.mr)
    return segment.segmented(source, kind, case.pet.geometry, options["segment_wait"], run), segment.PROGRAM, {}


def _instead(scan: str) -> str:
    return "only the words of the scan guide this run" if scan else NOTHING


def ordered(prompts: Sequence[Prompt], order: str, seed: int) -> list[Prompt]:
    """As they are; or, to see what they do: none, another slice's at random, or those of the other end of the body."""
    if order == "empty":
        return [Prompt("")] * len(prompts)
    if order == "shuffled":
        return [prompts[i] for i in np.random.default_rng(seed).permutation(len(prompts))]
    return list(reversed(prompts)) if order == "wrong" else list(prompts)


def context(told: Guidance, reader: Any | None, slices: int, width: int) -> Tensor:
    """(slices, 154, 2 width): slice's and scan's text, and beside them the same for the mirrored patient."""
    if reader is None:
        return torch.zeros(slices, 2 * MAX_TOKENS, 2 * width)
    ways = [[p.text for p in told.prompts], [mirrored(p.text) for p in told.prompts]]
    scan = _read([told.scan], reader).expand(slices, -1, -1)
    return torch.cat([torch.cat((_read(texts, reader), scan), 1) for texts in ways], 2)


def _read(texts: Sequence[str], reader: Any) -> Tensor:
    """No text is no token at all, not the encoder's view of an empty one."""
    said = torch.tensor([bool(text) for text in texts])
    return torch.where(said[:, None, None], reader.encode(list(texts)), 0.0)
