"""Settings of the workers on Ray: the section ``[ray]`` of ``config/miner.toml``."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator

from miner.settings.section import Section

Seconds = Annotated[float, Field(gt=0, le=86_400)]


class RaySettings(Section):
    """Which cluster, how many workers, and what each asks for.

    Attributes:
        address: "" starts a cluster of this host alone, on its loopback address, that ends with
            the daemon; "auto" takes the one this host is a node of; "host:port" names its head.
        namespace: of our actors, where several programs share a cluster.
        workers: how many; 0 is one for each GPU of the cluster, or one for each node where the
            models run on CPUs.
        gpus_per_worker: a half lets two share a card; not asked for where the models run on CPUs.
        cpus_per_worker: also the threads that the numeric libraries of a worker take.
        memory_bytes: of the node, asked for each worker; 0 asks for none.
        start_seconds: for the cluster to start or to answer.
        silence_seconds: a cluster that does not answer for so long is taken to be lost.
        slow_factor: a worker whose jobs take so many times what those of the others do is
            replaced; 0 replaces none.
        slow_jobs: jobs of a worker that are looked at for that.
    """

    address: str = ""
    namespace: str = Field(default="splat-miner", min_length=1, max_length=100)
    workers: int = Field(default=0, ge=0, le=4096)
    gpus_per_worker: float = Field(default=1.0, gt=0, le=16)
    cpus_per_worker: float = Field(default=1.0, ge=0, le=256)
    memory_bytes: int = Field(default=0, ge=0)
    start_seconds: Seconds = 120.0
    silence_seconds: Seconds = 20.0
    slow_factor: float = Field(default=3.0, ge=0, le=100)
    slow_jobs: int = Field(default=8, ge=3, le=1000)

    @field_validator("address")
    @classmethod
    def _is_address(cls, value: str) -> str:
        host, colon, port = value.rpartition(":")
        if value not in ("", "auto") and not (host and colon and port.isdecimal()):
            raise ValueError('"", "auto" or the head\'s "host:port"')
        if value.startswith("ray://"):
            raise ValueError("the daemon's host must be a node of the cluster: no ray:// address")
        return value

    @field_validator("gpus_per_worker")
    @classmethod
    def _is_share(cls, value: float) -> float:
        if value > 1 and value != int(value):
            raise ValueError("above 1 only whole cards can be asked for")
        return value
