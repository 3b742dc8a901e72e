"""The validators' intake: synapses into jobs, and outcomes into synapses.

``Generate3D`` is answered on its connection: who leaves withdraws it. ``TGTask`` is a promise: it
is in the journal before the validator hears "IN QUEUE", and is worked off whether or not anybody
asks again; ``TGPoll`` asks. Who may call was decided by admission, what waits and runs is the
queue's business, and what a picture really holds turns out in the worker; here only its header is
read. One event loop; large base64 texts are made and read beside it.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from miner.admission.gate import Peer
from miner.errors import BadImage, BadOption, KnownTask, MalformedRequest, QueueFull
from miner.job import Asset, Failure, Format, Job, JobSpec, Outcome, new_job_id, own_seed
from miner.journal import Partition, Record
from miner.network import base64_text
from miner.network.protocol import Generate3D, PollStatus, TaskStatus, TGPoll, TGTask
from miner.network.synapse import Synapse
from miner.pipeline.image_header import MAX_BYTES, check_bytes, check_header
from miner.pipeline.prompts import clean_prompt
from miner.settings.daemon import QueueSettings

TASK_FORMAT: Format = "spz"
"""A task names no format; this is the subnet's. It names no seed either."""
MAX_TASK_ID_CHARACTERS = 128
"""Validators use UUIDs, of 36."""
MAX_IMAGE_CHARACTERS = MAX_BYTES // 3 * 4 + 4


class Ticket(Protocol):
    """A job that the queue took."""

    async def outcome(self) -> Outcome:
        """Waits for what becomes of it, no longer than to its deadline."""

    def leave(self) -> None:
        """Nobody waits for it any more."""


class Queue(Protocol):
    """What is needed of the queue."""

    async def submit(self, job: Job) -> Ticket:
        """Takes a job: it is in the journal when this returns.

        Raises:
            CapacityError: it was not taken.
            KnownTask: its task id was taken before.
        """


