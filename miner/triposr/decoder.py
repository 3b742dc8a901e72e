"""The MLP from the features of a point to its raw density and colour."""

from __future__ import annotations

from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn

from miner.triposr.config import DecoderConfig


def activate_density(raw: Tensor, bias: float) -> Tensor:
    """Raw density to density > 0; the bias makes space empty where the network says nothing."""
    return torch.exp(raw + bias)


def activate_color(raw: Tensor) -> Tensor:
    """Raw colour to RGB in [0,1]."""
    return torch.sigmoid(raw)


class PointDecoder(nn.Module):
    """Linear layers with SiLU between them; four outputs, density first."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        widths = [config.in_channels] + [config.n_neurons] * config.n_hidden_layers
        layers: list[nn.Module] = []
        for fan_in, fan_out in pairwise(widths):
            layers += [nn.Linear(fan_in, fan_out), nn.SiLU()]
        self.layers = nn.Sequential(*layers, nn.Linear(config.n_neurons, 4))
        self._reset()

    def _reset(self) -> None:
        """Start with Kaiming's variance and a quiet output; torch's own start dies out in depth."""
        linears = [layer for layer in self.layers if isinstance(layer, nn.Linear)]
        for layer in linears:
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)
        linears[-1].weight.data.mul_(0.1)

    @property
    def first(self) -> nn.Linear:
        """The first layer: linear in the planes, so ``field`` may apply it to them beforehand."""
        return cast(nn.Linear, self.layers[0])

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Features [...,in_channels] to raw density [...,1] and raw colour [...,3], float32."""
        return self.after_first(self.first(features.to(self.first.weight.dtype)))

    def after_first(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """The rest of the network, from the first layer's output before its activation."""
        raw: Tensor = self.layers[1:](hidden)
        raw = raw.float()
        return raw[..., :1], raw[..., 1:]
