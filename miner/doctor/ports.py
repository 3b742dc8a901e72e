"""The addresses to listen on: free, ours to take, and not named twice.

One that is taken stops a start, but for the axon of one identity among several: the others serve.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from miner.doctor.asking import in_thread
from miner.doctor.case import Case
from miner.doctor.finding import Finding, fail, ok, skip, together
from miner.errors import BindError
from miner.settings import DaemonSettings

ANYWHERE = ("0.0.0.0", "::", "")  # noqa: S104 - compared with, not bound to
FIRST_FREE_PORT = 1024
"""Lower ones are the system's, by custom."""

Door = tuple[str, str, int]
"""A server's name, host and port."""


async def look_at_ports(case: Case) -> Finding:
    """Each server of the settings; those that our own daemon holds are as they should be."""
    wanted = [door for door in doors(case.settings.daemon) if door[2]]
    if not wanted:
        return skip("every server takes any free port")
    held = () if case.starting else ports_of(await case.daemon())
    clash = [*twice(wanted)]
    if clash:
        return together(clash)
    single = len(case.settings.daemon.identities) == 1
    found = [(door[0], await in_thread(_check, door, held)) for door in wanted]
    return together([one if single or not _is_axon(name) else _alone(one) for name, one in found])


def doors(settings: DaemonSettings) -> Iterator[Door]:
    """The servers that these settings open."""
    for identity in settings.identities:
        if "axon" in identity.intakes:
            yield identity.server("axon"), identity.axon.host, identity.axon.port
    if "http" in settings.intakes:
        yield "api", settings.api.host, settings.api.port
        if settings.api.competition != "off":
            yield "competition", settings.api.competition_host, settings.api.competition_port
    if settings.metrics.enabled:
        yield "metrics", settings.metrics.host, settings.metrics.port


def ports_of(status: Mapping[str, Any] | None) -> tuple[int, ...]:
    """The ports on which a daemon says that it listens."""
    urls = (status or {}).get("addresses", {}).values()
    return tuple(port for url in urls if (port := urlsplit(str(url)).port))


def twice(wanted: list[Door]) -> Iterator[Finding]:
    """Two servers that could not both listen."""
    for number, (name, host, port) in enumerate(wanted):
        for other, other_host, other_port in wanted[:number]:
            same = host == other_host or host in ANYWHERE or other_host in ANYWHERE
            if port == other_port and same:
                line = f"{other} and {name} are both to listen on port {port}"
                yield fail(line, "", f"set another {name}.port", BindError)


def _is_axon(name: str) -> bool:
    return name.partition("/")[0] == "axon"


def _alone(finding: Finding) -> Finding:
    """The same of one identity among several: the others can do without it."""
    return replace(finding, stops=None)


def _check(door: Door, held: tuple[int, ...]) -> Finding:
    name, host, port = door
    error = bind_error(host, port)
    if error is None:
        return ok(f"{name} {port} is free")
    if error.errno == errno.EADDRINUSE and port in held:
        return ok(f"{name} {port} is our daemon's")
    reason = error.strerror or str(error)
    line = f"{name}: cannot listen on {host}:{port}: {reason}"
    if error.errno == errno.EADDRINUSE:
        return fail(line, "", f"see who does: ss -ltnp 'sport = :{port}'", BindError)
    if error.errno == errno.EACCES:
        mend = f"choose one from {FIRST_FREE_PORT} up, or give CAP_NET_BIND_SERVICE"
        return fail(line, "", mend, BindError)
    return fail(line, "", f"set another {name} host or port", BindError)


def bind_error(host: str, port: int) -> OSError | None:
    """Why nobody could listen there now; None where one could. Listens for no moment itself."""
    try:
        found = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        for family, kind, protocol, _, address in found:
            with socket.socket(family, kind, protocol) as one:
                if os.name == "posix":  # as asyncio does: a port just left is free
                    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                one.bind(address)
    except OSError as error:
        return error
    return None
