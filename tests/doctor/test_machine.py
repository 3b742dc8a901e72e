"""Packages, disk and weights."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import pytest

from miner.doctor.disk import check_disk
from miner.doctor.finding import Finding
from miner.doctor.packages import faults_of, look_at_packages
from miner.doctor.weights import is_embedded, look_at_weights, references
from miner.errors import ConfigError, WeightsError
from miner.gpu.weights import hash_file, load_manifest, write_sums
from miner.settings import PACKAGE_DIR
from tests.doctor.machines import case, put


def versions(**known: str) -> Callable[[str], str]:
    """Installed versions by name."""

    def version_of(name: str) -> str:
        if name not in known:
            raise PackageNotFoundError(name)
        return known[name]

    return version_of


@pytest.mark.parametrize(
    ("wanted", "known", "status", "told"),
    [
        ("torch==2.13.0", {"torch": "2.13.0+cpu"}, None, ""),
        ("aiohttp<4,>=3.14", {"aiohttp": "3.15.1"}, None, ""),
        ("aiohttp<4,>=3.14", {"aiohttp": "3.13.9"}, "warn", "aiohttp is 3.13.9, wanted"),
        ("aiohttp<4,>=3.14", {}, "fail", "aiohttp is missing"),
        ('winloop>=1; sys_platform == "win32"', {}, None, ""),
        ('gsplat>=1; extra == "cuda"', {}, None, ""),
    ],
)
def test_packages_are_held_against_what_is_wanted(
    wanted: str, known: dict[str, str], status: str | None, told: str
) -> None:
    """Another version is a warning, a missing one stops the start; extras are left out."""
    found = list(faults_of([wanted], versions(**known)))

    assert [one.status for one in found] == ([status] if status else [])
    assert not found or told in found[0].line
    assert all((one.stops is ConfigError) == (one.status == "fail") for one in found)


def test_onnxruntime_gpu_is_onnxruntime() -> None:
    """The build for CUDA brings the same module, and is what the doctor has one install."""
    assert not list(faults_of(["onnxruntime>=1.31"], versions(**{"onnxruntime-gpu": "1.31.1"})))
    (old,) = faults_of(["onnxruntime>=1.31"], versions(**{"onnxruntime-gpu": "1.26.0"}))

    assert old.status == "warn"


async def test_this_installation_is_as_the_project_wants_it(tmp_path: Path) -> None:
    """For real: every requirement is there."""
    found = await look_at_packages(case(tmp_path))

    assert found.status == "ok", found.line


async def test_an_old_python_stops_the_start(tmp_path: Path) -> None:
    """Before anything else of it fails in stranger ways."""
    one = case(tmp_path)
    one.host = replace(one.host, python=(3, 10, 4))

    assert (await look_at_packages(one)).stops is ConfigError


def disk(root: Path, **flags: Any) -> Finding:
    return check_disk(case(root, **flags).settings.daemon)


def test_the_disk_is_judged_by_what_may_come(tmp_path: Path) -> None:
    """Room for all results is ok, less is a warning; the folder need not be there yet."""
    free = shutil.disk_usage(tmp_path).free
    nested = {"state_dir": str(tmp_path / "not" / "yet")}

    assert disk(tmp_path, journal={"max_result_bytes": 2**21}).status == "ok"
    assert disk(tmp_path, journal={"max_result_bytes": 2**21}, **nested).status == "ok"
    found = disk(tmp_path, journal={"max_result_bytes": 2 * free})
    assert (found.status, found.stops) == ("warn", None)
    assert "max_result_bytes" in found.mend


def test_a_state_folder_that_cannot_be_stops_the_start(tmp_path: Path) -> None:
    """A file in its place, or a folder nobody can write to."""
    put(tmp_path, "file", "")
    for place in (str(tmp_path / "file"), "/proc/splat-miner"):
        assert disk(tmp_path, state_dir=place).stops is ConfigError


async def test_the_embedded_weights_are_whole(tmp_path: Path) -> None:
    """Quickly at a start, and with every file hashed."""
    for flags in ({"starting": True}, {}, {"deep": True}):
        one = case(tmp_path, **flags)
        found = await look_at_weights(one)

        assert found.status == "ok", found
        assert found.line == "; ".join(references(one.settings))
    assert is_embedded(one.settings)


def test_the_rollback_generators_weights_are_wanted_where_it_takes_part(tmp_path: Path) -> None:
    """A preset that names a configuration wants its guidance as well, unless it is set aside."""
    configured = {"dreamgaussian": {"config": "mini"}}
    wanted = set(references(case(tmp_path, **configured).settings))
    without = set(references(case(tmp_path, **configured, rollback={"generator": ""}).settings))
    none = set(references(case(tmp_path, dreamgaussian={"config": ""}).settings))

    assert without == none
    assert wanted - without == {"mini/zero123", "mini/flux/vae"}


async def test_missing_weights_stop_the_start_with_the_command_that_mends(tmp_path: Path) -> None:
    """Of all entries of the preset, each by name."""
    one = case(tmp_path, preset="flux-schnell", starting=True)
    found = await look_at_weights(one)

    assert found.stops is WeightsError
    assert "miner fetch --preset flux-schnell" in found.mend
    for name in ("flux-schnell", "triposr", "isnet"):
        assert name in found.line
    assert not is_embedded(one.settings)


async def test_damaged_weights_are_found_by_a_deep_look(tmp_path: Path) -> None:
    """Also where an earlier look found them whole: the file's times may lie."""
    weights = fetched(tmp_path)
    one = case(tmp_path, preset=own_preset(tmp_path))
    assert (await look_at_weights(one)).status == "ok"
    times = weights.stat()
    weights.write_bytes(b"0" * times.st_size)
    os.utime(weights, ns=(times.st_atime_ns, times.st_mtime_ns))
    deep = case(tmp_path, preset=own_preset(tmp_path), deep=True)

    assert (await look_at_weights(one)).status == "ok"
    found = await look_at_weights(deep)
    assert found.stops is WeightsError
    assert "is damaged" in found.line


def fetched(root: Path) -> Path:
    """An entry of the manifest as ``miner fetch`` leaves it, with small files; one of them."""
    entry = load_manifest()["zero123-xl"]  # no checksum of it is known beforehand
    folder = entry.root(root / "weights")
    (name,) = entry.files
    file = put(folder, name, "a network")
    write_sums(folder / "SHA256SUMS", {name: hash_file(file)})
    return file


def own_preset(root: Path) -> str:
    """The embedded preset with the fetched network for its background."""
    text = (PACKAGE_DIR.parent / "config/presets/mini.toml").read_text(encoding="utf-8")
    changed = text.replace("mini/matting.onnx", "zero123-xl/model_index.json")
    return str(put(root, "own.toml", changed))
