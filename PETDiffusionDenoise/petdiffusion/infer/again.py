"""A recorded run made again: its patches and its precision are taken, since other ones give other voxels.

Each network that runs notes in `Run.plans` how; `rerun` hands these back in `Run.as_before`. A network takes those of
its turn where they are of the same part of the same volume and this machine has room for them, and says where it has
none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from ..progress import Run
from .device import Policy, choose_policy, free_memory
from .plan import Cost, PatchRules, Plan, counted
from .tiles import Triple

NOTED = ("shape", "region", "patch", "overlap", "batch", "device", "state", "bf16")
ROOM = 0.9
"""Of the free memory: a plan of its own leaves more, but this one is known to have run."""


def policy_for(run: Run, dims: int = 3) -> Policy:
    """The best way to run here, in the precision of the recorded run."""
    policy, before = choose_policy(run.device, dims), _before(run)
    return replace(policy, bf16=before["bf16"]) if before and _kind(before) == policy.kind else policy


def planned(plan: Plan, rules: PatchRules, cost: Cost, policy: Policy, run: Run, body: np.ndarray | None) -> Plan:
    """This plan, or the recorded one of this turn."""
    before = _before(run)
    if before and _kind(before) == policy.kind and _place(before) == _place(plan.to_json()):
        plan = _as_before(before, plan, rules, cost, policy, run, body)
    known = plan.to_json()
    run.plans.append({name: known[name] for name in NOTED})
    return plan


def _as_before(before: Mapping[str, Any], plan: Plan, rules: PatchRules, cost: Cost, policy: Policy, run: Run,
               body: np.ndarray | None) -> Plan:  # fmt: skip
    patch, overlap = (tuple(before[name]) for name in ("patch", "overlap"))
    state = policy.device if before["state"] != "cpu" else "cpu"
    same = counted(replace(plan, patch=patch, overlap=overlap, state=state), rules, cost, policy, body, before["batch"])
    if same == plan or same.bytes <= ROOM * free_memory(policy.device):
        return same
    run.warn(f"The recorded run saw patches of {_size(patch)} voxels at once; there is memory for {_size(plan.patch)} "
             "here now, so voxels may differ. Close other programs and run it again.")  # fmt: skip
    return plan


def _before(run: Run) -> Mapping[str, Any] | None:
    """What is recorded last stands for what follows: older records hold the last network's alone."""
    return run.as_before[min(len(run.plans), len(run.as_before) - 1)] if run.as_before else None


def _kind(before: Mapping[str, Any]) -> str:
    return torch.device(before["device"]).type


def _place(plan: Mapping[str, Any]) -> list[list[int]]:
    return [list(numbers) for numbers in (plan["shape"], plan["region"]["start"], plan["region"]["size"])]


def _size(patch: Triple) -> str:
    return " x ".join(map(str, patch[::-1]))
