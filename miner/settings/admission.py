"""Settings of admission: who is let in, and how often. Durations are seconds."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from miner.settings.section import Section

Seconds = Annotated[float, Field(gt=0, le=86_400)]


class AdmissionSettings(Section):
    """Who is let in, and how often.

    Attributes:
        require_validator_permit: refuse hotkeys without one.
        min_stake: in the subnet's units (alpha); refuse hotkeys with less.
        allow: hotkeys let in whatever their stake and permit; they still sign, and keep the rates.
        deny: hotkeys refused always.
        requests_per_second_per_hotkey, burst_per_hotkey: a bucket for each.
        requests_per_second_per_address, burst_per_address: counted before anything is parsed.
        nonce_window_seconds: how old a nonce may be beyond the request's own timeout.
        max_nonce_timeout_seconds: the timeout a request names is taken for no more than this: it
            is not signed.
        future_skew_seconds: how far ahead of our clock a nonce may be.
        max_nonces: of the replay table, in all.
        max_peers_age_seconds: a snapshot of the peers older than this is not used.
    """

    require_validator_permit: bool = True
    min_stake: float = Field(default=1000.0, ge=0)
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    requests_per_second_per_hotkey: float = Field(default=20.0, gt=0)
    burst_per_hotkey: int = Field(default=200, ge=1)
    requests_per_second_per_address: float = Field(default=50.0, gt=0)
    burst_per_address: int = Field(default=500, ge=1)
    nonce_window_seconds: Seconds = 4.0
    max_nonce_timeout_seconds: Seconds = 60.0
    future_skew_seconds: Seconds = 4.0
    max_nonces: int = Field(default=100_000, ge=100)
    max_peers_age_seconds: Seconds = 7200.0
