"""How settings are put together, and where files lie; the only reader of the environment.

A value comes from the first of: the command line, the environment, the file, the default. The file
is the daemon's (``config/miner.toml`` explains it); sections of the preset may be overridden in it
too. Values are validated once, and an error names the key and where it was set.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict
from pydantic_settings.sources import PydanticBaseSettingsSource

from miner.errors import ConfigError
from miner.settings import cuda_mask
from miner.settings.daemon import DaemonSettings
from miner.settings.preset import Preset
from miner.settings.section import Section
from miner.settings.sources import Layer, merge, read_environment, read_file, read_toml

PACKAGE_DIR = Path(__file__).resolve().parent.parent
CONFIG_VARIABLE = "MINER_CONFIG"
PASSWORD_VARIABLE = "MINER_HOTKEY_PASSWORD"  # noqa: S105 - the name of a variable
"""No setting: what is secret is neither printed with the settings nor kept in them."""
ALLOCATOR_VARIABLES = ("PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_ALLOC_CONF")
"""The same thing by its older and its newer name. A model that comes and goes leaves holes in the
GPU's memory that nothing else fits into; segments that can grow have none."""
KERNELS_VARIABLE = "TORCHINDUCTOR_CACHE_DIR"
"""Of torch: where compiled kernels are kept; its own choice is below /tmp, lost with a service."""
WITHHELD = ("NOTIFY_", "WATCHDOG_", "CREDENTIALS_", PASSWORD_VARIABLE)
"""Beginnings of variables that are this process's own and no worker's."""
RAY_VARIABLES = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_COLOR_PREFIX": "0",
    "RAY_DEDUP_LOGS": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
"""Nothing is sent to its makers, and its lines are fit for a log."""
RAY_ALONE_VARIABLES = {
    "RAY_AUTH_MODE": "token",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # the name of: loopback, please
    "RAY_task_events_report_interval_ms": "0",
    "RAY_enable_timeline": "0",
    "RAY_enable_metrics_collection": "0",
    "RAY_event_stats": "0",
    "RAY_max_direct_call_object_size": str(1 << 20),
    "RAY_worker_niceness": "0",
}
"""For a cluster of this host alone. Nobody looks at its tasks and events, of which each actor would
report every second. A result of up to so many bytes comes in the answer to a call: by way of the
object store it cost several processes 2 ms. Workers have the priority of those without Ray."""
PRESET_SECTIONS = (
    "text_to_image",
    "background",
    "reconstruct",
    "surface",
    "dreamgaussian",
    "self_check",
    "memory",
)

DeviceName = Literal["auto", "cpu", "cuda"]
_Model = TypeVar("_Model", bound=BaseModel)


class Settings(Section):
    """Everything a command needs to know before it builds anything."""

    device: DeviceName = "auto"
    weights: Path
    preset: Preset
    daemon: DaemonSettings


class Options(DaemonSettings, BaseSettings):
    """All keys that a file, the environment or the command line may set, before the preset is read.

    Attributes:
        preset: name of a preset, or path of a preset file ending in ``.toml``.
        text_to_image, background, reconstruct, surface, dreamgaussian, self_check, memory: override
            keys of the preset.
    """

    model_config = SettingsConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    preset: str = "mini"
    device: DeviceName = "auto"
    weights: Path
    text_to_image: dict[str, Any] = {}
    background: dict[str, Any] = {}
    reconstruct: dict[str, Any] = {}
    surface: dict[str, Any] = {}
    dreamgaussian: dict[str, Any] = {}
    self_check: dict[str, Any] = {}
    memory: dict[str, Any] = {}

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what the constructor is given: the layers are laid over each other before."""
        return (init_settings,)


@dataclass(frozen=True)
class Loaded:
    """Settings, and the layers they came from, highest first."""

    settings: Settings
    layers: Sequence[Layer]

    def origin(self, *location: str) -> str:
        """Where a key was set, or "default"."""
        return next((layer.origin for layer in self.layers if layer.holds(location)), "default")


def load_settings(
    preset: str | None = None,
    flags: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
    config: Path | None = None,
) -> Settings:
    """The settings of this run; see ``load``."""
    return load({"preset": preset, **(flags or {})}, environ, config).settings


def load(
    flags: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
    config: Path | None = None,
) -> Loaded:
    """The settings of this run, and where they came from.

    Args:
        flags: what the command line says, in the shape of ``Options``; ``None`` values are absent.
        environ: the environment to read; the process's own when not given.
        config: the file to read; ``MINER_CONFIG`` or the first of ``config_files`` when not given.

    Raises:
        ConfigError: an unknown preset or key, or a value out of its range; the text names the key
            and where it was set.
    """
    environ = os.environ if environ is None else environ
    path = config or _config_file(environ)
    layers = [
        Layer("command line", flags or {}),
        read_environment(Options, environ, frozenset({CONFIG_VARIABLE, PASSWORD_VARIABLE})),
        *([read_file(path)] if path else []),
    ]
    values: dict[str, Any] = {
        "weights": str(data_dir(environ) / "weights"),
        "state_dir": str(_state_dir(environ)),
    }
    for layer in reversed(layers):
        values = merge(values, layer.values)
    options = _validate(Options, values, layers)
    chosen = read_preset(options.preset)
    overrides = {name: getattr(options, name) for name in PRESET_SECTIONS}
    settings = Settings(
        device=options.device,
        weights=options.weights,
        preset=_validate(
            Preset, merge(chosen.values, overrides), [*layers, chosen], f"preset {options.preset}"
        ),
        daemon=DaemonSettings(**{name: getattr(options, name) for name in _DAEMON_KEYS}),
    )
    return Loaded(settings, layers)


_DAEMON_KEYS = tuple(DaemonSettings.model_fields)


def config_dir() -> Path:
    """The folder ``config``: inside an installed package, beside the package in a checkout."""
    installed = PACKAGE_DIR / "config"
    return installed if installed.is_dir() else PACKAGE_DIR.parent / "config"


def config_files(environ: Mapping[str, str]) -> list[Path]:
    """Where a daemon's file is looked for when none is named, first one first."""
    home = environ.get("XDG_CONFIG_HOME", "")
    if not home.startswith("/"):
        home = f"{environ['HOME']}/.config" if environ.get("HOME") else ""
    own = [Path(home) / "splat-miner" / "miner.toml"] if home else []
    return [*own, Path("/etc/splat-miner/miner.toml")]


