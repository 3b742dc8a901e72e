"""The weight files of the preset: there, and the ones that were recorded.

A start looks only whether they are there: a worker verifies what it loads. By hand, files are
hashed unless that was done since they last changed; a deep look hashes every one.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath

from miner.doctor.asking import in_thread
from miner.doctor.case import Case
from miner.doctor.finding import Finding, of_error, ok, together
from miner.dreamgaussian.settings import load_fit_settings
from miner.errors import ConfigError, WeightsError
from miner.gpu.weights import SUMS_NAME, WeightStore, hash_file, read_sums
from miner.settings import Settings

TRIPOSR, DREAMGAUSSIAN = "triposr", "dreamgaussian"


async def look_at_weights(case: Case) -> Finding:
    """Every entry that the preset names."""
    found = [await in_thread(_look, case, name) for name in references(case.settings)]
    return together(found)


def references(settings: Settings) -> Iterator[str]:
    """What the preset's stages want, in their order.

    Generators that were installed beside ours check their own weights when they load.

    Raises:
        ConfigError: the preset's configuration of DreamGaussian cannot be read.
    """
    preset, kinds = settings.preset, settings.daemon.worker_kinds
    held = {name for kind in kinds for name in kind.names}
    yield preset.text_to_image.weights
    yield preset.background.weights
    if TRIPOSR in held:
        yield preset.reconstruct.weights
    if preset.dreamgaussian.config and DREAMGAUSSIAN in held:
        guidance = load_fit_settings(preset.dreamgaussian.config).guidance
        wanted = (guidance.weights, guidance.vae_weights) if guidance.weight else ()
        yield from filter(None, wanted)
    if preset.self_check.mode != "off":
        yield preset.self_check.weights


def is_embedded(settings: Settings) -> bool:
    """Whether all of them ship with the program, as only those of small models do."""
    store = WeightStore(settings.weights, settings.preset.name)
    try:
        entries = [store.entry(name) for name in references(settings)]
    except ConfigError:
        return False
    return all(entry is not None and entry.source == "package" for entry in entries)


def _look(case: Case, reference: str) -> Finding:
    store = WeightStore(case.settings.weights, case.settings.preset.name)
    try:
        if case.starting or case.deep:
            _look_at_files(store, reference, case.deep)
        else:
            store.find(reference)
    except (ConfigError, WeightsError) as error:
        return of_error(error)
    return ok(reference)


def _look_at_files(store: WeightStore, reference: str, deep: bool) -> None:
    """Without records of earlier looks: present, or also hashed.

    Raises:
        WeightsError: a file is missing or damaged.
    """
    entry = store.entry(reference)
    if entry is None:
        store.find(reference)
        return
    root = entry.root(store.weights_dir)
    inside = PurePosixPath(*PurePosixPath(reference).parts[1:])
    sums = {**read_sums(root / SUMS_NAME), **entry.sha256}
    for name in sorted({*entry.files, *sums, *entry.chosen(root)}):
        if not PurePosixPath(name).is_relative_to(inside):
            continue
        path, mend = root / name, entry.mend(store.preset)
        if not path.is_file():
            raise WeightsError(f"{path}: this weight file is missing; {mend}")
        if deep and name in sums and hash_file(path) != sums[name]:
            raise WeightsError(f"{path}: this weight file is damaged; {mend}")
