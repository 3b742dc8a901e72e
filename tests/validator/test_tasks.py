"""Where tasks come from."""

from __future__ import annotations

from base64 import b64decode
from collections import Counter
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miner.network.subnet import ImageTask, TextTask
from miner.validator.tasks import TaskList

TEXTS = ["a", "b", "c"]
PICTURES = [b"one", b"two"]


def test_every_fifth_task_shows_a_picture() -> None:
    """The subnet's mixture, evenly spread."""
    tasks = [TaskList(TEXTS, PICTURES)(number) for number in range(20)]

    assert [number for number, task in enumerate(tasks) if isinstance(task, ImageTask)] == [
        4,
        9,
        14,
        19,
    ]


def test_pictures_travel_as_base64_of_their_files() -> None:
    """What is decoded is the file itself."""
    task = TaskList([], PICTURES)(0)

    assert isinstance(task, ImageTask)
    assert b64decode(task.prompt) in PICTURES


def test_all_prompts_are_asked_for_before_any_comes_again() -> None:
    """A round of the list is a shuffle of it, and rounds differ."""
    source = TaskList(TEXTS, seed="s")
    rounds = [[source(3 * turn + place) for place in range(3)] for turn in range(8)]
    prompts = [tuple(task.prompt for task in turn if task) for turn in rounds]

    assert all(Counter(turn) == Counter(TEXTS) for turn in prompts)
    assert len(set(prompts)) > 1


@given(seed=st.text(max_size=8), number=st.integers(0, 10_000))
def test_a_task_depends_on_seed_and_number_alone(seed: str, number: int) -> None:
    """So that a restarted validator goes on where it was; ids are version 4."""
    first, second = (TaskList(TEXTS, PICTURES, seed)(number) for _ in range(2))

    assert first == second
    assert first is not None
    assert UUID(first.id).version == 4


def test_ids_are_unique() -> None:
    """Within a validator, and between two of different seeds."""
    ids = [TaskList(TEXTS, seed=seed)(number) for seed in ("a", "b") for number in range(500)]

    assert len({task.id for task in ids if task}) == 1000


def test_a_count_ends_the_list() -> None:
    """Past it there is nothing; without one there is no end."""
    assert [TaskList(TEXTS, count=2)(number) is None for number in range(4)] == [
        False,
        False,
        True,
        True,
    ]
    assert isinstance(TaskList(TEXTS)(10**9), TextTask)


def test_a_list_of_nothing_is_a_mistake() -> None:
    """Neither texts nor pictures."""
    with pytest.raises(ValueError, match="needs"):
        TaskList([])
