"""The prompt's side of the guidances that read: a CLIP text encoder and its tokenizer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from miner.dreamgaussian.guidance_latents import frozen, part


class TextEncoder:
    """A loaded encoder; its last hidden states are what the U-Net attends to.

    Attributes:
        encoder: the network.
    """

    def __init__(
        self, tokenizer: Any, encoder: Any, device: torch.device, dtype: torch.dtype
    ) -> None:
        self._tokenizer = tokenizer
        self.encoder = frozen(encoder, device, dtype)
        self._device = device

    @classmethod
    def load(cls, folder: Path, device: torch.device, dtype: torch.dtype) -> TextEncoder:
        """``tokenizer`` and ``text_encoder`` of a folder in the diffusers layout.

        Raises:
            WeightsError: one of them is missing.
        """
        tokenizer = CLIPTokenizer.from_pretrained(part(folder, "tokenizer"), local_files_only=True)
        encoder = CLIPTextModel.from_pretrained(part(folder, "text_encoder"), local_files_only=True)
        return cls(tokenizer, encoder, device, dtype)

    @torch.no_grad()
    def __call__(self, texts: Sequence[str]) -> Tensor:
        """[T,L,width] of texts; what is longer than the encoder reads is cut off."""
        length = self.encoder.config.max_position_embeddings
        ids = self._tokenizer(
            list(texts),
            padding="max_length",
            max_length=length,
            truncation=True,
            return_tensors="pt",
        ).input_ids
        states: Tensor = self.encoder(ids.to(self._device)).last_hidden_state
        return states
