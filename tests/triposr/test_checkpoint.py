"""Weights on disk: both kinds of file, both sets of names, and the ways a file can be wrong."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from miner.errors import WeightsError
from miner.triposr import TripoSR
from miner.triposr.checkpoint import module_name, published_name

QUERY_KEY = "image_tokenizer.model.encoder.layer.1.attention.attention.query.weight"


@pytest.fixture
def published(reference_folder: Path) -> dict[str, Tensor]:
    """The tensors of the reference file under its own names."""
    state: dict[str, Tensor] = torch.load(reference_folder / "model.ckpt", weights_only=True)
    return state


@pytest.fixture
def folder(reference_folder: Path, tmp_path: Path) -> Path:
    """A folder with the reference's configuration and no weights."""
    for name in ("config.yaml", "vit_config.json"):
        shutil.copy(reference_folder / name, tmp_path)
    return tmp_path


def same_weights(one: TripoSR, other: TripoSR) -> bool:
    ours, theirs = one.state_dict(), other.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[k], theirs[k]) for k in ours)


def test_every_published_key_has_its_place(
    reference: TripoSR, published: dict[str, Tensor]
) -> None:
    """All keys but the unused pooler's load unchanged, and their names translate back."""
    state = reference.state_dict()
    used = {name for name in published if "pooler" not in name}

    assert {published_name(name) for name in state} == used
    assert {module_name(name) for name in used} == set(state)
    assert all(torch.equal(state[module_name(name)], published[name]) for name in used)


def test_safetensors_are_read_too(
    reference: TripoSR, published: dict[str, Tensor], folder: Path
) -> None:
    """The same names in a safetensors file, and without the pooler, give the same model."""
    save_file(
        {k: v for k, v in published.items() if "pooler" not in k}, folder / "model.safetensors"
    )

    assert same_weights(TripoSR.load(folder), reference)


def test_the_names_of_transformers_5_are_read(
    reference: TripoSR, published: dict[str, Tensor], folder: Path
) -> None:
    """A file whose image tokenizer was saved under the new module names loads as well."""
    renamed = {
        name.replace("encoder.layer.", "layers.")
        .replace("attention.attention.query", "attention.q_proj")
        .replace("attention.attention.key", "attention.k_proj")
        .replace("attention.attention.value", "attention.v_proj")
        .replace("attention.output.dense", "attention.o_proj")
        .replace("intermediate.dense", "mlp.fc1")
        .replace(".output.dense", ".mlp.fc2"): tensor
        for name, tensor in published.items()
    }
    assert "image_tokenizer.model.layers.1.mlp.fc2.bias" in renamed
    torch.save(renamed, folder / "model.ckpt")

    assert same_weights(TripoSR.load(folder), reference)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_a_saved_model_loads_again(reference: TripoSR, tmp_path: Path, dtype: torch.dtype) -> None:
    """Saving and loading gives the same weights, rounded once when the file is float16."""
    reference.save(tmp_path / "deep" / "folder", dtype)

    loaded = TripoSR.load(tmp_path / "deep" / "folder")

    assert loaded.config == reference.config
    for name, tensor in reference.state_dict().items():
        assert loaded.state_dict()[name].dtype == torch.float32
        assert torch.equal(loaded.state_dict()[name], tensor.to(dtype).float())
    assert sorted(p.name for p in (tmp_path / "deep" / "folder").iterdir()) == [
        "config.yaml",
        "model.safetensors",
        "vit_config.json",
    ]


def remove(state: dict[str, Tensor]) -> None:
    del state[QUERY_KEY]


def add(state: dict[str, Tensor]) -> None:
    state["decoder.layers.8.weight"] = torch.zeros(4, 24)


def reshape(state: dict[str, Tensor]) -> None:
    state["backbone.proj_out.weight"] = torch.zeros(64, 32)


def twice(state: dict[str, Tensor]) -> None:
    state[module_name(QUERY_KEY)] = state[QUERY_KEY]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (remove, f"missing key: {QUERY_KEY}"),
        (add, "unexpected key: decoder.layers.8.weight"),
        (reshape, r"wrong shape: backbone.proj_out.weight \[64, 32\] instead of \[64, 64\]"),
        (twice, "two names"),
    ],
)
def test_every_key_is_accounted_for(
    published: dict[str, Tensor],
    folder: Path,
    change: Callable[[dict[str, Tensor]], None],
    named: str,
) -> None:
    """A key too few, too many, of another shape or given twice is refused by its published name."""
    change(published)
    torch.save(published, folder / "model.ckpt")

    with pytest.raises(WeightsError, match=named) as caught:
        TripoSR.load(folder)

    assert "\n" not in str(caught.value)


class Payload:
    """What a hostile pickle holds: a call, made while it is read."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return (Path.touch, (self.marker,))


def test_code_in_a_pickle_is_not_run(folder: Path, tmp_path: Path) -> None:
    """A pickle that calls something is refused in one line, and the call does not happen."""
    marker = tmp_path / "ran"
    torch.save({"tokenizer.embeddings": Payload(marker)}, folder / "model.ckpt")

    with pytest.raises(WeightsError, match="holds code") as caught:
        TripoSR.load(folder)

    assert not marker.exists()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["model.ckpt", "model.safetensors"])
@pytest.mark.parametrize("kept", [0, 7, 100, 20_000, -1])
def test_truncated_files(reference: TripoSR, folder: Path, name: str, kept: int) -> None:
    """A file cut anywhere is one clear line with its path, never another exception."""
    if name == "model.ckpt":
        torch.save(reference.state_dict(), folder / name)
    else:
        save_file(reference.state_dict(), folder / name)
    (folder / name).write_bytes((folder / name).read_bytes()[:kept])

    with pytest.raises(WeightsError, match=name) as caught:
        TripoSR.load(folder)

    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "content", [b"<html>not found</html>", pickle.dumps({"a": 1}), b"\0" * 999]
)
@pytest.mark.parametrize("name", ["model.ckpt", "model.safetensors"])
def test_files_of_another_kind(folder: Path, name: str, content: bytes) -> None:
    """A web page, a bare pickle or zeros in the place of weights are refused by their path."""
    (folder / name).write_bytes(content)

    with pytest.raises(WeightsError, match=name):
        TripoSR.load(folder)


@pytest.mark.parametrize("value", [[1, 2], {"state_dict": {"a": torch.zeros(1)}}])
def test_a_pickle_that_is_no_state_dict(folder: Path, value: object) -> None:
    """Only a flat mapping of names to tensors is weights."""
    torch.save(value, folder / "model.ckpt")

    with pytest.raises(WeightsError, match="not a state dict"):
        TripoSR.load(folder)


def test_no_weights_at_all(folder: Path) -> None:
    """A folder without weights says which files belong there and what fetches them."""
    with pytest.raises(
        WeightsError, match=r"model\.safetensors nor model\.ckpt; run `miner fetch`"
    ):
        TripoSR.load(folder)
