"""What fewer bits cost TripoSR: its scene codes in bf16 and in TF32 beside those in float32.

    python -m tests.triposr.test_triposr_precision

prints the figures: the largest and the mean error in standard deviations of the codes, as the
parity tests measure. TF32 is played on the CPU
by rounding the factors of each product, convolution and attention to the 10 bits that it keeps; a
card adds its own order of summing.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

from miner.gpu.device import choose_device
from miner.pipeline.reconstruct import Reconstructor
from miner.settings import ReconstructSettings
from tests.fakes.cards import FakeCard

DATA = Path(__file__).parent.parent / "data" / "triposr-small"
FACTORS = (
    *("mm", "addmm", "bmm", "baddbmm", "convolution"),
    "_scaled_dot_product_flash_attention_for_cpu",
)


class AsTF32(TorchDispatchMode):
    """Rounds what is multiplied."""

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        if function.overloadpacket.__name__ in FACTORS:
            args = tree_map(rounded, args)
        return function(*args, **(kwargs or {}))


def rounded(value: Any) -> Any:
    """A float32 tensor with 10 bits of its fractions, rounded to the nearest; all else as it is."""
    if not isinstance(value, Tensor) or value.dtype != torch.float32:
        return value
    bits = value.contiguous().view(torch.int32)
    return ((bits + 0x1000) & ~0x1FFF).view(torch.float32)


def picture() -> NDArray[np.float32]:
    """The one that the parity tests encode."""
    rgb = safetensors.torch.load_file(DATA / "expected.safetensors")["composited_rgb_uint8"]
    framed: NDArray[np.float32] = rgb.numpy().astype(np.float32) / np.float32(255)
    return framed


def codes(dtype: str = "float32") -> Tensor:
    """Of the small model for one picture, as the third stage makes them."""
    settings = ReconstructSettings.model_validate({"weights": "x", "dtype": dtype})
    model = Reconstructor.load(DATA, settings, choose_device("cpu"))
    return model.encode(picture()).float()


def errors(found: Tensor, exact: Tensor) -> tuple[float, float]:
    """Largest and mean error, in standard deviations of the codes."""
    difference = (found - exact).abs() / exact.std()
    return difference.max().item(), difference.mean().item()


def figures() -> Iterator[tuple[str, float, float]]:
    """Name, largest error and mean error of each way to compute."""
    exact = codes()
    yield "bf16", *errors(codes("bfloat16"), exact)
    with AsTF32():
        yield "TF32, played", *errors(codes(), exact)


def test_rounding_keeps_ten_bits() -> None:
    """The play keeps what TF32 keeps: 1 + 2^-10 stays, 1 + 2^-12 does not."""
    kept = rounded(torch.tensor([1 + 2.0**-10, 1 + 2.0**-12, -3.0]))

    assert kept.tolist() == [1 + 2.0**-10, 1.0, -3.0]


def test_fewer_bits_cost_little() -> None:
    """TF32 moves the codes by a third of what bf16 does or less, and neither by much."""
    (_, bf16, _), (_, tf32, _) = figures()

    assert 0 < tf32 < bf16 / 3
    assert bf16 < 0.1


def test_the_setting_reaches_the_model_and_nothing_after_it() -> None:
    """``matmul`` holds while codes are made, "full" for convolutions as well, and not longer."""

    class Watching:
        seen: tuple[str, str] | None = None

        def encode(self, rgb: Tensor) -> Tensor:
            self.seen = switches()
            return rgb

    card, before = FakeCard(torch.device("cpu"), "a card"), switches()
    for mode, name in (("full", "ieee"), ("tf32", "tf32")):
        model = Watching()
        Reconstructor(model, card, mode).encode(picture())  # type: ignore[arg-type]
        assert model.seen == (name, name)
        assert switches() == before


def switches() -> tuple[str, str]:
    """Of products and of convolutions."""
    return torch.backends.cuda.matmul.fp32_precision, torch.backends.cudnn.conv.fp32_precision


if __name__ == "__main__":
    for name, most, mean in figures():
        print(f"{name:<14}largest {most:.1e}, mean {mean:.1e}")
