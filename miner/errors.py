"""The one tree of errors, and nothing else; every other module may import this one.

    MinerError
      StartupError      the operator must mend something before the program can run
        ConfigError     a setting, preset or configuration file is wrong
        WeightsError    a weight file is missing, damaged or gated
        DeviceError     the device asked for is not there or cannot do what was asked
        WarmupError     the models loaded and could not do a first job
        JournalError    the journal is held by another daemon, damaged or not writable
        BindError       an address to listen on is taken or not ours
      ControlError      a running daemon could not be asked, or refused
      ChannelError      the process at the other end has gone, or sent nonsense
      ChainError        the chain did not answer, refused, or answered nonsense; tried again later
      GatewayError      a gateway of the subnet did not do what we asked
        GatewayUnavailable  unreachable, slow, busy or broken: the same call may succeed later
        GatewayRefused  it will not do it, however often it is asked
      RequestError      the caller must change something and may then come back
        MalformedRequest  not HTTP, JSON or a synapse as the protocol wants it
        UnknownRoute    no synapse, job or page of that name
        Unsigned        no signature, nonce or hotkey
        Unauthorized    the HTTP API's token is missing or another
        NotVerified     signature, nonce, receiver or body hash do not hold
        NotPermitted    the hotkey is not registered, permitted, staked enough, or is denied
        PayloadTooLarge the body or header is over the limit
        RateLimited     too many requests of this hotkey or address
        TooSlow         the body did not arrive in time
        BadPrompt       empty, too long, control characters, not UTF-8
        BadImage        unreadable, unsafe, wrong type or too large a picture
        BadAsset        a splat file that is truncated, oversized or not what it says it is
        BadOption       an unknown format or a number out of its range
        KnownTask       a task of that id was accepted before; its first owner keeps it
      CapacityError     the caller may come back later, or ask another miner
        QueueFull       as many jobs wait as may
        Draining        the daemon is stopping
        NotReady        models are still loading, or no worker is alive
        DeadlineTooShort  it could not be done in time, by what jobs have been taking
        JournalUnavailable  the disk takes no writing now, so nothing can be promised
      OutputError       the result exists and cannot be put where the caller wants it
      JobError          accepted, then not finished: our side
        JobFailed       an outcome of the journal, raised again: code and status as they were
        JobCancelled    whoever asked for the job withdrew it
        DeadlineExceeded  its deadline passed before it was done
        WorkerLost      the worker died, hung or was killed under the job
        StageError      carries the name of the stage
          OutOfMemory   the device ran out of memory in that stage
          BadOutput     the stage ran and what it made is not usable

Each class fixes a stable ``code`` (on the wire, in logs and as a metric label), an HTTP ``status``
and a process ``exit_code``. The text of an error is one line for a person, and says how to mend it
where that is known; private detail travels in the exception's cause.
"""

from __future__ import annotations

from typing import ClassVar


class MinerError(Exception):
    """Base of everything this program raises on purpose."""

    code: ClassVar[str] = "internal"
    status: ClassVar[int] = 500
    exit_code: ClassVar[int] = 70  # EX_SOFTWARE


class StartupError(MinerError):
    """The program cannot run until the operator mends something; never restarted (EX_CONFIG)."""

    code = "startup"
    status = 503
    exit_code = 78


class ConfigError(StartupError):
    """A setting, preset or configuration file is wrong."""

    code = "config"


class WeightsError(StartupError):
    """A weight file is missing, damaged, gated or not the one the manifest names."""

    code = "weights"


class DeviceError(StartupError):
    """The device asked for is not there, or cannot do what was asked of it."""

    code = "device"


class WarmupError(StartupError):
    """The models loaded, and a first small job failed."""

    code = "warm_up"


class JournalError(StartupError):
    """The journal is held by another daemon, damaged, of a newer version, or not writable."""

    code = "journal"


class BindError(StartupError):
    """An address to listen on is taken, not this machine's, or not allowed."""

    code = "bind"


class ControlError(MinerError):
    """The running daemon could not be asked, or refused (EX_UNAVAILABLE)."""

    code = "control"
    status = 409
    exit_code = 69


class ChannelError(MinerError):
    """The process at the other end of the channel has gone, or sent what is no message."""

    code = "channel"


class GatewayError(MinerError):
    """A gateway of the subnet did not do what we asked of it."""

    code = "gateway"
    status = 502


class GatewayUnavailable(GatewayError):
    """It could not be reached, was too slow or busy, or broke: the same call may succeed later.

    Attributes:
        retry_seconds: how long it wants not to be called, where it said so, else 0.
    """

    code = "gateway_unavailable"

    def __init__(self, message: str, retry_seconds: float = 0.0) -> None:
        super().__init__(message)
        self.retry_seconds = retry_seconds


