"""A model's network out of its file: built, filled, and kept for the next run in this process."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, TypeVar

from torch import nn

from ..errors import ModelError
from ..zoo.store import Model
from .device import prepare_process

N = TypeVar("N", bound=nn.Module)
Build = Callable[[Mapping[str, Any]], N]
"""A network out of its card's configuration; a function of a module, so that it is the same one at the next run."""


def loaded(model: Model, build: Build[N], what: str = "The model's weights") -> N:
    """In float32 and for evaluation. Another file, checksum or configuration is another network."""
    prepare_process()
    return _loaded(str(model.weights), model.card.sha256, json.dumps(dict(model.card.config)), build, what)


@cache
def _loaded(path: str, sha256: str, config: str, build: Build[N], what: str) -> N:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    network = build(json.loads(config))
    try:
        network.load_state_dict({name: value.float() for name, value in load_file(path).items()})
    except RuntimeError as error:
        raise ModelError(what, f"do not fit its configuration ({error})",
                         "Add the model again from its source.") from None  # fmt: skip
    except SafetensorError as error:
        raise ModelError(what, f"cannot be read ({error})", "Copy the file again from its source.") from None
    return network.eval()
