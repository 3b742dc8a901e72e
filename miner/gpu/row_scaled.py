"""A linear layer whose weights take one byte each, with a scale for each row.

The weights are widened to the number type of the input each time the layer runs; nothing is
written back. They are plain tensors, so that such a layer can be moved, pinned and streamed like
any other. With int8 the error of normally distributed weights is 0.8 %, whatever their deviation;
with e4m3, which has three bits of mantissa, 2.6 %.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

INT8_LARGEST = 127
"""-128 is not used, so that the range is symmetric."""
E4M3_LARGEST = 448
"""The largest finite value of ``torch.float8_e4m3fn``."""
ROUND_UP = 1 + 2.0**-8
"""A scale times this, rounded to the nearest bfloat16, is never below the scale itself."""

STORED: dict[str, torch.dtype] = {"int8": torch.int8, "fp8": torch.float8_e4m3fn}
"""Number type of the stored weights by the name of the precision."""


class RowScaledLinear(nn.Module):
    """``y = (x @ weight.T) * scale + bias``.

    Args:
        weight: [O,I] in a type of ``STORED``.
        scale: [O] float32, representable in bfloat16, so that multiplying in it adds no error.
        bias: [O] or None.
    """

    scale: Tensor

    def __init__(self, weight: Tensor, scale: Tensor, bias: nn.Parameter | None) -> None:
        super().__init__()
        self.out_features, self.in_features = weight.shape
        # A parameter: what streams blocks takes parameters off the device again, and not buffers.
        self.weight = nn.Parameter(weight, requires_grad=False)
        # A buffer: libraries take a network's number type from its first parameter with a fraction.
        self.register_buffer("scale", scale)
        self.bias = bias

    @classmethod
    def of(cls, linear: nn.Linear, precision: str, device: torch.device) -> RowScaledLinear:
        """The same layer with small weights.

        Args:
            linear: on any device; it is not changed.
            precision: ``int8`` or ``fp8``.
            device: that rounds the weights, and where they are afterwards.
        """
        weight, scale = round_rows(linear.weight.detach().to(device), STORED[precision])
        bias = linear.bias
        if bias is not None:
            bias = nn.Parameter(bias.detach().to(device), requires_grad=False)
        return cls(weight, scale, bias)

    def forward(self, x: Tensor) -> Tensor:
        """[...,O] of ``x`` [...,I], in the type of ``x``."""
        if x.dtype == torch.float16:
            # Products with unscaled weights could pass 65504, where float16 ends.
            return F.linear(x, self.widened(x.dtype), self.bias)
        scale = self.scale.to(x.dtype)
        product = F.linear(x, self.weight.to(x.dtype))
        return product * scale if self.bias is None else torch.addcmul(self.bias, product, scale)

    def widened(self, dtype: torch.dtype) -> Tensor:
        """The weights [O,I] in ``dtype``, scale included."""
        return (self.weight.to(torch.float32) * self.scale[:, None]).to(dtype)

    def extra_repr(self) -> str:
        """Sizes and type, as ``nn.Linear`` shows them."""
        return f"{self.in_features}, {self.out_features}, {self.weight.dtype}"


def round_rows(weight: Tensor, stored: torch.dtype) -> tuple[Tensor, Tensor]:
    """Weights [O,I] rounded to ``stored``, and the scales [O] float32 that undo it."""
    largest = INT8_LARGEST if stored == torch.int8 else E4M3_LARGEST
    wide = weight.to(torch.float32)
    most = wide.abs().amax(dim=1)
    scale = (most / largest * ROUND_UP).to(torch.bfloat16).to(torch.float32)
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))  # a row of zeros
    wide = wide / scale[:, None]
    if stored == torch.int8:
        wide = wide.round_().clamp_(-largest, largest)
    return wide.to(stored), scale
