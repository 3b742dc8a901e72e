"""Second stage: the object is cut out of its picture and framed as the third stage expects it.

The mask comes from a rembg session over a file on this machine; rembg's own look-up, which falls
back to a download and to a model that may not be used commercially, is never reached.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from PIL import Image
from rembg.sessions import sessions_class
from scipy import ndimage

from miner.errors import BadOutput, ConfigError
from miner.gpu.device import Device
from miner.pipeline.matting_session import CPU, MattingSession
from miner.settings import BackgroundSettings

STAGE = "background"

GREY = 0.5
"""What the published reconstruction model was trained on behind its objects."""
FAINT = 0.1
"""Below this a matte is noise: rembg stretches a mask to the full range, and its tail with it."""
SURE = 0.5
"""Confidence the network must reach somewhere, and must not reach everywhere."""
MAX_COVER = 0.985
"""A mask of ours that fills more than this holds no outline."""
MIN_TRANSPARENT = 0.005
"""Share of clear pixels from which on a picture's own alpha is taken for a cut-out."""

Mask = NDArray[np.float32]


class BackgroundRemover:
    """A loaded matting network: rembg's preparation around a session of onnxruntime.

    Args:
        kind: rembg's class for the network.
        session: its file, opened.
        settings: which network it is.
    """

    def __init__(
        self, kind: type[Any], session: MattingSession, settings: BackgroundSettings
    ) -> None:
        self.settings = settings
        self._kind = kind
        self._session = session
        # Made without rembg's own start, which finds, downloads and opens a file: no environment
        # variable and no folder of rembg's matters.
        local: Any = type("LocalSession", (kind,), {"normalize": _normalized})
        self._rembg = local.__new__(local)
        self._rembg.model_name = settings.model
        self._rembg.inner_session = session

    @property
    def provider(self) -> str:
        """The onnxruntime provider that runs it, as the session reports it now."""
        return self._session.provider

    @classmethod
    def load(
        cls,
        file: Path,
        settings: BackgroundSettings,
        device: Device | None,
        limit_bytes: int | None = None,
        runtime: Any = onnxruntime,
    ) -> BackgroundRemover:
        """The network in ``file``, on the GPU where onnxruntime can use it.

        A GPU that was wanted and cannot be used is a warning.

        Args:
            file: in ONNX.
            settings: which network it is.
            device: where it works; None is the CPU.
            limit_bytes: the most that onnxruntime's arena, weights included, may take of the GPU;
                None is no limit.
            runtime: onnxruntime, or what has its functions.

        Raises:
            ConfigError: rembg has no local model of the preset's name.
        """
        kinds = {kind.name(): kind for kind in sessions_class if kind.is_local()}
        if settings.model not in kinds:
            raise ConfigError(f"background.model: rembg has no local model {settings.model!r}")
        session = MattingSession(file, device, limit_bytes, runtime)
        return cls(kinds[settings.model], session, settings)

    def park(self) -> None:
        """Nothing: a session cannot be moved. One that is not to stay is dropped and made anew."""

    def wake(self) -> None:
        """Nothing, likewise."""

    def cut_out(self, picture: Image.Image, on_cpu: bool = False) -> Image.Image:
        """The picture as RGBA, its alpha the object's coverage.

        A picture that is transparent somewhere says itself what the object is; its alpha is kept.

        Args:
            picture: RGB or RGBA.
            on_cpu: where the GPU has too little memory, for this once.

        Raises:
            BadOutput: no object, or nothing but object.
        """
        if on_cpu and self.provider != CPU:
            there = self._session.on_cpu()
            return BackgroundRemover(self._kind, there, self.settings).cut_out(picture)
        own = _own_alpha(picture)
        mask = self._clean(self._mask(picture.convert("RGB"))) if own is None else own
        if not (mask > SURE).any():
            raise BadOutput(STAGE, "the mask is empty: there is no object in the picture")
        if own is None and (mask > SURE).mean() > MAX_COVER:
            raise BadOutput(STAGE, "the mask is full: no background is left around the object")
        result = picture.convert("RGB")
        result.putalpha(Image.fromarray((mask * 255).round().astype(np.uint8)))
        return result

    def _mask(self, picture: Image.Image) -> Mask:
        """Coverage in [0,1], shape [H,W], as rembg gives it: stretched to the full range."""
        with np.errstate(invalid="ignore", divide="ignore"):  # a constant output is refused below
            masks = self._rembg.predict(picture)
        _check_confidence(self._session.range, self.settings.output)
        return _unit(masks[0])

    def _clean(self, mask: Mask) -> Mask:
        """The mask without its faint tail and without islands far smaller than the largest one."""
        mask = np.where(mask < FAINT, np.float32(0), mask)
        labels, count = ndimage.label(mask >= FAINT)
        if count > 1:
            areas = np.bincount(labels.ravel())
            areas[0] = 0
            keep = areas >= self.settings.smallest_share * areas.max()
            mask = np.where(keep[labels], mask, np.float32(0))
        return mask


