"""A machine of one's own under a real systemd, in namespaces, for a test and no longer.

Its root is a throw-away overlay of this machine's; it has its own processes, network, cgroup and
mounts. Needs root, overlay mounts and a writable cgroup2. The program lies in /opt/splat-miner as
an operator would install it, so that services find it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import site
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
UNITS = Path("/etc/systemd/system")
NAMESPACES = ("--mount", "--pid", "--fork", "--uts", "--ipc", "--net", "--cgroup")
SITE = Path(site.getsitepackages()[0])
INSTALLED = Path("/opt/splat-miner/venv/lib") / f"python{VERSION}" / "site-packages"
"""The same in the machine."""
BOOT_SECONDS = 60.0
PATIENCE_SECONDS = 120.0
"""For what a test waits for; no rule is about this number."""
POLL_SECONDS = 0.1


def why_not() -> str | None:
    """What is missing for such a machine; None where nothing is."""
    if os.geteuid() != 0:
        return "needs root"
    for program in ("unshare", "nsenter", "systemctl", "pivot_root"):
        if shutil.which(program) is None:
            return f"needs {program}"
    if not Path("/lib/systemd/systemd").exists():
        return "needs systemd"
    if (cgroups := _cgroups()) is None or not os.access(cgroups, os.W_OK):
        return "needs a writable cgroup2"
    script = "d=$(mktemp -d) && mount -t tmpfs tmpfs $d && mkdir $d/u $d/w $d/r && "
    script += "mount -t overlay overlay -o lowerdir=/,upperdir=$d/u,workdir=$d/w $d/r"
    tried = subprocess.run(
        ["unshare", *NAMESPACES, "sh", "-ec", script], capture_output=True, text=True, check=False
    )
    return f"needs namespaces and overlays: {tried.stderr.strip()}" if tried.returncode else None


def _cgroups() -> Path | None:
    """Where the cgroup2 hierarchy is mounted."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        if " - cgroup2 " in line:
            return Path(line.split()[4])
    return None


class Machine:
    """Booted; see ``booted``.

    Attributes:
        pid: of its first process, as this machine counts.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def path(self, inside: str | Path) -> Path:
        """A path of the machine as this one sees it."""
        return Path(f"/proc/{self.pid}/root") / str(inside).lstrip("/")

    def put(self, inside: str | Path, text: str | bytes, mode: int = 0o644) -> None:
        """A file of the machine."""
        path = self.path(inside)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        path.chmod(mode)

    def run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Runs a program in the machine."""
        enter = ["nsenter", "-t", str(self.pid), "-a", "-r", "-w"]
        done = subprocess.run(
            [*enter, *command],
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LANG": "C.UTF-8"},
            check=False,
        )
        assert not check or done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done

    def systemctl(self, *words: str) -> str:
        """What it says; fails where it does."""
        return self.run("systemctl", *words).stdout

    def show(self, unit: str, *names: str) -> dict[str, str]:
        """Properties of a unit."""
        lines = self.systemctl("show", unit, "--property", ",".join(names)).splitlines()
        return dict(line.split("=", 1) for line in lines if "=" in line)

    def said(self, unit: str) -> str:
        """The unit's lines in the log."""
        return self.run("journalctl", "-u", unit, "-o", "cat", "--no-pager").stdout

    def until(self, condition: Callable[[], bool], unit: str) -> None:
        """Returns when the condition holds; fails, with the log, when it cannot or takes long."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not condition():
            failed = self.show(unit, "ActiveState") == {"ActiveState": "failed"}
            assert not failed and time.monotonic() < deadline, self.said(unit)[-4000:]
            time.sleep(POLL_SECONDS)

    def warm_numba(self, cache: Path) -> None:
        """What numba has compiled on this machine, for the machine's program: it saves a minute."""
        for made in SITE.glob("pymatting/**/__pycache__/*.nb[ci]"):
            folder = made.parents[1]
            there = str(INSTALLED / folder.relative_to(SITE))
            key = hashlib.sha1(there.encode(), usedforsecurity=False).hexdigest()
            self.put(cache / f"{folder.name}_{key}" / made.name, made.read_bytes())

    def drop_in(self, unit: str, text: str) -> None:
        """Changes a unit as ``systemctl edit`` would."""
        self.put(UNITS / f"{unit}.d" / "test.conf", text)
        self.systemctl("daemon-reload")


@contextlib.contextmanager
def booted() -> Iterator[Machine]:
    """A machine that is up; gone with everything in it when the block ends."""
    cgroups = _cgroups()
    assert cgroups is not None
    cgroup = cgroups / f"miner-tests-{os.getpid()}"
    cgroup.mkdir()
    folder = Path(tempfile.mkdtemp(prefix="miner-systemd-"))
    log = folder.with_suffix(".log")
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["sh", "-c", f'echo $$ > {cgroup}/cgroup.procs; exec "$@"', "sh", *_unshare()],
            env={**os.environ, **_surroundings(folder)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        machine = Machine(_first_process(process, log))
        _await_boot(machine, log)
        yield machine
    finally:
        process.kill()  # takes the machine's first process with it, and that one all others
        process.wait()
        _remove_cgroups(cgroup)
        folder.rmdir()
        log.unlink()


def _unshare() -> list[str]:
    kinds = ["--mount", "--pid", "--fork", "--uts", "--ipc", "--net", "--cgroup"]
    return [
        "unshare",
        *kinds,
        "--kill-child=SIGKILL",
        "--propagation",
        "private",
        f"{HERE}/boot.sh",
    ]


def _surroundings(folder: Path) -> dict[str, str]:
    return {
        "WORK": str(folder),
        "MAKE": str(HERE / "fit_out.sh"),
        "BASE": sys.base_prefix,
        "SITE": str(SITE),
        "PACKAGE": str(ROOT / "miner"),
        "CONFIG": str(ROOT / "config"),
        "VERSION": VERSION,
    }


def _first_process(process: subprocess.Popen[bytes], log: Path) -> int:
    """Of the new namespaces, as soon as systemd has taken it over."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    deadline = time.monotonic() + BOOT_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        for pid in children.read_text().split():
            with contextlib.suppress(FileNotFoundError):
                if Path(f"/proc/{pid}/comm").read_text() == "systemd\n":
                    return int(pid)
        time.sleep(POLL_SECONDS)
    raise AssertionError(log.read_text())


def _await_boot(machine: Machine, log: Path) -> None:
    deadline = time.monotonic() + BOOT_SECONDS
    said = ""
    while time.monotonic() < deadline:
        said = machine.run("systemctl", "is-system-running", check=False).stdout.strip()
        if said in ("running", "degraded"):
            return
        time.sleep(POLL_SECONDS)
    raise AssertionError(f"{said}\n{log.read_text()}")


def _remove_cgroups(cgroup: Path) -> None:
    """From the leaves up; processes that were killed may take a moment to be gone."""
    deadline = time.monotonic() + BOOT_SECONDS
    while cgroup.exists() and time.monotonic() < deadline:
        for folder, _, _ in os.walk(cgroup, topdown=False):
            with contextlib.suppress(OSError):
                Path(folder).rmdir()
        time.sleep(POLL_SECONDS)
