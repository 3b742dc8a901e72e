"""What one check found, and how findings are joined; nothing here looks at anything.

A finding is told in three pieces: the line says what is so, the reason why that matters, the mend
what to do. A failure may also stop the daemon's start; it then names the error to end with.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from miner.errors import MinerError, StartupError

Status = Literal["ok", "skip", "warn", "fail"]

SEVERITY: tuple[Status, ...] = ("skip", "ok", "warn", "fail")
"""Least first."""
FAILED = 1
STOPS = StartupError.exit_code


@dataclass(frozen=True)
class Finding:
    """One check's answer.

    Attributes:
        status: ``skip`` where there was nothing to look at, and the reason says why.
        line: what was seen, in one line.
        reason: why it matters; empty where the line says enough.
        mend: what to do about it, often a command.
        name: of the check; given by whoever ran it.
        stops: the error that a start ends with because of it.
    """

    status: Status
    line: str
    reason: str = ""
    mend: str = ""
    name: str = ""
    stops: type[StartupError] | None = None

    def named(self, name: str) -> Finding:
        """The same, as that check's."""
        return replace(self, name=name)

    def error(self) -> StartupError:
        """What a start ends with; only of a finding that stops it."""
        assert self.stops is not None
        return self.stops("; ".join(filter(None, (self.line, self.reason, self.mend))))

    def as_json(self) -> dict[str, str | bool]:
        """For programs; keys stay as they are."""
        return {
            "name": self.name,
            "status": self.status,
            "line": self.line,
            "reason": self.reason,
            "mend": self.mend,
            "stops_start": self.stops is not None,
        }


def ok(line: str) -> Finding:
    """All is well."""
    return Finding("ok", line)


def skip(line: str, reason: str = "") -> Finding:
    """There was nothing to look at."""
    return Finding("skip", line, reason)


def warn(line: str, reason: str = "", mend: str = "") -> Finding:
    """It works, and something should be mended."""
    return Finding("warn", line, reason, mend)


def fail(
    line: str, reason: str = "", mend: str = "", stops: type[StartupError] | None = None
) -> Finding:
    """Something does not work; with ``stops`` the daemon does not start."""
    return Finding("fail", line, reason, mend, stops=stops)


def of_error(error: MinerError) -> Finding:
    """An error as a finding: our texts say what is wrong, then how to mend it."""
    line, _, mend = one_line(str(error)).partition("; ")
    return fail(line, "", mend, type(error) if isinstance(error, StartupError) else None)


def together(findings: Sequence[Finding]) -> Finding:
    """Several as one: the worst speaks first, the others of its kind follow in the same line."""
    assert findings
    worst = max(findings, key=_severity)
    equal = [finding for finding in findings if _severity(finding) == _severity(worst)]
    return replace(
        worst,
        line=_joined(finding.line for finding in equal),
        reason=_joined(finding.reason for finding in equal),
        mend=_joined(finding.mend for finding in equal),
    )


def exit_status(findings: Iterable[Finding]) -> int:
    """0 where nothing failed, 78 where a failure stops the daemon's start, else 1."""
    failed = [finding for finding in findings if finding.status == "fail"]
    if any(finding.stops for finding in failed):
        return STOPS
    return FAILED if failed else 0


def one_line(text: str, longest: int = 400) -> str:
    """Foreign text as one line of bounded length, without characters that move a cursor."""
    words = " ".join(text.split())
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in words)[:longest]


def _severity(finding: Finding) -> tuple[int, bool]:
    return SEVERITY.index(finding.status), finding.stops is not None


def _joined(texts: Iterable[str]) -> str:
    return "; ".join(dict.fromkeys(filter(None, texts)))
