"""The subnet's messages: what is on the wire, and what is signed."""

from __future__ import annotations

import json
from base64 import b64decode
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miner.errors import MalformedRequest
from miner.network.subnet import (
    CONSENT,
    Feedback,
    GetVersion,
    ImageTask,
    PullTask,
    SubmitResults,
    TextTask,
    submission_message,
)
from miner.network.synapse import EMPTY_HASH, INPUT, request_headers

TEXT = st.text(st.characters(exclude_categories=["Cs"]))


def test_names_are_the_subnets() -> None:
    """The path of each message is the name that the subnet's validators serve."""
    submit = SubmitResults(results="", submit_time=1, signature="")
    names = [message.name for message in (PullTask(), submit, GetVersion())]

    assert names == ["PullTask", "SubmitResults", "GetVersion"]


def test_an_empty_pull_takes_the_protocols_defaults() -> None:
    """A validator that fills nothing in has no task, and asks for no wait."""
    pull = PullTask.decode(b"{}")

    assert (pull.task, pull.validation_threshold, pull.throttle_period) == (None, 0.6, 0)
    assert (pull.cooldown_until, pull.cooldown_violations) == (0, 0)


def test_required_fields_of_a_submission_travel_in_headers() -> None:
    """Official validators refuse a submission without the empty values of its required fields."""
    submit = SubmitResults(task_id="a", results="QUJD", submit_time=7, signature="c2ln")
    headers = request_headers(submit)
    empty = {
        name.removeprefix(INPUT): json.loads(b64decode(value))
        for name, value in headers.items()
        if name.startswith(INPUT)
    }

    assert empty == {"results": "", "submit_time": 0, "signature": ""}
    assert headers["computed_body_hash"] == EMPTY_HASH


@pytest.mark.parametrize("missing", ["results", "submit_time", "signature"])
def test_a_submission_without_a_required_field_is_malformed(missing: str) -> None:
    """Each of the three is demanded by name."""
    fields = {"results": "", "submit_time": 1, "signature": ""}
    del fields[missing]

    with pytest.raises(MalformedRequest, match=missing):
        SubmitResults.decode(json.dumps(fields).encode())


def test_a_task_without_a_type_is_a_text() -> None:
    """The older form of a task, without its tag, is still read."""
    pull = PullTask.decode(b'{"task": {"id": "a", "prompt": "a red cube"}}')

    assert pull.task == TextTask(id="a", prompt="a red cube")


@pytest.mark.parametrize(
    "task",
    [
        {"type": "video", "id": "a", "prompt": "b"},
        {"type": None, "id": "a", "prompt": "b"},
        {"type": "text", "id": "a"},
        {"type": "text", "id": 1, "prompt": "b"},
        {"type": "image", "prompt": "b"},
        ["text"],
        "text",
        7,
    ],
)
def test_a_task_that_is_none_is_malformed(task: object) -> None:
    """What is neither a text nor an image task is refused in one line and never half read."""
    with pytest.raises(MalformedRequest, match="task"):
        PullTask.decode(json.dumps({"task": task}).encode())


@given(st.builds(TextTask, id=TEXT, prompt=TEXT) | st.builds(ImageTask, id=TEXT, prompt=TEXT))
def test_tasks_come_back_as_they_went(task: TextTask | ImageTask) -> None:
    """Kind, id and prompt survive the wire to the last character: the prompt is signed."""
    assert PullTask.decode(PullTask(task=task).encode()).task == task


def test_feedback_comes_back_as_it_went() -> None:
    """A validator's feedback survives the wire."""
    feedback = Feedback(
        validation_failed=True,
        task_fidelity_score=0.75,
        average_fidelity_score=0.9,
        generations_within_the_window=12,
        current_duel_rating=1510.5,
        current_miner_reward=18126.0,
    )
    submit = SubmitResults(results="", submit_time=1, signature="", feedback=feedback)

    assert SubmitResults.decode(submit.encode()).feedback == feedback


def test_the_consent_is_the_protocols_to_the_byte() -> None:
    """Another comma, and every signature would be wrong."""
    assert len(CONSENT) == 199
    assert sha256(CONSENT.encode()).hexdigest() == (
        "4ce1b0e563e233282c91114687a4e08765cfc2b4e00ad94a13607352cd09ecc9"
    )


def test_the_signed_message_joins_its_parts_without_separators() -> None:
    """Consent, time in decimal, prompt, validator, miner; a prompt beyond ASCII as UTF-8."""
    message = submission_message(1_700_000_000_123_456_789, "Würfel", "5Validator", "5Miner")

    assert message == CONSENT.encode() + "1700000000123456789Würfel5Validator5Miner".encode()


def test_pictures_and_results_stay_out_of_logs() -> None:
    """Printing a message shows neither megabytes of picture nor of splat."""
    submit = SubmitResults(
        results="secret", submit_time=1, signature="", task=ImageTask(id="a", prompt="secret")
    )

    assert "secret" not in repr(submit)
