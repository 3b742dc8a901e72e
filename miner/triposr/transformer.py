"""The backbone: triplane tokens that attend to one another and to the tokens of the picture.

The transformer of LRM (Hong et al. 2024, arXiv 2311.04400) as TripoSR (Tochilkin et al. 2024, arXiv
2403.02151) configures it: pre-norm blocks of self-attention, cross-attention and a GEGLU
feed-forward (Shazeer 2020, arXiv 2002.05202), between two linear projections with a residual around
all of it. Attention projects to queries, keys and values without a bias. Names are those of the
published state dict.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from miner.triposr.config import BackboneConfig


class Backbone(nn.Module):
    """Tokens [B,C,T] conditioned on tokens [B,L,cross_attention_dim]."""

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__()
        channels, inner = config.in_channels, config.inner_dim
        self.norm = nn.GroupNorm(config.norm_num_groups, channels, eps=1e-6)
        self.proj_in = nn.Linear(channels, inner)
        self.transformer_blocks = nn.ModuleList(Block(config) for _ in range(config.num_layers))
        self.proj_out = nn.Linear(inner, channels)

    def forward(self, tokens: Tensor, context: Tensor) -> Tensor:
        """[B,C,T] to [B,C,T].

        Args:
            tokens: [B,C,T], channels first as the group normalisation wants them.
            context: [B,L,cross_attention_dim].
        """
        hidden: Tensor = self.proj_in(self.norm(tokens).transpose(1, 2))
        for block in self.transformer_blocks:
            hidden = block(hidden, context)
        change: Tensor = self.proj_out(hidden)
        return tokens + change.transpose(1, 2)


class Block(nn.Module):
    """Self-attention, cross-attention and feed-forward, each normalised before and added after."""

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__()
        dim = config.inner_dim
        self.norm1 = nn.LayerNorm(dim)
        self.attn1 = Attention(dim, dim, config.num_attention_heads)
        self.norm2 = nn.LayerNorm(dim)
        self.attn2 = Attention(dim, config.cross_attention_dim, config.num_attention_heads)
        self.norm3 = nn.LayerNorm(dim)
        self.ff = FeedForward(dim, config.feed_forward_mult * dim)

    def forward(self, tokens: Tensor, context: Tensor) -> Tensor:
        """[B,T,dim] and [B,L,cross_attention_dim] to [B,T,dim]."""
        normed = self.norm1(tokens)
        tokens = tokens + self.attn1(normed, normed)
        tokens = tokens + self.attn2(self.norm2(tokens), context)
        return tokens + self.ff(self.norm3(tokens))  # type: ignore[no-any-return]


class Attention(nn.Module):
    """Multi-head attention of ``dim`` wide tokens to ``context_dim`` wide ones."""

    def __init__(self, dim: int, context_dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.to_q = nn.Linear(dim, dim, bias=False)
        self.to_k = nn.Linear(context_dim, dim, bias=False)
        self.to_v = nn.Linear(context_dim, dim, bias=False)
        self.to_out = nn.Sequential(nn.Linear(dim, dim))  # a sequence of one, for the name to_out.0

    def forward(self, tokens: Tensor, context: Tensor) -> Tensor:
        """[B,T,dim] and [B,L,context_dim] to [B,T,dim]."""
        q, k, v = (
            projected.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for projected in (self.to_q(tokens), self.to_k(context), self.to_v(context))
        )
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        return self.to_out(mixed)  # type: ignore[no-any-return]


class FeedForward(nn.Module):
    """GEGLU and a linear layer; the identity stands where training had its dropout (name net.2)."""

    def __init__(self, dim: int, inner: int) -> None:
        super().__init__()
        self.net = nn.Sequential(Geglu(dim, inner), nn.Identity(), nn.Linear(inner, dim))

    def forward(self, tokens: Tensor) -> Tensor:
        """[B,T,dim] to [B,T,dim]."""
        return self.net(tokens)  # type: ignore[no-any-return]


class Geglu(nn.Module):
    """Half of a projection, gated by GELU of the other half."""

    def __init__(self, dim: int, inner: int) -> None:
        super().__init__()
        self.proj = nn.Linear(dim, 2 * inner)

    def forward(self, tokens: Tensor) -> Tensor:
        """[B,T,dim] to [B,T,inner]."""
        value, gate = self.proj(tokens).chunk(2, dim=-1)
        return value * F.gelu(gate)  # type: ignore[no-any-return]
