"""How alike two pictures are: numbers for reports, benchmarks and tests. Tensors in, floats out."""

from __future__ import annotations

import math

from torch import Tensor


def psnr(image: Tensor, reference: Tensor, mask: Tensor | None = None) -> float:
    """Peak signal-to-noise ratio in dB of values in [0,1]; infinite where nothing differs.

    Args:
        image: [...,C] float.
        reference: as ``image``.
        mask: [...] bool, the pixels that count; all of them if None. An empty mask gives infinity.
    """
    error = (image.double() - reference.double()).square()
    if mask is not None:
        error = error[mask]
    mean = error.mean().item() if error.numel() else 0.0
    return -10.0 * math.log10(mean) if mean > 0.0 else math.inf


def silhouette_iou(alpha: Tensor, reference: Tensor, threshold: float = 0.5) -> float:
    """Intersection over union of the pixels whose alpha exceeds the threshold; 1 if there are none.

    Args:
        alpha: coverage in [0,1], any shape.
        reference: coverage, the same shape.
        threshold: what counts as covered.
    """
    ours, theirs = alpha > threshold, reference > threshold
    union = (ours | theirs).sum().item()
    return (ours & theirs).sum().item() / union if union else 1.0
