"""Writes the small CLIP into the package, in the layout that transformers reads.

``python -m miner.mini.training.clip_export RUNS/clip [--into FOLDER]`` takes the averaged weights
in half precision, and renews the checksums.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch

from miner.triposr.image_tokens import IMAGENET_MEAN, IMAGENET_STD

from .export import WEIGHTS, averaged, write_sums
from .tokenizers import clip_tokenizer
from .warm_start import blank


def export_clip(run: Path, folder: Path) -> None:
    """A folder that ``CLIPModel.from_pretrained`` reads, with its tokenizer and normalisation."""
    model = blank()
    model.load_state_dict(averaged(run / "last.pt"))
    model.to(torch.float16).save_pretrained(folder)
    clip_tokenizer().save_pretrained(folder)
    normal = {
        "image_mean": IMAGENET_MEAN,
        "image_std": IMAGENET_STD,
        "size": {"height": 64, "width": 64},
    }
    text = json.dumps(normal, indent=2) + "\n"
    (folder / "preprocessor_config.json").write_text(text, encoding="utf-8")


def main() -> None:
    """Export."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--into", type=Path, default=WEIGHTS)
    o = parser.parse_args()
    export_clip(o.run, o.into / "clip")
    write_sums(o.into)


if __name__ == "__main__":
    main()
