"""A job whose device half is done, on its way to the thread that does the rest.

Imports no library of the models.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

Result = TypeVar("Result")


@dataclass(frozen=True, eq=False)
class Unfinished(Generic[Result]):
    """What is left to do of a job; each of the two is called once at most.

    Attributes:
        finish: does the rest, while another thread begins the next job on the device. It raises
            what ends the job (``JobCancelled``), or why it failed.
        again: has the device's thread go on after ``finish`` failed with that error: with smaller
            steps or the fallback, as the job's plan allows. It raises the error itself where
            nothing is left to try.
    """

    finish: Callable[[], Result]
    again: Callable[[Exception], Result]
