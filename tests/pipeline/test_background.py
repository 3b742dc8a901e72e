"""Cutting out and framing, against the reference picture and against networks that say nonsense."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from PIL import Image

from miner.errors import BadOutput, ConfigError
from miner.gpu.device import choose_device
from miner.pipeline.background import GREY, BackgroundRemover, frame
from miner.settings import BackgroundSettings
from tests.pipeline.tiny import TRIPOSR, disc, write_matting

PHOTO = Image.new("RGB", (100, 80), (200, 40, 40))


def remover(folder: Path, mask: np.ndarray, output: str = "probability") -> BackgroundRemover:
    """A network that always answers the same mask."""
    write_matting(folder / "m.onnx", mask.astype(np.float32))
    settings = BackgroundSettings.model_validate(
        {"weights": "m", "model": "u2net_custom", "output": output}
    )
    return BackgroundRemover.load(folder / "m.onnx", settings, choose_device("cpu"))


def alpha(cutout: Image.Image) -> np.ndarray:
    """Coverage in [0,1]."""
    return np.asarray(cutout.getchannel("A"), np.float32) / 255


def test_the_mask_becomes_alpha(tmp_path: Path) -> None:
    """The object's pixels keep their colour and get the network's coverage."""
    ours = remover(tmp_path, disc())
    cutout = ours.cut_out(PHOTO)

    assert ours.provider == "CPUExecutionProvider"
    assert (cutout.mode, cutout.size) == ("RGBA", PHOTO.size)
    assert cutout.getpixel((50, 40)) == (200, 40, 40, 255)
    assert cutout.getpixel((1, 1))[3] == 0  # type: ignore[index]


@pytest.mark.parametrize(
    ("mask", "output", "why"),
    [
        (np.zeros((320, 320)), "probability", "constant"),
        (np.ones((320, 320)), "probability", "constant"),
        (np.full((320, 320), 0.4), "probability", "constant"),
        (disc(0.05), "probability", "empty"),
        (1 - disc(0.1), "probability", "full"),
        (disc(np.nan), "probability", "not finite"),
        (1 - disc(1.0, 0.05), "probability", "full"),
        (disc(5) - 9, "logit", "empty"),
        (disc(5) + 9, "logit", "full|constant"),
    ],
)
def test_masks_that_say_nothing_are_errors(
    tmp_path: Path, mask: np.ndarray, output: str, why: str
) -> None:
    """A constant, empty, full or infinite mask is an error, whatever rembg makes of it."""
    with pytest.raises(BadOutput, match=f"background: .*({why})"):
        remover(tmp_path, mask, output).cut_out(PHOTO)


def test_logits_are_read_as_logits(tmp_path: Path) -> None:
    """A network that answers logits may answer below zero outside the object."""
    cutout = remover(tmp_path, disc(20) - 10, "logit").cut_out(PHOTO)

    assert alpha(cutout).max() == 1


def test_faint_noise_and_islands_are_dropped(tmp_path: Path) -> None:
    """The faint tail of a mask and specks beside the object do not move its outline."""
    mask = disc(radius=0.3) + 0.05 * (1 - disc(radius=0.3))
    mask[:5, :5] = 1
    clean = alpha(remover(tmp_path, mask).cut_out(PHOTO))

    assert clean[:20].max() == 0
    assert clean[40, 50] == 1


def test_a_picture_that_is_cut_out_already_keeps_its_alpha(tmp_path: Path) -> None:
    """Real transparency is taken for the mask; the network is not asked."""
    cut = Image.new("RGBA", (64, 64))
    cut.paste((10, 20, 30, 255), (16, 8, 48, 60))
    cutout = remover(tmp_path, np.zeros((320, 320))).cut_out(cut)

    assert np.array_equal(np.asarray(cutout), np.asarray(cut))


def test_an_opaque_alpha_channel_is_no_cut_out(tmp_path: Path) -> None:
    """RGBA that is opaque everywhere goes through the network."""
    cutout = remover(tmp_path, disc()).cut_out(PHOTO.convert("RGBA"))

    assert alpha(cutout).min() == 0


def test_framing_gives_the_reference_picture() -> None:
    """Cropping, padding and compositing agree with the reference implementation to 8 bits."""
    expected = safetensors.numpy.load_file(TRIPOSR / "expected.safetensors")
    with Image.open(TRIPOSR / "input_rgba.png") as picture:
        ours = frame(picture, 0.85)

    reference = expected["composited_rgb_uint8"].astype(np.float32) / 255
    assert ours.shape == reference.shape
    # The reference cuts to 8 bits, downwards.
    assert (ours - reference).min() > -1e-5
    assert (ours - reference).max() < 1 / 255 + 1e-5


@pytest.mark.parametrize("size", [(10, 10), (7, 20), (21, 8)])
def test_the_object_fills_its_share_of_a_square(size: tuple[int, int]) -> None:
    """The longer side of the object is the ratio of the square's side, and the rest is grey."""
    cutout = Image.new("RGBA", (60, 50))
    # One more, because the reference's crop leaves the last row and column out.
    cutout.paste((255, 0, 0, 255), (5, 3, 6 + size[0], 4 + size[1]))
    framed = frame(cutout, 0.5)

    side = 2 * max(size)
    red = framed[..., 0] == 1
    assert framed.shape == (side, side, 3)
    assert (red.any(0).sum(), red.any(1).sum()) == size
    assert np.all(framed[~red] == GREY)


def test_only_local_models_are_known(tmp_path: Path) -> None:
    """A model that rembg does not have, or runs on somebody's server, is refused."""
    for model in ("nope", "withoutbg", "atlascloud"):
        settings = BackgroundSettings(weights="m", model=model)
        with pytest.raises(ConfigError, match=model):
            BackgroundRemover.load(tmp_path / "m.onnx", settings, choose_device("cpu"))