def _check_confidence(
    raw_range: tuple[float, float], kind: Literal["probability", "logit"]
) -> None:
    """Refuses a mask that says nothing, nowhere or everywhere.

    rembg stretches every mask to [0,255], so that the faintest noise over an empty picture looks
    like an object; whether there was one can be seen from the raw numbers alone.

    Args:
        raw_range: smallest and largest value that the network answered.
        kind: what its values are.

    Raises:
        BadOutput: not finite, constant, empty or full.
    """
    low, high = raw_range
    if not (np.isfinite(low) and np.isfinite(high)):
        raise BadOutput(STAGE, "the mask holds numbers that are not finite")
    if kind == "logit":
        low, high = (float(1 / (1 + np.exp(-value))) for value in (low, high))
    if high - low < 1e-3:
        raise BadOutput(STAGE, "the mask is constant: there is no object in the picture")
    if high < SURE:
        raise BadOutput(STAGE, "the mask is empty: there is no object in the picture")
    if low > SURE:
        raise BadOutput(STAGE, "the mask is full: no background is left around the object")


def _normalized(
    session: Any,
    picture: Image.Image,
    mean: Sequence[float],
    std: Sequence[float],
    size: tuple[int, int],
) -> dict[str, Mask]:
    """In place of rembg's ``normalize``, which does the same in float64, slower.

    Args:
        session: rembg's.
        picture: of any size and mode.
        mean: by channel, of values stretched so that the brightest is 1.
        std: likewise, the deviation.
        size: width and height that the network expects.

    Returns:
        [1,3,H,W] float32, by the name of the network's input.
    """
    small = picture.convert("RGB").resize(size, Image.Resampling.LANCZOS)
    values = np.asarray(small, np.float32)
    highest = max(float(values.max()), 1e-6)
    scale = np.array([1 / (highest * one) for one in std], np.float32)
    shift = np.array([middle / one for middle, one in zip(mean, std, strict=True)], np.float32)
    planes = np.ascontiguousarray((values * scale - shift).transpose(2, 0, 1))
    return {session.inner_session.get_inputs()[0].name: planes[None]}


def _own_alpha(picture: Image.Image) -> Mask | None:
    """The picture's own alpha [H,W] in [0,1], if it is there and clear in some places."""
    if picture.mode != "RGBA":
        return None
    alpha = _unit(picture.getchannel("A"))
    return alpha if (alpha < SURE).mean() >= MIN_TRANSPARENT else None


def frame(cutout: Image.Image, foreground_ratio: float) -> Mask:
    """The object cropped, centred in a square and set on grey.

    Follows the published preparation of TripoSR's input: crop to alpha > 0, pad to a square, pad
    again so that the object's longer side is ``foreground_ratio`` of the picture's, composite on
    grey. Unlike it, the result is not rounded to 8 bits in between.

    Args:
        cutout: RGBA with alpha > 0 somewhere.
        foreground_ratio: in (0,1].

    Returns:
        [S,S,3] float32 RGB in [0,1]; S follows from the size of the object.
    """
    rgba = _unit(cutout)
    rows, columns = (np.flatnonzero((rgba[..., 3] > 0).any(axis)) for axis in (1, 0))
    # The published crop leaves the last row and column out; the model was trained on it.
    bottom, right = max(rows[-1], rows[0] + 1), max(columns[-1], columns[0] + 1)
    rgba = rgba[rows[0] : bottom, columns[0] : right]
    height, width = rgba.shape[:2]
    square = max(height, width)
    rgba = _pad(_pad(rgba, square), int(square / foreground_ratio))
    alpha = rgba[..., 3:]
    return np.ascontiguousarray(rgba[..., :3] * alpha + GREY * (1 - alpha), np.float32)


def _unit(picture: Image.Image) -> Mask:
    """8-bit values as [0,1]."""
    return np.asarray(picture, np.float32) / np.float32(255)


def _pad(rgba: Mask, side: int) -> Mask:
    """Transparent margins around the picture up to ``side``, an odd pixel at the bottom right."""
    gaps = [side - length for length in rgba.shape[:2]]
    return np.pad(rgba, [*((gap // 2, gap - gap // 2) for gap in gaps), (0, 0)])
