"""The text of a systemd unit for this daemon, made from a few choices.

One text for all machines: what differs is in ``Choices``, and their defaults give the units that
ship in the folder ``systemd``. Knows nothing of this machine and touches no file. Written for
systemd 252 and later.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from miner.job import MAIN
from miner.settings.identity import credential

NAME = "splat-miner"
"""Of the folders that systemd makes for the service."""
MARK = "# Rendered by `miner service`"
"""How a unit of ours begins: another is neither overwritten nor removed."""
STOP_MARGIN_SECONDS = 60
"""For bringing the last results and ending the workers, after the drain."""
NVIDIA = ("nvidia", "nvidia-frontend", "nvidiactl", "nvidia-uvm", "nvidia-caps")
"""The driver's names in /proc/devices, of all its versions; others are passed over."""
UVM = "nvidia-uvm"
UVM_UNIT = "modprobe@nvidia_uvm.service"
"""Loads the module that CUDA's memory needs; nothing else does so at a boot without a screen.
modprobe@.service is systemd's own, and does not fail where the module is not there."""
MAKE_UVM = "/usr/bin/nvidia-modprobe -u -c=0"
"""Comes with the driver; the module makes no device node by itself."""

_ESCAPED = str.maketrans({"%": "%%", "\\": "\\\\", '"': '\\"'})


@dataclass(frozen=True)
class Choices:
    """What differs from machine to machine.

    Attributes:
        program: the words that start the program, without the command ``run``.
        config: the settings file; readable for the service's user.
        hotkey: the key's file, read by systemd as root; None where no intake signs. Of an
            identity other than main the file beside it with the identity's name at the end.
        identities: names of the hotkeys that are served.
        password: the file whose first line opens an encrypted hotkey.
        data: where ``splat-miner/weights`` lies, unless the settings name another folder.
        user: an account that exists; None has systemd make one up while the service runs.
        gpu: the CUDA device to use, an index or UUID; None leaves it to the settings.
        home_visible: whether anything above lies under /home.
        drain_seconds: as in the settings.
        template: for several on one machine; ``%i`` in the paths is the instance's name.
    """

    program: tuple[str, ...] = ("/opt/splat-miner/venv/bin/miner",)
    config: Path = Path("/etc/splat-miner/miner.toml")
    hotkey: Path | None = Path("/etc/splat-miner/hotkey")
    identities: tuple[str, ...] = (MAIN,)
    password: Path | None = None
    data: Path = Path("/opt")
    user: str | None = None
    gpu: str | None = None
    home_visible: bool = False
    drain_seconds: float = 120.0
    template: bool = False

    @property
    def credentials(self) -> tuple[tuple[str, Path], ...]:
        """Of the hotkeys: what each is called for the service, and its file."""
        if self.hotkey is None:
            return ()
        named = (credential(self.hotkey.name, name) for name in self.identities)
        files = (self.hotkey.with_name(name) for name in named)
        return tuple(zip((credential("hotkey", n) for n in self.identities), files, strict=True))

    @property
    def unit_name(self) -> str:
        """The file's name."""
        return "miner@.service" if self.template else "miner.service"

    @property
    def folder(self) -> str:
        """The name of the folders of state and cache."""
        return f"{NAME}-%i" if self.template else NAME


TEMPLATE = Choices(
    config=Path("/etc/splat-miner/%i/miner.toml"),
    hotkey=Path("/etc/splat-miner/%i/hotkey"),
    template=True,
)
"""The defaults of a unit for several instances."""


def render(choices: Choices) -> str:
    """The unit's text."""
    parts = (_head, _start_and_stop, _identity, _limits, _devices, _sandbox, _install)
    return "\n\n".join("\n".join(part(choices)) for part in parts) + "\n"


def _head(choices: Choices) -> Iterator[str]:
    several = " %i" if choices.template else ""
    name = "miner@NAME" if choices.template else "miner"
    yield f"{MARK}; what you change belongs into a drop-in: systemctl edit {name}"
    yield "[Unit]"
    yield f"Description=splat-miner{several}, a miner for a text-to-3D subnet"
    yield "# The driver's modules and devices must be there before: a sandbox cannot load them, and"
    yield "# DeviceAllow looks their numbers up as the unit starts. modprobe@ never fails."
    yield f"After=network-online.target nvidia-persistenced.service {UVM_UNIT}"
    yield f"Wants=network-online.target nvidia-persistenced.service {UVM_UNIT}"
    yield "# Five failures in ten minutes are no accident: it stays down, and the alert tells."
    yield "StartLimitIntervalSec=600"
    yield "StartLimitBurst=5"


