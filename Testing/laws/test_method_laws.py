"""Every law on every registered method: a new method is tested the day it is added."""

import pytest
from petdiffusion import registry
from petdiffusion.zoo import store
from support.method_laws import LAWS, Subject

CARD_ONLY = {"card_survives_json", "defaults_and_tuned_values_are_allowed", "unknown_option_is_an_error",
             "bad_values_are_errors"}


def skip_without_model(subject):
    """Only a method that says it needs a model may be passed over, and only while there is none: one that fails to load
    is a failure."""
    if subject.card.needs_model and not store.models(subject.card.name):
        pytest.skip(f"{subject.card.name} has no model here")


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
@pytest.mark.parametrize("name", registry.cards())
def test_law(name, law):
    subject = Subject.of(registry.card(name))
    if law.__name__ not in CARD_ONLY:
        skip_without_model(subject)
    law(subject)


def test_there_are_methods():
    classical = {"gaussian", "median", "bilateral", "nlm", "tv", "bm3d", "bm4d", "guided", "anatomy"}
    assert classical <= set(registry.cards())
    assert registry.DEFAULT_METHOD in registry.cards()
