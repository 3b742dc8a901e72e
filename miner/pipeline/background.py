"""Second stage: the object is cut out of its picture and framed as the third stage expects it.

The mask comes from a rembg session over a file on this machine; rembg's own look-up, which falls
back to a download and to a model that may not be used commercially, is never reached.
"""

from __future__ import annotations

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

CPU, GPU = "CPUExecutionProvider", "CUDAExecutionProvider"

Mask = NDArray[np.float32]


class BackgroundRemover:
    """A loaded matting network.

    Attributes:
        provider: the onnxruntime provider that runs it, as the session reports it.
    """

    def __init__(
        self, session: Any, settings: BackgroundSettings, file: Path | None = None
    ) -> None:
        self.settings = settings
        self._file = file
        self._session = session
        # Serves rembg in place of onnxruntime's session: see _Recorder.
        self._recorder = _Recorder(session.inner_session)
        session.inner_session = self._recorder
        self.provider: str = self._recorder.get_providers()[0]

    @classmethod
    def load(
        cls, file: Path, settings: BackgroundSettings, device: Device | None
    ) -> BackgroundRemover:
        """The network in ``file``, on the GPU where onnxruntime can use it.

        Args:
            file: in ONNX.
            settings: which network it is.
            device: where it works; None is the CPU.

        Raises:
            ConfigError: rembg has no local model of the preset's name.
        """
        kinds = {kind.name(): kind for kind in sessions_class if kind.is_local()}
        if settings.model not in kinds:
            raise ConfigError(f"background.model: rembg has no local model {settings.model!r}")
        providers = [CPU]
        if device and device.is_cuda and GPU in onnxruntime.get_available_providers():
            providers.insert(0, GPU)
        # The one method by which a session finds its file. Overridden, no environment variable and
        # no folder of rembg's matters, and nothing can be downloaded.
        local = type(
            "LocalSession",
            (kinds[settings.model],),
            {"download_models": classmethod(lambda *_args, **_kwargs: str(file))},
        )
        options = onnxruntime.SessionOptions()
        session = local(settings.model, options, providers=providers, model_path=str(file))
        return cls(session, settings, file)

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
        if on_cpu and self._file is not None and self.provider != CPU:
            return BackgroundRemover.load(self._file, self.settings, None).cut_out(picture)
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
            masks = self._session.predict(picture)
        self._recorder.check_confidence(self.settings.output)
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


class _Recorder:
    """Stands between rembg and onnxruntime and remembers the range of the raw mask.

    rembg stretches every mask to [0,255], so that the faintest noise over an empty picture looks
    like an object; whether there was one can be told from the raw numbers alone.
    """

    def __init__(self, session: onnxruntime.InferenceSession) -> None:
        self._session = session
        self._range = (0.0, 0.0)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def run(self, *args: Any, **kwargs: Any) -> list[NDArray[np.float32]]:
        """Runs the network and keeps the smallest and largest value of its first output."""
        outputs: list[NDArray[np.float32]] = self._session.run(*args, **kwargs)
        self._range = float(outputs[0].min()), float(outputs[0].max())
        return outputs

    def check_confidence(self, kind: Literal["probability", "logit"]) -> None:
        """Refuses the last mask if it says nothing, nowhere or everywhere.

        Raises:
            BadOutput: not finite, constant, empty or full.
        """
        low, high = self._range
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
