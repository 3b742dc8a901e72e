"""The tokenizers of the small FLUX: every word of the world is a piece, all else is letters.

Built by hand rather than trained: byte-pair training is not the same in every process, and unigram
training on such captions splits common words into letters. Both expect lower case; the class that
loads the second drops a normaliser, so lowering is the preset's job.
"""

from __future__ import annotations

import string
from pathlib import Path

from tokenizers import pre_tokenizers
from transformers import CLIPTokenizer, PreTrainedTokenizerFast, T5Tokenizer

from .world.captions import words

MAX_LENGTH = 32
"""Tokens of a prompt; the longest caption of the world takes about twenty."""

_ALPHABET = string.ascii_lowercase + string.digits + string.punctuation


def t5_tokenizer() -> PreTrainedTokenizerFast:
    """Unigram pieces: whole words are likely, single characters unlikely but there."""
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -30.0)]
    pieces += [(f"▁{word}", -1.0) for word in words()]
    pieces += [("▁", -8.0)] + [(letter, -8.0) for letter in _ALPHABET]
    tokenizer = T5Tokenizer(vocab=list(dict(pieces).items()), extra_ids=0)
    tokenizer.model_max_length = MAX_LENGTH
    return tokenizer


def clip_tokenizer() -> PreTrainedTokenizerFast:
    """Byte-pair pieces whose merges build every word of the world from its left end."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {piece: i for i, piece in enumerate([*alphabet, *(a + "</w>" for a in alphabet)])}
    merges: dict[tuple[str, str], None] = {}
    for word in words():
        left = word[0]
        for i, letter in enumerate(word[1:], start=1):
            right = letter + ("</w>" if i == len(word) - 1 else "")
            merges[left, right] = None
            vocab.setdefault(left + right, len(vocab))
            left += right
    for special in ("<|startoftext|>", "<|endoftext|>"):
        vocab[special] = len(vocab)
    tokenizer = CLIPTokenizer(vocab=vocab, merges=list(merges))
    tokenizer.model_max_length = MAX_LENGTH
    return tokenizer


def save(folder: Path) -> None:
    """Write both where FluxPipeline looks for them."""
    clip_tokenizer().save_pretrained(folder / "tokenizer")
    t5_tokenizer().save_pretrained(folder / "tokenizer_2")
