"""Method cards for tests of the panel: one of each sort, so that no test depends on which methods exist."""

from __future__ import annotations

from petdiffusion.methods.contract import Condition, MethodCard, Option

SMOOTH = MethodCard(
    "smooth",
    "Smoothing",
    "Averages over neighbours.",
    "nowhere:denoise",
    options=(
        Option("fwhm", "float", 5.0, "Width of the filter.", 0.5, 20.0, unit="mm"),
        Option("strength", "float", None, "How much is taken away; found from the noise if empty.", 0.0, 10.0),
        Option("border", "str", "mirror", "What lies outside.", choices=("mirror", "zero"), advanced=True),
    ),
)
GUIDED = MethodCard(
    "guided",
    "Guided filter",
    "Keeps edges that the CT shows.",
    "nowhere:denoise",
    conditions=(Condition("ct", True, "edges are taken from it"),),
)
DIFFUSE = MethodCard(
    "diffuse",
    "Residual diffusion",
    "Samples what a filter leaves over, guided by MR.",
    "nowhere:denoise",
    family="diffusion",
    paper="A. Author, Journal 2024",
    needs_suv=True,
    needs_model=True,
    stochastic=True,
    conditions=(Condition("mr", False, "sharpens the brain"),),
    outputs=("denoised", "uncertainty", "lesions"),
    options=(
        Option("steps", "int", 18, "Network evaluations per sample.", 4, 100),
        Option("samples", "int", 4, "Samples to average.", 1, 32),
        Option("estimate", "str", "mean", "What is shown.", choices=("mean", "sample")),
        Option("augment", "bool", False, "Also evaluate mirrored images.", advanced=True),
    ),
)
PROMPTED = MethodCard(
    "prompted",
    "Text-guided diffusion",
    "Is told which organs a slice shows.",
    "nowhere:denoise",
    family="diffusion",
    conditions=(Condition("labels", True, "for the organ prompts"), Condition("text", False, "replaces the prompts")),
)
ALL = {card.name: card for card in (SMOOTH, GUIDED, DIFFUSE, PROMPTED)}


def use(monkeypatch) -> None:
    """Make these the registered methods."""
    from petdiffusion import registry

    monkeypatch.setattr(registry, "cards", lambda: ALL)
    monkeypatch.setattr(registry, "DEFAULT_METHOD", "smooth")
