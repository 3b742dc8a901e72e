"""Settings of the servers through which work comes: the validators' axon and the HTTP API.

Durations are seconds, sizes bytes.
"""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator

from miner.settings.section import Section

MIB = 1024 * 1024

DETECT = "detect"
"""In place of an address: find it out."""

Port = Annotated[int, Field(ge=0, le=65535)]
Seconds = Annotated[float, Field(gt=0, le=86_400)]


class ListenLimits(Section):
    """What a peer of one HTTP server may take up.

    Attributes:
        max_body_bytes: a longer body is refused before it is read.
        max_connections: open at once, from everywhere.
        max_connections_per_address: open at once, from one address.
        header_seconds: a connection without a whole request header after this long is closed; also
            how long an idle one is kept.
        body_seconds: a body that is not whole by then is refused.
    """

    max_body_bytes: int = Field(default=24 * MIB, ge=1024, le=1024 * MIB)
    max_connections: int = Field(default=1024, ge=1, le=65_536)
    max_connections_per_address: int = Field(default=128, ge=1, le=65_536)
    header_seconds: Seconds = 10.0
    body_seconds: Seconds = 20.0


class AxonSettings(ListenLimits):
    """The server that validators call. Port 0 takes any free one.

    Attributes:
        external_ip: the address under which validators reach it, to be published on the chain;
            "detect" asks public services for it; empty publishes nothing.
        external_port: the port under which they do; 0 is the one it listens on.
        publish: "auto" writes that address to the chain whenever another is found there, "never"
            leaves that to the operator.
        serve_prometheus: whether the address of the metrics is published as well.
    """

    host: str = "0.0.0.0"  # noqa: S104 - validators come from outside
    port: Port = 8091
    external_ip: str = ""
    external_port: Port = 0
    publish: Literal["auto", "never"] = "auto"
    serve_prometheus: bool = False

    @field_validator("external_ip")
    @classmethod
    def _is_address(cls, value: str) -> str:
        if value not in ("", DETECT):
            ipaddress.ip_address(value)
        return value


class ApiSettings(ListenLimits):
    """The HTTP API for the operator's own programs, and its page.

    Attributes:
        token_file: its first line is the token that every request must carry then; else systemd's
            credential ``api-token`` does. Without either nobody is asked.
        page: whether there is the operator's page; off loopback only where there is a token.
        competition: "2025" opens a port of its own for the subnet's competition of 2025: a picture
            and a seed in, one PLY in its frame out, one at a time.
        competition_host, competition_port: where; the subnet's judges call port 10006 from
            outside. Port 0 takes any free one.
    """

    host: str = "127.0.0.1"
    port: Port = 8093
    token_file: Path | None = None
    page: bool = True
    competition: Literal["off", "2025"] = "off"
    competition_host: str = "0.0.0.0"  # noqa: S104 - the judges come from outside
    competition_port: Port = 10006
    max_connections: int = Field(default=256, ge=1, le=65_536)
