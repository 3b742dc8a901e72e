"""What a fit asks of a diffusion model; the models are in files beside this."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from miner.dreamgaussian.poses import Pose


@dataclass(frozen=True, eq=False)
class Subject:
    """What is to be made.

    Attributes:
        image: [S,S,4] float32 RGB and coverage in [0,1], framed; None for prompts.
        prompt: None for pictures.
        reference: from where the picture was taken.
        background: [3] RGB in [0,1] behind the picture.
    """

    image: Tensor | None
    prompt: str | None
    reference: Pose
    background: Tensor


class Guidance(Protocol):
    """One diffusion model that judges rendered views.

    Attributes:
        wants_image: it needs ``Subject.image``; else it needs ``Subject.prompt``.
        group: views it looks at together, evenly around the object.
    """

    wants_image: bool
    group: int

    def networks(self) -> Sequence[nn.Module]:
        """All that takes memory on the device, to be moved off it and back between fits."""

    def prepare(self, subject: Subject, seed: int) -> None:
        """Takes in what is to be made; what can be computed once is computed here."""

    def loss(
        self, views: Tensor, poses: Sequence[Pose], progress: float, generator: torch.Generator
    ) -> Tensor:
        """How little the views look like the subject: a scalar with a gradient by the views.

        Args:
            views: [V,H,W,3] in [0,1] nominally, of any size.
            poses: of the V views; whole groups.
            progress: share of the fit that is done, in [0,1].
            generator: on the CPU, for the noise, so that devices draw the same.
        """


@runtime_checkable
class Imagines(Protocol):
    """A guidance that can also say outright what a view shows."""

    def imagine(self, poses: Sequence[Pose], steps: int, generator: torch.Generator) -> Tensor:
        """[V,S,S,3] in [0,1]: the prepared subject as seen from the poses, over its background."""
