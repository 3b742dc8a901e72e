"""The HTTP API for the operator's own programs: a form goes in, a splat comes out.

It keeps the contract of the text-to-3D service that subnet miners call (``POST /generate/`` with a
field ``prompt``, raw PLY back), and takes a picture as well. Nobody signs here: it listens where
only the operator's programs reach it, and behind it is the same queue.

``network/openapi.py`` describes every page; a test holds the two together.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable

from aiohttp import web

from miner.errors import JobFailed, UnknownRoute
from miner.job import MAX_SEED, Asset, Failure, Job, JobSpec, new_job_id
from miner.logs import bound_job
from miner.network.forms import parse_form
from miner.network.generate_form import Order, read_order
from miner.network.health import add_health_routes
from miner.network.openapi import document
from miner.network.pictures import Pictures
from miner.network.recent import JOB_PATTERN, SIGN_IN, Recent
from miner.network.replies import RETRY_SECONDS, covering, json_reply
from miner.network.server import read_body
from miner.network.status import status
from miner.network.token import Guard
from miner.network.view import DaemonView, TicketView, why_not_ready
from miner.network.web import PUBLIC, Page, read_files
from miner.settings.listening import ApiSettings, ListenLimits

LOCAL = "local"
"""The requester of every job from here."""

BENCHMARK_PROMPT = "a red cube"

DEFAULT_LIMITS = ApiSettings()

OPEN_ROUTES = ("/health", "/healthz", "/readyz", SIGN_IN, *PUBLIC)
"""What is answered without the token: what watchers ask, and the page that asks for it."""


def api_application(
    view: DaemonView,
    name: str = "api",
    limits: ListenLimits = DEFAULT_LIMITS,
    token: str | None = None,
    page: bool = True,
) -> web.Application:
    """A new application of all pages, for one call of ``serve``.

    Args:
        view: the daemon behind them.
        name: of the server, in metrics and logs.
        limits: of the bodies they read.
        token: that every request must carry; None asks nobody.
        page: whether the operator's page and what it shows are there.
    """
    return Api(view, limits, guard=Guard(token), page=page).application(name)


class Api:
    """The pages.

    Args:
        view: the daemon behind them.
        limits: of the bodies they read.
        clock: monotonic seconds.
        guard: who may use them.
        page: whether the operator's page and what it shows are there.
    """

    def __init__(
        self,
        view: DaemonView,
        limits: ListenLimits,
        clock: Callable[[], float] = time.monotonic,
        *,
        guard: Guard | None = None,
        page: bool = True,
    ) -> None:
        self._view = view
        self._limits = limits
        self._clock = clock
        self._guard = guard or Guard()
        self._page = page
        self._openapi = document(view.version)

    def application(self, name: str = "api") -> web.Application:
        """A new application of all pages, for one call of ``serve``; the name is the metrics'."""
        guarded = self._guard.middleware(OPEN_ROUTES)
        application = web.Application(middlewares=[covering(name, self._view.metrics), guarded])
        router = application.router
        for path in ("/generate", "/generate/"):
            router.add_post(path, self._generate)
        router.add_get(f"/results/{{id:{JOB_PATTERN}}}", self._result)
        router.add_post("/benchmark", self._benchmark)
        router.add_get("/health", self._health)
        router.add_get("/status", self._status)
        router.add_get("/openapi.json", self._describe)
        add_health_routes(application, self._view)
        if self._page:
            Recent(self._view, self._guard, self._limits, Pictures()).add_routes(router)
            Page(self._guard, read_files()).add_routes(router)
        return application

    async def _generate(self, request: web.Request) -> web.StreamResponse:
        body = await read_body(request, self._limits)
        form = parse_form(request.headers.get("Content-Type", ""), body)
        order = read_order(form, self._view.queue_settings)
        later = _wants_no_wait(request)
        job = self._job(order, "api", promised=later)
        with bound_job(job.id):
            ticket = await self._view.queue.submit(job)
            if later:
                return _accepted(job.id, "queued")
            asset = await made(ticket)
            return await self._send(request, job.id, asset, own=True)

    async def _result(self, request: web.Request) -> web.StreamResponse:
        job_id = request.match_info["id"]
        record = await self._view.journal.find(job_id)
        if record is None:
            raise UnknownRoute("there is no job of that id")
        if record.state in ("queued", "running"):
            return _accepted(job_id, record.state)
        if record.state == "failed":
            raise JobFailed(
                record.message or "the job failed", record.code or "job", record.status or 500
            )
        asset = await self._view.journal.asset(job_id)
        if asset is None:
            raise UnknownRoute("the job is done, and its result is not kept any more")
        return await self._send(request, job_id, asset, own=record.requester == LOCAL)

    async def _benchmark(self, request: web.Request) -> web.StreamResponse:
        # A seed of its own: an equal job in flight would be joined, and measure something else.
        spec = JobSpec(prompt=BENCHMARK_PROMPT, seed=secrets.randbelow(MAX_SEED))
        timeout = self._view.queue_settings.default_timeout_seconds
        job = self._job(Order(spec, timeout), "benchmark")
        begun = self._clock()
        with bound_job(job.id):
            asset = await made(await self._view.queue.submit(job))
        report = {
            "id": job.id,
            "prompt": spec.prompt,
            "seconds": round(self._clock() - begun, 6),
            "generator": asset.generator,
            "gaussians": asset.gaussians,
            "bytes": len(asset.data),
            "timings": {stage: round(seconds, 6) for stage, seconds in asset.timings.items()},
        }
        self._view.journal.deliver(job.id)
        return json_reply(report)

    async def _health(self, request: web.Request) -> web.StreamResponse:
        return healthy(self._view)

    async def _status(self, request: web.Request) -> web.StreamResponse:
        return json_reply(status(self._view, self._clock()))

    async def _describe(self, request: web.Request) -> web.StreamResponse:
        return json_reply(self._openapi)

    def _job(self, order: Order, intake: str, promised: bool = False) -> Job:
        return Job(
            new_job_id(),
            order.spec,
            requester=LOCAL,
            intake=intake,
            deadline=self._clock() + order.timeout_seconds,
            promised=promised,
        )

    async def _send(
        self, request: web.Request, job_id: str, asset: Asset, own: bool
    ) -> web.StreamResponse:
        """Sends the file; only when it is out does the journal hear that it was delivered."""
        response = web.Response(body=asset.data, headers=_describing(job_id, asset))
        await response.prepare(request)
        await response.write_eof()
        if own and request.method != "HEAD":
            self._view.journal.deliver(job_id)
        return response