def preset_names() -> list[str]:
    """The presets that ship with the program, sorted."""
    return sorted(path.stem for path in (config_dir() / "presets").glob("*.toml"))


def read_preset(name: str) -> Layer:
    """The values of a preset that ships, or of a preset file.

    One that names a ``base`` says only what differs from that shipped preset, which has none.

    Raises:
        ConfigError: there is none of that name, or the file cannot be read.
    """
    if not name.endswith(".toml") and name not in preset_names():
        raise ConfigError(f"unknown preset {name!r}; there are: {', '.join(preset_names())}")
    path = Path(name) if name.endswith(".toml") else config_dir() / "presets" / f"{name}.toml"
    values = read_toml(path)
    base = values.pop("base", None)
    if base is not None:
        if base not in preset_names() or base == path.stem or "base" in _shipped(base):
            raise ConfigError(f"{path}: base: {base!r} is no preset that can be built on")
        values = merge(_shipped(base), values)
    return Layer(str(path), {"name": path.stem, **values})


def _shipped(name: str) -> dict[str, Any]:
    return read_toml(config_dir() / "presets" / f"{name}.toml")


def hotkey_password(environ: Mapping[str, str] | None = None) -> str | None:
    """The password of an encrypted hotkey, where a variable holds it."""
    environ = os.environ if environ is None else environ
    return environ.get(PASSWORD_VARIABLE) or None


def credentials_folder(environ: Mapping[str, str] | None = None) -> Path | None:
    """Where systemd put this service's credentials, if it did."""
    environ = os.environ if environ is None else environ
    folder = environ.get("CREDENTIALS_DIRECTORY")
    return Path(folder) if folder else None


def notify_address(environ: Mapping[str, str] | None = None) -> str | None:
    """Where the service manager listens for how we are, if one does."""
    environ = os.environ if environ is None else environ
    return environ.get("NOTIFY_SOCKET") or None


def watchdog_seconds(environ: Mapping[str, str] | None = None) -> float | None:
    """How long the service manager bears to hear nothing from this process, if it minds."""
    environ = os.environ if environ is None else environ
    if environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    microseconds = environ.get("WATCHDOG_USEC", "")
    return int(microseconds) / 1e6 if microseconds.isdecimal() and int(microseconds) else None


