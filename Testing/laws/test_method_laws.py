"""Every law on every registered method: a new method is tested the day it is added."""

import pytest
from petdiffusion import registry
from support.method_laws import LAWS, Subject


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
@pytest.mark.parametrize("name", registry.cards())
def test_law(name, law):
    """None is passed over: where a method needs a model, a small one was made for it (conftest)."""
    law(Subject.of(registry.card(name)))


def test_there_are_methods():
    classical = {"gaussian", "median", "bilateral", "nlm", "tv", "bm3d", "bm4d", "guided", "anatomy"}
    assert classical <= set(registry.cards())
    assert registry.DEFAULT_METHOD in registry.cards()
