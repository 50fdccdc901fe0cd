"""The kernel of `fused_scan`. Imported only where it is wanted: it asks for Triton."""

import triton
import triton.language as tl


@triton.jit
def both(first_decay, first_gain, decay, gain):
    """Two tokens after each other as one."""
    return first_decay * decay, decay * first_gain + gain


@triton.jit
def walk(u, delta, A, B, C, D, y, width, length, states, N: tl.constexpr, T: tl.constexpr):
    """All tokens of one channel, T at a time; N is the power of two that holds the states."""
    scan, channel = tl.program_id(0) // width, tl.program_id(0) % width
    number, token = tl.arange(0, N), tl.arange(0, T)
    real = number < states
    a = tl.load(A + channel * states + number, mask=real, other=0.0)
    through = tl.load(D + channel)
    own = tl.program_id(0).to(tl.int64) * length
    shared = (scan.to(tl.int64) * states + number) * length
    state = tl.zeros((N,), tl.float32)
    for begin in range(0, length, T):
        at = begin + token
        there = at < length
        x = tl.load(u + own + at, mask=there, other=0.0)
        step = tl.load(delta + own + at, mask=there, other=0.0)
        inside = real[:, None] & there[None, :]
        b = tl.load(B + shared[:, None] + at[None, :], mask=inside, other=0.0)
        c = tl.load(C + shared[:, None] + at[None, :], mask=inside, other=0.0)
        decay = tl.exp(step[None, :] * a[:, None])
        gain = (step * x)[None, :] * b
        gain = tl.where(token[None, :] == 0, gain + decay * state[:, None], gain)
        _, walked = tl.associative_scan((decay, gain), 1, both)
        tl.store(y + own + at, tl.sum(walked * c, 0) + through * x, mask=there)
        state = tl.sum(tl.where(token[None, :] == T - 1, walked, 0.0), 1)
