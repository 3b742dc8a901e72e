"""Views with a picture to be held against: known ones, and ones that the guidance imagined."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from miner.dreamgaussian.guidance import Imagines
from miner.dreamgaussian.poses import Pose, reference_pose
from miner.dreamgaussian.settings import FitSettings
from miner.gpu.device import Device

_COVERED = 0.12
"""An imagined pixel whose colour is so far from the background's is wholly covered ..."""
_CLEAR = 0.03
"""... and one so near to it not at all; in between, in proportion."""


@dataclass(frozen=True, eq=False)
class Target:
    """What one view shows.

    Attributes:
        pose: where from.
        picture: [S,S,4] RGB, not premultiplied, and coverage, on the fit's device.
        rgb, mask: weights of the errors.
        imagined: not known, but what the guidance made up.
    """

    pose: Pose
    picture: Tensor
    rgb: float
    mask: float
    imagined: bool = False


def known_targets(picture: Tensor, settings: FitSettings, device: Device) -> list[Target]:
    """The configured known views of a framed picture [S,S,4]."""
    picture = picture.to(device.torch_device)
    return [
        Target(
            reference_pose(settings.views, view.azimuth),
            picture.flip(1) if view.mirrored else picture,
            view.rgb,
            view.mask,
        )
        for view in settings.losses.known
    ]


def imagined_targets(
    guidance: Imagines, settings: FitSettings, generator: torch.Generator, background: Tensor
) -> list[Target]:
    """Views evenly around the object, the reference's own side left out, as the guidance sees them.

    The pictures have no coverage; it is told from how far a colour is from the background.
    """
    keys, views = settings.losses, settings.views
    count = keys.imagined_views
    poses = [
        Pose(
            360.0 * (i + 1) / (count + 1),
            views.reference_elevation + keys.imagined_elevation,
            views.radius,
        )
        for i in range(count)
    ]
    pictures = guidance.imagine(poses, keys.imagined_steps, generator).to(background)
    distance = (pictures - background).abs().amax(dim=-1, keepdim=True)
    alpha = ((distance - _CLEAR) / (_COVERED - _CLEAR)).clamp(0, 1)
    rgba = torch.cat([pictures, alpha], dim=-1)
    return [
        Target(pose, image, keys.imagined_rgb, keys.imagined_mask, imagined=True)
        for pose, image in zip(poses, rgba, strict=True)
    ]
