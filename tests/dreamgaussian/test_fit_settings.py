from __future__ import annotations

from pathlib import Path

import pytest

from miner.dreamgaussian.settings import load_fit_settings
from miner.errors import ConfigError
from miner.gpu.weights import load_manifest
from miner.settings import config_dir

NAMES = sorted(path.stem for path in (config_dir() / "dreamgaussian").glob("*.toml"))


def test_all_that_should_ship_is_there() -> None:
    """The published configurations, the production ones and the embedded one."""
    assert {"image", "text", "text_mv", "fast", "fast-40", "fast-50", "mini"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_each_is_valid_and_its_weights_are_known(name: str) -> None:
    """Every shipped file is a configuration whose weights the manifest knows."""
    settings = load_fit_settings(name)
    assert settings.name == name
    assert settings.guidance.weights.partition("/")[0] in load_manifest()


def test_production_settings() -> None:
    """The figures that the service is run with."""
    for name, iters in (("fast", 35), ("fast-40", 40), ("fast-50", 50)):
        settings = load_fit_settings(name)
        assert settings.iters == iters
        assert settings.rates.position_lr_max_steps == 14
        assert settings.density.density_end_iter == 28
        assert settings.density.densification_interval == 7


def test_mistakes_are_named(tmp_path: Path) -> None:
    """An unknown name, key or value stops the start with what it was."""
    with pytest.raises(ConfigError, match=r"no configuration 'quick'; there are .*fast"):
        load_fit_settings("quick")
    for text, words in (
        ('[guidance]\nweights = "x"\n[rates]\nspeed = 1\n', "rates.speed"),
        ('[guidance]\nweights = "x"\nnoise_range = [0.1, 0.9]\n', "larger first"),
        ('[guidance]\nweights = "x"\n[views]\nsizes_px = [64]\n', "one share for each"),
        ("iters = 5\n", "guidance: Field required"),
    ):
        path = tmp_path / "own.toml"
        path.write_text(text, "utf-8")
        with pytest.raises(ConfigError, match=words):
            load_fit_settings(str(path))
