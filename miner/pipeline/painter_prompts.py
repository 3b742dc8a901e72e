"""What text encoders made of wordings, kept in the host's memory for the next time.

The largest network of a painter reads each wording once: a second seed, a retry with less memory
and a caller's same words again cost nothing. Bounded by number; the one used longest ago goes.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

from torch import Tensor

from miner.pipeline.painter_kinds import Words

KEPT = 64
"""Wordings. One of FLUX takes 2 MiB in bfloat16."""


class PromptCache:
    """Wordings read before; one caller at a time.

    Args:
        read: makes what is not here, one wording at a time, so that it does not depend on others.
        ready: held while ``read`` is called: has the encoders on the device. Not entered where all
            is known.
        kept: wordings at most.

    Attributes:
        reads: how many wordings were read.
    """

    def __init__(
        self,
        read: Callable[[str], Words],
        ready: Callable[[], AbstractContextManager[object]],
        kept: int = KEPT,
    ) -> None:
        self.reads = 0
        self._read = read
        self._ready = ready
        self._kept = kept
        self._known: OrderedDict[str, Words] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def words(self, wordings: Sequence[str]) -> list[Words]:
        """What each wording was read as, in the host's memory."""
        found = {wording: self._known[wording] for wording in wordings if wording in self._known}
        missing = [one for one in dict.fromkeys(wordings) if one not in found]
        if missing:
            with self._ready():
                for wording in missing:
                    found[wording] = _on_host(self._read(wording))
                    self.reads += 1
        for wording in dict.fromkeys(wordings):
            self._known[wording] = found[wording]
            self._known.move_to_end(wording)
        while len(self._known) > self._kept:
            self._known.popitem(last=False)
        return [found[wording] for wording in wordings]

    def forget(self) -> None:
        """Nothing is known any more: the encoders are others now."""
        self._known.clear()


def _on_host(words: Words) -> dict[str, Tensor]:
    return {name: tensor.detach().to("cpu") for name, tensor in words.items()}