class GatewayRefused(GatewayError):
    """It will not do it, however often it is asked."""

    code = "gateway_refused"


class ChainError(MinerError):
    """The chain did not answer in time, refused, or answered nonsense; it is tried again later."""

    code = "chain"
    status = 503
    exit_code = 75


class RequestError(MinerError):
    """The caller must change the request."""

    code = "bad_request"
    status = 400
    exit_code = 2


class MalformedRequest(RequestError):
    """The request is not HTTP, JSON or a synapse as the protocol wants it."""

    code = "malformed"


class UnknownRoute(RequestError):
    """There is no synapse, job or page of that name."""

    code = "not_found"
    status = 404


class Unsigned(RequestError):
    """The request carries no signature, nonce or hotkey."""

    code = "unsigned"
    status = 401


class NotVerified(RequestError):
    """Signature, nonce, receiver or body hash do not hold."""

    code = "not_verified"
    status = 401


class Unauthorized(RequestError):
    """The HTTP API wants its token, and the request has none or another."""

    code = "unauthorized"
    status = 401


class NotPermitted(RequestError):
    """The hotkey is not registered, has no permit or too little stake, or is denied."""

    code = "not_permitted"
    status = 403


class PayloadTooLarge(RequestError):
    """The body or header is over the limit."""

    code = "too_large"
    status = 413


class RateLimited(RequestError):
    """Too many requests of this hotkey or address."""

    code = "rate_limited"
    status = 429


class TooSlow(RequestError):
    """The body did not arrive in time."""

    code = "too_slow"
    status = 408


class BadPrompt(RequestError):
    """The prompt is empty, too long, not text or holds control characters."""

    code = "bad_prompt"


class BadImage(RequestError):
    """The picture is unreadable, unsafe, of the wrong type or too large."""

    code = "bad_image"


class BadAsset(RequestError):
    """A splat file is truncated, oversized, or not what it says it is."""

    code = "bad_asset"


class BadOption(RequestError):
    """An option names something unknown, or a number is out of its range."""

    code = "bad_option"


class KnownTask(RequestError):
    """A task of that id was accepted before; its first owner keeps it."""

    code = "known_task"
    status = 409


class CapacityError(MinerError):
    """The caller may come back later, or ask another miner; nothing was accepted (EX_TEMPFAIL)."""

    code = "capacity"
    status = 503
    exit_code = 75


class QueueFull(CapacityError):
    """As many jobs wait as may."""

    code = "queue_full"


class Draining(CapacityError):
    """The daemon is stopping and takes nothing new."""

    code = "draining"


class NotReady(CapacityError):
    """Models are still loading, or no worker is alive."""

    code = "not_ready"


class DeadlineTooShort(CapacityError):
    """By what jobs have been taking, it could not be done in time."""

    code = "deadline_too_short"


class JournalUnavailable(CapacityError):
    """The disk under the journal takes no writing at the moment, so nothing can be promised."""

    code = "journal_unavailable"


class OutputError(MinerError):
    """The result cannot be written where the caller wants it (EX_CANTCREAT)."""

    code = "output"
    exit_code = 73


class JobError(MinerError):
    """The job was accepted and could not be finished."""

    code = "job"


class JobCancelled(JobError):
    """Whoever asked for the job withdrew it while it ran."""

    code = "cancelled"
    status = 503


class JobFailed(JobError):
    """A job's recorded failure, raised again for whoever asked.

    Attributes:
        code, status: of the failure; the class's own are not used.
    """

    def __init__(self, message: str, code: str, status: int) -> None:
        super().__init__(message)
        self.code = code  # type: ignore[misc]  # the one class whose code is data
        self.status = status  # type: ignore[misc]


class DeadlineExceeded(JobError):
    """The job's deadline passed before it was done."""

    code = "deadline_exceeded"
    status = 504


class WorkerLost(JobError):
    """The worker died, hung or was killed while it did the job."""

    code = "worker_lost"


class StageError(JobError):
    """A stage of the pipeline failed.

    Attributes:
        stage: the stage's name, as in the timings and metrics.
    """

    code = "stage"

    def __init__(self, stage: str, message: str) -> None:
        super().__init__(f"{stage}: {message}")
        self.stage = stage


class OutOfMemory(StageError):
    """The device ran out of memory in this stage."""

    code = "out_of_memory"


class BadOutput(StageError):
    """The stage ran, and what it made cannot be used (empty mask, no surface, invalid splat)."""

    code = "bad_output"
