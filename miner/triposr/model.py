"""TripoSR: one picture to a triplane, and the field that the triplane holds.

The model of Tochilkin et al. 2024 (arXiv 2403.02151), written from the paper and the published
configuration, with the state-dict names of stabilityai/TripoSR. Points are in TripoSR's native
frame: x towards the camera that took the picture, y to its right, z up; the scene frame is
(X,Y,Z) = (y,z,x).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from miner.triposr.config import TripoSRConfig
from miner.triposr.decoder import PointDecoder
from miner.triposr.image_tokens import ImageTokenizer
from miner.triposr.transformer import Backbone
from miner.triposr.triplane import TriplaneTokens, TriplaneUpsampler, sample_planes


class TripoSR(nn.Module):
    """The network, built with random weights ready to train; ``load`` reads published ones."""

    def __init__(self, config: TripoSRConfig) -> None:
        super().__init__()
        self.config = config
        self.image_tokenizer = ImageTokenizer(config.vit)
        self.tokenizer = TriplaneTokens(config.tokenizer)
        self.backbone = Backbone(config.backbone)
        self.post_processor = TriplaneUpsampler(config.post_processor)
        self.decoder = PointDecoder(config.decoder)

    @property
    def radius(self) -> float:
        """Half the side of the box that holds the field, in native units."""
        return self.config.renderer.radius

    def encode(self, rgb: Tensor) -> Tensor:
        """Scene codes of pictures. Differentiable.

        Args:
            rgb: [B,H,W,3] float in [0,1], cut-outs composited on grey; of any size, square pictures
                keep their proportions.

        Returns:
            [B,3,C,R,R] in the model's dtype.
        """
        if rgb.ndim != 4 or rgb.shape[-1] != 3:
            raise ValueError(f"pictures are {list(rgb.shape)}, not [B,H,W,3]")
        tokens: Tensor = self.image_tokenizer(self.condition(rgb))
        triplane = self.tokenizer(len(rgb))
        planes = self.tokenizer.fold(self.backbone(triplane, tokens))
        codes: Tensor = self.post_processor(planes)
        return codes

    def condition(self, rgb: Tensor) -> Tensor:
        """Pictures [B,H,W,3] resized to [B,S,S,3], bilinear and antialiased."""
        size = self.config.cond_image_size
        if rgb.shape[1:3] == (size, size):
            return rgb
        resized = F.interpolate(
            rgb.float().permute(0, 3, 1, 2),
            (size, size),
            mode="bilinear",
            align_corners=False,
            antialias=True,
        )
        return resized.permute(0, 2, 3, 1)

    def decode_points(self, codes: Tensor, xyz: Tensor) -> tuple[Tensor, Tensor]:
        """Raw field values of a batch, before activation. Differentiable; nothing is split.

        Args:
            codes: [B,3,C,R,R].
            xyz: [B,N,3] native, within the box.

        Returns:
            Raw density [B,N,1] and raw colour [B,N,3], float32.
        """
        features = sample_planes(codes, xyz / self.radius)
        raw: tuple[Tensor, Tensor] = self.decoder(features.flatten(1, 2).transpose(1, 2))
        return raw

    def activate(self, density: Tensor, color: Tensor) -> tuple[Tensor, Tensor]:
        """Raw values to density > 0 and colour in [0,1]."""
        return torch.exp(density + self.config.renderer.density_bias), torch.sigmoid(color)

    def query(self, codes: Tensor, xyz: Tensor) -> tuple[Tensor, Tensor]:
        """The field of one scene at points. Differentiable.

        Args:
            codes: [3,C,R,R], one element of what ``encode`` returns.
            xyz: [N,3] native, in [-radius,radius]^3.

        Returns:
            Activated density [N,1] and colour [N,3] in [0,1], float32.
        """
        density, color = self.decode_points(codes[None], xyz[None])
        return self.activate(density[0], color[0])
