"""The selective scan as one CUDA kernel, for inference: what each token does to the state never leaves the processor.

In plain PyTorch exp(delta A) and the states of every token, channel and state number go to memory and back a dozen
times; here only what is given and what is found does. Written for Triton, which comes with PyTorch for CUDA; one
program walks the tokens of one channel, some hundreds at a time. A kernel made on somebody else's machine is trusted
only once it has found there what PyTorch finds (`usable`).
"""

from __future__ import annotations

import logging
from functools import cache

import torch
from torch import Tensor

AT_A_TIME, WARPS = 128, 2
"""Tokens, a power of two, and the groups of 32 threads that share them: 16 states of each are 32 numbers a thread. Of
eight such pairs the fastest or nearly on an H100: 201,600 tokens of 512 channels take 3.3 ms, with (256, 8) 5.1 ms."""
CLOSE = 1e-4

log = logging.getLogger(__name__)


@cache
def usable(device: torch.device) -> bool:
    """Whether the kernel can be made on this device and agrees with PyTorch there."""
    from .selective_scan import in_torch

    generator = torch.Generator().manual_seed(0)
    u, delta = (torch.rand((2, 3, AT_A_TIME + 44), generator=generator) for _ in range(2))
    B, C = (torch.randn((2, 5, u.shape[2]), generator=generator) for _ in range(2))
    A, D = -torch.rand((3, 5), generator=generator), torch.rand(3, generator=generator)
    given = [part.to(device) for part in (u, delta, A, B, C, D)]
    try:
        found = fused(*given)
    except Exception as error:  # of many kinds: no Triton, no compiler beside it, a card that it does not know
        log.info("The selective scan runs in plain PyTorch (%s).", type(error).__name__)
        return False
    agrees = torch.allclose(found, in_torch(*given), rtol=CLOSE, atol=CLOSE)
    if not agrees:
        log.warning("The selective scan's kernel finds other numbers than PyTorch on %s and is not used.", device)
    return agrees


def fused(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor) -> Tensor:
    """`selective_scan`, without a gradient."""
    from .scan_kernel import walk

    u, delta, A, B, C, D = (part.float().contiguous() for part in (u, delta, A, B, C, D))
    y, (batch, width, length), states = torch.empty_like(u), u.shape, A.shape[1]
    with torch.cuda.device_of(u):  # which is not always the first one
        walk[(batch * width,)](u, delta, A, B, C, D, y, width, length, states, N=_power_of_two(states), T=AT_A_TIME,
                               num_warps=WARPS)  # fmt: skip
    return y


def _power_of_two(least: int) -> int:
    return 1 << (least - 1).bit_length()
