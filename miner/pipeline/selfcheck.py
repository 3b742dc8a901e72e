"""The last stage: would the subnet's scorer find in a splat what was asked for.

Renders views as the scorer does and asks a CLIP. It judges and decides nothing: whether another
seed is tried is for ``candidates.py``, and whether a doubtful splat is handed in is for the intake.
Limits: how good a splat looks takes the scorer's own networks, and is assumed; the CLIP is ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from miner.geometry.gaussians import Gaussians
from miner.gpu.device import Device
from miner.pipeline.alignment import Alignment, pooled
from miner.pipeline.scorer_views import chosen_cameras, look_at, thinned
from miner.settings import SelfCheckSettings

STAGE: Final = "self_check"

ALIGNMENT_SHARE = 0.2
"""Of the subnet's score; the rest is about looks."""


@dataclass(frozen=True)
class Verdict:
    """What the check found; plain numbers, ready for JSON.

    Attributes:
        score: an estimate of the subnet's, 0 to 1; see ``SelfCheckSettings``.
        alignment: of the views with the prompt, normalised as the subnet does; 0 to about 1.
        cosines: of each view.
    """

    score: float
    alignment: float
    cosines: tuple[float, ...]


class SelfCheck:
    """A loaded model, and where it looks from."""

    def __init__(self, model: Alignment, settings: SelfCheckSettings, device: Device) -> None:
        self.settings = settings
        self._model = model
        self._device = device
        self._cameras = chosen_cameras(settings.views, settings.size_px)

    @classmethod
    def load(cls, folder: Path, settings: SelfCheckSettings, device: Device) -> SelfCheck:
        """The model in ``folder``.

        Raises:
            WeightsError: the folder is not that of a CLIP.
        """
        return cls(Alignment.load(folder, settings, device), settings, device)

    @property
    def bytes(self) -> int:
        """Of its weights."""
        return self._model.bytes

    def park(self) -> None:
        """To the host's memory."""
        self._model.to(torch.device("cpu"))

    def wake(self) -> None:
        """To the device."""
        self._model.to(self._device.torch_device)

    def judge(self, gaussians: Gaussians, asked: str | Image.Image, small: bool = False) -> Verdict:
        """Hold a splat against the prompt or the picture it was made for.

        Args:
            gaussians: past the quality gate.
            asked: the caller's words without any template, or the caller's picture.
            small: with less memory: one view at a time.
        """
        return self.compare(self.look(gaussians, small), asked)

    def look(self, gaussians: Gaussians, small: bool = False) -> Tensor:
        """What the model sees of a splat: a unit vector for each view, [V,D].

        Args:
            gaussians: past the quality gate.
            small: one view at a time.
        """
        few, place = thinned(gaussians, self.settings.max_gaussians), self._device.torch_device
        if not small:
            return self._model.of_views(look_at(few, self._cameras, place))
        seen = [self._model.of_views(look_at(few, [one], place)) for one in self._cameras]
        return torch.cat(seen)

    def compare(self, seen: Tensor, asked: str | Image.Image) -> Verdict:
        """What ``look`` saw, held against one of several things that could have been asked."""
        if isinstance(asked, str):
            wanted, divisor = self._model.of_text(asked), self.settings.text_divisor
        else:
            wanted, divisor = self._model.of_picture(asked), self.settings.image_divisor
        cosines = (seen @ wanted[0]).cpu().numpy().astype(np.float64)
        alignment = pooled(cosines) / divisor
        return Verdict(
            estimated_score(alignment, self.settings), alignment, tuple(cosines.tolist())
        )


def estimated_score(alignment: float, settings: SelfCheckSettings) -> float:
    """The subnet's formula with what is not known here assumed; 0 to 1."""
    if alignment < settings.least_alignment:
        return 0.0
    looks = (1 - ALIGNMENT_SHARE) * settings.assumed_quality
    return float(min(1.0, ALIGNMENT_SHARE * alignment + looks))
