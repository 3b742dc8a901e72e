"""Whether pictures show what a text says, or what another picture shows: a CLIP and its cosines.

Any folder that transformers' CLIPModel reads will do. The subnet's scorer has a CLIP of another
make for texts and another again for pictures; the cosines of this one are kin to theirs, not equal.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from transformers import CLIPModel, CLIPTokenizer
from transformers.utils import logging as transformers_logging

from miner.errors import WeightsError
from miner.gpu.device import Device
from miner.gpu.parking import weight_bytes
from miner.settings import SelfCheckSettings

NEIGHBOURS = 3
OUTLIER_FACTOR = 3.0
OUTLIER_SLACK = 0.02
"""A view whose cosine lies further from its nearest neighbours' than this many times the usual, and
the slack, is not counted. The scorer leaves outliers out likewise; its own limits are not known."""


class Alignment:
    """A loaded CLIP.

    Args:
        model: on its device, in evaluation mode.
        tokenizer: of its text half.
        normal: mean [3] and deviation [3] of the pixels it was trained with.
        settings: how pixels and texts are prepared.
    """

    def __init__(
        self,
        model: CLIPModel,
        tokenizer: CLIPTokenizer,
        normal: tuple[list[float], list[float]],
        settings: SelfCheckSettings,
    ) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._lowercase = settings.lowercase
        vision = model.config.vision_config
        self._size: int = vision.image_size
        self._length: int = model.config.text_config.max_position_embeddings
        self._dtype = model.dtype
        self._mean, self._std = (
            torch.tensor(values, device=model.device).view(1, 3, 1, 1) * settings.pixel_factor
            for values in normal
        )

    @property
    def bytes(self) -> int:
        """Of the model's weights."""
        return weight_bytes(self._model)

    def to(self, device: torch.device) -> None:
        """Moves the model and what it normalises with."""
        self._model.to(device)
        self._mean, self._std = self._mean.to(device), self._std.to(device)

    @property
    def _device(self) -> torch.device:
        place: torch.device = self._model.device
        return place

    @classmethod
    def load(cls, folder: Path, settings: SelfCheckSettings, device: Device) -> Alignment:
        """Loads the model in ``folder``, in the layout of transformers.

        Weights are ``model.safetensors``, or ``pytorch_model.bin`` where that is all there is.

        Raises:
            WeightsError: the folder does not say how pictures are normalised.
        """
        transformers_logging.set_verbosity_error()
        transformers_logging.disable_progress_bar()
        model = CLIPModel.from_pretrained(
            folder,
            dtype=device.dtype(settings.dtype),
            local_files_only=True,
            weights_only=True,  # of a pickle the tensors alone: no code of it runs
        )
        tokenizer = CLIPTokenizer.from_pretrained(folder, local_files_only=True)
        return cls(model.eval().to(device.torch_device), tokenizer, _normal(folder), settings)

    @torch.no_grad()
    def of_views(self, views: Tensor) -> Tensor:
        """Unit vectors [V,D] of pictures [V,3,S,S] in [0,1], on any device."""
        pixels = views.to(self._device, torch.float32)
        if pixels.shape[-1] != self._size:
            side = (self._size, self._size)
            pixels = F.interpolate(pixels, side, mode="bicubic", antialias=True).clamp(0, 1)
        pixels = ((pixels - self._mean) / self._std).to(self._dtype)
        pooled = self._model.vision_model(pixel_values=pixels).pooler_output
        return F.normalize(self._model.visual_projection(pooled).float(), dim=-1)

    @torch.no_grad()
    def of_text(self, text: str) -> Tensor:
        """Unit vector [1,D] of a text; what is longer than the model reads is cut off."""
        said = text.lower() if self._lowercase else text
        tokens = self._tokenizer(
            [said], truncation=True, max_length=self._length, return_tensors="pt"
        ).to(self._device)
        pooled = self._model.text_model(**tokens).pooler_output
        return F.normalize(self._model.text_projection(pooled).float(), dim=-1)

    def of_picture(self, picture: Image.Image) -> Tensor:
        """Unit vector [1,D] of a picture, RGB or RGBA; its middle square on white."""
        side = min(picture.size)
        left, top = ((length - side) // 2 for length in picture.size)
        square = picture.crop((left, top, left + side, top + side)).convert("RGBA")
        square = square.resize((self._size, self._size), Image.Resampling.BICUBIC)
        on_white = Image.alpha_composite(Image.new("RGBA", square.size, "white"), square)
        rgb = torch.from_numpy(np.asarray(on_white.convert("RGB"), np.float32) / 255)
        return self.of_views(rgb.permute(2, 0, 1)[None])


def pooled(cosines: NDArray[np.float64]) -> float:
    """One figure in [0,1] for the cosines [V] of all views.

    Outliers left out, negative ones taken as 0, the geometric mean of the rest: a splat that is
    wrong from one side is not saved by the others.
    """
    kept = np.clip(without_outliers(cosines), 0.0, 1.0)
    if not kept.all():
        return 0.0
    return float(np.exp(np.log(kept).mean()))


def without_outliers(cosines: NDArray[np.float64]) -> NDArray[np.float64]:
    """The cosines that have others near them; all of them where they are few."""
    if len(cosines) <= NEIGHBOURS + 1:
        return cosines
    gaps = np.sort(np.abs(cosines[:, None] - cosines[None]), axis=1)
    apart = gaps[:, 1 : NEIGHBOURS + 1].mean(axis=1)  # the first is its distance from itself
    usual = float(np.median(apart))
    return np.asarray(cosines[apart <= OUTLIER_FACTOR * usual + OUTLIER_SLACK])


def _normal(folder: Path) -> tuple[list[float], list[float]]:
    path = folder / "preprocessor_config.json"
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        mean, std = values["image_mean"], values["image_std"]
        return [float(v) for v in mean], [float(v) for v in std]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WeightsError(f"{path}: does not say how pictures are normalised") from error