def _start_and_stop(choices: Choices) -> Iterator[str]:
    program = " ".join(_argument(word) for word in choices.program)
    config = _argument(str(choices.config))
    stop = math.ceil(choices.drain_seconds) + STOP_MARGIN_SECONDS
    yield "[Service]"
    yield "Type=notify"
    yield "NotifyAccess=main"
    yield "# Makes /dev/nvidia-uvm, as root and outside of the sandbox, where udev's rules do not."
    yield f"ExecStartPre=+-{MAKE_UVM}"
    yield f"ExecStart={program} run --config {config}"
    yield "# Fails with the reason when the new settings do not hold; nothing is changed then."
    yield f"ExecReload={program} ctl reload --config {config}"
    yield "# Until it first speaks; while models load it asks for more, up to worker.start_seconds."
    yield "TimeoutStartSec=120"
    yield "# The drain of queue.drain_seconds and some more; it asks for more while jobs are left."
    yield f"TimeoutStopSec={stop}"
    yield "# SIGTERM to the daemon alone: its workers finish the jobs. What is left then dies."
    yield "KillMode=mixed"
    yield "# Signs of life come from the event loop, and only while the workers are looked after."
    yield "WatchdogSec=30"
    yield "Restart=on-failure"
    yield "RestartSec=5"
    yield "# 78: settings, weights, key or device; 243: a missing credential: to be mended first."
    yield "RestartPreventExitStatus=78 243"
    yield "OOMPolicy=stop"


def _identity(choices: Choices) -> Iterator[str]:
    if choices.user is None:
        yield "DynamicUser=yes"
    else:
        yield f"User={choices.user}"
    yield f"StateDirectory={choices.folder}"
    yield "StateDirectoryMode=0700"
    yield f"CacheDirectory={choices.folder}"
    yield "CacheDirectoryMode=0700"
    if choices.credentials:
        yield "# The hotkey alone, for nobody else to read; the coldkey has no place here at all."
    for name, path in choices.credentials:
        yield f"LoadCredential={name}:{_path(path)}"
    if choices.password is not None:
        yield f"LoadCredential=hotkey-password:{_path(choices.password)}"
    yield "# Weights are looked for in splat-miner/weights there; compiled kernels go to the cache."
    yield f"Environment={_word(f'XDG_DATA_HOME={choices.data}')}"
    cache = f"%C/{choices.folder}"
    yield f"Environment=HOME={cache} XDG_CACHE_HOME={cache} NUMBA_CACHE_DIR={cache}/numba"
    yield "Environment=PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1"
    if choices.gpu is not None:
        visible = _word(f"CUDA_VISIBLE_DEVICES={choices.gpu}")
        yield f"Environment=CUDA_DEVICE_ORDER=PCI_BUS_ID {visible}"
    folder = f"/etc/{NAME}/%i" if choices.template else f"/etc/{NAME}"
    yield f"EnvironmentFile=-{folder}/environment"


def _limits(choices: Choices) -> Iterator[str]:
    yield "LimitNOFILE=65536"
    yield "# A core file would hold the key."
    yield "LimitCORE=0"
    yield "TasksMax=4096"
    yield "MemoryMax=95%"
    yield "UMask=0077"


def _devices(choices: Choices) -> Iterator[str]:
    yield "# Of all devices the GPUs alone. PrivateDevices=yes would hide them."
    yield "DevicePolicy=closed"
    yield "# m lets root make the node before the start; the service itself has no right to."
    for name in NVIDIA:
        yield f"DeviceAllow=char-{name} {'rwm' if name == UVM else 'rw'}"


def _sandbox(choices: Choices) -> Iterator[str]:
    yield "# Left out on purpose: MemoryDenyWriteExecute (torch compiles), ProcSubset=pid"
    yield "# (CUDA reads /proc/driver/nvidia), SystemCallFilter=~@resources (threads are pinned)."
    yield "NoNewPrivileges=yes"
    yield "CapabilityBoundingSet="
    yield "AmbientCapabilities="
    yield "PrivateUsers=yes"
    yield "PrivateTmp=yes"
    yield "ProtectSystem=strict"
    yield f"ProtectHome={'read-only' if choices.home_visible else 'yes'}"
    yield "ProtectProc=invisible"
    yield "ProtectClock=yes"
    yield "ProtectHostname=yes"
    yield "ProtectKernelLogs=yes"
    yield "ProtectKernelModules=yes"
    yield "ProtectKernelTunables=yes"
    yield "ProtectControlGroups=yes"
    yield "LockPersonality=yes"
    yield "RemoveIPC=yes"
    yield "RestrictNamespaces=yes"
    yield "RestrictRealtime=yes"
    yield "RestrictSUIDSGID=yes"
    yield "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK"
    yield "SystemCallArchitectures=native"
    yield "SystemCallFilter=@system-service"
    yield "SystemCallFilter=~@privileged"
    yield "SystemCallErrorNumber=EPERM"


def _install(choices: Choices) -> Iterator[str]:
    yield "[Install]"
    yield "WantedBy=multi-user.target"


def _argument(word: str) -> str:
    """As one word of a command line, where variables would be put in."""
    return _word(word).replace("$", "$$")


def _word(word: str) -> str:
    """As one word of an assignment; ``%i`` stays a specifier."""
    text = "%i".join(part.translate(_ESCAPED) for part in word.split("%i"))
    return f'"{text}"' if any(c in text for c in " \t'\";") or not text else text


def _path(path: Path) -> str:
    """As a path that stands alone to the end of its line."""
    return "%i".join(part.replace("%", "%%") for part in str(path).split("%i"))
