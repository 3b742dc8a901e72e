"""Which error ended something that ran in several tasks."""

from __future__ import annotations

from collections.abc import Iterator

from miner.errors import MinerError


def cause(error: BaseException) -> BaseException:
    """The one of ours that it was, or the first of all; of a single error the error itself."""
    leaves = list(_leaves(error))
    return next((leaf for leaf in leaves if isinstance(leaf, MinerError)), leaves[0])


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error
