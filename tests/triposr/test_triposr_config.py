"""The configuration: what is read, what is refused, and how it names the fault."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from miner.errors import ConfigError
from miner.triposr.config import (
    BackboneConfig,
    TripoSRConfig,
    VitConfig,
)
from miner.triposr.config_files import load_config, parse_config, write_config


@pytest.fixture
def values(reference_folder: Path) -> dict[str, Any]:
    values: dict[str, Any] = yaml.safe_load((reference_folder / "config.yaml").read_text())
    return values


@pytest.fixture
def vit(reference_folder: Path) -> dict[str, Any]:
    vit: dict[str, Any] = json.loads((reference_folder / "vit_config.json").read_text())
    return vit


def test_reads_the_published_layout(reference_folder: Path) -> None:
    """Every section is read, a reference to another section is resolved, planes follow from it."""
    config = load_config(reference_folder)

    assert config.backbone.in_channels == config.tokenizer.num_channels == 64
    assert config.vit.hidden_size == 64
    assert config.decoder.n_hidden_layers == 3
    assert config.plane_resolution == 16


def test_defaults_are_the_published_sizes() -> None:
    """An empty file means stabilityai/TripoSR with DINO ViT-B/16."""
    config = parse_config({})

    assert config.cond_image_size == 512
    assert config.backbone.inner_dim == 1024
    assert config.vit == VitConfig()
    assert config.plane_resolution == 64


def test_written_files_read_as_an_equal_value(reference_folder: Path, tmp_path: Path) -> None:
    """Writing and reading a configuration changes nothing in it, our own keys included."""
    config = load_config(reference_folder).model_copy(
        update={"backbone": BackboneConfig(in_channels=64, cross_attention_dim=64,
                                           feed_forward_mult=2, num_layers=1)}
    )  # fmt: skip

    write_config(tmp_path, config)

    assert load_config(tmp_path) == config


@pytest.mark.parametrize(
    ("section", "key", "value", "named"),
    [
        ("backbone", "dropout", 0.1, "backbone.dropout: unknown key"),
        ("tokenizer", "plane_size", "8", "tokenizer.plane_size"),
        ("tokenizer", "num_channels", 0, "tokenizer.num_channels"),
        ("backbone", "in_channels", "${tokenizer.channels}", "points at nothing"),
        ("backbone", "in_channels", "${backbone.in_channels}", "points at nothing"),
        ("backbone", "cross_attention_dim", 96, "backbone.cross_attention_dim is 96"),
        ("decoder", "in_channels", 40, "decoder.in_channels is 40"),
        ("decoder", "activation", "relu", "decoder.activation"),
        ("renderer", "density_activation", "softplus", "renderer.density_activation"),
        ("renderer", "feature_reduction", "mean", "renderer.feature_reduction"),
        ("post_processor", "padding", 9, "padding leaves no plane"),
    ],
)
def test_a_wrong_key_or_value_is_named(
    values: dict[str, Any], vit: dict[str, Any], section: str, key: str, value: object, named: str
) -> None:
    """A key that is unknown, of the wrong type or at odds with another is refused by its name."""
    values[section][key] = value

    with pytest.raises(ConfigError) as caught:
        parse_config(values, vit)

    assert named in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("backbone_cls", "os.system"),
        ("decoder_cls", None),
        ("exporter_cls", "tsr.models.Exporter"),
        ("exporter", {"size": 3}),
        ("vit", {"hidden_size": 64}),
    ],
)
def test_unknown_classes_and_sections_are_refused(
    values: dict[str, Any], vit: dict[str, Any], key: str, value: object
) -> None:
    """Only the six published classes are accepted; they are compared and never imported."""
    values[key] = value

    with pytest.raises(ConfigError, match=key):
        parse_config(values, vit)


def test_another_tokenizer_needs_its_sizes(values: dict[str, Any]) -> None:
    """Without vit_config.json only the sizes of the published tokenizer are known."""
    values["image_tokenizer"]["pretrained_model_name_or_path"] = "facebook/dino-vits8"

    with pytest.raises(ConfigError, match=r"dino-vits8.*vit_config\.json"):
        parse_config(values)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("config.yaml", b"- 1\n- 2\n"),
        ("config.yaml", b"a: [1"),
        ("config.yaml", b"\xff\xfe\x00"),
        ("vit_config.json", b"{"),
        ("vit_config.json", b"[]"),
    ],
)
def test_files_that_are_not_configurations(
    reference_folder: Path, tmp_path: Path, name: str, content: bytes
) -> None:
    """A file of another format is one clear line with its path."""
    (tmp_path / "config.yaml").write_bytes((reference_folder / "config.yaml").read_bytes())
    (tmp_path / name).write_bytes(content)

    with pytest.raises(ConfigError, match=name) as caught:
        load_config(tmp_path)

    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """An empty folder is an error that says which file belongs there."""
    with pytest.raises(ConfigError, match=r"config\.yaml"):
        load_config(tmp_path)


def test_sizes_are_checked_and_frozen() -> None:
    """Heads must divide the width, patches the picture; a built configuration cannot change."""
    with pytest.raises(ValidationError, match="num_attention_heads 5 does not divide"):
        VitConfig(num_attention_heads=5)
    with pytest.raises(ValidationError, match="patch_size 16 does not divide cond_image_size"):
        TripoSRConfig(cond_image_size=500)
    with pytest.raises(ValidationError, match="norm_num_groups"):
        BackboneConfig(norm_num_groups=7)
    with pytest.raises(ValidationError, match="frozen"):
        TripoSRConfig().cond_image_size = 64  # type: ignore[misc]
