"""Settings: frozen values, built once, validated once, passed down in the pieces needed."""

from miner.settings.admission import AdmissionSettings
from miner.settings.daemon import (
    DaemonSettings,
    JournalSettings,
    LogSettings,
    MetricsSettings,
    QueueSettings,
    WorkerSettings,
)
from miner.settings.gateway import GatewaySettings
from miner.settings.identity import IdentitySettings
from miner.settings.listening import ApiSettings, AxonSettings, ListenLimits
from miner.settings.loader import (
    PACKAGE_DIR,
    Loaded,
    Settings,
    bridge_environment,
    build_environment,
    config_dir,
    config_files,
    credentials_folder,
    data_dir,
    gpus_in_use,
    hotkey_password,
    keep_compiled_kernels,
    let_gpu_segments_grow,
    let_idle_threads_sleep,
    load,
    load_settings,
    notify_address,
    preset_names,
    remote_environment,
    watchdog_seconds,
    worker_environment,
)
from miner.settings.memory import MemorySettings
from miner.settings.preset import (
    FEW_STEP_PIPELINE,
    MAX_GAUSSIANS,
    MIN_GAUSSIANS,
    BackgroundSettings,
    DreamGaussianKeys,
    Preset,
    ReconstructSettings,
    SelfCheckSettings,
    SurfaceKeys,
    TextToImageSettings,
)
from miner.settings.pull import PullSettings
from miner.settings.ray_cluster import RaySettings
from miner.settings.rollback import RollbackSettings
from miner.settings.section import Section
from miner.settings.sources import read_toml
from miner.settings.subnet import ChainSettings, WalletSettings

__all__ = [
    "FEW_STEP_PIPELINE",
    "MAX_GAUSSIANS",
    "MIN_GAUSSIANS",
    "PACKAGE_DIR",
    "AdmissionSettings",
    "ApiSettings",
    "AxonSettings",
    "BackgroundSettings",
    "ChainSettings",
    "DaemonSettings",
    "DreamGaussianKeys",
    "GatewaySettings",
    "IdentitySettings",
    "JournalSettings",
    "ListenLimits",
    "Loaded",
    "LogSettings",
    "MemorySettings",
    "MetricsSettings",
    "Preset",
    "PullSettings",
    "QueueSettings",
    "RaySettings",
    "ReconstructSettings",
    "RollbackSettings",
    "Section",
    "SelfCheckSettings",
    "Settings",
    "SurfaceKeys",
    "TextToImageSettings",
    "WalletSettings",
    "WorkerSettings",
    "bridge_environment",
    "build_environment",
    "config_dir",
    "config_files",
    "credentials_folder",
    "data_dir",
    "gpus_in_use",
    "hotkey_password",
    "keep_compiled_kernels",
    "let_gpu_segments_grow",
    "let_idle_threads_sleep",
    "load",
    "load_settings",
    "notify_address",
    "preset_names",
    "read_toml",
    "remote_environment",
    "watchdog_seconds",
    "worker_environment",
]