class ValidatorIntake:
    """Handlers for the synapses that validators send.

    Args:
        miner: our hotkey.

    Attributes:
        settings: may be replaced at any time; holds for what comes afterwards.
    """

    def __init__(
        self,
        queue: Queue,
        journal: Partition,
        settings: QueueSettings,
        miner: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._queue = queue
        self._miner = miner
        self._journal = journal
        self.settings = settings
        self._clock = clock

    def handlers(self) -> Mapping[type[Synapse], Callable[[Any, Peer], Awaitable[Synapse]]]:
        """By type of synapse: what answers it. Each fills in the synapse it is given."""
        return {Generate3D: self.generate, TGTask: self.offer, TGPoll: self.poll}

    # One shot

    async def generate(self, synapse: Generate3D, peer: Peer) -> Generate3D:
        """Has the splat made and answers with it, or at once where it was made before.

        Raises:
            BadPrompt, BadImage, BadOption: the request cannot be done as it stands.
            CapacityError: the queue did not take it.
            JobFailed: it was taken, and there is no splat; with the failure's code and status.
        """
        deadline = self._deadline(synapse.timeout)
        spec = await _spec(synapse)
        kept = await self._kept(peer.hotkey, spec)
        if kept is None:
            job = Job(new_job_id(), spec, peer.hotkey, "generate3d", deadline, priority=peer.stake)
            kept = job.id, await self._made(job)
        job_id, asset = kept
        synapse.results = await base64_text.encode(asset.data)
        synapse.generator = asset.generator
        synapse.gaussians = asset.gaussians
        synapse.timings = dict(asset.timings)
        synapse.score = asset.score
        self._journal.deliver(job_id)
        return synapse

    async def _kept(self, requester: str, spec: JobSpec) -> tuple[str, Asset] | None:
        """The id and asset of an equal job of the same requester, while its result is kept.

        The reply to the first request may have been lost; it is not made anew for that.
        """
        record = await self._journal.find_result(requester, spec.key)
        asset = None if record is None else await self._journal.asset(record.id)
        return None if record is None or asset is None else (record.id, asset)

    async def _made(self, job: Job) -> Asset:
        ticket = await self._queue.submit(job)
        try:
            outcome = await ticket.outcome()
        except BaseException:
            ticket.leave()
            raise
        if isinstance(outcome, Failure):
            outcome.raise_()
        assert isinstance(outcome, Asset)
        return outcome

    def _deadline(self, timeout_seconds: float | None) -> float:
        """When the caller must have its reply, less what the way there and back takes."""
        seconds = timeout_seconds if timeout_seconds and timeout_seconds > 0 else None
        if seconds is None:
            seconds = self.settings.default_timeout_seconds
        seconds = min(seconds, self.settings.max_timeout_seconds)
        return self._clock() + seconds - self.settings.deadline_margin_seconds

    # Push and poll

    async def offer(self, synapse: TGTask, peer: Peer) -> TGTask:
        """Takes a task on; an id that is known stays with the hotkey and prompt it came with first.

        ``status`` is "IN QUEUE" where the task is in hand, also from an earlier and equal offer;
        "ERROR_QUEUE_FULL" where it is not taken; None where the id stands for another task.

        Raises:
            BadPrompt, BadOption: prompt or id cannot be used.
            CapacityError: the queue takes nothing now, for another reason than being full.
        """
        if not _is_task_id(synapse.task_id):
            raise BadOption(f"task_id: 1 to {MAX_TASK_ID_CHARACTERS} printable characters")
        prompt = clean_prompt(synapse.prompt)
        job = Job(
            id=new_job_id(),
            spec=JobSpec(prompt=prompt, seed=own_seed(self._miner, prompt), format=TASK_FORMAT),
            requester=peer.hotkey,
            intake="tgtask",
            deadline=self._clock() + self.settings.default_timeout_seconds,
            priority=peer.stake,
            promised=True,
            task_id=synapse.task_id,
        )
        synapse.status = await self._promise(job, synapse.task_id)
        return synapse

    async def _promise(self, job: Job, task_id: str) -> TaskStatus | None:
        known = await self._journal.find_task(task_id)
        if known is None:
            try:
                await self._queue.submit(job)
                return "IN QUEUE"
            except QueueFull:
                return "ERROR_QUEUE_FULL"
            except KnownTask:
                # Offered twice at the same moment; the journal took the other one.
                known = await self._journal.find_task(task_id)
        if known is None or (known.requester, known.spec_key) != (job.requester, job.spec.key):
            return None
        return "IN QUEUE"

    async def poll(self, synapse: TGPoll, peer: Peer) -> TGPoll:
        """Says how a task stands; the result comes along as often as it is asked for while kept."""
        known = _is_task_id(synapse.task_id)
        record = await self._journal.find_task(synapse.task_id) if known else None
        synapse.results = None
        synapse.status = _standing(record, peer.hotkey)
        if synapse.status == "DONE":
            assert record is not None
            asset = await self._journal.asset(record.id)
            if asset is None:
                synapse.status = "NOT FOUND"
            else:
                synapse.results = await base64_text.encode(asset.data)
        if synapse.status in ("DONE", "FAILED"):
            assert record is not None
            self._journal.deliver(record.id)
        return synapse


def _standing(record: Record | None, hotkey: str) -> PollStatus:
    if record is None:
        return "NOT FOUND"
    if record.requester != hotkey:
        return "FORBIDDEN"
    states: dict[str, PollStatus] = {
        "queued": "IN QUEUE",
        "running": "IN PROGRESS",
        "done": "DONE",
        "failed": "FAILED",
    }
    return states[record.state]


async def _spec(synapse: Generate3D) -> JobSpec:
    if synapse.image is None:
        prompt = clean_prompt(synapse.prompt or "")
        return JobSpec(prompt=prompt, seed=synapse.seed, format=synapse.format)
    if synapse.prompt:
        raise BadOption("give a prompt or an image, not both")
    image = await _image(synapse.image)
    return JobSpec(image=image, seed=synapse.seed, format=synapse.format)


async def _image(text: str) -> bytes:
    if len(text) > MAX_IMAGE_CHARACTERS:
        check_bytes(len(text) // 4 * 3)
    try:
        data = await base64_text.decode(text)
    except MalformedRequest as error:
        raise BadImage(f"the image is {error}") from error
    check_header(data)
    return data


def _is_task_id(text: str) -> bool:
    return 0 < len(text) <= MAX_TASK_ID_CHARACTERS and text.isprintable()
