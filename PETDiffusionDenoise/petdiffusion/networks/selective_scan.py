"""The selective scan of state-space layers in plain PyTorch: exact, chunked, on any device.

    h_t = exp(delta_t A) h_{t-1} + delta_t B_t u_t,      y_t = C_t h_t + D u_t                    (h_0 = 0)

On a processor a sequence of L tokens is laid out as about sqrt(L) chunks of sqrt(L) tokens. All chunks walk in step,
then their ends are handed on from chunk to chunk: about 2 sqrt(L) small steps instead of L. On a GPU, where each step
costs a launch however small it is, neighbours are joined into one token until few are left: some 5 log2(L) steps; or
one kernel does it all (`fused_scan`). Sums of logarithms, which are fast and lose the small terms, are not used.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from itertools import pairwise

import torch
from torch import Tensor

from . import fused_scan

FEW = 16
"""So many tokens are walked one by one."""
AT_ONCE = 2**28
"""Elements of (tokens, batch, d, N) that are worked on together where no gradient is asked for: a GB."""


def selective_scan(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor) -> Tensor:
    """y (batch, d, L) of u and delta (batch, d, L), A (d, N), B and C (batch, N, L), D (d,).

    On CUDA the kernel of `mamba-ssm` is used where that is installed, else for inference that of `fused_scan` where it
    can be made; all give the same numbers.
    """
    kernel = _kernel() if u.is_cuda else None
    if kernel is not None:
        return kernel(u.float(), delta.float(), A.float(), B.float(), C.float(), D.float())
    if launches_cost(u) and not torch.is_grad_enabled() and fused_scan.usable(u.device):
        return fused_scan.fused(u, delta, A, B, C, D)
    return in_torch(u, delta, A, B, C, D)


def in_torch(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor) -> Tensor:
    """On any device, with a gradient where one is asked for."""
    width = u.shape[1] if torch.is_grad_enabled() else max(1, AT_ONCE // (len(u) * u.shape[2] * A.shape[1]))
    with torch.autocast(u.device.type, enabled=False):
        u, delta, B, C = (part.float().permute(2, 0, 1) for part in (u, delta, B, C))  # tokens first
        channels = zip(u.split(width, 2), delta.split(width, 2), A.float().split(width), D.float().split(width))
        return torch.cat([_scanned(u, delta, A, B, C, D) for u, delta, A, D in channels], 2).permute(1, 2, 0)


def _scanned(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor) -> Tensor:
    """Some of the channels, which know nothing of each other; tokens first."""
    decay = torch.exp(delta[..., None] * A)
    gain = (delta * u)[..., None] * B[:, :, None]
    return (recurrence(decay, gain) * C[:, :, None]).sum(-1) + D * u


def step_by_step(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor) -> Tensor:
    """The same by its definition, token after token: what the fast way is tested against."""
    state, found = u.new_zeros(len(u), *A.shape), []
    for t in range(u.shape[-1]):
        now = delta[:, :, t, None]
        state = torch.exp(now * A) * state + now * B[:, None, :, t] * u[:, :, t, None]
        found.append((state * C[:, None, :, t]).sum(-1) + D * u[:, :, t])
    return torch.stack(found, -1)


@cache
def _kernel() -> Callable[..., Tensor] | None:
    try:
        from mamba_ssm.ops.selective_scan_interface import selective_scan_fn
    except (ImportError, OSError):
        return None
    return selective_scan_fn


def recurrence(decay: Tensor, gain: Tensor) -> Tensor:
    """h_t = decay_t h_{t-1} + gain_t along the first axis, from h_0 = 0; its gradient is such a walk backwards."""
    return _Recurrence.apply(decay, gain)


class _Recurrence(torch.autograd.Function):
    """With g_t the gradient of h_t: l_t = g_t + decay_{t+1} l_{t+1} is that of gain_t, and l_t h_{t-1} of decay_t."""

    @staticmethod
    def forward(context, decay: Tensor, gain: Tensor) -> Tensor:
        states = _walk(decay, gain)
        context.save_for_backward(decay, states)
        return states

    @staticmethod
    def backward(context, gradient: Tensor) -> tuple[Tensor, Tensor]:
        decay, states = context.saved_tensors
        later = torch.cat((decay[1:], torch.zeros_like(decay[:1])))
        of_gain = _walk(later, gradient, backwards=True)
        of_decay = torch.zeros_like(decay)
        torch.mul(of_gain[1:], states[:-1], out=of_decay[1:])
        return of_decay, of_gain


def _walk(decay: Tensor, gain: Tensor, backwards: bool = False) -> Tensor:
    """The recurrence from the first token to the last, or from the last to the first."""
    if launches_cost(gain):
        return _joined(decay.flip(0), gain.flip(0)).flip(0) if backwards else _joined(decay, gain)
    length = len(gain)
    size = _chunk_size(length)
    missing = -length % size
    if missing:  # tokens that change nothing, where the walk ends
        decay, gain = (_lengthened(part, missing, at_front=backwards) for part in (decay, gain))
    decay, gain = (part.contiguous().unflatten(0, (-1, size)) for part in (decay, gain))
    states, kept = torch.empty_like(gain), torch.empty_like(gain)
    order = range(size)[::-1] if backwards else range(size)
    first, last = order[0], order[-1]
    states[:, first], kept[:, first] = gain[:, first], decay[:, first]
    for before, k in pairwise(order):
        torch.addcmul(gain[:, k], decay[:, k], states[:, before], out=states[:, k])
        torch.mul(decay[:, k], kept[:, before], out=kept[:, k])
    states.addcmul_(kept, _carried(states[:, last], kept[:, last], backwards)[:, None])
    found = states.flatten(0, 1)
    return found[missing:] if backwards else found[:length]


def launches_cost(x: Tensor) -> bool:
    """Whether many small steps take longer than few large ones that do more."""
    return x.is_cuda


def _joined(decay: Tensor, gain: Tensor) -> Tensor:
    """States by halves: two tokens after each other are one of decay d1 d0 and gain g1 + d1 g0, whose state is that of
    the second; from it follows the first of the next two."""
    length, states = len(gain), torch.empty_like(gain)
    states[0] = gain[0]
    if length <= FEW:
        for before, t in pairwise(range(length)):
            torch.addcmul(gain[t], decay[t], states[before], out=states[t])
        return states
    whole = length // 2 * 2
    first, second = slice(0, whole, 2), slice(1, whole, 2)
    ends = _joined(decay[second] * decay[first], torch.addcmul(gain[second], decay[second], gain[first]))
    states[second] = ends
    torch.addcmul(gain[2::2], decay[2::2], ends[: (length - 1) // 2], out=states[2::2])
    return states


def _chunk_size(length: int) -> int:
    """About the square root; a divisor of the length if there is one near."""
    root = math.isqrt(length)
    return next((n for n in range(root, root // 2, -1) if length % n == 0), max(root, 1))


def _lengthened(x: Tensor, by: int, at_front: bool) -> Tensor:
    more = x.new_zeros(by, *x.shape[1:])
    return torch.cat((more, x) if at_front else (x, more))


def _carried(ends: Tensor, products: Tensor, backwards: bool) -> Tensor:
    """What each chunk receives from all before it; ends and products are of the chunks alone."""
    received = torch.zeros_like(ends)
    order = range(len(ends))[::-1] if backwards else range(len(ends))
    for before, i in pairwise(order):
        torch.addcmul(ends[before], products[before], received[before], out=received[i])
    return received
