"""Where a test validator's tasks come from: texts and pictures of a list, in a seeded order.

The n-th task is always the same for the same list and seed, so that nothing need be remembered.
"""

from __future__ import annotations

import math
from base64 import b64encode
from collections.abc import Sequence
from random import Random
from uuid import UUID

from miner.network.subnet import ImageTask, SubnetTask, TextTask

TEXT_SHARE = 0.8
"""The subnet's own mixture has one picture in five tasks."""


class TaskList:
    """Gives the n-th task: a round of all texts in a shuffled order, then the next; so pictures.

    Args:
        texts: prompts.
        pictures: bytes of picture files.
        seed: decides orders and ids. Validators need different ones: ids are to be unique.
        count: of tasks in all; None for no end.
        text_share: of all tasks, 0 to 1, evenly spread; means nothing where there is but one kind.

    Raises:
        ValueError: neither texts nor pictures.
    """

    def __init__(
        self,
        texts: Sequence[str],
        pictures: Sequence[bytes] = (),
        seed: str = "",
        count: int | None = None,
        text_share: float = TEXT_SHARE,
    ) -> None:
        if not (texts or pictures):
            raise ValueError("a list of tasks needs a text or a picture")
        self._texts = list(texts)
        self._pictures = [b64encode(picture).decode() for picture in pictures]
        self._seed = seed
        self._count = count
        self._picture_share = 0.0 if not pictures else 1.0 if not texts else 1.0 - text_share

    def __call__(self, number: int) -> SubnetTask | None:
        """The task of that number, from 0; None past the end."""
        if self._count is not None and number >= self._count:
            return None
        random = Random(f"{self._seed}:{number}")  # noqa: S311 - no secrets here
        id = str(UUID(int=random.getrandbits(128), version=4))
        before, after = self._pictures_among(number), self._pictures_among(number + 1)
        if after > before:
            return ImageTask(id=id, prompt=self._nth(self._pictures, before))
        return TextTask(id=id, prompt=self._nth(self._texts, number - before))

    def _pictures_among(self, number: int) -> int:
        """How many of the first ``number`` tasks show pictures."""
        return math.floor(number * self._picture_share + 1e-9)

    def _nth(self, prompts: list[str], number: int) -> str:
        turn, place = divmod(number, len(prompts))
        order = list(range(len(prompts)))
        Random(f"{self._seed}:{turn}").shuffle(order)  # noqa: S311
        return prompts[order[place]]
