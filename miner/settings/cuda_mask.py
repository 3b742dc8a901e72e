"""Which CUDA devices a process may see: ``CUDA_VISIBLE_DEVICES``, and ``worker.gpus`` within it.

CUDA's rules (programming guide, "CUDA Environment Variables"): entries are indices, UUIDs or
beginnings of UUIDs ("GPU-1a2b", "MIG-..."), separated by commas; the first that names no device
ends the list. Nothing here asks the driver.
"""

from __future__ import annotations

from collections.abc import Mapping

from miner.errors import ConfigError
from miner.settings.daemon import WorkerSettings

VISIBLE, ORDER = "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"
BY_BUS = "PCI_BUS_ID"
"""The order in which the driver and nvidia-smi count; without it CUDA puts the fastest first."""


def mask(environ: Mapping[str, str]) -> tuple[str, ...] | None:
    """The entries of the environment's mask; None where it has none and every device is seen."""
    if VISIBLE not in environ:
        return None
    shown: list[str] = []
    for entry in map(str.strip, environ[VISIBLE].split(",")):
        if not (entry.isdecimal() or is_uuid(entry)):
            break
        shown.append(entry)
    return tuple(shown)


def is_uuid(name: str) -> bool:
    """Whether a device is named by its UUID, or the beginning of one."""
    return name.startswith(("GPU-", "MIG-"))


def same_uuid(one: str, other: str) -> bool:
    """Whether one UUID may be the beginning of the other: either may be shortened."""
    return is_uuid(one) and (one.startswith(other) or other.startswith(one))


def within(gpu: str, environ: Mapping[str, str]) -> str:
    """What ``CUDA_VISIBLE_DEVICES`` is for a worker that is to see one device.

    Args:
        gpu: of ``worker.gpus``; an index counts within the mask of the environment.
        environ: that the worker inherits. A UUID beside a mask of indices is passed on as it is:
            which of them it is, the driver knows.

    Raises:
        ConfigError: the mask does not show it.
    """
    shown = mask(environ)
    if shown is None:
        return gpu
    if gpu.isdecimal():
        if int(gpu) < len(shown):
            return shown[int(gpu)]
    elif not is_uuid(gpu) or any(not is_uuid(one) or same_uuid(gpu, one) for one in shown):
        return gpu
    few = f"{len(shown)} device{'' if len(shown) == 1 else 's'}, counted from 0"
    raise ConfigError(
        f"worker.gpus: {gpu!r} is outside of {VISIBLE}={environ[VISIBLE]}, which shows {few}; "
        "name one of them, or change the variable"
    )


def in_use(
    worker: WorkerSettings, device: str, environ: Mapping[str, str]
) -> tuple[str, ...] | None:
    """The GPUs of this host that the workers compute on, as the driver counts or names them.

    Args:
        worker: how many, and on which.
        device: as set: "auto", "cpu" or "cuda".
        environ: that the workers inherit.

    Returns:
        Indices and UUIDs; None where it cannot be known: workers on other hosts, or indices that
        CUDA counts in an order of its own.

    Raises:
        ConfigError: as ``within``.
    """
    if worker.executor != "local":
        return None
    if device == "cpu":
        return ()
    if worker.gpus:
        names = tuple(within(gpu, environ) for gpu in worker.gpus)
    else:
        shown = mask(environ)
        names = ("0",) if shown is None else shown[:1]  # torch computes on the first it sees
    counted = environ.get(ORDER, BY_BUS) == BY_BUS
    return names if counted or all(map(is_uuid, names)) else None
