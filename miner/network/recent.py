"""What the operator's page shows beside the status: jobs, decisions, validators, pictures.

These pages name prompts and hotkeys. They read, but for signing in; looking at a result here does
not count as its delivery, so that it is kept as long as for the one who asked for it.
"""

from __future__ import annotations

from typing import Any

from aiohttp import web

from miner.errors import BadOption, MalformedRequest, UnknownRoute
from miner.job import Asset
from miner.network.forms import parse_form
from miner.network.journal_view import JobRecord
from miner.network.pictures import Pictures
from miner.network.replies import finite, json_reply
from miner.network.server import read_body
from miner.network.token import COOKIE, COOKIE_SECONDS, Guard
from miner.network.view import DaemonView, JobLine
from miner.network.web import SAFE
from miner.settings.listening import ListenLimits

JOB_PATTERN = "[0-9a-f]{32}"
DEFAULT_LISTED = 24
MAX_LISTED = 100
MAX_PEERS = 64
MAX_KIND_CHARACTERS = 40
SIGN_IN = "/session"

KEEP = {"Cache-Control": "private, max-age=86400"}
"""A job's result never changes."""


class Recent:
    """The pages.

    Args:
        view: the daemon behind them.
        guard: who may see them.
        limits: of the bodies they read.
        pictures: makes them.
    """

    def __init__(
        self, view: DaemonView, guard: Guard, limits: ListenLimits, pictures: Pictures
    ) -> None:
        self._view = view
        self._guard = guard
        self._limits = limits
        self._pictures = pictures

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Adds all of them."""
        job = f"/jobs/{{id:{JOB_PATTERN}}}"
        router.add_get("/jobs", self._jobs)
        router.add_get(job, self._job)
        router.add_get(f"{job}/picture", self._picture)
        router.add_get(f"{job}/splat", self._splat)
        router.add_get("/events", self._events)
        router.add_get("/validators", self._validators)
        router.add_post(SIGN_IN, self._sign_in)

    async def _jobs(self, request: web.Request) -> web.StreamResponse:
        self._guard.refuse_names(request)
        records = await self._view.journal.recent(_limit(request))
        lines = {line.id: line for line in self._view.queue.snapshot().jobs}
        return _reply({"jobs": [describe(one, lines.get(one.id)) for one in records]})

    async def _job(self, request: web.Request) -> web.StreamResponse:
        self._guard.refuse_names(request)
        record = await self._view.journal.find(request.match_info["id"])
        if record is None:
            raise UnknownRoute("there is no job of that id")
        jobs = self._view.queue.snapshot().jobs
        return _reply(describe(record, next((one for one in jobs if one.id == record.id), None)))

    async def _picture(self, request: web.Request) -> web.StreamResponse:
        job_id, asset = await self._asset(request)
        picture = await self._pictures.picture(job_id, asset)
        return web.Response(body=picture, content_type="image/png", headers={**SAFE, **KEEP})

    async def _splat(self, request: web.Request) -> web.StreamResponse:
        job_id, asset = await self._asset(request)
        if "original" in request.query:
            body, suffix = asset.data, asset.format
        else:
            body, suffix = await self._pictures.viewable(asset), asset.format
        name = f'attachment; filename="{job_id}.{suffix}"'
        headers = {**SAFE, **KEEP, "Content-Disposition": name}
        return web.Response(body=body, content_type="application/octet-stream", headers=headers)

    async def _asset(self, request: web.Request) -> tuple[str, Asset]:
        self._guard.refuse_names(request)
        job_id = request.match_info["id"]
        asset = await self._view.journal.asset(job_id)
        if asset is None:
            raise UnknownRoute("there is no such job, or its result is not there or kept any more")
        return job_id, asset

    async def _events(self, request: web.Request) -> web.StreamResponse:
        self._guard.refuse_names(request)
        kind = request.query.get("kind") or None
        if kind is not None and len(kind) > MAX_KIND_CHARACTERS:
            raise BadOption("there is no event of so long a kind")
        events = await self._view.journal.events(_limit(request), kind)
        lines = [{"at": one.at, "kind": one.kind, "detail": dict(one.detail)} for one in events]
        return _reply({"events": lines})

    async def _validators(self, request: web.Request) -> web.StreamResponse:
        self._guard.refuse_names(request)
        try:
            asked = [dict(line) for line in self._view.validators()]
        except UnknownRoute:
            asked = []
        return _reply({"asked": asked, "peers": permitted(self._view)})

    async def _sign_in(self, request: web.Request) -> web.StreamResponse:
        body = await read_body(request, self._limits)
        token = parse_form(request.headers.get("Content-Type", ""), body).text("token")
        if token is None:
            raise MalformedRequest("the form has no token")
        cookie = await self._guard.sign_in(token)
        response = _reply({"signed_in": True})
        response.set_cookie(
            COOKIE, cookie, max_age=COOKIE_SECONDS, httponly=True, samesite="Strict", path="/"
        )
        return response


def describe(record: JobRecord, line: JobLine | None) -> dict[str, Any]:
    """One job as JSON values; times in unix seconds.

    Args:
        record: of the journal.
        line: of the queue, while it is there.
    """
    return {
        "id": record.id,
        "identity": record.identity,
        "prompt": record.prompt,
        "seed": record.seed,
        "format": record.format,
        "intake": record.intake,
        "requester": record.requester,
        "state": record.state,
        "stage": line.stage if line else None,
        "steps": line.steps if line else None,
        "attempts": record.attempts,
        "code": record.code,
        "message": record.message,
        "generator": record.generator,
        "gaussians": record.gaussians,
        "bytes": record.bytes,
        "timings": {stage: finite(seconds) for stage, seconds in record.timings.items()},
        "score": finite(record.score),
        "candidates": record.candidates,
        "accepted_at": finite(record.accepted_at),
        "begun_at": finite(record.begun_at),
        "finished_at": finite(record.finished_at),
        "delivered_at": finite(record.delivered_at),
        "kept": record.kept,
    }


def permitted(view: DaemonView) -> list[dict[str, Any]]:
    """The validators of our subnets, most stake first."""
    known = (one.peers.peers.values() for one in view.identities if one.peers is not None)
    by_hotkey = {peer.hotkey: peer for peers in known for peer in peers if peer.validator_permit}
    permitted = sorted(by_hotkey.values(), key=lambda peer: -peer.stake)
    return [
        {"hotkey": peer.hotkey, "uid": peer.uid, "stake": finite(peer.stake)}
        for peer in permitted[:MAX_PEERS]
    ]


def _limit(request: web.Request) -> int:
    text = request.query.get("limit", str(DEFAULT_LISTED))
    if not text.isdecimal() or not text.isascii() or not 1 <= int(text[:9]) <= MAX_LISTED:
        raise BadOption(f"limit must be a number from 1 to {MAX_LISTED}")
    return int(text[:9])


def _reply(document: Any) -> web.Response:
    return json_reply(document, headers=SAFE)
