"""Values on their way between the daemon and a worker."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miner import errors
from miner.errors import ChannelError, JobFailed, MinerError, StageError, StartupError
from miner.job import MAX_SEED, Asset, JobSpec, Plan
from miner.workers.channel import Message, pack, unpack_head
from miner.workers.messages import (
    ERROR,
    FAILED,
    done_message,
    error_message,
    job_message,
    read_asset,
    read_error,
    read_job,
    read_startup_error,
)

sources = st.builds(lambda text: {"prompt": text}, st.text()) | st.builds(
    lambda data: {"image": data}, st.binary(max_size=50)
)
LEAVES = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, MinerError) and kind is not JobFailed
]


def over_the_wire(message: Message) -> Message:
    """The message as the other end reads it."""
    return Message(unpack_head(pack(message)[12:]), message.payload)


steps = st.lists(st.text(), max_size=2).map(tuple)
plans = st.builds(
    Plan,
    generator=st.text(),
    fallback=st.text(),
    seconds=st.none() | st.floats(0, 1e6),
    least_seconds=st.floats(0, 1e6),
    steps=steps,
    spare_steps=steps,
    free_seconds=st.none() | st.floats(0, 1e6),
)


@given(st.integers(1), sources, st.integers(0, MAX_SEED), st.sampled_from(["ply", "spz"]), plans)
def test_jobs_arrive_as_they_were(
    number: int, source: dict, seed: int, format: str, plan: Plan
) -> None:
    """A spec and its plan are equal to themselves at the other end, however empty."""
    spec = JobSpec(**source, seed=seed, format=format)

    assert read_job(over_the_wire(job_message(number, spec, plan))) == (number, spec, plan)


@given(
    st.builds(
        Asset,
        data=st.binary(max_size=50),
        format=st.sampled_from(["ply", "spz"]),
        gaussians=st.integers(0, 10**6),
        generator=st.text(),
        timings=st.dictionaries(st.text(), st.floats(0, 1e6), max_size=4),
        cause=st.text(),
        steps=st.lists(st.text(), max_size=2).map(tuple),
        score=st.none() | st.floats(0, 1),
        candidates=st.integers(1, 32),
    )
)
def test_assets_arrive_as_they_were(asset: Asset) -> None:
    """An asset is equal to itself at the other end, its timings in their order."""
    read = read_asset(over_the_wire(done_message(7, asset)))

    assert read == asset
    assert list(read.timings) == list(asset.timings)


@pytest.mark.parametrize("kind", LEAVES, ids=lambda kind: kind.__name__)
def test_errors_arrive_as_their_class(kind: type[MinerError]) -> None:
    """Every error of the tree comes out as its own class, with its text and stage."""
    error = kind("surface", "no surface") if issubclass(kind, StageError) else kind("a reason")

    read = read_error(over_the_wire(error_message(ERROR, error, 3)).head)

    assert type(read) is kind
    assert str(read) == str(error)
    assert vars(read) == vars(error)


def test_an_unknown_code_is_kept() -> None:
    """An error that only the other end knows keeps its code, status and text."""
    read = read_error({"code": "new", "status": 418, "message": "short and stout"})

    assert (read.code, read.status, str(read)) == ("new", 418, "short and stout")


def test_a_failed_start_is_always_a_startup_error() -> None:
    """Whatever a worker that cannot start says, the program ends with the code for that."""
    weights = error_message(FAILED, errors.WeightsError("missing"))
    other = error_message(FAILED, errors.BadPrompt("odd"))

    assert isinstance(read_startup_error(weights.head), errors.WeightsError)
    assert type(read_startup_error(other.head)) is StartupError


@pytest.mark.parametrize("head", [{}, {"number": 1}, {"number": "x", "prompt": "a", "seed": 0}])
def test_half_messages_are_refused(head: dict) -> None:
    """A message without what it should hold raises ChannelError at either end."""
    with pytest.raises(ChannelError):
        read_job(Message(head))
    with pytest.raises(ChannelError):
        read_asset(Message(head))
