"""The signed client of the subnet's gateways: asks for tasks, and brings results.

One call, one answer or one error; whom to ask and when to try again is the caller's business.
HTTP/1.1 over TLS, the certificate checked. What comes back is bounded in size and time, and
redirects are not followed.
"""

from __future__ import annotations

import asyncio
import io
import json
import ssl
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, Self

import aiohttp

from miner.admission.signature import Signer
from miner.errors import GatewayRefused, GatewayUnavailable, MalformedRequest
from miner.job import Asset, Failure, Outcome
from miner.network.gateway.messages import Assignment, Offer, Signed, reason_text
from miner.settings.gateway import GatewaySettings

MAX_RESULT_BYTES: Final = 99 * 1024 * 1024
"""Gateways take 100 MiB in all; the rest is for the other fields."""
MAX_TASK_BYTES: Final = 4 * 1024 * 1024
"""Of one task: a picture of 2 MiB as base64 and what belongs to it."""
MAX_ANSWER_BYTES: Final = 1024 * 1024
"""Of an answer beside its tasks: the list of gateways."""
MAX_WORDS: Final = 200
"""Of what a gateway says about an error."""
MAX_RETRY_SECONDS: Final = 600.0
PASSING: Final = frozenset({408, 425, 429})
"""Statuses under 500 of calls that may succeed later. Above are those of a gateway that is
restarting, and of one that thinks that its clock and ours differ."""


class GatewayClient:
    """Calls gateways as one hotkey; to be entered before the first call.

    Args:
        keypair: the hotkey to call as.
        settings: who we are and how long a call may take.
        wall_clock: unix seconds, for the signatures.
        ssl_context: what certificates are believed; the system's when not given.
    """

    def __init__(
        self,
        keypair: Signer,
        settings: GatewaySettings,
        wall_clock: Callable[[], float] = time.time,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self._keypair = keypair
        self._settings = settings
        self._wall_clock = wall_clock
        self._ssl_context = ssl_context
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=self._ssl_context or True),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            headers={"Accept-Encoding": "identity"},
            timeout=aiohttp.ClientTimeout(total=None),  # each call has its own
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def get_tasks(self, url: str, count: int) -> Offer:
        """Asks one gateway for work.

        What it offers is assigned to us from then on. An answer that was lost on the way leaves
        tasks with us that we do not know of; they go back at the gateway after some time.

        Args:
            url: of the gateway, without a slash at the end.
            count: of tasks that we could take, at least 1.

        Raises:
            GatewayUnavailable: no usable answer; it may be asked again.
            GatewayRefused: it gives us nothing, as to hotkeys that it does not know.
        """
        signed = Signed.now(self._keypair, self._wall_clock())
        question = {
            "worker_hotkey": self._keypair.ss58_address,
            "worker_id": self._settings.worker_id,
            "timestamp": signed.timestamp,
            "signature": signed.signature,
            "requested_task_count": count,
            "model": self._settings.model,
            "worker_tags": list(self._settings.tags),
        }
        limit = MAX_ANSWER_BYTES + count * MAX_TASK_BYTES
        answer = await self._post(
            f"{url}/get_tasks", self._settings.call_seconds, limit, json=question
        )
        try:
            return Offer.read(await asyncio.to_thread(json.loads, answer))
        except (ValueError, RecursionError, MalformedRequest) as error:
            text = str(error).splitlines()[0]
            raise GatewayUnavailable(f"{url} answered what is no offer: {text}") from error

    async def add_result(self, assignment: Assignment, outcome: Outcome) -> None:
        """Brings what became of a task; the gateway has it when this returns.

        Bringing it twice does no harm: the second time changes nothing there.

        Raises:
            GatewayUnavailable: it is not known to have it; it may be tried again.
            GatewayRefused: it does not want it: the task is over, or not ours.
        """
        form = self._form(assignment, outcome)
        await self._post(
            f"{assignment.url}/add_result",
            self._settings.submit_seconds,
            MAX_ANSWER_BYTES,
            data=form,
        )

    def _form(self, assignment: Assignment, outcome: Outcome) -> aiohttp.FormData:
        """The fields in the order that gateways demand: the asset after all that vouches for it."""
        if isinstance(outcome, Asset) and len(outcome.data) > MAX_RESULT_BYTES:
            outcome = Failure("too_large", 500, "the result is larger than a gateway takes")
        signed = Signed.now(self._keypair, self._wall_clock())
        form = aiohttp.FormData(default_to_multipart=True)
        for name, text in (
            ("id", assignment.task_id),
            ("signature", signed.signature),
            ("timestamp", signed.timestamp),
            ("worker_hotkey", self._keypair.ss58_address),
            ("worker_id", self._settings.worker_id),
            ("assignment_token", assignment.token),
            ("status", "success" if isinstance(outcome, Asset) else "failure"),
        ):
            form.add_field(name, text)
        if isinstance(outcome, Asset):
            form.add_field(
                "asset",
                io.BytesIO(outcome.data),  # sent piece by piece, so that the loop goes on
                filename=f"result.{outcome.format}",
                content_type="application/octet-stream",
            )
        else:
            form.add_field("reason", reason_text(f"{outcome.code}: {outcome.message}"))
        return form

    async def _post(self, url: str, limit_seconds: float, max_bytes: int, **body: Any) -> bytes:
        assert self._session is not None, "to be entered first"
        try:
            async with (
                asyncio.timeout(limit_seconds),
                self._session.post(url, allow_redirects=False, **body) as response,
            ):
                data = await _read(response, max_bytes)
        except TimeoutError as error:
            raise GatewayUnavailable(f"{url} took longer than {limit_seconds:g} s") from error
        except (aiohttp.ClientError, OSError, UnicodeError) as error:
            text = str(error) or type(error).__name__
            raise GatewayUnavailable(f"{url} could not be asked: {text[:MAX_WORDS]}") from error
        if response.status == 200:
            return data
        words = f"{url} answered {response.status}: {_words(data)}"
        if response.status in PASSING or response.status >= 500:
            raise GatewayUnavailable(words, _retry_seconds(response))
        raise GatewayRefused(words)


async def _read(response: aiohttp.ClientResponse, max_bytes: int) -> bytes:
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise GatewayUnavailable(f"{response.url} answered in an encoding nobody asked for")
    data = bytearray()
    async for chunk in response.content.iter_any():
        data += chunk
        if len(data) > max_bytes:
            raise GatewayUnavailable(f"{response.url} answered more than {max_bytes} bytes")
    return bytes(data)


def _words(data: bytes) -> str:
    """The beginning of an answer, in one line."""
    text = data[: 4 * MAX_WORDS].decode("utf-8", "replace")
    return "".join(c if c.isprintable() else " " for c in text)[:MAX_WORDS].strip()


def _retry_seconds(response: aiohttp.ClientResponse) -> float:
    text = response.headers.get("Retry-After", "").strip()
    known = text.isascii() and text.isdecimal() and len(text) < 10
    return min(float(text), MAX_RETRY_SECONDS) if known else 0.0
