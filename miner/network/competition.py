"""The contract of the subnet's competition of 2025: a picture and a seed in, one PLY out.

``POST /generate`` takes a form with a file ``prompt_image_file`` and a number ``seed``, and
``GET /health`` says {"status": "healthy"}. The judges measure until the header of the answer comes,
so there is none before the splat is done. They ask one thing after another, and one thing at a time
is what is worked on. Their renderer has +Y down and looks at the front from -Z: the splat is turned
by half about X. Nobody signs; the queue behind it is everybody's.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from aiohttp import web

from miner import encoder
from miner.errors import BadOption, BadOutput
from miner.geometry.turning import half_turn_about_x
from miner.job import Asset, Job, JobSpec, new_job_id
from miner.logs import bound_job
from miner.network.api import healthy, made
from miner.network.forms import Form, parse_form
from miner.network.generate_form import read_order
from miner.network.replies import covering
from miner.network.server import read_body
from miner.network.view import DaemonView
from miner.settings.daemon import QueueSettings
from miner.settings.listening import ListenLimits

COMPETITION = "competition"
"""The requester and intake of every job from here, and the server's name."""

MAX_ANSWER_BYTES = 200_000_000
"""The judges take no larger file."""


def competition_application(view: DaemonView, limits: ListenLimits) -> web.Application:
    """A new application of both pages, for one call of ``serve``.

    Args:
        view: the daemon behind them.
        limits: of the bodies they read.
    """
    return Competition(view, limits).application()


class Competition:
    """The pages.

    Args:
        view: the daemon behind them.
        limits: of the bodies they read.
        clock: monotonic seconds.
    """

    def __init__(
        self, view: DaemonView, limits: ListenLimits, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._view = view
        self._limits = limits
        self._clock = clock
        self._turn = asyncio.Lock()

    def application(self) -> web.Application:
        """A new application of both pages."""
        application = web.Application(middlewares=[covering(COMPETITION, self._view.metrics)])
        for path in ("/generate", "/generate/"):
            application.router.add_post(path, self._generate)
        application.router.add_get("/health", self._health)
        return application

    async def _generate(self, request: web.Request) -> web.StreamResponse:
        body = await read_body(request, self._limits)
        form = parse_form(request.headers.get("Content-Type", ""), body)
        spec = _spec(form, self._view.queue_settings)
        async with self._turn:
            job = Job(
                new_job_id(),
                spec,
                requester=COMPETITION,
                intake=COMPETITION,
                deadline=self._clock() + self._view.queue_settings.default_timeout_seconds,
            )
            with bound_job(job.id):
                asset = await made(await self._view.queue.submit(job))
            data = await asyncio.to_thread(in_their_frame, asset)
        response = web.Response(body=data, content_type="application/octet-stream")
        await response.prepare(request)
        await response.write_eof()
        self._view.journal.deliver(job.id)
        return response

    async def _health(self, request: web.Request) -> web.StreamResponse:
        return healthy(self._view)


def in_their_frame(asset: Asset, max_bytes: int = MAX_ANSWER_BYTES) -> bytes:
    """A PLY file of the splat as their renderer wants it turned; half a second for a million.

    Raises:
        BadOutput: it is larger than the judges take.
    """
    data = encoder.encode(half_turn_about_x(encoder.decode(asset.data)), "ply")
    if len(data) > max_bytes:
        raise BadOutput("encode", f"{len(data)} bytes are more than the competition takes")
    return data


def _spec(form: Form, settings: QueueSettings) -> JobSpec:
    if form.file("prompt_image_file") is None:
        raise BadOption("the form has no prompt_image_file")
    if form.text("format") not in (None, "ply"):
        raise BadOption("the competition takes ply and nothing else")
    return read_order(form, settings).spec
