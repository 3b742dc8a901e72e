"""Picture to tokens: the vision transformer of DINO, and its preprocessing.

After Dosovitskiy et al. 2021 (ViT, pre-norm blocks, arXiv 2010.11929) with the weights of Caron et
al. 2021 (DINO, arXiv 2104.14294). Difference from both: the tokens of all patches are the result,
the class token first; the pooled output is never made.

The modules have the short names of transformers 5; ``checkpoint`` translates the published ones.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from miner.triposr.config import VitConfig

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class ImageTokenizer(nn.Module):
    """Square RGB pictures to tokens."""

    def __init__(self, config: VitConfig) -> None:
        super().__init__()
        self.model = VisionTransformer(config)

    def forward(self, rgb: Tensor) -> Tensor:
        """Tokens of pictures.

        Args:
            rgb: [B,S,S,3] in [0,1], S a multiple of the patch size.

        Returns:
            [B, 1 + (S/patch)^2, hidden_size], class token first, then patches row by row.
        """
        mean, std = rgb.new_tensor(IMAGENET_MEAN), rgb.new_tensor(IMAGENET_STD)
        dtype = self.model.embeddings.cls_token.dtype
        tokens: Tensor = self.model(((rgb - mean) / std).permute(0, 3, 1, 2).to(dtype))
        return tokens


class VisionTransformer(nn.Module):
    """A ViT without a pooler: normalised pixels [B,3,S,S] to [B,1+patches,hidden_size]."""

    def __init__(self, config: VitConfig) -> None:
        super().__init__()
        self.embeddings = Embeddings(config)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.num_hidden_layers))
        self.layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, pixels: Tensor) -> Tensor:
        """Tokens after the last normalisation."""
        tokens: Tensor = self.embeddings(pixels)
        for layer in self.layers:
            tokens = layer(tokens)
        return self.layernorm(tokens)  # type: ignore[no-any-return]


class Embeddings(nn.Module):
    """Patches, the class token, and learned positions."""

    def __init__(self, config: VitConfig) -> None:
        super().__init__()
        width, patch = config.hidden_size, config.patch_size
        self.patch_embeddings = nn.ModuleDict(
            {"projection": nn.Conv2d(config.num_channels, width, patch, stride=patch)}
        )
        self.grid = config.image_size // patch
        self.cls_token = nn.Parameter(0.02 * torch.randn(1, 1, width))
        self.position_embeddings = nn.Parameter(0.02 * torch.randn(1, 1 + self.grid**2, width))

    def forward(self, pixels: Tensor) -> Tensor:
        """[B,3,S,S] to [B,1+patches,hidden_size]."""
        patches: Tensor = self.patch_embeddings["projection"](pixels)
        rows, columns = patches.shape[-2:]
        patches = patches.flatten(2).transpose(1, 2)
        tokens = torch.cat([self.cls_token.expand(len(patches), -1, -1), patches], dim=1)
        return tokens + resize_positions(self.position_embeddings, self.grid, rows, columns)


def resize_positions(positions: Tensor, grid: int, rows: int, columns: int) -> Tensor:
    """Position embeddings for another grid of patches.

    The published weights were trained with the bicubic resampling of transformers 4.35: a scale
    factor of (rows + 0.1) / grid, the tenth guarding the rounding of the output size. Sampling
    follows that factor and not rows / grid, which moves every embedding a little (2 to 6 % rms);
    later versions resample to an exact size and do not reproduce it.

    Args:
        positions: [1, 1 + grid^2, C], class token first.
        grid: side of the grid they were trained for.
        rows: patches from top to bottom.
        columns: patches from left to right.

    Returns:
        [1, 1 + rows * columns, C], the very input when the grid is the same.
    """
    if rows == grid and columns == grid:
        return positions
    channels = positions.shape[-1]
    squares = positions[:, 1:].reshape(1, grid, grid, channels).permute(0, 3, 1, 2)
    resized = F.interpolate(
        squares.float(),  # bicubic weights in half precision would show in the tokens
        scale_factor=((rows + 0.1) / grid, (columns + 0.1) / grid),
        mode="bicubic",
        align_corners=False,
    )
    tail = resized.flatten(2).transpose(1, 2).to(positions.dtype)
    return torch.cat([positions[:, :1], tail], dim=1)


class Layer(nn.Module):
    """A pre-norm block: x + attention(norm x), then x + mlp(norm x)."""

    def __init__(self, config: VitConfig) -> None:
        super().__init__()
        width, eps = config.hidden_size, config.layer_norm_eps
        self.layernorm_before = nn.LayerNorm(width, eps=eps)
        self.attention = SelfAttention(config)
        self.layernorm_after = nn.LayerNorm(width, eps=eps)
        self.mlp = FeedForward(width, config.intermediate_size)

    def forward(self, tokens: Tensor) -> Tensor:
        """[B,T,C] to [B,T,C]."""
        tokens = tokens + self.attention(self.layernorm_before(tokens))
        return tokens + self.mlp(self.layernorm_after(tokens))  # type: ignore[no-any-return]


class SelfAttention(nn.Module):
    """Multi-head self-attention, written out as the weights' own code does it.

    The fused kernel sums in another order. Its last-bit differences grow to 1e-4 of the density's
    standard deviation behind the exponential, and for this small part of the time it saves little.
    """

    def __init__(self, config: VitConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.heads = config.num_attention_heads
        self.q_proj = nn.Linear(width, width, bias=config.qkv_bias)
        self.k_proj = nn.Linear(width, width, bias=config.qkv_bias)
        self.v_proj = nn.Linear(width, width, bias=config.qkv_bias)
        self.o_proj = nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """[B,T,C] to [B,T,C]."""
        q, k, v = (
            project(tokens).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for project in (self.q_proj, self.k_proj, self.v_proj)
        )
        scores = (q @ k.transpose(-1, -2)) / math.sqrt(q.shape[-1])
        mixed = (scores.softmax(dim=-1) @ v).transpose(1, 2).flatten(2)
        return self.o_proj(mixed)  # type: ignore[no-any-return]


class FeedForward(nn.Module):
    """Two linear layers with the erf form of GELU between them."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, inner)
        self.fc2 = nn.Linear(inner, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """[B,T,C] to [B,T,C]."""
        return self.fc2(F.gelu(self.fc1(tokens)))  # type: ignore[no-any-return]
