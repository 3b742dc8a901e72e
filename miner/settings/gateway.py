"""Settings of the intake that asks the subnet's gateways for work.

Durations are seconds.
"""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, StringConstraints, field_validator

from miner.settings.section import Section

Tag = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_-]{1,32}$")]

LOOPBACK = ("127.0.0.1", "::1", "localhost")
"""Hosts that may be asked without TLS: a gateway of one's own, as in tests."""


class GatewaySettings(Section):
    """Which gateways are asked, as whom, and how often.

    Attributes:
        urls: of the gateways, with their port, as in "https://gateway-eu.404.xyz:4443".
        worker_id: tells the workers of one hotkey apart.
        model: what is offered to be made, in the gateway's words.
        tags: of this worker, for tasks that want one.
        format: of the results. The subnet's gateways store what they are brought, and hand it on
            as SPZ; PLY is for a gateway of one's own.
        poll_seconds: between two questions to the same gateway.
        ahead: tasks that may wait here while all workers are busy; more are not asked for.
        call_seconds: a question that takes longer is given up.
        submit_seconds: likewise the submission of a result.
        task_seconds: a task lives no longer at the gateway; what is not delivered by then is
            forgotten.
        calls_per_minute: to all gateways together; they refuse more than 120 of one address.
    """

    urls: tuple[str, ...] = ()
    worker_id: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,64}$")] = "splat-miner"
    model: Annotated[str, StringConstraints(min_length=1, max_length=64)] = "404-3dgs"
    tags: tuple[Tag, ...] = ()
    format: Literal["ply", "spz"] = "spz"
    poll_seconds: Annotated[float, Field(ge=0.1, le=600)] = 5.0
    ahead: int = Field(default=1, ge=0, le=64)
    call_seconds: Annotated[float, Field(gt=0, le=600)] = 15.0
    submit_seconds: Annotated[float, Field(gt=0, le=600)] = 120.0
    task_seconds: Annotated[float, Field(gt=0, le=86_400)] = 600.0
    calls_per_minute: int = Field(default=100, ge=1, le=6000)

    @field_validator("urls")
    @classmethod
    def _are_addresses(cls, urls: tuple[str, ...]) -> tuple[str, ...]:
        for url in urls:
            parts = urlsplit(url)
            if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
                raise ValueError(f"{url!r} is no address such as https://gateway-eu.404.xyz:4443")
            if parts.scheme == "http" and parts.hostname not in LOOPBACK:
                raise ValueError(f"{url!r}: only https goes over a network")
            if parts.path.strip("/") or parts.query or parts.fragment:
                raise ValueError(f"{url!r}: only host and port, without a path")
        if len(set(urls)) != len(urls):
            raise ValueError("names a gateway twice")
        return tuple(url.rstrip("/") for url in urls)