def let_idle_threads_sleep() -> None:
    """Threads that wait for others give up their core, unless the environment says otherwise.

    OpenMP's threads wait in a busy loop. Where another process wants the core, each waits for one
    that cannot run: two commands at once on two cores took eight to twenty times as long. Sleeping
    costs a fifth at most when alone. OpenMP reads the variable as torch loads it: call this before.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def let_gpu_segments_grow() -> None:
    """Torch's segments on a GPU can grow, unless the environment says something of its allocator.

    As ``worker_environment`` has it for workers: what fits there must fit in a command that runs
    the models itself. Torch reads the variables when it first takes memory: call this before.
    """
    if not any(name in os.environ for name in ALLOCATOR_VARIABLES):
        os.environ.update(dict.fromkeys(ALLOCATOR_VARIABLES, "expandable_segments:True"))


def keep_compiled_kernels() -> None:
    """Torch keeps compiled kernels in our cache, unless the environment names a folder.

    As ``worker_environment`` has it for workers. Torch reads the variable when it first compiles.
    """
    os.environ.setdefault(KERNELS_VARIABLE, str(kernel_cache(os.environ)))


def kernel_cache(environ: Mapping[str, str]) -> Path:
    """Where compiled kernels outlast a restart: below systemd's folder for caches, or XDG's."""
    cache = environ.get("XDG_CACHE_HOME", "")
    root = Path(cache) if cache.startswith("/") else Path.home() / ".cache"
    return root / "splat-miner" / "kernels"


def worker_environment(
    gpu: str | None = None, environ: Mapping[str, str] | None = None
) -> dict[str, str]:
    """The environment of a worker process; that of this process stays as it is.

    The worker finds the same package as we did, whatever folder it starts in. It signs nothing, so
    the hotkey's password and systemd's credentials are kept from it.

    CUDA counts devices as the driver does, so that metrics and workers mean the same one, unless
    the environment sets another order.

    Args:
        gpu: index or UUID of the one CUDA device it may see; an index counts as ``nvidia-smi``
            does, and within ``CUDA_VISIBLE_DEVICES`` where that is set. None leaves the choice to
            what is set already.
        environ: what it inherits; the process's own environment when not given.

    Raises:
        ConfigError: ``CUDA_VISIBLE_DEVICES`` does not show ``gpu``.
    """
    inherited = os.environ if environ is None else environ
    child = {key: value for key, value in inherited.items() if not key.startswith(WITHHELD)}
    child["PYTHONPATH"] = os.pathsep.join(
        [str(PACKAGE_DIR.parent), *filter(None, [inherited.get("PYTHONPATH")])]
    )
    child.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # see let_idle_threads_sleep
    if not any(name in child for name in ALLOCATOR_VARIABLES):
        child |= dict.fromkeys(ALLOCATOR_VARIABLES, "expandable_segments:True")
    child.setdefault(KERNELS_VARIABLE, str(kernel_cache(inherited)))
    child.setdefault(cuda_mask.ORDER, cuda_mask.BY_BUS)
    if gpu is not None:
        child[cuda_mask.VISIBLE] = cuda_mask.within(gpu, inherited)
    return child


def gpus_in_use(
    settings: Settings, environ: Mapping[str, str] | None = None
) -> Sequence[str] | None:
    """The GPUs of this host that the workers compute on; see ``cuda_mask.in_use``.

    Args:
        settings: of the daemon.
        environ: as for ``worker_environment``.
    """
    inherited = os.environ if environ is None else environ
    return cuda_mask.in_use(settings.daemon.worker, settings.device, inherited)


def bridge_environment(alone: bool, environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of the process that speaks to Ray; as ``worker_environment``, and Ray quiet.

    Args:
        alone: it starts a cluster of its own: on loopback, with a token that nobody else has.
        environ: as for ``worker_environment``.
    """
    child = worker_environment(None, environ) | RAY_VARIABLES
    if alone:
        child |= RAY_ALONE_VARIABLES | {"RAY_AUTH_TOKEN": secrets.token_hex(32)}
        for name in ("RAY_ADDRESS", "RAY_AUTH_TOKEN_PATH"):
            child.pop(name, None)
    return child


def remote_environment(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """What of a worker's environment holds on other hosts too."""
    wanted = ("OMP_WAIT_POLICY", *ALLOCATOR_VARIABLES)
    return {k: v for k, v in worker_environment(None, environ).items() if k in wanted}


def _config_file(environ: Mapping[str, str]) -> Path | None:
    named = environ.get(CONFIG_VARIABLE)
    if named:
        return Path(named)
    return next((path for path in config_files(environ) if path.is_file()), None)


def build_environment(changes: Mapping[str, str]) -> dict[str, str]:
    """The environment of a process that compiles: this one's, with some variables set."""
    return {**os.environ, **changes}


def data_dir(environ: Mapping[str, str] | None = None) -> Path:
    """The program's folder of data, which holds weights and built kernels unless set otherwise."""
    return _data_home(os.environ if environ is None else environ) / "splat-miner"


def _data_home(environ: Mapping[str, str]) -> Path:
    """Where the XDG base directory specification puts a program's data."""
    data = environ.get("XDG_DATA_HOME", "")
    return Path(data) if data.startswith("/") else Path.home() / ".local" / "share"


def _state_dir(environ: Mapping[str, str]) -> Path:
    """Systemd's folder for this unit (the first, if there are several), or the XDG one."""
    if given := environ.get("STATE_DIRECTORY"):
        return Path(given.split(":")[0])
    state = environ.get("XDG_STATE_HOME", "")
    root = Path(state) if state.startswith("/") else Path.home() / ".local" / "state"
    return root / "splat-miner"


def _validate(
    model: type[_Model], values: Mapping[str, Any], layers: Sequence[Layer], origin: str = "default"
) -> _Model:
    try:
        return model(**values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = next((layer.origin for layer in layers if layer.holds(first["loc"])), origin)
        key = ".".join(str(part) for part in first["loc"])
        reason = "no such setting" if first["type"] == "extra_forbidden" else first["msg"]
        raise ConfigError(f"{where}: {key}: {reason}") from error
