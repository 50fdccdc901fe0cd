"""Shared by all tests: no GPU, no user's models, few threads."""

import os

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")

import pytest


@pytest.fixture(autouse=True)
def no_models_of_the_user(monkeypatch, tmp_path_factory):
    """Tests see the bundled models alone, whatever the machine has."""
    monkeypatch.setenv("PETDIFFUSION_MODELS", str(tmp_path_factory.mktemp("models")))


@pytest.fixture
def no_bundled_models(monkeypatch, tmp_path_factory):
    """For tests that bring all models they speak of."""
    from petdiffusion.zoo import store

    monkeypatch.setattr(store, "BUNDLED", tmp_path_factory.mktemp("bundled"))
