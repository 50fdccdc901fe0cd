"""Three levels of effort, made from what a method's card says of its steps and samples."""

from __future__ import annotations

from typing import Any

from petdiffusion.methods.contract import MethodCard, Option

STANDARD, QUICK, THOROUGH, CUSTOM = "Standard", "Quick look", "Thorough", "Custom"
TEXTS = {QUICK: "less work, for a first impression", STANDARD: "the method's own settings",
         THOROUGH: "slower, better uncertainty", CUSTOM: "your own settings"}
WITHOUT_UNCERTAINTY, ONE_SAMPLE = "fastest, no uncertainty map", "less work, no uncertainty map"
MORE_STEPS = "slower, more steps"
SAMPLES_FOR_UNCERTAINTY = 8
_STEPS, _SAMPLES = ("steps", "iterations", "epochs"), ("samples",)


def presets(card: MethodCard) -> dict[str, dict[str, Any]]:
    """Options by preset; a method without steps or samples has the standard one alone."""
    levels = {QUICK: {}, THOROUGH: {}}
    draws = any(option.name in _SAMPLES for option in card.options)
    for option in card.options:
        if option.kind != "int" or option.default is None:
            continue
        if option.name in _STEPS:
            levels[QUICK][option.name] = _within(option, option.default // 2)
            # A map of samples is calibrated for the method's own steps: more of them would cost it that.
            levels[THOROUGH][option.name] = option.default if draws else _within(option, option.default * 2)
        elif option.name in _SAMPLES:
            # Where no samples are needed for the image, a quick look takes none.
            levels[QUICK][option.name] = 0 if option.minimum == 0 else _within(option, 1)
            levels[THOROUGH][option.name] = _within(option, max(SAMPLES_FOR_UNCERTAINTY, option.default * 2))
    changed = {name: {k: v for k, v in values.items() if v != card.option(k).default}
               for name, values in levels.items()}
    return {STANDARD: {}, **{name: values for name, values in changed.items() if values}}


def _within(option: Option, value: int) -> int:
    low = option.minimum if option.minimum is not None else 1
    high = option.maximum if option.maximum is not None else value
    return int(min(max(value, low), high))


def text_of(name: str, card: MethodCard) -> str:
    """What a preset means for this method, in a few words."""
    values = presets(card).get(name, {})
    samples = next((values[key] for key in _SAMPLES if key in values), None)
    if samples is not None and samples < 2 and "uncertainty" in card.outputs:
        return ONE_SAMPLE if samples else WITHOUT_UNCERTAINTY
    return MORE_STEPS if name == THOROUGH and samples is None else TEXTS[name]


def preset_of(card: MethodCard, options: dict[str, Any]) -> str:
    """The preset that these settings are, or `Custom`."""
    set_ = {k: v for k, v in options.items() if v != card.option(k).default}
    return next((name for name, values in presets(card).items() if values == set_), CUSTOM)
