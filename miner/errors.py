"""The one tree of errors, and nothing else; every other module may import this one.

    MinerError
      StartupError      the operator must mend something before the program can run
        ConfigError     a setting, preset or configuration file is wrong
        WeightsError    a weight file is missing, damaged or gated
        DeviceError     the device asked for is not there or cannot do what was asked
      RequestError      the caller must change something and may then come back
        BadPrompt       empty, too long, control characters, not UTF-8
        BadImage        unreadable, unsafe, wrong type or too large a picture
        BadAsset        a splat file that is truncated, oversized or not what it says it is
        BadOption       an unknown format or a number out of its range
      OutputError       the result exists and cannot be put where the caller wants it
      JobError          accepted, then not finished: our side
        JobCancelled    whoever asked for the job withdrew it
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


class RequestError(MinerError):
    """The caller must change the request."""

    code = "bad_request"
    status = 400
    exit_code = 2


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
