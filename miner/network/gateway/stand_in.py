"""A gateway for tests and demonstrations: strict where the real one is, and told what to hand out.

It checks what a worker sends as the subnet's gateway does: signature and its age, models, tags, the
names, number and order of a result's fields, the task's token. It keeps tasks and results in memory
and has no clients of its own. Faults can be ordered for the next calls.
"""

from __future__ import annotations

import base64
import binascii
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID, uuid4

from aiohttp import BodyPartReader, web

from miner.admission.signature import is_address, verify
from miner.network.gateway.messages import MAX_REASON_BYTES, TIMESTAMP_PREFIX

SIGNATURE_SECONDS: Final = 30
WORKERS_PER_TASK: Final = 3
MAX_BODY_BYTES: Final = 100 * 1024 * 1024
TAG_CHARACTERS: Final = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_-")
VOUCHING: Final = ("id", "signature", "timestamp", "worker_hotkey", "worker_id", "status")
"""Fields that must have come before an asset; an assignment token may have."""
FIELDS: Final = frozenset({*VOUCHING, "validator_hotkey", "assignment_token", "asset", "reason"})


class Refused(Exception):
    """A call is answered with this status and text."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


@dataclass
class Result:
    """What a worker brought."""

    hotkey: str
    worker_id: str
    status: str
    asset: bytes | None
    reason: str | None


@dataclass
class Task:
    """One task, to whom it was given, and what they brought.

    Attributes:
        tokens: by hotkey.
        results: by hotkey; the first counts.
    """

    id: str
    content: Mapping[str, Any]
    tokens: dict[str, str] = field(default_factory=dict)
    results: dict[str, Result] = field(default_factory=dict)


class StandIn:
    """The gateway.

    Args:
        models: that it knows.
        whitelist: hotkeys that may work; empty lets in all.
        wall_clock: unix seconds.

    Attributes:
        tasks: by id, in the order in which they are handed out.
        calls: every call so far: the page and the status of its answer.
        faults: statuses with which the next calls of a page are answered, whatever they are.
    """

    def __init__(
        self,
        models: tuple[str, ...] = ("404-3dgs",),
        whitelist: frozenset[str] = frozenset(),
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._models = models
        self._whitelist = whitelist
        self._wall_clock = wall_clock
        self.tasks: dict[str, Task] = {}
        self.calls: list[tuple[str, int]] = []
        self.faults: dict[str, list[int]] = {"get_tasks": [], "add_result": []}

    def add(self, **content: Any) -> Task:
        """A new task: ``prompt`` or ``image`` (base64), ``seed`` and what else it shall say."""
        task = Task(str(uuid4()), {"seed": 0, "model": self._models[0], **content})
        self.tasks[task.id] = task
        return task

    def application(self) -> web.Application:
        """A new application of both pages, for one call of ``serve``."""
        application = web.Application(client_max_size=MAX_BODY_BYTES)
        application.router.add_post("/get_tasks", self._page("get_tasks", self._get_tasks))
        application.router.add_post("/add_result", self._page("add_result", self._add_result))
        return application

    def _page(self, name: str, answer: Callable[[web.Request], Any]) -> Any:
        async def page(request: web.Request) -> web.StreamResponse:
            try:
                if self.faults[name]:
                    await request.read()
                    raise Refused(self.faults[name].pop(0), "as it was ordered")
                response: web.StreamResponse = await answer(request)
            except Refused as refused:
                response = web.Response(status=refused.status, text=str(refused))
            self.calls.append((name, response.status))
            return response

        return page

    # Handing out

    async def _get_tasks(self, request: web.Request) -> web.Response:
        try:
            question = json.loads(await request.read())
            hotkey = question["worker_hotkey"]
            worker_id, count = str(question["worker_id"]), int(question["requested_task_count"])
            models = question["model"]
            timestamp, signature = question["timestamp"], question["signature"]
            tags = list(question.get("worker_tags", []))
        except (ValueError, KeyError, TypeError) as error:
            raise Refused(400, f"Bad request: {error!r}") from error
        self._authorize(hotkey, timestamp, signature)
        models = [models] if isinstance(models, str) else models
        if not worker_id or not models or any(model not in self._models for model in models):
            raise Refused(400, "Bad request: worker_id or model")
        if any(not 0 < len(tag) <= 32 or set(tag) - TAG_CHARACTERS for tag in tags):
            raise Refused(400, "Bad request: worker_tags")
        given = [self._give(task, hotkey) for task in self._free(hotkey, models)[: max(0, count)]]
        return web.json_response({"tasks": given, "gateways": []})

    def _free(self, hotkey: str, models: list[str]) -> list[Task]:
        return [
            task
            for task in self.tasks.values()
            if hotkey not in task.tokens
            and len(task.tokens) < WORKERS_PER_TASK
            and not any(result.asset for result in task.results.values())
            and task.content["model"] in (*models, "unknown")
        ]

    def _give(self, task: Task, hotkey: str) -> dict[str, Any]:
        task.tokens[hotkey] = str(uuid4())
        return {"id": task.id, **task.content, "assignment_token": task.tokens[hotkey]}

    def _authorize(self, hotkey: Any, timestamp: Any, signature: Any) -> None:
        if not all(isinstance(text, str) for text in (hotkey, timestamp, signature)):
            raise Refused(400, "Bad request: not text")
        if not is_address(hotkey):
            raise Refused(400, "Bad request: Invalid worker_hotkey")
        if self._whitelist and hotkey not in self._whitelist:
            raise Refused(401, "Unauthorized request: Worker hotkey is not whitelisted")
        try:
            raw = base64.b64decode(signature, validate=True)
        except binascii.Error as error:
            raise Refused(500, "Internal Server Error: signature") from error
        seconds = timestamp.removeprefix(TIMESTAMP_PREFIX)
        if not (seconds.isascii() and seconds.isdecimal()) or seconds == timestamp:
            raise Refused(500, "Internal Server Error: timestamp")
        age = self._wall_clock() - int(seconds)
        if not 0 <= age <= SIGNATURE_SECONDS:
            raise Refused(500, f"Internal Server Error: timestamp is {age:.1f} s old")
        if not verify(hotkey, timestamp.encode(), raw):
            raise Refused(500, "Internal Server Error: signature does not hold")

    # Taking back

    async def _add_result(self, request: web.Request) -> web.Response:
        if not request.content_type.startswith("multipart/form-data"):
            raise Refused(400, "Bad request: Invalid content-type")
        found = await self._fields(request)
        if any(name not in found for name in VOUCHING):
            raise Refused(400, "Bad request: a field is missing")
        task = self._task_of(found)
        success = found["status"] == "success"
        if success != ("asset" in found) or (not success and "reason" not in found):
            raise Refused(400, "Bad request: asset or reason")
        task.results.setdefault(
            found["worker_hotkey"],
            Result(
                found["worker_hotkey"],
                found["worker_id"],
                found["status"],
                found.get("asset"),
                found.get("reason"),
            ),
        )
        return web.Response(text="Ok")

    async def _fields(self, request: web.Request) -> dict[str, Any]:
        """In the order in which they come: what vouches for an asset is checked before it is."""
        found: dict[str, Any] = {}
        async for part in await request.multipart():
            if not isinstance(part, BodyPartReader) or part.name not in FIELDS:
                raise Refused(400, "Bad request: Field error")
            name = "worker_hotkey" if part.name == "validator_hotkey" else part.name
            if name in found:
                raise Refused(400, f"Bad request: Duplicate {name} field")
            if name == "asset":
                if any(other not in found for other in VOUCHING):
                    raise Refused(400, "Bad request: Asset field must come after")
                self._task_of(found)
            raw = bytes(await part.read())
            if name == "reason" and len(raw) > MAX_REASON_BYTES:
                raise Refused(400, "Bad request: reason is too long")
            found[name] = raw if name == "asset" else raw.decode()
        return found

    def _task_of(self, found: Mapping[str, Any]) -> Task:
        if found["status"] not in ("success", "failure"):
            raise Refused(400, "Bad request: Invalid status")
        self._authorize(found["worker_hotkey"], found["timestamp"], found["signature"])
        try:
            task = self.tasks.get(str(UUID(found["id"])))
            token = str(UUID(found.get("assignment_token", "")))
        except ValueError as error:
            raise Refused(400, "Bad request: Invalid id format") from error
        if task is None:
            raise Refused(410, '{"error": "task_context_unavailable"}')
        if task.tokens.get(found["worker_hotkey"]) != token:
            raise Refused(401, "Unauthorized request: Worker hotkey is not assigned to task")
        return task
