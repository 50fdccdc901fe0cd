"""The selective scan's kernel: against the definition in Triton's interpreter (`make test-kernels`) or on a GPU, and
that nothing but a kernel that agrees is used."""

import importlib.util
import os
import subprocess
import sys

import pytest
import torch
from petdiffusion.networks import fused_scan
from petdiffusion.networks import selective_scan as scan

COMPARED = """
import sys
import torch
from petdiffusion.networks import fused_scan
from petdiffusion.networks.selective_scan import step_by_step

device, generator = sys.argv[1], torch.Generator().manual_seed(0)
for batch, width, length, states in ((2, 3, 300, 5), (1, 2, 256, 16), (1, 4, 700, 8), (1, 1, 1, 4)):
    normal = lambda *shape: torch.randn(*shape, generator=generator)
    inputs = [normal(batch, width, length), torch.rand(batch, width, length, generator=generator),
              -normal(width, states).exp(), normal(batch, states, length), normal(batch, states, length), normal(width)]
    found = fused_scan.fused(*(part.to(device) for part in inputs)).cpu()
    torch.testing.assert_close(found, step_by_step(*inputs), rtol=1e-4, atol=1e-4)
assert fused_scan.usable(torch.device(device))
fused_scan.usable.cache_clear()
fused_scan.fused = lambda u, *rest: torch.zeros_like(u)
assert not fused_scan.usable(torch.device(device))
"""


@pytest.fixture(autouse=True)
def forgotten():
    yield
    fused_scan.usable.cache_clear()


def given():
    g = torch.Generator().manual_seed(3)
    tokens = [torch.rand(2, n, 20, generator=g) for n in (3, 3, 4, 4)]
    return tokens[0], tokens[1], -torch.rand(3, 4, generator=g), tokens[2], tokens[3], torch.rand(3, generator=g)


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed: make test-kernels")
def test_the_kernel_does_what_the_definition_says():
    device = "cuda" if torch.cuda.is_available() else "cpu"
    interpreted = {} if device == "cuda" else {"TRITON_INTERPRET": "1"}
    subprocess.run([sys.executable, "-c", COMPARED, device], check=True, env={**os.environ, **interpreted}, timeout=300)


def test_a_kernel_that_agrees_is_used_for_inference_alone(monkeypatch):
    inputs, asked = given(), []
    monkeypatch.setattr(scan, "launches_cost", lambda x: True)
    monkeypatch.setattr(fused_scan, "fused", lambda *given: asked.append(1) or scan.in_torch(*given))
    expected = scan.step_by_step(*inputs)
    torch.testing.assert_close(scan.selective_scan(*inputs), expected)
    assert not asked
    with torch.no_grad():
        torch.testing.assert_close(scan.selective_scan(*inputs), expected)
    assert len(asked) == 2  # the question whether it agrees, and the scan


@pytest.mark.parametrize("found", [torch.zeros_like, lambda u: u * torch.nan])
def test_a_kernel_that_finds_something_else_is_not_and_that_is_said(monkeypatch, caplog, found):
    monkeypatch.setattr(scan, "launches_cost", lambda x: True)
    monkeypatch.setattr(fused_scan, "fused", lambda u, *rest: found(u))
    with torch.no_grad():
        torch.testing.assert_close(scan.selective_scan(*given()), scan.step_by_step(*given()))
    assert "other numbers than PyTorch" in caplog.text


def test_a_kernel_that_cannot_be_made_is_not(monkeypatch):
    def none(*given):
        raise RuntimeError("0 active drivers")

    monkeypatch.setattr(fused_scan, "fused", none)
    assert not fused_scan.usable(torch.device("cpu"))