def healthy(view: DaemonView) -> web.Response:
    """What the callers of old look for: the word, or a status that is not 200."""
    if why_not_ready(view):
        return json_reply({"status": "unhealthy"}, 503)
    return json_reply({"status": "healthy"})


async def made(ticket: TicketView) -> Asset:
    """The job's asset; whoever stops waiting has left it.

    Raises:
        JobFailed: it has none.
    """
    try:
        outcome = await ticket.outcome()
    except asyncio.CancelledError:
        ticket.leave()  # the client has gone
        raise
    if isinstance(outcome, Failure):
        raise JobFailed(outcome.message, code=outcome.code, status=outcome.status)
    return outcome


def _wants_no_wait(request: web.Request) -> bool:
    """Whether the client asks, by RFC 7240, for an answer at once."""
    preferences = ",".join(request.headers.getall("Prefer", []))
    return any(part.strip().lower() == "respond-async" for part in preferences.split(","))


def _accepted(job_id: str, state: str) -> web.Response:
    headers = {"Location": f"/results/{job_id}", "Retry-After": str(RETRY_SECONDS)}
    return json_reply({"id": job_id, "state": state}, 202, headers)


def _describing(job_id: str, asset: Asset) -> dict[str, str]:
    return {
        "Content-Type": "application/octet-stream",
        "Content-Disposition": f'attachment; filename="{job_id}.{asset.format}"',
        "Cache-Control": "no-store",
        "Miner-Job": job_id,
        "Miner-Generator": asset.generator,
        "Miner-Gaussians": str(asset.gaussians),
        "Miner-Seconds": f"{sum(asset.timings.values()):.3f}",
    }
