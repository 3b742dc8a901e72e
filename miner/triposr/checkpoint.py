"""Weights on disk: reading the published file, accounting for every key, writing our own.

Two kinds of file hold the same names: ``model.safetensors``, and ``model.ckpt``, a pickle that is
read with torch's restricted unpickler, so that no code in it can run. Both are mapped into memory.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from miner.errors import WeightsError

SAFETENSORS_FILE = "model.safetensors"
PICKLE_FILE = "model.ckpt"

UNUSED = re.compile(r"image_tokenizer\.model\.pooler\.dense\.(weight|bias)")
"""Published with the image tokenizer, and never applied by TripoSR."""

_PUBLISHED_LAYER = re.compile(r"(image_tokenizer\.model\.)encoder\.layer\.(\d+)\.(.+)\.(\w+)")
_LAYER = re.compile(r"(image_tokenizer\.model\.)layers\.(\d+)\.(.+)\.(\w+)")

_PUBLISHED_TO_MODULE = {
    "attention.attention.query": "attention.q_proj",
    "attention.attention.key": "attention.k_proj",
    "attention.attention.value": "attention.v_proj",
    "attention.output.dense": "attention.o_proj",
    "intermediate.dense": "mlp.fc1",
    "output.dense": "mlp.fc2",
}
"""Parts of a layer of the image tokenizer: transformers 4 (published), and our modules, whose names
are also those of transformers 5."""

_MODULE_TO_PUBLISHED = {module: published for published, module in _PUBLISHED_TO_MODULE.items()}


def read_weights(folder: Path, wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights in ``folder`` under the names of our modules, in the dtype of the file.

    ``model.safetensors`` goes before ``model.ckpt``. Names of transformers 4 and 5 are both read.

    Args:
        folder: holds one of the two files.
        wanted: a state dict whose names and shapes the file must have, no more and no less;
            its values are not read and may be on the meta device.

    Raises:
        WeightsError: no file, a damaged one, one that holds code, or a key too many, too few, or of
            another shape; the key is named.
    """
    path = _find(folder)
    state: dict[str, Tensor] = {}
    for published, tensor in _read_file(path).items():
        if UNUSED.fullmatch(published):
            continue
        name = module_name(published)
        if name in state:
            raise WeightsError(f"{path}: holds {name} under two names; fetch the file again")
        state[name] = tensor
    _check(path, state, wanted)
    return state


def write_weights(folder: Path, state: Mapping[str, Tensor], dtype: torch.dtype) -> None:
    """Write a state dict of our modules as ``model.safetensors``, under the published names.

    The file appears whole or not at all.
    """
    path = folder / SAFETENSORS_FILE
    beside = path.with_suffix(".partial")
    tensors = {
        published_name(name): tensor.detach().to("cpu", dtype).contiguous()
        for name, tensor in state.items()
    }
    save_file(tensors, beside)
    beside.replace(path)


def module_name(published: str) -> str:
    """The name of a published tensor among our modules; other names come back as they are."""
    return _rename(_PUBLISHED_LAYER, _PUBLISHED_TO_MODULE, "layers", published)


def published_name(name: str) -> str:
    """The inverse of ``module_name``."""
    return _rename(_LAYER, _MODULE_TO_PUBLISHED, "encoder.layer", name)


def _rename(pattern: re.Pattern[str], parts: Mapping[str, str], layers: str, name: str) -> str:
    match = pattern.fullmatch(name)
    if match is None:
        return name
    prefix, number, part, kind = match.groups()
    return f"{prefix}{layers}.{number}.{parts.get(part, part)}.{kind}"


def _find(folder: Path) -> Path:
    for name in (SAFETENSORS_FILE, PICKLE_FILE):
        if (folder / name).is_file():
            return folder / name
    raise WeightsError(
        f"{folder}: holds neither {SAFETENSORS_FILE} nor {PICKLE_FILE}; run `miner fetch`"
    )


def _read_file(path: Path) -> Mapping[str, Tensor]:
    """Names to tensors, mapped from the file; foreign errors become ``WeightsError``."""
    try:
        if path.name == SAFETENSORS_FILE:
            return load_file(path)
        values = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"{path}: damaged, or holds code as well as tensors and is not run; "
            "delete it and run `miner fetch`"
        ) from error
    except (OSError, EOFError, RuntimeError, ValueError, SafetensorError) as error:
        raise WeightsError(
            f"{path}: cannot be read, truncated or damaged; delete it and run `miner fetch`"
        ) from error
    if not isinstance(values, dict) or not all(isinstance(v, Tensor) for v in values.values()):
        raise WeightsError(f"{path}: is not a state dict; delete it and run `miner fetch`")
    return values


def _check(path: Path, state: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    missing = [published_name(name) for name in wanted if name not in state]
    unexpected = [published_name(name) for name in state if name not in wanted]
    misshapen = [
        f"{published_name(name)} {list(state[name].shape)} instead of {list(tensor.shape)}"
        for name, tensor in wanted.items()
        if name in state and state[name].shape != tensor.shape
    ]
    problems = [
        f"{what}: {keys[0]}" + (f" and {len(keys) - 1} more" if len(keys) > 1 else "")
        for what, keys in (
            ("missing key", missing),
            ("unexpected key", unexpected),
            ("wrong shape", misshapen),
        )
        if keys
    ]
    if problems:
        raise WeightsError(
            f"{path}: {'; '.join(problems)}; the file and the configuration beside it differ"
        )
