"""The two losses: what is known of a view, and what a diffusion model thinks of one."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from miner.dreamgaussian.reference import over

WHOLLY = 0.95
"""Coverage from which on a pixel shows nothing of the background."""


def known_view(
    image: Tensor, alpha: Tensor, target: Tensor, background: Tensor, within: bool = False
) -> tuple[Tensor, Tensor]:
    """Mean squared errors of a rendered view against what it is known to show.

    Args:
        image: [H,W,3] rendered over ``background``.
        alpha: [H,W,1] rendered coverage.
        target: [H,W,4] RGB and coverage, not premultiplied.
        background: [3].
        within: colours count only where the target covers all of a pixel; else everywhere.

    Returns:
        the error of the colours, and that of the coverage.
    """
    errors = (image - over(target, background)).square()
    if within:
        errors = errors * (target[..., 3:] > WHOLLY)
    return errors.mean(), F.mse_loss(alpha, target[..., 3:])


def distillation(latents: Tensor, predicted: Tensor, noise: Tensor, weight: float) -> Tensor:
    """Score distillation (Poole et al., "DreamFusion", equation 3) as a loss.

    Its gradient by the latents is ``weight * (predicted - noise)``; the model that predicted is not
    differentiated. A sum, not a mean, as the published weights expect.

    Args:
        latents: [V,C,h,w], through which the gradient flows.
        predicted: [V,C,h,w] the noise the model sees in them; no gradient.
        noise: [V,C,h,w] the noise that was added.
        weight: of the time step, 1 - alpha_bar or 1.
    """
    gradient = (weight * (predicted - noise)).nan_to_num(0.0, 0.0, 0.0)
    target = (latents - gradient).detach()
    return 0.5 * F.mse_loss(latents.float(), target.float(), reduction="sum")
