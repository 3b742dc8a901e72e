"""What an operator is shown of the validators: one line for each, as plain values."""

from __future__ import annotations

from typing import Any

from miner.admission.peers import Peer
from miner.network.puller.book import Entry
from miner.network.puller.clocks import Moment


def readings(entry: Entry, now: Moment) -> dict[str, float | None]:
    """What the metrics show of a validator."""
    feedback = entry.feedback
    return {
        "cooldown": entry.cooldown.left(now),
        "average": None if feedback is None else feedback.average_fidelity_score,
        "rating": None if feedback is None else feedback.current_duel_rating,
        "reward": None if feedback is None else feedback.current_miner_reward,
    }


def line(
    hotkey: str, entry: Entry, peer: Peer | None, state: str | None, now: Moment
) -> dict[str, Any]:
    """One validator; durations in seconds.

    Args:
        hotkey: of the validator.
        entry: what the book knows of it.
        peer: as it is in the subnet; None where it has left, or may not be asked.
        state: of its visit, where there is one.
        now: both clocks.
    """
    feedback = entry.feedback
    left = entry.cooldown.left(now)
    if state is None:
        state = "away" if peer is None else "cooldown" if left else "ready"
    return {
        "hotkey": hotkey,
        "uid": None if peer is None else peer.uid,
        "stake": None if peer is None else peer.stake,
        "state": state,
        "cooldown_seconds": round(left, 1),
        "task": entry.task_id,
        "pulls": entry.pulls,
        "tasks": entry.tasks,
        "accepted": entry.accepted,
        "rejected": entry.rejected,
        "skipped": entry.skipped,
        "unknown": entry.unknown,
        "failures": entry.failures,
        "violations": entry.violations,
        "score": None if feedback is None else feedback.task_fidelity_score,
        "average_score": None if feedback is None else feedback.average_fidelity_score,
        "rating": None if feedback is None else feedback.current_duel_rating,
        "reward": None if feedback is None else feedback.current_miner_reward,
        "last_error": entry.last_error,
    }
