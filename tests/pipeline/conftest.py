"""The tiny preset, written and loaded once for all tests of the pipeline."""

from __future__ import annotations

from pathlib import Path

import pytest

from miner.pipeline.pipeline import Pipeline
from miner.settings import load_settings
from tests.pipeline.tiny import write_preset


@pytest.fixture(scope="session")
def tiny_preset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Preset file of the tiny models; the models lie beside it."""
    return write_preset(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def tiny_pipeline(tiny_preset: Path) -> Pipeline:
    """The tiny models, loaded."""
    settings = load_settings(str(tiny_preset), environ={})
    return Pipeline.load(settings.preset, settings.weights, "cpu")
