"""Methods that need a model get a small one with random weights."""

import pytest
from support.tiny_models import write_models


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory):
    return write_models(tmp_path_factory.mktemp("tiny-models"))


@pytest.fixture(autouse=True)
def models_of_the_tests(no_models_of_the_user, tiny_models, monkeypatch):
    monkeypatch.setenv("PETDIFFUSION_MODELS", str(tiny_models))
