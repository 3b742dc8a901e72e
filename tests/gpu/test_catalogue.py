"""What is known of the models."""

from __future__ import annotations

from pathlib import Path

import pytest

from miner.errors import ConfigError
from miner.gpu.catalogue import find_model, load_catalogue, painter_settings
from miner.gpu.weights import load_manifest
from miner.settings import load_settings

GIB = 1024**3
CATALOGUE = load_catalogue()


@pytest.mark.parametrize(
    ("component", "bf16", "eight", "nf4"),
    [("transformer", 22.15, 11.1, 6.25), ("text_encoders", 9.1, 4.8, 2.9)],
)
def test_bytes_of_flux_are_those_counted(
    component: str, bf16: float, eight: float, nf4: float
) -> None:
    """The bytes in each precision agree with counts made on the full-size architecture."""
    part = CATALOGUE["flux-schnell"].parts[component]  # type: ignore[index]

    assert part.weight_bytes("bf16") / GIB == pytest.approx(bf16, rel=0.02)
    assert part.weight_bytes("fp32") == 2 * part.weight_bytes("bf16")
    assert part.weight_bytes("fp8") == part.weight_bytes("int8")
    assert part.weight_bytes("int8") / GIB == pytest.approx(eight, rel=0.02)
    assert part.weight_bytes("nf4") / GIB == pytest.approx(nf4, rel=0.03)
    assert part.streamed_bytes("bf16") < part.weight_bytes("bf16") / 5


def test_every_model_is_in_the_manifest() -> None:
    """The catalogue names no weights that cannot be fetched."""
    manifest = load_manifest()

    assert {name.partition("/")[0] for name in CATALOGUE} <= set(manifest)


def test_a_file_inside_an_entry_is_found_by_the_entry() -> None:
    """Presets name a file where an entry has one; exact names go first."""
    assert find_model(CATALOGUE, "isnet-general-use/isnet-general-use.onnx") is not None
    assert find_model(CATALOGUE, "mini/flux") is CATALOGUE["mini/flux"]
    assert find_model(CATALOGUE, "/some/folder") is None


def test_a_smaller_painter_is_called_in_its_own_way_with_the_presets_words() -> None:
    """Weights, pipeline and steps come from the catalogue, the template from the preset."""
    own = load_settings("flux-schnell", environ={}).preset.text_to_image
    small = painter_settings(own, "stable-diffusion-1.5", CATALOGUE)

    assert small.weights == "stable-diffusion-1.5"
    assert small.pipeline == "StableDiffusionPipeline"
    assert 20 <= small.steps <= 25
    assert small.template == own.template
    assert painter_settings(own, own.weights, CATALOGUE) is own


def test_a_painter_that_nobody_knows_is_an_error() -> None:
    """A name that the catalogue cannot call is named."""
    own = load_settings("flux-schnell", environ={}).preset.text_to_image
    with pytest.raises(ConfigError, match="nope"):
        painter_settings(own, "nope", CATALOGUE)


@pytest.mark.parametrize(
    "text",
    ["[m]\ncolour = 1", "[m.vae]\nmodel = 'x'", "[m.vae]\nmodel = 'x'\nparams = -1", "m = 1"],
)
def test_a_damaged_catalogue_is_named(tmp_path: Path, text: str) -> None:
    """An unknown key, a missing one or a bad value stops with the file's name, in one line."""
    path = tmp_path / "components.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"components\.toml") as caught:
        load_catalogue(path)
    assert "\n" not in str(caught.value)
